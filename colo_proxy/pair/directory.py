"""The store as a directory that both hosts share: `read` and `swap`, blocking.

Generation g is the file `right.G` (G: g as sixteen decimal digits), which holds the record's bytes. It is
made by link(2) from a file that is complete and on disk, so it is there whole or not at all, and of two hosts
that make the same generation one succeeds. No generation is ever removed or changed. The highest is what the
store holds. A host that was overtaken before it could look has not won, though its generation was made.

link(2) may say that it failed where it has succeeded (NFS repeats a call whose answer was lost), so its
answer counts for nothing: after it the files are read. The caller has won if the highest bears its nonce.
A highest generation that cannot be read is an error, and never a reason to go by a lower one.

A call may block for as long as the file system does, on a hard NFS mount for ever and past any signal: make
it in a process that nobody waits for.
"""

import contextlib
import os
import re
import stat
from pathlib import Path

from colo_proxy.pair.record import MAX_BYTES, BadRecord, Record, decode, encode
from colo_proxy.pair.store import StoreError

_NAME = re.compile(r"right\.([0-9]{16})", re.ASCII)


class Directory:
    """The record in the directory `path`."""

    def __init__(self, path: str) -> None:
        self.path = path

    def close(self) -> None:
        """Nothing is kept open between two calls."""

    def read(self) -> Record | None:
        """What the store holds; None: nothing. Raises StoreError."""
        try:
            folder = self._open()
            try:
                return self._highest(folder)
            finally:
                os.close(folder)
        except OSError as error:
            raise StoreError(f"{self.path}: {error.strerror}") from None

    def swap(self, expect: Record | None, new: Record) -> Record | None:
        """Put `new` in the place of `expect`, if the store holds that; returns what it then holds.

        Raises StoreError: then the swap may have been made. `new` is of the next generation.
        """
        if new.g != (expect.g if expect else 0) + 1:
            raise ValueError(f"generation {new.g} does not follow {expect.g if expect else 0}")
        try:
            folder = self._open()
            try:
                if (found := self._highest(folder)) != expect:
                    return found
                refusal = self._make(folder, new)
                found = self._highest(folder)
            finally:
                os.close(folder)
        except OSError as error:
            raise StoreError(f"{self.path}: {error.strerror}") from None
        if found == expect:
            raise StoreError(f"{self.path}: generation {new.g} cannot be made: {refusal}")
        return found

    def _open(self) -> int:
        return os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)

    def _highest(self, folder: int) -> Record | None:
        generations = [int(match[1]) for match in map(_NAME.fullmatch, os.listdir(folder)) if match]
        if not generations:
            return None
        g = max(generations)
        name = _name(g)
        # Not through a symbolic link, and without waiting for a writer where it is a FIFO.
        file = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)
        try:
            if not stat.S_ISREG(os.fstat(file).st_mode):
                raise StoreError(f"{self.path}/{name} is not a file")
            data = os.read(file, MAX_BYTES + 1)
        finally:
            os.close(file)
        try:
            record = decode(data)
        except BadRecord as error:
            raise StoreError(f"{self.path}/{name}: {error}") from None
        if record.g != g:
            raise StoreError(f"{self.path}/{name} holds generation {record.g}")
        os.fsync(folder)  # nobody acts on a generation that a power failure could still take away
        return record

    def _make(self, folder: int, new: Record) -> str:
        """Make this generation, unless there is one; who made it is to be read. Returns link(2)'s refusal."""
        refusal = "link(2) had no effect"
        draft = f"draft.{new.nonce}.{os.getpid()}.{os.urandom(8).hex()}"
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        file = os.open(draft, flags, 0o644, dir_fd=folder)
        try:
            try:
                data = encode(new)
                if os.write(file, data) != len(data):
                    raise StoreError(f"{self.path}: {draft} could not be written whole")
                os.fsync(file)
            finally:
                os.close(file)
            try:
                os.link(draft, _name(new.g), src_dir_fd=folder, dst_dir_fd=folder, follow_symlinks=False)
            except OSError as error:
                refusal = error.strerror or refusal
            os.fsync(folder)
        finally:
            with contextlib.suppress(OSError):
                os.unlink(draft, dir_fd=folder)
        return refusal


def make(path: str, root: str) -> None:
    """Make what is missing of a directory below `root`, which must be there: a mount may be missing.

    Raises OSError.
    """
    at = Path(root)
    for part in Path(path).relative_to(root).parts:
        parent, at = at, at / part
        descriptor = os.open(parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            at.mkdir(exist_ok=True)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def prune(path: str) -> None:
    """Remove all generations but the highest, where they hold no right. Raises OSError."""
    for file in sorted(file for file in Path(path).iterdir() if _NAME.fullmatch(file.name))[:-1]:
        file.unlink()


def _name(g: int) -> str:
    return f"right.{g:016}"
