"""Files have about 400 lines at most, or a sentence that says why; functions have 60."""

import ast
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MOST = 400
LONGEST = 60
_CDEF = re.compile(r"[ \t]*(?:cdef|cpdef|def)\b[^=#]*\(")


def tracked(*patterns: str) -> list[Path]:
    found = subprocess.run(
        ["git", "ls-files", *patterns], cwd=ROOT, check=True, capture_output=True, text=True
    )
    return [ROOT / name for name in found.stdout.splitlines() if (ROOT / name).is_file()]


def without_reason(path: Path) -> bool:
    lines = path.read_text().splitlines()
    return len(lines) > MOST and not re.search(r"\b(?:Past|Over) 400 lines", "\n".join(lines[:40]))


def functions(path: Path) -> Iterator[tuple[str, int]]:
    """Each function with its lines, without its docstring."""
    text = path.read_text()
    if path.suffix == ".py":
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                doc = node.body[0] if ast.get_docstring(node) else None
                less = (doc.end_lineno or 0) - doc.lineno + 1 if doc else 0
                yield node.name, (node.end_lineno or 0) - node.lineno + 1 - less
        return
    name, count, quoted = "", 0, False
    for line in text.splitlines():
        within, quoted = quoted, quoted ^ (line.count('"""') == 1)
        if not within and (_CDEF.match(line) or re.match(r"[^\s#)]", line)):
            if name:
                yield name, count
            name, count = (line, 1) if _CDEF.match(line) else ("", 0)
        elif line.strip() and not within and not line.lstrip().startswith(("#", '"""')):
            count += 1
    if name:
        yield name, count


def test_long_files_say_why() -> None:
    long = [
        str(path.relative_to(ROOT))
        for path in tracked("*.py", "*.pyx", "*.pxd", "*.pxi")
        if without_reason(path)
    ]
    assert long == []


@pytest.mark.parametrize("folder", ["colo_proxy", "netns-lab", "bench", "grafana", "docs", "tests"])
def test_functions_are_short(folder: str) -> None:
    files = [path for path in tracked("*.py", "*.pyx", "*.pxi") if path.relative_to(ROOT).parts[0] == folder]
    long = {
        f"{path.name}: {name}": count for path in files for name, count in functions(path) if count > LONGEST
    }
    assert long == {}


def test_long_ones_would_be_found(tmp_path: Path) -> None:
    source = tmp_path / "long.pyx"
    source.write_text(
        '"""What."""\n\ncdef int much(int a) noexcept nogil:\n' + "    a += 1\n" * 60 + "\n\nX = 1\n"
    )
    assert list(functions(source)) == [("cdef int much(int a) noexcept nogil:", 61)]
    source.write_text("a = 1\n" * 401)
    assert without_reason(source)
    source.write_text('"""Numbers. Past 400 lines: they are one table."""\n' + "a = 1\n" * 401)
    assert not without_reason(source)
