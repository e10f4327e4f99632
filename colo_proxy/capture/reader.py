"""Read the frames of a capture file, pcap or pcapng, one after the other and in constant memory.

The blocks are walked here, because a capture is judged by what it holds: a frame that is cut short, a block
that contradicts itself or a time that is a thousand times off must be an error and not a difference between
two guests.

pcap (draft-ietf-opsawg-pcap): a header of 24 bytes, then records of 16 bytes and the frame; microseconds or
nanoseconds and the byte order by the magic number.
pcapng (draft-ietf-opsawg-pcapng): blocks `type, length, body, length again`; each section has its own byte
order and interfaces, each interface its own link type and resolution of time. Blocks that carry no frame are
skipped.
"""

import os
import shlex
import stat
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, NamedTuple, NoReturn

from colo_proxy.errors import UserError

NS = 1_000_000_000
LARGEST_FRAME = 1 << 20  # bytes; a super-frame has at most 64 KiB
_LATEST = (1 << 32) * NS  # in 2106, where pcap's seconds end; what a hostile file says beyond fits no clock
_MOST_INTERFACES = 1 << 16
_ETHERNET = 1
_LINK_TYPES = {  # https://www.tcpdump.org/linktypes.html
    0: "BSD loopback",
    101: "raw IP",
    105: "Wi-Fi",
    113: "Linux cooked v1",
    127: "Wi-Fi with radiotap",
    192: "PPI",
    228: "raw IPv4",
    229: "raw IPv6",
    276: "Linux cooked v2",
}
_SECTION, _INTERFACE, _OLD_PACKET, _SIMPLE_PACKET, _PACKET = 0x0A0D0D0A, 1, 2, 3, 6
_BYTE_ORDER_MAGIC = 0x1A2B3C4D
_COMMENT, _TSRESOL, _TSOFFSET = 1, 9, 14  # options; the latter two of an interface


class CaptureError(UserError):
    """A capture that cannot be used: `FILE: frame N at byte M: what`."""


class Captured(NamedTuple):
    """A frame from its Ethernet header, and when it was captured, in nanoseconds since 1970 (UTC)."""

    time: int
    data: bytes
    interface: int = 0  # the number that its section gave it
    comment: str = ""
    size: int = 0  # of the whole frame, where only its beginning was kept; else 0


@dataclass(slots=True)
class _Interface:
    link_type: int
    snap: int  # 0: no limit
    units: int  # of time in a second
    offset: int  # seconds to add


class Capture:
    """A capture file; iterating reads it from the start. `position` of `size` bytes have been read."""

    def __init__(self, path: str | Path, *, cut: bool = False) -> None:
        """Look at the file; `cut`: frames of which only the beginning was kept will do.

        Raises CaptureError if it cannot be read.
        """
        self.path = Path(path)
        self.cut = cut
        self.position = 0
        self.frames = 0  # read so far
        self.comment = ""  # of the latest section
        self.zeros = 0  # bytes at the end that are no frames
        if path == "-":
            raise CaptureError("-: standard input cannot be read twice; save the capture to a file")
        try:
            status = self.path.stat()
            self.path.open("rb").close()
        except OSError as error:
            raise CaptureError(f"{self.path}: {error.strerror}; name a capture that can be read") from None
        if not stat.S_ISREG(status.st_mode):
            raise CaptureError(f"{self.path}: is not a regular file; save the capture to one")
        self.size = status.st_size

    def __iter__(self) -> Iterator[Captured]:
        """The frames, in the order of the file. Raises CaptureError where it makes no sense."""
        self.position = self.frames = self.zeros = 0
        try:
            with self.path.open("rb", buffering=1 << 18) as file:
                magic = file.read(4)
                file.seek(0)
                if not magic:
                    raise CaptureError(f"{self.path}: the file is empty; capture again")
                if magic == _SECTION.to_bytes(4, "big"):
                    yield from _Pcapng(self, file)
                else:
                    yield from _Pcap(self, file, magic)
        except OSError as error:
            raise CaptureError(f"{self.path}: {error.strerror} at byte {self.position:,}") from None


class _Walker:
    """What both formats need: exact reads, and errors that say where."""

    def __init__(self, capture: Capture, file: BinaryIO) -> None:
        self.capture = capture
        self.file = file
        self.start = 0  # of the record or block that is being read

    def exactly(self, size: int, what: str) -> bytes:
        data = self.file.read(size)
        self.capture.position += len(data)
        if len(data) != size:
            self.fail(f"the file ends inside {what}; it is incomplete: copy it or capture again")
        return data

    def ends_in_zeros(self, head: bytes) -> bool:
        """Whether the file from `head` on, just read, is nothing but zeros, as a crash leaves them."""
        if any(head):
            return False
        at = self.file.tell()
        zeros = len(head)
        while data := self.file.read(1 << 16):
            if any(data):
                self.file.seek(at)
                return False
            zeros += len(data)
        self.capture.position += zeros - len(head)
        self.capture.zeros = zeros
        return True

    def fail(self, what: str) -> NoReturn:
        raise CaptureError(
            f"{self.capture.path}: frame {self.capture.frames + 1:,} at byte {self.start:,}: {what}"
        )

    def check_frame(self, link_type: int, captured: int, original: int) -> None:
        """Whether what follows can be compared at all."""
        if link_type != _ETHERNET:
            name = _LINK_TYPES.get(link_type, "unknown")
            self.fail(f"link type {link_type} ({name}) is not Ethernet; capture on the VM's own interface")
        if (original if captured < original and self.capture.cut else captured) > LARGEST_FRAME:
            longer = max(captured, original)
            self.fail(f"{longer:,} bytes are longer than any frame; the file is damaged")
        if captured < original and not self.capture.cut:
            self.fail(
                f"only {captured:,} of its {original:,} bytes were captured, so it cannot be compared; "
                "capture whole frames (tcpdump -s 0)"
            )


_MAGICS = {
    b"\xa1\xb2\xc3\xd4": (">", 1000),
    b"\xd4\xc3\xb2\xa1": ("<", 1000),
    b"\xa1\xb2\x3c\x4d": (">", 1),
    b"\x4d\x3c\xb2\xa1": ("<", 1),
}


_PACKERS = {  # by how their files begin
    b"\x1f\x8b": "gzip",
    b"BZh": "bzip2",
    b"\xfd7zX": "xz",
    b"\x28\xb5\x2f\xfd": "zstd",
    b"\x04\x22\x4d\x18": "lz4",
}


def _unpack(path: Path, magic: bytes) -> str | None:
    """What to do with a file that is compressed."""
    for begin, tool in _PACKERS.items():
        if magic.startswith(begin):
            target = path.with_suffix("" if path.suffix else ".pcap")
            names = f"{shlex.quote(str(path))} > {shlex.quote(str(target))}"
            return f"is compressed; unpack it first: {tool} -dc {names}"
    return None


class _Pcap(_Walker):
    def __init__(self, capture: Capture, file: BinaryIO, magic: bytes) -> None:
        super().__init__(capture, file)
        if magic not in _MAGICS:
            what = (
                _unpack(capture.path, magic)
                or "neither a pcap nor a pcapng file; use one that tcpdump or Wireshark wrote"
            )
            raise CaptureError(f"{capture.path}: {what}")
        self.order, self.scale = _MAGICS[magic]

    def __iter__(self) -> Iterator[Captured]:
        header = self.exactly(24, "the file's header")
        major, minor, _, _, _, link = struct.unpack_from(self.order + "HHiIII", header, 4)
        if major != 2:
            raise CaptureError(
                f"{self.capture.path}: pcap version {major}.{minor} is unknown; save it as 2.4"
            )
        record = struct.Struct(self.order + "IIII")
        while True:
            self.start = self.capture.position
            head = self.file.read(16)
            self.capture.position += len(head)
            if not head or self.ends_in_zeros(head):
                return
            if len(head) != 16:
                self.fail("the file ends inside its header; it is incomplete: copy it or capture again")
            seconds, fraction, captured, original = record.unpack(head)
            self.check_frame(link & 0xFFFF, captured, original)  # the upper bits tell of a checksum
            if fraction * self.scale >= NS:
                self.fail("its time has more than a second behind the point; the file is damaged")
            data = self.exactly(captured, "it")
            self.capture.frames += 1
            size = original if captured < original else 0
            yield Captured(seconds * NS + fraction * self.scale, data, size=size)


class _Pcapng(_Walker):
    def __init__(self, capture: Capture, file: BinaryIO) -> None:
        super().__init__(capture, file)
        self.order = "<"
        self.interfaces: list[_Interface] = []
        self.time = 0  # of the latest frame that had one

    def __iter__(self) -> Iterator[Captured]:
        while True:
            self.start = self.capture.position
            head = self.file.read(8)
            self.capture.position += len(head)
            if not head or self.ends_in_zeros(head):
                return
            if len(head) != 8:
                self.fail("the file ends inside a block; it is incomplete: copy it or capture again")
            if head[:4] == _SECTION.to_bytes(4, "big"):
                self.section(head)
                continue
            kind, length = struct.unpack(self.order + "II", head)
            if kind in (_INTERFACE, _OLD_PACKET, _SIMPLE_PACKET, _PACKET):
                body = self.body(length)
                if kind == _INTERFACE:
                    self.interface(body)
                    continue
                frame = self.packet(kind, body)
                self.capture.frames += 1
                yield frame
            else:
                self.skip(length)

    def body(self, length: int) -> bytes:
        """The body of a block whose content is needed; checks both lengths."""
        self.check_length(length)
        if length > LARGEST_FRAME + (1 << 16):
            self.fail(f"a block of {length:,} bytes is longer than any frame; the file is damaged")
        body = self.exactly(length - 12, "a block")
        self.trailer(length)
        return body

    def skip(self, length: int) -> None:
        """A block that carries no frame, however long it is."""
        self.check_length(length)
        left = self.capture.size - self.capture.position
        if length - 8 > left:
            self.fail("the file ends inside a block; it is incomplete: copy it or capture again")
        self.file.seek(length - 12, os.SEEK_CUR)
        self.capture.position += length - 12
        self.trailer(length)

    def check_length(self, length: int) -> None:
        if length < 12 or length % 4:
            self.fail(f"a block cannot be {length:,} bytes long; the file is damaged")

    def trailer(self, length: int) -> None:
        (again,) = struct.unpack(self.order + "I", self.exactly(4, "a block"))
        if again != length:
            self.fail(f"a block of {length:,} bytes ends with the length {again:,}; the file is damaged")

    def section(self, head: bytes) -> None:
        """A section begins: its byte order holds from here on, and its interfaces are yet to come."""
        magic = self.exactly(4, "a section's header")
        for order in "<>":
            if struct.unpack(order + "I", magic)[0] == _BYTE_ORDER_MAGIC:
                self.order = order
                break
        else:
            self.fail("a section has no byte order; the file is damaged")
        (length,) = struct.unpack(self.order + "I", head[4:])
        self.check_length(length)
        if length < 28 or length > LARGEST_FRAME:
            self.fail(f"a section's header cannot be {length:,} bytes long; the file is damaged")
        body = self.exactly(length - 16, "a section's header")
        self.trailer(length)
        major, minor = struct.unpack_from(self.order + "HH", body)
        if major != 1:
            self.fail(f"pcapng version {major}.{minor} is unknown; save the capture as 1.0")
        self.interfaces = []
        self.capture.comment = self.comment(body, 12)

    def options(self, body: bytes, at: int) -> Iterator[tuple[int, bytes]]:
        """The options that end a block."""
        while at + 4 <= len(body):
            option, size = struct.unpack_from(self.order + "HH", body, at)
            at += 4
            if option == 0:
                return
            if at + size > len(body):
                self.fail("an option is longer than its block; the file is damaged")
            yield option, body[at : at + size]
            at += (size + 3) & ~3

    def comment(self, body: bytes, at: int) -> str:
        return next((v.decode(errors="replace") for o, v in self.options(body, at) if o == _COMMENT), "")

    def interface(self, body: bytes) -> None:
        if len(body) < 8:
            self.fail("the description of an interface is too short; the file is damaged")
        if len(self.interfaces) >= _MOST_INTERFACES:
            self.fail(f"more than {_MOST_INTERFACES:,} interfaces; the file is damaged")
        link_type, _, snap = struct.unpack_from(self.order + "HHI", body)
        interface = _Interface(link_type, snap, 1_000_000, 0)
        for option, value in self.options(body, 8):
            if option == _TSRESOL and len(value) == 1:
                power = value[0] & 0x7F
                interface.units = 2**power if value[0] & 0x80 else 10**power
            elif option == _TSOFFSET and len(value) == 8:
                (interface.offset,) = struct.unpack(self.order + "q", value)
        self.interfaces.append(interface)

    def packet(self, kind: int, body: bytes) -> Captured:
        if kind == _SIMPLE_PACKET:
            return self.simple_packet(body)
        if len(body) < 20:
            self.fail("its block is too short; the file is damaged")
        shape = "HHIIII" if kind == _OLD_PACKET else "IIIII"
        number, *_, high, low, captured, original = struct.unpack_from(self.order + shape, body)
        interface = self.used(number)
        self.check_frame(interface.link_type, captured, original)
        if 20 + captured > len(body):
            self.fail(f"{captured:,} bytes do not fit into its block; the file is damaged")
        time = (high << 32 | low) * NS // interface.units + interface.offset * NS
        if not 0 <= time < _LATEST:
            self.fail("its time is not between 1970 and 2106; the file is damaged")
        self.time = time
        end = 20 + captured
        comment = self.comment(body, (end + 3) & ~3) if end + 4 < len(body) else ""
        return Captured(self.time, body[20:end], number, comment, original if captured < original else 0)

    def simple_packet(self, body: bytes) -> Captured:
        """A frame of the first interface, without a time: it gets that of the frame before."""
        if len(body) < 4:
            self.fail("its block is too short; the file is damaged")
        interface = self.used(0)
        (original,) = struct.unpack_from(self.order + "I", body)
        captured = min(original, interface.snap or original)
        self.check_frame(interface.link_type, captured, original)
        if 4 + captured > len(body):
            self.fail(f"{captured:,} bytes do not fit into its block; the file is damaged")
        return Captured(self.time, body[4 : 4 + captured], size=original if captured < original else 0)

    def used(self, number: int) -> _Interface:
        if number >= len(self.interfaces):
            self.fail(
                f"it names interface {number:,}, which the section does not describe; the file is damaged"
            )
        return self.interfaces[number]
