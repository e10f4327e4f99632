"""docs/architecture.md is true: the walk of one frame, and the comparator used by itself."""

import contextlib
import importlib
import inspect
import io
import re
from pathlib import Path

import pytest
from unit.test_layers import imported_modules, layer

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "colo_proxy"
PAGE = ROOT / "docs" / "architecture.md"
_ROW = re.compile(r"\| `((?:core|engine)/[\w/]+\.pyx)` \| [^|]+ \| `([\w/]+\.pyx)` \|")


def walks() -> list[list[tuple[str, str]]]:
    """The tables of the walk: (file, who calls it), in order."""
    page = PAGE.read_text()
    section = page[page.index("## The walk of one frame") :]
    tables = re.findall(r"\| file \|.*\n\|[- |]+\n((?:\|.*\n)+)", section[: section.index("\n## ")])
    return [[(row[1], row[2]) for row in map(_ROW.fullmatch, table.splitlines()) if row] for table in tables]


def module(path: str) -> str:
    return path.removesuffix(".pyx").replace("/", ".")


def test_there_are_two_walks_and_every_row_is_read() -> None:
    section = PAGE.read_text().partition("## The walk of one frame")[2].partition("\n## ")[0]
    assert len(walks()) == 2
    assert sum(map(len, walks())) == section.count("\n| `")


@pytest.mark.parametrize("walk", walks(), ids=["pvm-to-uplink", "uplink-to-svm"])
def test_a_frame_goes_from_the_engine_into_the_core_and_back(walk: list[tuple[str, str]]) -> None:
    worlds = [path.partition("/")[0] for path, _ in walk]
    crossings = [world for at, world in enumerate(worlds) if at == 0 or worlds[at - 1] != world]
    assert crossings == ["engine", "core", "engine"]


@pytest.mark.parametrize(("path", "caller"), sorted({row for walk in walks() for row in walk}))
def test_each_file_of_the_walk_is_called_from_above(path: str, caller: str) -> None:
    called = f"colo_proxy.{module(path)}"
    assert called in list(imported_modules((PACKAGE / caller).read_text())), "the caller does not cimport it"
    mine, above = layer(called), layer(module(caller))
    assert mine is not None
    assert above is not None
    assert mine < above or Path(path).parent == Path(caller).parent


def test_each_caller_has_been_met_before() -> None:
    for walk in walks():
        met = {"engine/engine.pyx"}
        for path, caller in walk:
            assert caller in met, (path, caller)
            met.add(path)


def test_the_comparator_is_used_as_the_page_shows() -> None:
    [code] = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(), re.M | re.S)
    assert len(code.splitlines()) <= 12
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(code, str(PAGE), "exec"), {})
    frame, divergence = printed.getvalue().splitlines()
    assert frame.startswith("Frame(port=<Port.UPLINK")
    assert r"\x88\xb5both" in frame
    assert divergence.startswith("Divergence(")
    assert "reason=<Reason.PAYLOAD" in divergence


@pytest.mark.parametrize("stub", sorted((PACKAGE / "core").rglob("*.pyi")), ids=lambda path: path.stem)
def test_public_names_of_the_core_have_docstrings(stub: Path) -> None:
    name = ".".join(("colo_proxy", *stub.relative_to(PACKAGE).with_suffix("").parts))
    made = importlib.import_module(name)
    assert made.__doc__, name
    declared = stub.with_suffix(".pxd")
    fields = re.findall(r"\breadonly \w+ (\w+)", declared.read_text()) if declared.exists() else []
    for found in re.findall(r"^(?:def|class) ([a-z]\w*)", stub.read_text(), re.M | re.I):
        item = getattr(made, found)
        assert item.__doc__, f"{name}.{found}"
        if inspect.isclass(item):
            public = {
                each: what for each, what in vars(item).items() if each[0] != "_" and each not in fields
            }
            lacking = [each for each, what in public.items() if not what.__doc__]
            assert lacking == [], f"{name}.{found}"


@pytest.mark.parametrize(
    "path",
    sorted(path for folder in ("core", "engine") for path in (PACKAGE / folder).rglob("*.pyx")),
    ids=lambda path: str(path.relative_to(PACKAGE)),
)
def test_each_source_begins_with_its_purpose(path: Path) -> None:
    begins = re.match(r'"""(\w.+?)"""\n', path.read_text(), re.S)
    assert begins, "it does not begin with a docstring"
    assert len(begins[1]) > 20
    assert not begins[1].startswith("See ")
