"""Write captures so that a file of the wanted name is always a whole one."""

import errno
import io
import os
import struct
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from decimal import Decimal
from pathlib import Path
from typing import Any, BinaryIO

import dpkt

from colo_proxy.capture.reader import LARGEST_FRAME, NS
from colo_proxy.errors import UserError


class _Output(io.BufferedWriter):
    """A file whose own failures are UserErrors, so that other OSErrors are not taken for them."""

    def __init__(self, raw: io.FileIO, path: Path) -> None:
        super().__init__(raw)
        self._path = path

    def write(self, data: Any) -> int:
        try:
            return super().write(data)
        except OSError as error:
            raise _failed(self._path, error) from None

    def flush(self) -> None:
        with _failing(self._path):
            super().flush()

    def close(self) -> None:
        with _failing(self._path):
            super().close()


def _failed(path: Path, error: OSError) -> UserError:
    remedy = "make room there" if error.errno in (errno.ENOSPC, errno.EDQUOT) else "name another file"
    return UserError(f"{path}: cannot be written: {error.strerror}; {remedy}")


@contextmanager
def _failing(path: Path) -> Iterator[None]:
    """What is done here is done to this file. Raises UserError for an OSError."""
    try:
        yield
    except OSError as error:
        raise _failed(path, error) from None


@contextmanager
def whole_file(path: Path, mode: int = 0o644) -> Iterator[BinaryIO]:
    """A file that gets its name when the context ends well, and leaves nothing behind when it does not.

    Raises UserError if it cannot be written.
    """
    with _failing(path):
        descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name[:64]}.")
    named = False
    try:
        with _Output(io.FileIO(descriptor, "w"), path) as file:
            yield file
            with _failing(path):
                os.fchmod(file.fileno(), mode)
        with _failing(path):
            os.replace(temporary, path)  # noqa: PTH105 - `temporary` is no Path
        named = True
    finally:
        if not named:
            with suppress(FileNotFoundError):
                Path(temporary).unlink()


@contextmanager
def output(path: Path) -> Iterator[BinaryIO]:
    """What a person named to write to: a whole file, behind links, too; a device or a pipe as it is.

    Raises UserError if it cannot be written.
    """
    with _failing(path):
        raw = None if path.is_file() or not path.exists() else io.FileIO(path, "w")
    if raw is None:
        with whole_file(Path(os.path.realpath(path))) as file:  # Path.resolve fails where links go round
            yield file
        return
    with _Output(raw, path) as file:
        yield file


class PcapWriter:
    """A pcap of Ethernet frames with nanoseconds."""

    def __init__(self, file: BinaryIO) -> None:
        self._writer: Any = dpkt.pcap.Writer(file, snaplen=LARGEST_FRAME, nano=True)

    def write(self, time: int, data: bytes) -> None:
        """Add a frame; `time` in nanoseconds since 1970."""
        self._writer.writepkt(data, Decimal(time) / NS)


class PcapngWriter:
    """A pcapng of Ethernet frames with nanoseconds, named interfaces and comments; little endian."""

    def __init__(self, file: BinaryIO, interfaces: Sequence[str], comment: str = "") -> None:
        self._file = file
        # Byte order, version 1.0, and a section length that is not given.
        self._block(0x0A0D0D0A, struct.pack("<IHHq", 0x1A2B3C4D, 1, 0, -1) + _options((1, comment.encode())))
        for name in interfaces:
            resolution = b"\x09"  # 10**-9 seconds
            self._block(1, struct.pack("<HHI", 1, 0, 0) + _options((2, name.encode()), (9, resolution)))

    def write(self, time: int, data: bytes, interface: int = 0, comment: str = "", size: int = 0) -> None:
        """Add a frame; `time` in nanoseconds since 1970; `size` where `data` is only where it begins."""
        sizes = (len(data), max(size, len(data)))
        head = struct.pack("<IIIII", interface, time >> 32, time & 0xFFFFFFFF, *sizes)
        self._block(6, head + data + bytes(-len(data) % 4) + _options((1, comment.encode())))

    def _block(self, kind: int, body: bytes) -> None:
        length = struct.pack("<I", 12 + len(body))
        self._file.write(struct.pack("<I", kind) + length + body + length)


def _options(*options: tuple[int, bytes]) -> bytes:
    """Options with a value, and their end; nothing where none has one."""
    listed = [
        struct.pack("<HH", code, len(value)) + value + bytes(-len(value) % 4)
        for code, value in options
        if value
    ]
    return b"".join((*listed, bytes(4))) if listed else b""
