"""What a host knows past a power failure, and what the record means to it."""

import os
from pathlib import Path

import pytest

from colo_proxy.pair import note as notes
from colo_proxy.pair.actions import Note
from colo_proxy.pair.note import NoteError
from colo_proxy.pair.record import Record
from colo_proxy.pair.standing import standing

NONCE = "6ba7b810-9dad-41d1-80b4-00c04fd430c8"


def test_what_is_kept_is_read(tmp_path: Path) -> None:
    assert notes.read(str(tmp_path)) == Note(0, None, 0)
    for note in (Note(1, NONCE, 0), Note(12, None, 11), Note(12, NONCE, 0)):
        notes.keep(str(tmp_path), note)
        assert notes.read(str(tmp_path)) == note
    assert [path.name for path in tmp_path.iterdir()] == ["note"]
    assert (tmp_path / "note").read_text() == f'{{"highest":12,"won":"{NONCE}","forced":0}}'


def test_the_highest_generation_never_goes_back(tmp_path: Path) -> None:
    notes.keep(str(tmp_path), Note(12, None, 0))
    with pytest.raises(ValueError, match="generation 11 is less"):
        notes.keep(str(tmp_path), Note(11, None, 0))
    assert notes.read(str(tmp_path)).highest == 12


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{}",
        b"[]",
        b"null",
        b"\xff",
        b"[" * 100_000,
        b'{"highest":12,"won":null}',
        b'{"highest":-1,"won":null,"forced":0}',
        b'{"highest":"12","won":null,"forced":0}',
        b'{"highest":true,"won":null,"forced":0}',
        b'{"highest":12,"won":7,"forced":0}',
        b'{"won":null,"highest":12,"forced":0}',
        b'{"highest":12,"won":null,"forced":0} ',
        b'{"highest":12,"won":null,"forced":0,"more":0}',
    ],
)
def test_what_is_no_note_is_an_error_and_not_nothing(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "note").write_bytes(data)
    with pytest.raises(NoteError, match="it is not a note of the right to speak"):
        notes.read(str(tmp_path))
    with pytest.raises(NoteError):
        notes.keep(str(tmp_path), Note(99, None, 0))


def test_a_directory_that_is_missing_is_an_error_and_not_nothing(tmp_path: Path) -> None:
    with pytest.raises(NoteError, match=f"there is no such directory; mkdir -p -m 700 {tmp_path}/state"):
        notes.read(f"{tmp_path}/state")


def test_it_is_on_disk_before_it_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[str] = []
    fsync, rename = os.fsync, os.rename

    def synced(descriptor: int) -> None:
        done.append(f"fsync {Path(f'/proc/self/fd/{descriptor}').readlink().name}")
        fsync(descriptor)

    def renamed(old: str, new: str, **more: int) -> None:
        done.append("rename")
        rename(old, new, **more)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(os, "rename", renamed)
    notes.keep(str(tmp_path), Note(1, None, 0))
    assert done == ["fsync note.new", "rename", f"fsync {tmp_path.name}"]


def test_what_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "note.new").mkdir()
    with pytest.raises(NoteError, match="nothing can be kept there"):
        notes.keep(str(tmp_path), Note(1, None, 0))


def test_a_note_that_is_not_written_whole_replaces_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk that is nearly full takes a part."""
    notes.keep(str(tmp_path), Note(7, None, 0))
    write = os.write
    monkeypatch.setattr(os, "write", lambda file, data: write(file, data[:-1]))
    with pytest.raises(NoteError, match="nothing can be kept there"):
        notes.keep(str(tmp_path), Note(8, None, 0))
    assert notes.read(str(tmp_path)) == Note(7, None, 0)


def test_one_process_at_a_time(tmp_path: Path) -> None:
    with notes.alone(str(tmp_path)):
        another = notes.alone(str(tmp_path))
        with pytest.raises(NoteError, match="another process uses it"):
            another.__enter__()
    with notes.alone(str(tmp_path)):
        pass


@pytest.mark.parametrize(
    ("record", "highest", "verdict", "words"),
    [
        (None, 0, "none", "'colo-proxy pair init' creates it"),
        (None, 4, "old", "the store has no record, but this host has known generation 4"),
        (Record(3, "solo", "a", None, NONCE), 4, "old", "holds generation 3, but this host has known 4"),
        (Record(4, "solo", "a", None, NONCE), 4, "solo", "a (this host) is alone"),
        (Record(9, "solo", "b", None, NONCE), 4, "solo", "b is alone"),
        (Record(4, "pair", "a", NONCE, NONCE), 4, "pair", "a (this host) is the primary, and b has its"),
        (Record(4, "pair", "b", NONCE, NONCE), 4, "pair", "b is the primary, and a has its"),
        (Record(4, "solo", "c", None, NONCE), 4, "stranger", "the owner is 'c', which is neither a nor b"),
        (Record(3, "solo", "c", None, NONCE), 4, "old", "holds generation 3"),
    ],
)
def test_what_the_record_means(record: Record | None, highest: int, verdict: str, words: str) -> None:
    stands = standing("a", "b", record, Note(highest, None, 0))
    assert stands.verdict == verdict
    assert words in stands.words
    assert stands.alarming is (verdict in ("old", "stranger"))
