"""What TCP segments crossed a device, and when, by the kernel's own clock."""

import ctypes
import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Self

from .namespaces import Namespace
from .nic import ETH_P_ALL, enlarge

SYN, ACK = 0x02, 0x10
_SO_ATTACH_FILTER, _SO_TIMESTAMPNS = 26, 35
_SNAP = 128  # bytes kept of each frame: the headers
_MOD = 1 << 32


@dataclass(frozen=True, slots=True)
class Segment:
    """The header of a TCP segment; `time` is CLOCK_REALTIME in ns, `length` that of its payload."""

    time: int
    source: int
    target: int
    seq: int
    ack: int
    flags: int
    length: int

    def end(self, isn: int) -> int:
        """The stream offset after its last byte (`isn`: the SYN's number); 0 for what carries none."""
        return (self.seq + self.length - isn - 1) % _MOD if self.length else 0


@dataclass(frozen=True, slots=True)
class Stream:
    """What the server of a capture's first connection said there, from its SYN/ACK on."""

    isn: int
    segments: list[Segment]

    @classmethod
    def first(cls, segments: list[Segment]) -> Self:
        """Raises LookupError where no SYN/ACK was captured."""
        opening = next((item for item in segments if item.flags & (SYN | ACK) == SYN | ACK), None)
        if opening is None:
            raise LookupError("no SYN/ACK was captured")
        ports = (opening.source, opening.target)
        return cls(opening.seq, [item for item in segments if (item.source, item.target) == ports])

    def reached(self, offset: int) -> int:
        """When the byte at `offset` first passed, ns. Raises LookupError."""
        for segment in self.segments:
            if offset < segment.end(self.isn):
                return segment.time
        raise LookupError(f"the byte at {offset} was not captured")

    def said(self, before: int) -> int:
        """How many bytes of the stream had passed before this time (ns), gaps counted in."""
        return max((item.end(self.isn) for item in self.segments if item.time < before), default=0)


class Capture:
    """A packet socket that keeps the first bytes of everything; read it when the traffic is over."""

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock

    def segments(self) -> list[Segment]:
        """The TCP segments since the last call, in order; raises OverflowError where some were missed."""
        found = []
        while True:
            try:
                frame, ancillary, _, _ = self._socket.recvmsg(_SNAP, 128)
            except BlockingIOError:
                break
            stamp = next(data for level, kind, data in ancillary if (level, kind) == (1, _SO_TIMESTAMPNS))
            seconds, nanoseconds = struct.unpack("@qq", stamp)
            if segment := _parse(frame, seconds * 1_000_000_000 + nanoseconds):
                found.append(segment)
        _, dropped = struct.unpack("@II", self._socket.getsockopt(263, 6, 8))  # PACKET_STATISTICS
        if dropped:
            raise OverflowError(f"the capture missed {dropped} frames")
        return found


@contextmanager
def capturing(namespace: Namespace, device: str) -> Iterator[Capture]:
    """Capture both directions of a device."""
    with namespace.socket(socket.AF_PACKET, socket.SOCK_RAW) as sock:
        sock.setblocking(False)
        enlarge(sock, 256 << 20)
        sock.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
        program = ctypes.create_string_buffer(struct.pack("=HBBI", 0x06, 0, 0, _SNAP))  # BPF_RET: truncate
        sock.setsockopt(
            socket.SOL_SOCKET, _SO_ATTACH_FILTER, struct.pack("@HP", 1, ctypes.addressof(program))
        )
        sock.bind((device, ETH_P_ALL))
        yield Capture(sock)


def _parse(frame: bytes, time: int) -> Segment | None:
    (kind,) = struct.unpack_from("!H", frame, 12)
    if kind == 0x0800 and frame[23] == socket.IPPROTO_TCP:
        start = 14 + (frame[14] & 15) * 4
        end = 14 + int(struct.unpack_from("!H", frame, 16)[0])
    elif kind == 0x86DD and frame[20] == socket.IPPROTO_TCP:
        start = 54
        end = start + int(struct.unpack_from("!H", frame, 18)[0])
    else:
        return None
    source, target, seq, ack, offset, flags = struct.unpack_from("!HHIIBB", frame, start)
    return Segment(time, source, target, seq, ack, flags, end - start - (offset >> 4) * 4)
