"""Join the Cython sources of the data path into one module, so that the C compiler sees it as one unit.

Each .pyx compiled by itself would be a shared object of its own, whose functions call those of others through
pointers, and nothing would be inlined across files (bench/README.md has the figures). In the joined module
every function is static. What joining does to the text of a file:

- what it imports from another of the files is left out: it is there;
- its private names, those that neither its .pxd nor its .pyi declares, get the file's name as a prefix
  (`stream__note`), so that each file keeps its own, and no file can use another's;
- so does a public name that another file declares too, or imports from Python (`nic__Word`);
- prototypes of functions are left out, and attributes of a class that its .pxd declares go into the class.

A name is public across the whole module even where a file does not import it. tests/unit/test_join.py checks
that each file imports what it uses, so that the imports keep showing who depends on whom.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

PACKAGE = "colo_proxy"
FOLDERS = ("core", "engine", "link")

_TEXT = r'"""(?:\\.|[^\\])*?"""|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'|#[^\n]*'  # strings and comments
_WORD = re.compile(rf"(f?(?:{_TEXT}))|(?<![\w.])(?<!    def )([A-Za-z_]\w*)")
_IMPORT = re.compile(r"^from[ \t]+([\w.]+)[ \t]+(c?import)[ \t]+(\([^)]*\)|[^\n]*)\n", re.M)
_NAME = re.compile(r"(\w+)(?: as (\w+))?")
_EXTERN = re.compile(r"^cdef extern from .*\n((?:[ \t]+.*\n|\n)*)", re.M)
_CLASS = re.compile(r"^cdef class (\w+):\n((?:    .*\n)+)", re.M)
_CLASS_BEGINS = re.compile(r'^cdef class (\w+):\n(?:    """(?:\\.|[^\\])*?"""\n)?', re.M)
_DOCSTRING = re.compile(r'\A"""(?:\\.|[^\\])*?"""')
_PROTOTYPE = re.compile(r"^cdef [^\n(=]*\((?:[^()]|\([^()]*\))*\)[^\n:#]*(?:#[^\n]*)?\n", re.M)
_COMPOUND = re.compile(r"cdef\s+(?:packed\s+)?(struct|union|enum)\b\s*(\w*)")
_CONSTANT = re.compile(r"    ([A-Za-z_]\w*)")
_C_NAME = re.compile(r"(?:ctypedef [^(]*\(\*|cdef[^(=]*?|ctypedef.*?)(\w+)\s*(?:\(|\)|=|$)")
_PYTHON_NAME = re.compile(r"(?:cdef )?class\s+(\w+)|def\s+(\w+)|(?:cpdef|cdef public)\b[^(]*?(\w+)\(")
_ASSIGNED = re.compile(r"(\w+)\s*(?::[^=]*)?(?:=|$)")


def bare(text: str) -> str:
    """The text without comments, and with all strings empty."""
    return re.sub(_TEXT, lambda found: "" if found[0][0] == "#" else '""', text)


def without_imports(text: str) -> str:
    """The same without what it imports."""
    return _IMPORT.sub("", bare(text))


def declared(text: str) -> tuple[set[str], set[str]]:
    """Names that a file declares: those for C alone, and those that are seen from outside the module too."""
    c_names, python_names = set(), set()
    of_enum = False
    code = _EXTERN.sub("", without_imports(text))
    for line in map(str.rstrip, re.sub(r"\[[^\]]*\]", "", code).splitlines()):
        if of_enum and (found := _CONSTANT.match(line)):
            c_names.add(found[1])
        elif found := _COMPOUND.match(line):
            c_names.add(found[2])
            of_enum = found[1] == "enum"
        elif found := _PYTHON_NAME.match(line):
            python_names |= set(filter(None, found.groups()))
        elif found := _C_NAME.match(line) or _ASSIGNED.match(line):
            c_names.add(found[1])
        if line[:1].strip():
            of_enum = bool(_COMPOUND.match(line)) and of_enum
    return c_names - {""}, python_names


@dataclass
class Source:
    """One file with its .pxd and .pyi; `renamed` says what its names are in the joined module."""

    module: str
    pyx: str
    pxd: str
    public: set[str] = field(default_factory=set)
    private: set[str] = field(default_factory=set)
    renamed: dict[str, str] = field(default_factory=dict)

    @classmethod
    def read(cls, path: Path, root: Path) -> "Source":
        """`path` without its suffix."""
        pyx, pxd, pyi = (
            path.with_suffix(suffix).read_text() if path.with_suffix(suffix).exists() else ""
            for suffix in (".pyx", ".pxd", ".pyi")
        )
        for line in re.findall(r'^include ".*"\n', pyx, flags=re.M):
            pyx = pyx.replace(line, path.with_name(line.split('"')[1]).read_text())
        c_names, python_names = declared(pyx)
        public = set[str]().union(*declared(pxd), *declared(pyi), python_names)
        module = ".".join(path.relative_to(root).parts) if path.is_relative_to(root) else path.name
        return cls(module, pyx, pxd, public, c_names - public)

    @property
    def stem(self) -> str:
        return self.module.rsplit(".", 1)[-1]

    def imports(self) -> Iterator[tuple[str, list[tuple[str, str]]]]:
        """Modules, and the names that are imported from each with what they are called here."""
        for module, _, names in _IMPORT.findall(self.pxd + self.pyx):
            yield module, [(name, alias or name) for name, alias in _NAME.findall(bare(names))]

    def in_unit(self, text: str) -> str:
        """The text with the names of the joined module; in strings only those that are put into it."""

        def one(found: re.Match[str]) -> str:
            if found[1] and found[1].startswith("f"):
                return re.sub(r"\{[^{}]*\}", lambda part: self.in_unit(part[0]), found[1])
            return self.renamed.get(found[2], found[0])

        return _WORD.sub(one, text)


def sources(root: Path, folders: Iterable[str] = FOLDERS, more: Iterable[Path] = ()) -> list[Source]:
    """All files and `more`, each after those whose declarations its own need."""
    paths = {
        path.with_suffix("") for folder in folders for path in (root / PACKAGE / folder).rglob("*.p[yx][xd]")
    }
    files = {
        each.module: each for each in (Source.read(path, root) for path in [*sorted(paths), *sorted(more)])
    }
    ordered: dict[str, Source] = {}

    def visit(each: Source) -> None:
        for module, _, _ in _IMPORT.findall(each.pxd):
            if module in files and module not in ordered:
                visit(files[module])
        ordered.setdefault(each.module, each)

    for each in files.values():
        visit(each)
    return list(ordered.values())


def rename(files: list[Source]) -> None:
    """Fill in `renamed` of all files."""
    ours = {each.module: each for each in files}
    names = Counter(name for each in files for name in each.public)
    names.update(
        {
            name
            for each in files
            for module, imported in each.imports()
            if module not in ours
            for _, name in imported
        }
    )
    for each in files:
        clashing = each.private | {name for name in each.public if names[name] > 1}
        each.renamed = {name: f"{each.stem}__{name}" for name in clashing}
    for each in files:
        for module, imported in each.imports():
            if module in ours:
                for name, alias in imported:
                    each.renamed[alias] = ours[module].renamed.get(name, name)


def with_attributes(pyx: str, pxd: str) -> str:
    """The .pyx with the attributes that the .pxd declares for its classes."""
    attributes = dict(_CLASS.findall(pxd))
    return _CLASS_BEGINS.sub(lambda found: found[0] + attributes.get(found[1], ""), pyx)


def joined(files: list[Source]) -> str:
    """The text of the one module: what all .pxd declare, then what all .pyx define."""
    rename(files)
    modules = {each.module for each in files}
    texts = [(each, "pxd", _PROTOTYPE.sub("", _CLASS.sub("", each.pxd))) for each in files]
    texts += [(each, "pyx", with_attributes(each.pyx, each.pxd)) for each in files]
    parts = []
    for each, suffix, text in texts:
        code = _IMPORT.sub(lambda found: "" if found[1] in modules else found[0], _DOCSTRING.sub("", text))
        if code.strip():
            parts.append(f"# {each.module}.{suffix}\n{each.in_unit(code)}\n")
    return "\n".join(parts)


def write(into: Path, files: list[Source]) -> None:
    """Write the module, unless it is there already with the same text."""
    text = joined(files)
    if not into.exists() or into.read_text() != text:
        into.parent.mkdir(parents=True, exist_ok=True)
        into.write_text(text)
