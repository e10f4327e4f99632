"""One of the two captures: which frames go to the comparator, and what it holds besides."""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from colo_proxy.capture.offloads import virtio_header
from colo_proxy.capture.origin import GROUP, IPV4, IPV6, TAGS, network
from colo_proxy.capture.reader import Captured
from colo_proxy.capture.result import NotCompared
from colo_proxy.capture.times import Times
from colo_proxy.core.packet.key import flow_text
from colo_proxy.core.packet.parse import dissect

_HEADERS = 78  # bytes of Ethernet, a VLAN tag, IPv6 and TCP without options
_RECENT = 16  # frames among which a second copy is looked for
_AT_ONCE = 50_000_000  # ns; the same frame later was sent again
_TCP, _UDP, _FRAGMENT = 6, 17, 44
_EXTENSIONS = (0, 43, _FRAGMENT, 60)  # headers of IPv6 that may stand before the transport's (RFC 8200)
_FIN = 1


@dataclass(slots=True)
class Cut:
    """Frames of a flow of which the capture has only the beginning, and the bytes that it has not."""

    frames: int = 0
    bytes: int = 0


@dataclass(slots=True)
class Tap:
    """What has been read of one capture. Frames are the VM's, where nothing else is said."""

    path: Path
    vms: tuple[bytes, ...]
    times: Times = field(default_factory=Times)
    frames: int = 0
    comparable: bool = False  # a frame is of a class that is compared
    strays: int = 0  # unicast frames neither from nor to the VM
    tags: set[int] = field(default_factory=set)  # VLANs
    untagged: int = 0
    twice: int = 0  # captured a second time
    short: int = 0  # frames of anybody that are shorter than an Ethernet header
    short_bytes: int = 0
    cut: dict[str | None, Cut] = field(default_factory=dict)  # by flow; None: it is cut off, too
    pieces: set[str] = field(default_factory=set)  # flows of the VM's fragments
    recent: deque[tuple[int, bytes]] = field(default_factory=lambda: deque(maxlen=_RECENT))

    def take(self, frame: Captured) -> tuple[bool, bytes, bytes | None] | None:
        """Whether the VM sent it, the frame for the comparator, and its virtio-net header.

        None for a frame that says nothing to it.
        """
        data = frame.data
        if len(data) < 14:
            self.short += 1
            self.short_bytes += len(data)
            return None
        if data[6:12] in self.vms:
            self._count(frame.time, data)
            if is_fragment(data):
                self.pieces.add(flow_text(data))
            whole = self._known(frame) if frame.size else data
            return None if whole is None else (True, whole, virtio_header(whole))
        if data[:6] not in self.vms and not data[0] & GROUP:
            self.strays += 1
        if frame.size:  # of what clients send, the headers will do
            if len(data) < _HEADERS:
                return None
            data += bytes(frame.size - len(data))
        return False, data, virtio_header(data)

    def _count(self, time: int, data: bytes) -> None:
        self.frames += 1
        self.comparable = self.comparable or dissect(data)["kind"] != "housekeeping"
        if data[12:14] in TAGS:
            self.tags.add(int.from_bytes(data[14:16]) & 0xFFF)
        else:
            self.untagged += 1
        if _may_be_sent_again(data):
            return
        if any(time - when <= _AT_ONCE and data == each for when, each in self.recent):
            self.twice += 1
        else:
            self.recent.append((time, data))

    def _known(self, frame: Captured) -> bytes | None:
        """What a frame that is cut short does say: the beginning of a TCP segment; else None."""
        missing = frame.size - len(frame.data)
        cut = self.cut.setdefault(_flow_of(frame), Cut())
        cut.frames += 1
        cut.bytes += missing
        return _shortened(frame.data)

    def not_compared(self) -> Iterator[NotCompared]:
        """What of this capture nobody could look at."""
        if self.short:
            yield NotCompared("dropped", self.short, self.short_bytes)
        for flow, cut in self.cut.items():
            yield NotCompared("cut", cut.frames, cut.bytes, flow)


def is_fragment(data: bytes) -> bool:
    """Whether an Ethernet frame has a part of an IP datagram; of IPv6, behind no other extension header."""
    kind, at = network(data)
    if kind == IPV4 and len(data) >= at + 20:
        return bool(data[at + 6] & 0x3F or data[at + 7])
    return kind == IPV6 and len(data) > at + 6 and data[at + 6] == _FRAGMENT


def _may_be_sent_again(data: bytes) -> bool:
    """Whether a guest sends such a frame again, byte for byte, in the ordinary way: a TCP segment of a packet
    without an IPv4 ID, as a duplicate acknowledgement or a retransmission. No copy of TCP is a difference.
    """
    kind, at = network(data)
    return _layer4(data)[0] == _TCP and (kind != IPV4 or data[at + 4 : at + 6] == bytes(2))


def _layer4(data: bytes) -> tuple[int, int]:
    """The protocol, and where its header begins; a frame may be cut anywhere. 0, 0: it does not say."""
    kind, at = network(data)
    if kind == IPV4 and len(data) >= at + 20 and not is_fragment(data):
        return data[at + 9], at + (data[at] & 15) * 4
    if kind == IPV6 and len(data) >= at + 40 and data[at + 6] not in _EXTENSIONS:
        return data[at + 6], at + 40
    return 0, 0


def _flow_of(frame: Captured) -> str | None:
    """The flow of a frame that is cut short; None where what names it is cut off."""
    data = frame.data
    kind, at = network(data)
    protocol, layer4 = _layer4(data)
    if len(data) < at or (kind in (IPV4, IPV6) and not layer4):
        return None
    whole = bytearray(data + bytes(frame.size - len(data)))
    if protocol in (_TCP, _UDP):
        if len(data) < layer4 + 4:
            return None
        if protocol == _TCP and len(data) <= layer4 + 12:
            whole[layer4 + 12] = 5 << 4  # a header without options
        elif protocol == _UDP and len(data) < layer4 + 6:
            whole[layer4 + 4 : layer4 + 6] = (8).to_bytes(2)
    return flow_text(bytes(whole))


def _shortened(data: bytes) -> bytes | None:
    """A TCP segment that ends where the capture cut it, without its FIN; None where it is none, or its header
    is not whole.
    """
    kind, at = network(data)
    protocol, layer4 = _layer4(data)
    where = at + 2 if kind == IPV4 else at + 4
    length = len(data) - (at if kind == IPV4 else layer4)
    if protocol != _TCP or len(data) < layer4 + 20 or length > 0xFFFF:
        return None
    if len(data) < layer4 + (data[layer4 + 12] >> 4) * 4:
        return None
    flags = bytes((data[layer4 + 13] & ~_FIN,))
    return data[:where] + length.to_bytes(2) + data[where + 2 : layer4 + 13] + flags + data[layer4 + 14 :]
