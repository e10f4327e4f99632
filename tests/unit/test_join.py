"""The data path's sources as one module: no file uses what it has not imported, and names stay apart."""

import re
from pathlib import Path

import pytest

import join_sources
from join_sources import Source

ROOT = Path(__file__).parents[2]
FILES = join_sources.sources(ROOT)


def not_imported(each: Source, files: list[Source]) -> set[str]:
    """Names that the .pxd of other files declare and that this one uses as if they were its own."""
    others = {name for other in files if other is not each for name in join_sources.declared(other.pxd)[0]}
    code = join_sources.without_imports(each.pxd + each.pyx)
    used = set(re.findall(r"(?<![\w.])[A-Za-z_]\w*", code))
    there = {alias for _, names in each.imports() for _, alias in names} | each.public | each.private
    mine = set(
        re.findall(
            r"(?<![\w.])(?!(?:return|not|and|or|in|if|elif|else|while)\b)[a-zA-Z]\w*[ *]+([a-z]\w*)", code
        )
    )  # parameters and variables
    return (others & used) - there - mine


def made(tmp_path: Path, **texts: str) -> list[Source]:
    for name, text in texts.items():
        stem, suffix = name.rsplit("_", 1)
        path = tmp_path / "colo_proxy" / "core" / f"{stem}.{suffix}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return join_sources.sources(tmp_path)


@pytest.mark.parametrize("each", FILES, ids=lambda each: str(each.module))
def test_a_file_imports_what_it_uses(each: Source) -> None:
    assert not_imported(each, FILES) == set()


def test_a_missing_import_would_be_found(tmp_path: Path) -> None:
    files = made(
        tmp_path,
        one_pxd="cdef int one_more(int a) noexcept nogil\n",
        one_pyx="cdef int one_more(int a) noexcept nogil:\n    return a + 1\n",
        two_pyx="cdef int two(int a) noexcept nogil:\n    return one_more(a)\n",
    )
    assert [not_imported(each, files) for each in files] == [set(), {"one_more"}]


def test_files_keep_their_private_names(tmp_path: Path) -> None:
    files = made(
        tmp_path,
        one_pyx='cdef int find(int a):\n    raise ValueError(f"cannot find {find(a)}")  # find\n',
        two_pyx="cdef int find(int a):\n    return flow.find\n\ncdef class Two:\n    def find(self): pass\n",
    )
    text = join_sources.joined(files)
    assert 'cdef int one__find(int a):\n    raise ValueError(f"cannot find {one__find(a)}")  # find\n' in text
    assert "cdef int two__find(int a):\n    return flow.find\n" in text
    assert "    def find(self): pass\n" in text


def test_what_others_call_keeps_its_name(tmp_path: Path) -> None:
    files = made(
        tmp_path, one_pyx="cdef public int one(int a) noexcept:\n    return a\n\ndef two(): return 2\n"
    )
    text = join_sources.joined(files)
    assert "cdef public int one(int a)" in text
    assert "def two()" in text


def test_what_two_files_call_by_one_name_stays_apart(tmp_path: Path) -> None:
    files = made(
        tmp_path,
        one_pxd="cdef struct Word:\n    int letters\n",
        two_pyx="from colo_proxy.core.one cimport Word as CWord\n"
        "from colo_proxy.vocabulary import Word\ncdef CWord word\ncdef object python = Word\n",
    )
    text = join_sources.joined(files)
    assert "cdef struct one__Word:" in text
    assert "cdef one__Word two__word\ncdef object two__python = Word\n" in text
    assert "colo_proxy.core.one cimport" not in text


def test_a_class_gets_the_attributes_that_are_declared_for_it(tmp_path: Path) -> None:
    files = made(
        tmp_path,
        one_pxd="cdef class One:\n    cdef int size\n\ncdef int one_more(\n    int a\n) nogil  # a: b\n",
        one_pyx='cdef class One:\n    """One."""\n\n    def more(self): return self.size\n',
    )
    [_, text] = join_sources.joined(files).split("# colo_proxy.core.one.pyx\n")
    assert (
        text.strip()
        == 'cdef class One:\n    """One."""\n    cdef int size\n\n    def more(self): return self.size'
    )
    assert "one_more" not in join_sources.joined(files)
