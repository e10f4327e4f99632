"""Which frames of a capture the VM sent: those with its MAC address as their source.

A capture of a VM's port holds what the VM sent and what it was sent, so the VM's address is on every unicast
frame. Where that leaves two (one VM, one router), direction, QEMU's address prefix and who accepts
connections decide, in this order. Where it still may be either, nobody guesses: CaptureError names them and
asks for `--vm-mac`.
"""

import struct
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from colo_proxy.capture.reader import Captured, CaptureError

QEMU_PREFIX = bytes.fromhex("525400")  # QEMU's default, net/net.c of 11.1
_GROUP = 1  # bit of the first octet (IEEE 802)
_SHOWN = 8  # addresses in a message


@dataclass(slots=True)
class Survey:
    """What one pass over a capture tells: when it was, and who was in it."""

    frames: int = 0
    first: int = 0  # ns; the earliest and the latest time
    last: int = 0
    on_all: set[bytes] | None = None  # addresses on every unicast frame; None: there is none yet
    sources: Counter[bytes] = field(default_factory=Counter)
    unicast: set[bytes] = field(default_factory=set)  # sources of unicast frames
    accepts: set[bytes] = field(default_factory=set)  # sources of SYN/ACKs


_MOST_ADDRESSES = 100_000  # more than that are made up


def survey(frames: Iterable[Captured]) -> Survey:
    """Read a capture once."""
    seen = Survey()
    for time, data, *_ in frames:
        seen.first = min(seen.first, time) if seen.frames else time
        seen.last = max(seen.last, time)
        seen.frames += 1
        if len(data) < 14:
            continue
        target, source = data[:6], data[6:12]
        if source in seen.sources or len(seen.sources) < _MOST_ADDRESSES:
            seen.sources[source] += 1
        if target[0] & _GROUP:
            continue
        if len(seen.unicast) < _MOST_ADDRESSES:
            seen.unicast.add(source)
        ends = {target, source}
        seen.on_all = ends if seen.on_all is None else seen.on_all & ends
        if source not in seen.accepts and is_syn_ack(data):
            seen.accepts.add(source)
    return seen


def is_syn_ack(frame: bytes) -> bool:
    """Whether a frame accepts a TCP connection (an unfragmented one, with up to two VLAN tags)."""
    at = 12
    while frame[at : at + 2] in (b"\x81\x00", b"\x88\xa8") and at < 20:
        at += 4
    kind, at = frame[at : at + 2], at + 2
    if kind == b"\x08\x00" and len(frame) >= at + 20 and frame[at + 9] == 6:
        if struct.unpack_from(">H", frame, at + 6)[0] & 0x1FFF:
            return False
        at += (frame[at] & 15) * 4
    elif kind == b"\x86\xdd" and len(frame) >= at + 40 and frame[at + 6] == 6:
        at += 40
    else:
        return False
    return len(frame) > at + 13 and frame[at + 13] & 0x12 == 0x12


def vm_address(primary: Survey, secondary: Survey) -> bytes:
    """The VM's MAC address. Raises CaptureError where the captures do not tell."""
    sources = primary.sources + secondary.sources
    sets = [seen.on_all for seen in (primary, secondary) if seen.on_all is not None]
    candidates = set.intersection(*sets) if sets else set(sources)
    if len(candidates) == 2:
        unicast = primary.unicast | secondary.unicast
        prefixed = {address for address in candidates if address.startswith(QEMU_PREFIX)}
        for hint in (unicast, prefixed, primary.accepts | secondary.accepts):
            if len(candidates & hint) == 1:
                return (candidates & hint).pop()
    if len(candidates) == 1:
        return candidates.pop()
    shown = candidates or {address for address, _ in sources.most_common(_SHOWN)}
    listed = ", ".join(sorted(map(mac_text, list(shown)[:_SHOWN])))
    what = "may be the VM's" if candidates else "were seen, and none is on every frame"
    raise CaptureError(
        f"the captures do not tell which frames the VM sent: {listed} {what}; give it as --vm-mac"
    )


def mac_text(address: bytes) -> str:
    """An address as people write it: 52:54:00:12:34:56."""
    return address.hex(":")


def parse_mac(text: str) -> bytes:
    """Read a MAC address with `:` or `-` between its octets. Raises ValueError."""
    parts = text.replace("-", ":").split(":")
    if len(parts) != 6 or any(len(part) not in (1, 2) for part in parts):
        raise ValueError(f"{text!r} is no MAC address; write it as 52:54:00:12:34:56")
    try:
        address = bytes(int(part, 16) for part in parts)
    except ValueError:
        raise ValueError(f"{text!r} is no MAC address; write it as 52:54:00:12:34:56") from None
    if address[0] & _GROUP:
        raise ValueError(f"{text!r} is a group's address, and nobody sends from it; give the VM's own")
    return address
