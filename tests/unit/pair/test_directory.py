"""The store as a shared directory: one wins, whatever the file system answers."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from uuid import uuid4

import pytest

from colo_proxy.pair.directory import Directory
from colo_proxy.pair.record import Record, decode, encode
from colo_proxy.pair.store import StoreError

_SWAPS = """
import sys
from colo_proxy.pair.directory import Directory
from colo_proxy.pair.record import Record
from uuid import uuid4
path, owner, rounds = sys.argv[1:]
store, won = Directory(path), 0
while won < int(rounds):
    found = store.read()
    new = Record((found.g if found else 0) + 1, "solo", owner, None, str(uuid4()))
    after = store.swap(found, new)
    won += after == new
    if after == new:
        print(new.g, new.nonce, flush=True)
"""


def record(g: int, owner: str = "a") -> Record:
    return Record(g, "solo", owner, None, str(uuid4()))


def there(store: Directory) -> list[str]:
    """The files of the store."""
    return [path.name for path in Path(store.path).iterdir()]


@pytest.fixture
def store(tmp_path: Path) -> Directory:
    return Directory(str(tmp_path))


def test_what_is_swapped_is_read(store: Directory) -> None:
    assert store.read() is None
    first, second = record(1), record(2, "b")
    assert store.swap(None, first) == first
    assert store.swap(first, second) == second
    assert store.read() == second
    assert sorted(there(store)) == ["right.0000000000000001", "right.0000000000000002"]


def test_a_swap_that_expects_something_else_changes_nothing(store: Directory) -> None:
    first = record(1)
    store.swap(None, first)
    assert store.swap(None, record(1, "b")) == first
    assert store.swap(record(1), record(2, "b")) == first
    assert there(store) == ["right.0000000000000001"]


def test_a_generation_must_follow_the_one_that_is_expected(store: Directory) -> None:
    with pytest.raises(ValueError, match="does not follow"):
        store.swap(None, record(2))


def test_link_that_fails_after_it_has_succeeded_has_won(
    store: Directory, monkeypatch: pytest.MonkeyPatch
) -> None:
    link = os.link

    def lost(*args: object, **more: object) -> None:
        link(*args, **more)  # type: ignore[arg-type]
        raise FileExistsError(17, "File exists")

    monkeypatch.setattr(os, "link", lost)
    first = record(1)
    assert store.swap(None, first) == first


def test_link_that_succeeds_after_another_host_made_it_has_lost(
    store: Directory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other host makes the generation between this host's look and its link."""
    link, theirs = os.link, record(1, "b")

    def raced(*args: object, **more: object) -> None:
        Path(store.path, "right.0000000000000001").write_bytes(encode(theirs))
        link(*args, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(os, "link", raced)
    assert store.swap(None, record(1)) == theirs


def test_a_generation_beyond_ones_own_means_that_one_has_lost(
    store: Directory, monkeypatch: pytest.MonkeyPatch
) -> None:
    link, theirs = os.link, record(2, "b")

    def overtaken(*args: object, **more: object) -> None:
        link(*args, **more)  # type: ignore[arg-type]
        Path(store.path, "right.0000000000000002").write_bytes(encode(theirs))

    monkeypatch.setattr(os, "link", overtaken)
    assert store.swap(None, record(1)) == theirs


def test_link_that_does_nothing_is_no_answer(store: Directory, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*args: object, **more: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refused)
    with pytest.raises(StoreError, match="cannot be made: Operation not permitted"):
        store.swap(None, record(1))
    assert there(store) == []


@pytest.mark.parametrize(
    "spoilt", ["empty", "garbage", "long", "generation", "folder", "link", "fifo", "beyond"]
)
def test_a_highest_generation_that_is_no_record_is_an_error(store: Directory, spoilt: str) -> None:
    first = record(1)
    store.swap(None, first)
    path = Path(store.path, "right.0000000000000002")
    match spoilt:
        case "empty":
            path.write_bytes(b"")
        case "garbage":
            path.write_bytes(b"\xff{")
        case "long":
            path.write_bytes(encode(record(2)) + b" " * 10_000_000)
        case "generation":
            path.write_bytes(encode(first))
        case "folder":
            path.mkdir()
        case "link":
            target = Path(store.path, "elsewhere")
            target.write_bytes(encode(record(2)))
            path.symlink_to(target)
        case "fifo":
            os.mkfifo(path)
        case "beyond":
            Path(store.path, "right.9999999999999999").write_bytes(encode(record(2)))
    with pytest.raises(StoreError, match=r"right\.[0-9]{16}|symbolic"):
        store.read()
    with pytest.raises(StoreError):
        store.swap(first, record(2))


def test_other_files_are_none_of_the_store(store: Directory) -> None:
    for name in (
        "right",
        "right.1",
        "right.00000000000000001",
        "right.000000000000000x",
        "draft.x",
        ".right",
    ):
        Path(store.path, name).write_bytes(b"")
    Path(store.path, "right.000000000000000٣").write_bytes(b"")
    assert store.read() is None


def test_a_directory_that_is_not_there_is_an_error_in_words(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="No such file or directory"):
        Directory(str(tmp_path / "none")).read()


def test_of_processes_that_swap_at_once_one_wins_each_generation(store: Directory) -> None:
    command = [sys.executable, "-c", _SWAPS, store.path]
    racers = [
        subprocess.Popen([*command, owner, "12"], stdout=subprocess.PIPE, text=True)
        for owner in ("a", "b", "c")
    ]
    won = [line.split() for racer in racers for line in racer.communicate()[0].splitlines()]
    # Who was overtaken before it could look has not won, though its generation was made.
    assert len({g for g, _ in won}) == len(won) == 36
    for g, nonce in won:
        assert decode(Path(store.path, f"right.{int(g):016}").read_bytes()).nonce == nonce


def test_a_host_that_is_killed_in_a_swap_leaves_a_whole_record_or_none(store: Directory) -> None:
    command = [sys.executable, "-c", _SWAPS, store.path]
    for _ in range(3):
        with subprocess.Popen([*command, "a", "1000000"], stdout=subprocess.PIPE, text=True) as racer:
            assert racer.stdout is not None
            for _ in range(5):
                racer.stdout.readline()
            racer.send_signal(signal.SIGKILL)
        found = store.read()
        new = record((found.g if found else 0) + 1, "b")
        assert store.swap(found, new) == new
