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
from colo_proxy.datapath.key import flow_text

_HEADERS = 78  # bytes of Ethernet, a VLAN tag, IPv6 and TCP without options
_RECENT = 16  # frames among which a second copy is looked for
_AT_ONCE = 50_000_000  # ns; the same frame later was sent again
_TCP = 6
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
    strays: int = 0  # unicast frames neither from nor to the VM
    tags: set[int] = field(default_factory=set)  # VLANs
    untagged: int = 0
    twice: int = 0  # captured a second time
    short: int = 0  # frames of anybody that are shorter than an Ethernet header
    short_bytes: int = 0
    cut: dict[str, Cut] = field(default_factory=dict)  # by flow
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
        if data[12:14] in TAGS:
            self.tags.add(int.from_bytes(data[14:16]) & 0xFFF)
        else:
            self.untagged += 1
        if any(time - when <= _AT_ONCE and data == each for when, each in self.recent):
            self.twice += 1
        else:
            self.recent.append((time, data))

    def _known(self, frame: Captured) -> bytes | None:
        """What a frame that is cut short does say: the beginning of a TCP segment; else None."""
        missing = frame.size - len(frame.data)
        cut = self.cut.setdefault(flow_text(frame.data + bytes(missing)), Cut())
        cut.frames += 1
        cut.bytes += missing
        return _shortened(frame.data)

    def not_compared(self) -> Iterator[NotCompared]:
        """What of this capture nobody could look at."""
        if self.short:
            yield NotCompared("dropped", self.short, self.short_bytes)
        for flow, cut in self.cut.items():
            yield NotCompared("cut", cut.frames, cut.bytes, flow)


def _shortened(data: bytes) -> bytes | None:
    """A TCP segment that ends where the capture cut it, without its FIN; None where it is none."""
    kind, at = network(data)
    if kind == IPV4 and len(data) >= at + 20 and data[at + 9] == _TCP:
        layer4 = at + (data[at] & 15) * 4
        where, length = at + 2, len(data) - at
        if data[at + 6] & 0x3F or data[at + 7]:
            return None
    elif kind == IPV6 and len(data) >= at + 40 and data[at + 6] == _TCP:
        layer4 = at + 40
        where, length = at + 4, len(data) - layer4
    else:
        return None
    if len(data) < layer4 + 20 or length > 0xFFFF:
        return None
    flags = bytes((data[layer4 + 13] & ~_FIN,))
    return data[:where] + length.to_bytes(2) + data[where + 2 : layer4 + 13] + flags + data[layer4 + 14 :]
