"""The folders are layers: no import runs up, and the core does no I/O."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.documents import rows

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "colo_proxy"
# From the bottom to the top. What stands on one line may import each other, and what is below.
LAYERS = (
    ("compiled",),  # all .pyx, joined; for the .py beside a .pyx alone
    ("errors", "vocabulary", "endpoints", "seldom", "dates"),
    ("core.vocabulary", "core.atomic"),
    ("core.packet",),
    ("core.flow",),
    ("core.link",),
    ("core.policy",),
    ("core.core",),
    ("core.tcp",),
    ("core.align",),
    ("core.datagram",),
    ("core.lookup",),
    ("core.rules",),
    ("core.pairing",),
    ("core.observing",),
    ("core.dispatch",),
    ("core.epoch",),
    ("core.missing_output",),
    ("core.timers",),
    ("core.nic",),
    ("core.to_python",),
    ("core.comparator",),
    ("engine.kernel",),
    ("engine.messages",),
    ("engine.ring",),
    ("link.wire",),
    ("link.mirror",),
    ("link.channel",),
    ("link.pulse",),
    ("engine.ports",),
    ("engine.state",),
    ("engine.attachment",),
    ("engine.forward",),
    ("engine.requests",),
    ("engine.loop",),
    ("engine.engine",),
    ("config",),
    ("host",),
    ("checkpoint",),
    ("pair",),
    ("link",),
    ("capture",),
    ("telemetry",),
    ("control",),
    ("daemon",),
    ("display",),
    ("top",),
    ("cli",),
    ("__main__",),
)
# What the core may use of others: memory, and text made in memory.
ALLOWED = re.compile(
    r"libc\.(?:stdint|stdlib|string|limits)|posix\.stdlib|colo_proxy\.(?:core\.[\w.]+|vocabulary|compiled)"
    r"|collections\.abc|typing|ipaddress"
)
SNPRINTF = ("libc.stdio", "snprintf")
HEADERS = {"<sys/mman.h>", "<arpa/inet.h>", "<stdbool.h>", "*"}  # madvise(2), inet_ntop(3); macros
_IMPORT = re.compile(
    r"^[ \t]*(?:from[ \t]+([\w.]+)[ \t]+c?import[ \t]+(\([^)]*\)|[^\n]*)|c?import[ \t]+([\w.]+))", re.M
)
_EXTERN = re.compile(r"^cdef extern from (?:\"([^\"]*)\"|(\*))", re.M)


def sources(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*.*") if path.suffix in (".py", ".pyx", ".pxd", ".pyi"))


def imports(text: str) -> Iterator[tuple[str, list[str]]]:
    """Modules, each with the names that are imported from it; those in functions too."""
    for module, names, alone in _IMPORT.findall(re.sub(r'"""(?:\\.|[^\\])*?"""', "", text, flags=re.S)):
        yield module or alone, re.findall(r"(\w+)(?: as \w+)?", re.sub(r"#[^\n]*", "", names))


def layer(module: str) -> int | None:
    """Where a module stands; None where it has no place."""
    name = module.removeprefix("colo_proxy.")
    for number, names in enumerate(LAYERS):
        if any(name == each or name.startswith(f"{each}.") for each in names):
            return number
    return None


def imported_modules(text: str) -> Iterator[str]:
    """Modules of this package; of `from package import module` the module."""
    for module, names in imports(text):
        if module == "colo_proxy" or module.startswith("colo_proxy."):
            within = PACKAGE / "/".join(module.split(".")[1:])
            for name in names or [""]:
                whole = f"{module}.{name}"
                is_module = name and (any(within.glob(f"{name}.p*")) or (within / name).is_dir())
                yield whole if is_module else module


def upward(name: str, text: str) -> list[str]:
    mine = layer(name)
    assert mine is not None, f"{name} is in no layer: give it a place in LAYERS"
    found = []
    for module in imported_modules(text):
        other = layer(module)
        assert other is not None or module == "colo_proxy", f"{name} imports {module}, which is in no layer"
        if other is not None and other > mine:
            found.append(module)
    return found


@pytest.mark.parametrize("path", sources(PACKAGE), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_no_import_runs_up(path: Path) -> None:
    name = ".".join(path.relative_to(PACKAGE).with_suffix("").parts)
    if name.endswith("__init__"):
        name = name.removesuffix("__init__").rstrip(".")
    if name in (
        "",
        "core",
        "engine",
        "link",
    ):  # the package, and those whose parts are layers: they import nothing
        assert list(imported_modules(path.read_text())) == []
        return
    assert upward(name, path.read_text()) == []


@pytest.mark.parametrize(
    "path",
    [path for path in sources(PACKAGE) if "from colo_proxy.compiled import" in path.read_text()],
    ids=lambda path: str(path.relative_to(PACKAGE)),
)
def test_what_is_compiled_is_imported_by_the_name_of_its_source(path: Path) -> None:
    assert path.suffix == ".py"
    source, stub = path.with_suffix(".pyx"), path.with_suffix(".pyi")
    assert source.is_file()
    taken = {name for module, names in imports(path.read_text()) for name in names}
    shown = set(re.findall(r"^(?:def|class) (\w+)|^(\w+): ", stub.read_text(), re.M))
    missing = {a or b for a, b in shown} - {name.rpartition("__")[2] for name in taken}
    assert {name for name in missing if name[0] != "_"} == set()


def forbidden(text: str) -> list[str]:
    """What a file of the core uses and must not: I/O, clocks, threads, the layers above."""
    found = [
        module
        for module, names in imports(text)
        if not ALLOWED.fullmatch(module) and not (module == SNPRINTF[0] and names == [SNPRINTF[1]])
    ]
    return found + [
        header for pair in _EXTERN.findall(text) for header in pair if header and header not in HEADERS
    ]


@pytest.mark.parametrize("path", sources(PACKAGE / "core"), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_the_core_does_no_io(path: Path) -> None:
    assert forbidden(path.read_text()) == []


@pytest.mark.parametrize(
    "line",
    [
        "from posix.time cimport clock_gettime",
        "from libc.stdio cimport printf",
        "from libc.stdio cimport snprintf, fopen",
        "from colo_proxy.engine.kernel cimport (\n    recv,\n)",
        "import socket",
        "    import time",
        'cdef extern from "<sys/socket.h>":',
    ],
)
def test_io_would_be_found(line: str) -> None:
    assert forbidden(f"{line}\n") != []


def test_an_import_upwards_would_be_found() -> None:
    assert upward("core.tcp.release", "from colo_proxy.core.dispatch cimport (\n    dispatch_primary,\n)\n")
    assert upward("top.screen", "    from colo_proxy.cli import target  # noqa: PLC0415\n")
    assert not upward("cli.top", "from colo_proxy.top.screen import screen\n")


def functions(text: str) -> Iterator[str]:
    """Names of the functions that a .pxd declares."""
    for line in re.sub(r'"""(?:\\.|[^\\])*?"""', "", text, flags=re.S).splitlines():
        found = re.match(r"cdef\s+[^(=#]*?[\s*](\w+)\(", line)
        if found:
            yield found[1]


# Read as they are in every program that handles packets.
IDIOMS = {"get16", "get32", "put16", "put32", "seq"}


@pytest.mark.parametrize(
    "path",
    [path for path in sources(PACKAGE) if path.suffix == ".pxd" and path.stem != "kernel"],
    ids=lambda path: str(path.relative_to(PACKAGE)),
)
def test_a_functions_name_begins_with_its_modules(path: Path) -> None:
    others = [name for name in functions(path.read_text()) if not name.startswith(f"{path.stem}_")]
    assert set(others) <= IDIOMS


def test_each_question_has_its_file() -> None:
    answers = rows(ROOT / "CONTRIBUTING.md", "| where is")
    assert len(answers) == 12
    for question, (answer,) in answers.items():
        path = ROOT / answer.strip("`")
        assert path.is_file(), question
