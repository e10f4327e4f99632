"""Which frames of a capture the VM sent: those with its MAC address as their source.

A capture of a VM's port holds what the VM sent and what it was sent, so the VM's address is on every unicast
frame. Where that leaves two (one VM, one router), direction and QEMU's address prefix decide, in this order.

Where they do not, both captures are read once more, to tell the guests from the mirror: what clients say is
the same in both, what two guests say differs, at least in their initial sequence numbers. Who accepts
connections is only a hint (guests open some, too): it counts where the other says nothing of its own in each.

Where it still may be either, nobody guesses: CaptureError names them, to be told by `--vm-mac`: also where
the second address is another one in each capture: two routers', or two guests' whose client is the first.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from hashlib import blake2b
from itertools import permutations

from colo_proxy.capture.reader import Captured, CaptureError

QEMU_PREFIX = bytes.fromhex("525400")  # QEMU's default, net/net.c of 11.1
_GROUP = 1  # bit of the first octet (IEEE 802)
_SHOWN = 8  # addresses in a message
_IPV4, _ARP, _IPV6 = b"\x08\x00", b"\x08\x06", b"\x86\xdd"  # EtherTypes
_TAGS = (b"\x81\x00", b"\x88\xa8")
_FIN, _SYN, _ACK = 1, 2, 16  # TCP flags (RFC 9293, 3.1)
_ICMPV6 = 58
_NEIGHBOURS = tuple(bytes([kind]) for kind in range(133, 138))  # discovery of neighbours (RFC 4861)
_SAMPLE = 1 << 14  # hashes that are kept at least, once there are so many; 8 sets of at most twice as many


@dataclass(slots=True)
class Survey:
    """What one pass over a capture tells: when it was, and who was in it."""

    frames: int = 0
    first: int = 0  # ns; the earliest and the latest time
    last: int = 0
    on_all: set[bytes] | None = None  # addresses on every unicast frame; None: there is none yet
    sources: Counter[bytes] = field(default_factory=Counter)
    unicast: set[bytes] = field(default_factory=set)  # sources of unicast frames


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
    return seen


def _network(frame: bytes) -> tuple[bytes, int]:
    """The EtherType behind up to two VLAN tags, and where what it announces begins."""
    at = 12
    while frame[at : at + 2] in _TAGS and at < 20:
        at += 4
    return frame[at : at + 2], at + 2


def _tcp(frame: bytes, kind: bytes, at: int) -> int:
    """Where the header of an unfragmented TCP segment begins that has a whole one; 0 where there is none."""
    if kind == _IPV4 and len(frame) >= at + 20 and frame[at + 9] == 6:
        header = 0 if frame[at + 6] & 0x3F or frame[at + 7] else at + (frame[at] & 15) * 4
    elif kind == _IPV6 and len(frame) >= at + 40 and frame[at + 6] == 6:
        header = at + 40
    else:
        return 0
    return header if len(frame) >= header + 20 else 0


class Sample:
    """What somebody said, as a set of hashes; of more than memory should hold, those with the smallest.

    What is said in both captures has the same hash in both, so two samples hold the same of it, in whatever
    order, and however often it was said.
    """

    def __init__(self) -> None:
        self.kept: set[int] = set()
        self.below = 1 << 64  # all hashes below this one are kept

    def add(self, said: bytes, *, opens: bool = False) -> None:
        """Add something; the beginnings of connections tell most and are kept first."""
        name = int.from_bytes(blake2b(said, digest_size=8).digest())
        if opens:
            name >>= 16
        if name < self.below:
            self.kept.add(name)
            if len(self.kept) >= 2 * _SAMPLE:
                ordered = sorted(self.kept)
                self.below = ordered[_SAMPLE]
                self.kept = set(ordered[:_SAMPLE])


@dataclass(slots=True)
class Said:
    """What one address says in one capture, so far as it carries something and a mirror would not change it.

    That leaves out what clients acknowledge (aligned for the SVM), and to which port of a guest they speak.
    """

    streams: Sample = field(default_factory=Sample)
    rest: Sample = field(default_factory=Sample)
    accepts: bool = False  # it sends SYN/ACKs
    silent: bool = True

    def add(self, frame: bytes) -> None:
        """Add what a frame says."""
        self.silent = False
        kind, at = _network(frame)
        if kind == _IPV4 and len(frame) >= at + 20:
            length = frame[at + 2] << 8 | frame[at + 3]
            addresses = frame[at + 12 : at + 20]
        elif kind == _IPV6 and len(frame) >= at + 40:
            length = frame[at + 4] << 8 | frame[at + 5]
            length += 40 if length else 0
            addresses = frame[at + 8 : at + 40]
        else:
            if kind != _ARP:
                self.rest.add(frame[at - 2 :])
            return
        end = at + length if length else len(frame)  # the rest is padding; 0 is a super-frame's
        if header := _tcp(frame, kind, at):
            flags = frame[header + 13]
            ends = flags & (_SYN | _FIN)
            payload = frame[header + (frame[header + 12] >> 4) * 4 : end]
            if ends or payload:
                self.accepts |= flags & (_SYN | _ACK) == _SYN | _ACK
                where = frame[header : header + 2] + frame[header + 4 : header + 8]  # port, sequence number
                self.streams.add(addresses + where + bytes((ends,)) + payload, opens=flags & _SYN > 0)
        elif kind == _IPV4:  # but for its identification and checksum
            self.rest.add(frame[at : at + 4] + frame[at + 6 : at + 10] + frame[at + 12 : end])
        elif frame[at + 6] != _ICMPV6 or frame[at + 40 : at + 41] not in _NEIGHBOURS:
            self.rest.add(frame[at:end])


Heard = Mapping[bytes, Said]


def listen(frames: Iterable[Captured], candidates: Iterable[bytes]) -> Heard:
    """Read a capture once more, for what these addresses say to one another."""
    heard = {address: Said() for address in candidates}
    for _, data, *_ in frames:
        if data[6:12] in heard and len(data) >= 14 and not data[0] & _GROUP:
            heard[data[6:12]].add(data)
    return heard


class _Mirror:
    """How far what an address says in one capture is what it says in the other."""

    def __init__(self, primary: Sample, secondary: Sample) -> None:
        below = min(primary.below, secondary.below)
        one, other = ({name for name in each.kept if name < below} for each in (primary, secondary))
        self.heard = bool(one and other)  # in both captures
        self.same = one == other
        self.as_much = len(one) == len(other)
        # A capture that began later or ended earlier has less of the same; so this is the part that the other
        # one lacks of the one that has less.
        self.own = 1 - len(one & other) / min(len(one), len(other)) if self.heard else 0.0


_Mirrors = Mapping[bytes, _Mirror]


def _says_most_anew(mirrors: _Mirrors) -> bytes | None:
    """Who says something else in each capture, while most of what the other one says is in both.

    Here belong all guests that draw sequence numbers.
    """
    for vm, client in permutations(mirrors):
        if mirrors[client].heard and mirrors[vm].own > max(0.5, 4 * mirrors[client].own):
            return vm
    return None


def _says_some_anew(mirrors: _Mirrors) -> bytes | None:
    """Who says as much in both captures, but not all the same, while the other one says exactly the same.

    A mirror may have missed a frame where one of the captures began or ended; then it has less.
    """
    for vm, client in permutations(mirrors):
        if mirrors[client].heard and mirrors[client].same and mirrors[vm].as_much and not mirrors[vm].same:
            return vm
    return None


def _by_what_differs(primary: Heard, secondary: Heard) -> bytes | None:
    """Which of two addresses is the VM's, by what they say in both captures; None: it may be either."""
    streams = {address: _Mirror(primary[address].streams, secondary[address].streams) for address in primary}
    rest = {address: _Mirror(primary[address].rest, secondary[address].rest) for address in primary}
    if vm := _says_most_anew(streams):  # SYN/ACKs, too: so this is better than who accepts
        return vm
    for vm, client in permutations(primary):  # one capture may be without the clients
        if (primary[client].silent or secondary[client].silent) and streams[vm].own > 0.5:
            return vm
    accepts = [address for address in primary if primary[address].accepts or secondary[address].accepts]
    if len(accepts) == 1:
        (client,) = primary.keys() - accepts
        # A mirror adds nothing of its own, but may have missed something. A guest may be silent altogether.
        mirrored = streams[client].own == 0 and rest[client].own == 0
        silent = not streams[client].heard and streams[accepts[0]].heard and streams[accepts[0]].own == 0
        return accepts[0] if mirrored and not silent else None
    return _says_some_anew(streams) or _says_most_anew(rest) or _says_some_anew(rest)


Listen = Callable[[set[bytes]], tuple[Heard, Heard]]


def _common(address: bytes, sets: list[set[bytes]], heard: Listen) -> bytes:
    """The one address that is on all frames of both captures, if it is no client of two guests' own ones.

    Raises CaptureError if it may be.
    """
    others = sorted(set().union(*sets) - {address})
    prefixed = [each for each in (address, *others) if each.startswith(QEMU_PREFIX)]
    if len(others) < 2 or prefixed == [address]:
        return address
    primary, secondary = (each[address] for each in heard({address}))
    if max(_Mirror(primary.streams, secondary.streams).own, _Mirror(primary.rest, secondary.rest).own) > 0.5:
        return address
    raise CaptureError(
        f"{' and '.join(map(mac_text, others))} are in one capture each, {mac_text(address)} is in both: PVM "
        f"and SVM must have the same MAC address; if it is {mac_text(address)}, give it as --vm-mac"
    )


def vm_address(primary: Survey, secondary: Survey, heard: Listen) -> bytes:
    """The VM's MAC address. `heard` reads both captures once more, and is called if nothing else decides.

    Raises CaptureError where the captures do not tell.
    """
    sources = primary.sources + secondary.sources
    sets = [seen.on_all for seen in (primary, secondary) if seen.on_all is not None]
    candidates = set.intersection(*sets) if sets else set(sources)
    if len(candidates) == 2:
        unicast = primary.unicast | secondary.unicast
        prefixed = {address for address in candidates if address.startswith(QEMU_PREFIX)}
        for hint in (unicast, prefixed):
            if len(candidates & hint) == 1:
                return (candidates & hint).pop()
        if found := _by_what_differs(*heard(candidates)):
            return found
    if len(candidates) == 1:
        return _common(candidates.pop(), sets, heard)
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
