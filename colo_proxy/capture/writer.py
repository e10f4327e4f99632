"""Write captures so that a file of the wanted name is always a whole one."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from decimal import Decimal
from pathlib import Path
from typing import Any, BinaryIO

import dpkt

from colo_proxy.capture.reader import LARGEST_FRAME, NS
from colo_proxy.errors import UserError


@contextmanager
def whole_file(path: Path, mode: int = 0o644) -> Iterator[BinaryIO]:
    """A file that gets its name when the context ends well, and leaves nothing behind when it does not.

    Raises UserError if it cannot be written.
    """
    temporary: str | None = None
    try:
        descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name[:64]}.")
        with os.fdopen(descriptor, "wb") as file:
            yield file
            file.flush()
            os.fchmod(file.fileno(), mode)
        os.replace(temporary, path)  # noqa: PTH105 - `temporary` is no Path
        temporary = None
    except OSError as error:
        raise UserError(f"{path}: cannot be written: {error.strerror}; name a file that can") from None
    finally:
        if temporary is not None:
            with suppress(FileNotFoundError):
                Path(temporary).unlink()


class PcapWriter:
    """A pcap of Ethernet frames with nanoseconds."""

    def __init__(self, file: BinaryIO) -> None:
        self._writer: Any = dpkt.pcap.Writer(file, snaplen=LARGEST_FRAME, nano=True)

    def write(self, time: int, data: bytes) -> None:
        """Add a frame; `time` in nanoseconds since 1970."""
        self._writer.writepkt(data, Decimal(time) / NS)
