"""Which frames of a capture the VM sent: those with its MAC address as their source.

A capture of a VM's port holds what the VM sent and what it was sent, so the VM's address is on every unicast
frame; but bridges flood frames of others, and a guest may have two addresses. So what each address sends is
compared between the captures: what clients send is the same in both, what two guests send differs, at least
in their initial sequence numbers. Whoever sends something else in each is the VM, if nobody else does.

Where that does not tell (two equal captures), the VM is the address on every frame, or that with QEMU's
prefix, unless what the captures hold speaks against it: one that sends exactly the same twice while others
do not may be a client that is compared with itself. Who accepts connections is only a hint: guests open some.

Where it stays open, nobody guesses: CaptureError names the addresses, to be given by `--vm-mac`.

The file is longer than most: what is kept of a capture, and what follows from it, are read together.

Past 400 lines: each way to tell whose a frame is needs what the others have found.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import NoReturn

from colo_proxy.capture.reader import Captured, CaptureError

QEMU_PREFIX = bytes.fromhex("525400")  # QEMU's default, net/net.c of 11.1
GROUP = 1  # bit of the first octet (IEEE 802)
_SHOWN = 8  # addresses in a message
IPV4, _ARP, IPV6 = b"\x08\x00", b"\x08\x06", b"\x86\xdd"  # EtherTypes
TAGS = (b"\x81\x00", b"\x88\xa8")
_FIN, _SYN, _ACK = 1, 2, 16  # TCP flags (RFC 9293, 3.1)
_ICMPV6 = 58
_NEIGHBOURS = tuple(bytes([kind]) for kind in range(133, 138))  # discovery of neighbours (RFC 4861)
_SAMPLE = 1 << 14  # hashes that are kept at least, once there are so many; 8 sets of at most twice as many


@dataclass(slots=True)
class Survey:
    """What one pass over a capture tells: when it was, who was in it, and what they sent."""

    frames: int = 0
    first: int = 0  # ns; the earliest and the latest time
    last: int = 0
    on_all: set[bytes] | None = None  # addresses on every unicast frame; None: there is none yet
    sources: Counter[bytes] = field(default_factory=Counter)
    unicast: set[bytes] = field(default_factory=set)  # sources of unicast frames
    said: dict[bytes, "Said"] = field(default_factory=dict)  # by the first of them, and by all others (ALL)
    to_groups: dict[bytes, "Said"] = field(
        default_factory=dict
    )  # likewise, in multicast and broadcast frames


_MOST_ADDRESSES = 100_000  # more than that are made up
_FOLLOWED = 8  # addresses of which it is kept what they send
_FOLLOWED_TO_GROUPS = 64  # likewise, of those that send to groups; bridges flood what all clients send
ALL = b""  # all others, as one


def survey(frames: Iterable[Captured]) -> Survey:
    """Read a capture once."""
    seen = Survey()
    for time, data, *_ in frames:
        seen.first = min(seen.first, time) if seen.frames else time
        seen.last = max(seen.last, time)
        seen.frames += 1
        if len(data) < 14 or data[6] & GROUP:  # nobody sends from a group's address
            continue
        target, source = data[:6], data[6:12]
        if source in seen.sources or len(seen.sources) < _MOST_ADDRESSES:
            seen.sources[source] += 1
        if target[0] & GROUP:
            _of(seen.to_groups, source, _FOLLOWED_TO_GROUPS).add(data)
            continue
        if len(seen.unicast) < _MOST_ADDRESSES:
            seen.unicast.add(source)
        _of(seen.said, source, _FOLLOWED).add(data)
        ends = {target, source}
        seen.on_all = ends if seen.on_all is None else seen.on_all & ends
    return seen


def _of(said: dict[bytes, "Said"], source: bytes, most: int) -> "Said":
    """What is kept of an address: for itself, or with all others where there are so many already."""
    if source not in said and len(said) < most:
        said[source] = Said()
    return said.get(source) or said.setdefault(ALL, Said())


def network(frame: bytes) -> tuple[bytes, int]:
    """The EtherType behind up to two VLAN tags, and where what it announces begins."""
    at = 12
    while frame[at : at + 2] in TAGS and at < 20:
        at += 4
    return frame[at : at + 2], at + 2


def _tcp(frame: bytes, kind: bytes, at: int) -> int:
    """Where the header of an unfragmented TCP segment begins that has a whole one; 0 where there is none."""
    if kind == IPV4 and len(frame) >= at + 20 and frame[at + 9] == 6:
        header = 0 if frame[at + 6] & 0x3F or frame[at + 7] else at + (frame[at] & 15) * 4
    elif kind == IPV6 and len(frame) >= at + 40 and frame[at + 6] == 6:
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

    def merge(self, other: "Sample") -> None:
        """Add all that another sample holds."""
        self.below = min(self.below, other.below)
        self.kept = {name for name in self.kept | other.kept if name < self.below}


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
        kind, at = network(frame)
        if kind == IPV4 and len(frame) >= at + 20:
            length = frame[at + 2] << 8 | frame[at + 3]
            addresses = frame[at + 12 : at + 20]
        elif kind == IPV6 and len(frame) >= at + 40:
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
        elif kind == IPV4:  # but for its identification and checksum
            self.rest.add(frame[at : at + 4] + frame[at + 6 : at + 10] + frame[at + 12 : end])
        elif frame[at + 6] != _ICMPV6 or frame[at + 40 : at + 41] not in _NEIGHBOURS:
            self.rest.add(frame[at:end])

    def merge(self, other: "Said") -> None:
        """Add all that another one says."""
        self.streams.merge(other.streams)
        self.rest.merge(other.rest)
        self.accepts |= other.accepts
        self.silent &= other.silent


Heard = Mapping[bytes, Said]


def listen(frames: Iterable[Captured], candidates: Iterable[bytes]) -> Heard:
    """Read a capture once more, for what these addresses say, and all others (ALL)."""
    heard = {address: Said() for address in [*candidates, ALL]}
    for _, data, *_ in frames:
        if len(data) >= 14 and not (data[0] | data[6]) & GROUP:
            heard.get(data[6:12], heard[ALL]).add(data)
    return heard


class _Mirror:
    """How far what somebody says in one capture is what it says in the other."""

    def __init__(self, primary: Sample, secondary: Sample) -> None:
        below = min(primary.below, secondary.below)
        one, other = ({name for name in each.kept if name < below} for each in (primary, secondary))
        self.heard = bool(one and other)  # in both captures
        self.same = one == other
        self.as_much = len(one) == len(other)
        # A capture that began later or ended earlier has less of the same; so this is the part that the other
        # one lacks of the one that has less.
        self.own = 1 - len(one & other) / min(len(one), len(other)) if self.heard else 0.0


class _Party:
    """What one address, or several, say in both captures."""

    def __init__(self, primary: Said, secondary: Said) -> None:
        self.streams = _Mirror(primary.streams, secondary.streams)
        self.rest = _Mirror(primary.rest, secondary.rest)
        self.accepts = primary.accepts or secondary.accepts
        self.silent = primary.silent and secondary.silent
        self.silent_in_one = primary.silent or secondary.silent

    @property
    def heard(self) -> bool:
        return self.streams.heard or self.rest.heard

    @property
    def same(self) -> bool:
        return self.streams.same and self.rest.same

    @property
    def own(self) -> float:
        return max(self.streams.own, self.rest.own)

    @property
    def draws(self) -> bool:
        """Whether it says something of its own in each capture, as a guest does that draws its numbers."""
        return self.streams.own > 0.5 or (not self.streams.heard and self.rest.own > 0.5)


@dataclass(slots=True, frozen=True)
class _Case:
    """The supposition that one address is the VM's."""

    vm: _Party
    others: _Party  # all others


_Cases = Mapping[bytes, _Case]


def _cases(primary: Heard, secondary: Heard) -> _Cases:
    def others(heard: Heard, vm: bytes) -> Said:
        every = Said()
        for address, said in heard.items():
            if address != vm:
                every.merge(said)
        return every

    return {
        vm: _Case(_Party(primary[vm], secondary[vm]), _Party(others(primary, vm), others(secondary, vm)))
        for vm in primary
        if vm != ALL
    }


def _most_anew(vm: _Mirror, others: _Mirror) -> bool:
    """It says something else in each capture, while most of what all others say is in both.

    True of all guests that draw sequence numbers.
    """
    return others.heard and vm.own > max(0.5, 4 * others.own)


def _some_anew(vm: _Mirror, others: _Mirror) -> bool:
    """It says as much in both captures, but not all the same, while all others say exactly the same.

    A mirror may have missed a frame where one of the captures began or ended; then it has less.
    """
    return others.heard and others.same and vm.as_much and not vm.same


def _proven(cases: _Cases) -> list[bytes]:
    """Who says something else in each capture, while the others do not."""
    return [
        address
        for address, case in cases.items()
        if _most_anew(case.vm.streams, case.others.streams)
        # One capture may be without the clients.
        or (case.others.silent_in_one and case.vm.streams.own > 0.5)
        or (case.others.silent and case.vm.rest.own > 0.5)
    ]


def _by_what_differs(cases: _Cases) -> list[bytes]:
    """Who may be the VM, by less than that; nobody: it may be any."""
    accepts = [address for address, case in cases.items() if case.vm.accepts]
    if len(accepts) == 1:
        case = cases[accepts[0]]
        if case.others.accepts:
            return []
        # A mirror adds nothing of its own, but may have missed something. A guest may be silent altogether.
        silent = not case.others.streams.heard and case.vm.streams.heard and case.vm.streams.own == 0
        return accepts if case.others.own == 0 and not silent else []
    for rule, part in ((_some_anew, "streams"), (_most_anew, "rest"), (_some_anew, "rest")):
        found = [a for a, case in cases.items() if rule(getattr(case.vm, part), getattr(case.others, part))]
        if found:
            return found
    return []


def _spoken_against(case: _Case) -> bool:
    """Whether an address that seems to be the VM's may be a client's, which is the same in both captures."""
    vm, others = case.vm, case.others
    if vm.silent:
        return True
    if others.silent:  # all that the captures hold is the VM's, or nothing
        return vm.same and not vm.accepts
    if others.silent_in_one:
        return others.accepts and not vm.accepts
    if vm.heard and vm.same and others.heard and not others.same:
        return True
    return others.own > (max(0.5, 4 * vm.own) if vm.heard else 0)


Listen = Callable[[set[bytes]], tuple[Heard, Heard]]


class _Search:
    """Both captures, and who may be the VM."""

    def __init__(self, primary: Survey, secondary: Survey, heard: Listen) -> None:
        self.surveys = (primary, secondary)
        sets = [seen.on_all for seen in self.surveys if seen.on_all is not None]
        self.sources = primary.sources + secondary.sources
        few = {address for address, _ in self.sources.most_common(_FOLLOWED)}
        self.on_all = set.intersection(*sets) if sets else few
        self.unicast = primary.unicast | secondary.unicast
        common = [address for address, _ in self.sources.most_common() if address in self.unicast]
        self.cases = self._cases(self.on_all | set(common[:_FOLLOWED]), heard)
        self.prefixed = {address for address in self.cases if address.startswith(QEMU_PREFIX)}

    def _cases(self, candidates: set[bytes], heard: Listen) -> _Cases:
        """The cases of these, from what the surveys have kept, if they have kept enough."""
        if any(seen.unicast & candidates - seen.said.keys() for seen in self.surveys):
            return _cases(*heard(candidates))
        whole = []
        for seen in self.surveys:
            said: dict[bytes, Said] = {address: Said() for address in [*candidates, ALL]}
            for address, each in seen.said.items():
                said.get(address, said[ALL]).merge(each)
            whole.append(said)
        return _cases(*whole)

    def vm(self) -> bytes:
        """The VM's address. Raises CaptureError where the captures do not tell."""
        found = _proven(self.cases)
        guess = None if found else self._guess()
        if guess is not None and not _spoken_against(self.cases[guess]):
            found = [guess]
        found = found or self._differing()
        if len(found) != 1:
            self.fail(found)
        drawing = [address for address, case in self.cases.items() if case.vm.draws]
        if found[0] not in self.on_all and set(drawing) - set(found):
            self.fail(drawing)
        return found[0]

    def _differing(self) -> list[bytes]:
        """Who may be the VM by what differs, unless its address says otherwise."""
        found = _by_what_differs(self.cases)
        return found if self.on_all.issuperset(found) or self.prefixed.issubset(found) else []

    def _guess(self) -> bytes | None:
        """Who seems to be the VM: the only one on every frame, or the only one of them with the prefix."""
        prefixed = self.on_all & self.prefixed
        if len(prefixed) == 1 and (len(self.on_all) == 2 or self.prefixed == prefixed):
            return min(prefixed)
        if len(self.on_all) != 1:
            return None
        (address,) = self.on_all
        case = self.cases[address]
        others = set().union(*(seen.on_all or () for seen in self.surveys)) - {address}
        if case.vm.own > 0.5:
            return address
        if len(others) > 1:
            raise CaptureError(
                f"{' and '.join(map(mac_text, sorted(others)))} are in one capture each, {mac_text(address)} "
                f"is in both: PVM and SVM must have the same MAC address; if it is {mac_text(address)}, "
                "give it as --vm-mac"
            )
        return None if self.prefixed or (case.others.accepts and not case.vm.accepts) else address

    def fail(self, found: list[bytes]) -> NoReturn:
        """Say who may be the VM. Raises CaptureError."""
        found = found or [address for address, case in self.cases.items() if case.vm.draws]
        if len(found) > 1:
            raise CaptureError(
                f"{' and '.join(sorted(map(mac_text, found)))} each send something of their own in each "
                "capture; give --vm-mac for each that is the VM's"
            )
        spoke = [address for address, case in self.cases.items() if not case.vm.silent]
        if len(spoke) == 1 and self.unicast:
            raise CaptureError(
                f"the captures hold only what {mac_text(spoke[0])} sent, and that is the same in both; if it "
                "is the VM, give it as --vm-mac, else capture what the VM sends, too"
            )
        shown = found or self.on_all or [address for address, _ in self.sources.most_common(_SHOWN)]
        listed = ", ".join(sorted(map(mac_text, list(shown)[:_SHOWN])))
        what = "may be the VM's" if found or self.on_all else "were seen, and none is on every frame"
        raise CaptureError(
            f"the captures do not tell which frames the VM sent: {listed} {what}; give it as --vm-mac"
        )


def vm_address(primary: Survey, secondary: Survey, heard: Listen) -> bytes:
    """The VM's MAC address. `heard` reads both captures once more, and is called where there are many.

    Raises CaptureError where the captures do not tell.
    """
    search = _Search(primary, secondary, heard)
    vm = search.vm()
    if second := drawing_to_groups(primary, secondary, [vm]):
        search.fail([vm, *second])
    return vm


def drawing_to_groups(primary: Survey, secondary: Survey, vms: Iterable[bytes]) -> list[bytes]:
    """Who, but for these, sends something else to groups in each capture, as a guest's second address does.

    VRRP advertises from an address that may be in no other frame. What others send is the same in both.
    """
    both = primary.to_groups.keys() & secondary.to_groups.keys() - {ALL, *vms}
    return sorted(
        address for address in both if _Party(primary.to_groups[address], secondary.to_groups[address]).draws
    )


def to_groups_alone(seen: Survey, other: Survey, vms: Iterable[bytes]) -> list[bytes]:
    """Who, but for these, sends to groups alone, and in this capture alone.

    The PVM's second address may be one that the SVM does not use (VRRP's master). What clients send to groups
    is in both captures, if they overlap.
    """
    if not other.frames or seen.first > other.last or other.first > seen.last:
        return []
    known = {ALL, *vms, *other.sources, *seen.unicast}
    return sorted(address for address in seen.to_groups if address not in known)


def mirrored(primary: Survey, secondary: Survey, vms: Iterable[bytes]) -> list[tuple[bytes, list[bytes]]]:
    """Which of these say the same in both captures while others do not, and who these are."""
    both = primary.said.keys() & secondary.said.keys() - {ALL}
    party = {address: _Party(primary.said[address], secondary.said[address]) for address in both}
    drawing = sorted(address for address in both - set(vms) if party[address].draws)
    return [(vm, drawing) for vm in vms if drawing and vm in party and party[vm].heard and party[vm].own == 0]


def mac_text(address: bytes) -> str:
    """An address as people write it: 52:54:00:12:34:56."""
    return address.hex(":")


def parse_mac(text: str) -> bytes:
    """Read a MAC address with `:` or `-` between its octets. Raises ValueError."""
    parts = text.replace("-", ":").split(":")
    if len(parts) != 6 or any(len(part) not in (1, 2) for part in parts):
        raise ValueError(f"{text!r} is not a MAC address; write it as 52:54:00:12:34:56")
    try:
        address = bytes(int(part, 16) for part in parts)
    except ValueError:
        raise ValueError(f"{text!r} is not a MAC address; write it as 52:54:00:12:34:56") from None
    if address[0] & GROUP:
        raise ValueError(f"{text!r} is a group address, from which no host sends; give the VM's own")
    return address
