"""What a host knows of the right to speak past a power failure: `actions.Note`, in `[pair] state_dir`.

The file `note` holds one JSON object, `{"highest":12,"won":NONCE,"forced":0}`; `won` may be null. It is
replaced as a whole: written beside, on disk, renamed, and the directory is on disk before anybody acts on it.
`highest` never goes back. No file means that nothing is known; one that is not exactly a note is an error,
since to know nothing is what a host must not believe wrongly.
"""

import errno
import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from colo_proxy.errors import UserError
from colo_proxy.pair.actions import Note

_KEYS = ["highest", "won", "forced"]


class NoteError(UserError):
    """What this host knows cannot be read, or cannot be kept."""


def read(directory: str) -> Note:
    """What is known. Raises NoteError."""
    path = Path(directory) / "note"
    if not path.parent.is_dir():
        raise NoteError(
            f"[pair] state_dir {directory}: there is no such directory; mkdir -p -m 700 {directory}"
        )
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return Note(0, None, 0)
    except OSError as error:
        raise NoteError(f"{path}: {error.strerror}; run as its owner") from None
    try:
        pairs = json.loads(data.decode("ascii"), object_pairs_hook=list)
        note = Note(*(value for _, value in pairs))
        right = [key for key, _ in pairs] == _KEYS and _data(note) == data
    except (ValueError, TypeError, RecursionError):
        right = False
    if not right:
        raise NoteError(
            f"{path}: it is not a note of the right to speak; restore it, or compare it with the store"
        )
    return note


def keep(directory: str, note: Note) -> None:
    """Have it on disk when this returns. Raises NoteError; ValueError where `highest` would go back."""
    if note.highest < read(directory).highest:
        raise ValueError(f"generation {note.highest} is less than what is kept in {directory}")
    try:
        folder = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            file = os.open(
                "note.new", os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600, dir_fd=folder
            )
            try:
                data = _data(note)
                if os.write(file, data) != len(data):
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
                os.fsync(file)
            finally:
                os.close(file)
            os.rename("note.new", "note", src_dir_fd=folder, dst_dir_fd=folder)
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as error:
        raise NoteError(
            f"[pair] state_dir {directory}: {error.strerror}; nothing can be kept there"
        ) from None


@contextmanager
def alone(directory: str) -> Iterator[None]:
    """Only one process at a time has the directory. Raises NoteError where another one has."""
    read(directory)
    try:
        lock = os.open(f"{directory}/lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise NoteError(f"[pair] state_dir {directory}: {error.strerror}; run as its owner") from None
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise NoteError(
                f"[pair] state_dir {directory}: another process uses it; wait for its end"
            ) from None
        yield
    finally:
        os.close(lock)


def _data(note: Note) -> bytes:
    """Its bytes. Raises ValueError where it is none."""
    numbers = (note.highest, note.forced)
    if any(type(number) is not int or number < 0 for number in numbers):
        raise ValueError("a generation is not a whole number")
    if not (note.won is None or isinstance(note.won, str)):
        raise ValueError("a nonce is not a text")
    return json.dumps(note._asdict(), separators=(",", ":")).encode()
