"""The reference for what is not TCP: docs/comparison.md, sections 4 and 5."""

from dataclasses import dataclass, field

from models.packets import Packet, checksum, parse

MOST = 128  # fragments of one datagram (F2)


@dataclass
class Entry:
    """A datagram of the SVM that no datagram of the PVM has used yet."""

    packet: Packet
    frames: list[bytes]  # that brought it
    time: int
    number: int
    begins: int  # the bytes that its flow had said before it
    count: int = 1  # datagrams that its frame had

    @property
    def ends(self) -> int:
        """The bytes that its flow had said when it had been said."""
        return self.begins + len(payload_of(self.packet))


@dataclass
class Part:
    """A datagram of the PVM, alone or as a part of its super-frame."""

    packet: Packet
    begins: int  # the bytes that its flow had said before it

    @property
    def ends(self) -> int:
        """The bytes that its flow had said when it had been said."""
        return self.begins + len(payload_of(self.packet))


def parts_of(packets: list[Packet], begins: int) -> list[Part]:
    """The datagrams of one frame, one behind the other."""
    found: list[Part] = []
    for packet in packets:
        found.append(Part(packet, found[-1].ends if found else begins))
    return found


@dataclass
class DatagramFlow:
    """One flow's unmatched SVM datagrams. (The PVM's are in the oracle's list of held frames.)"""

    key: tuple[object, ...]
    unmatched: list[Entry] = field(default_factory=list)
    said: int = 0  # payload bytes of the PVM
    agreed: int = 0  # where the furthest datagram ends that both have said
    blocked: bool = False
    reported: bool = False
    alone: bool = False  # the guest has begun it, and the other guest's is not known yet (alone.py)
    port: int = 0  # the SVM's

    def keep(self, left: list[Part], frames: list[bytes], now: int, number: int, count: int) -> None:
        """Keep datagrams of one frame of the SVM, which had `count`, until the PVM says the same."""
        begins = max([self.agreed, *(entry.ends for entry in self.unmatched[-1:])])
        for part in left:
            at = begins + part.begins - left[0].begins
            self.unmatched.append(Entry(part.packet, frames, now, number, at, count))

    def frames_of(self, number: int) -> list[bytes]:
        """What is sent for what waits of the SVM's frame of this number."""
        left = [entry for entry in self.unmatched if entry.number == number]
        if len(left) == left[0].count:
            return left[0].frames
        return [entry.packet.frame for entry in left]


def equal_form(packet: Packet | None) -> bytes:
    """What must be equal (D2): all above layer 2 without padding, what guests choose freely blanked."""
    assert packet is not None
    data = packet.frame[packet.l3 : packet.end]
    if packet.kind != "ether" and data[0] >> 4 == 4:
        return data[:4] + b"\0\0" + data[6:10] + b"\0\0" + data[12:]
    if packet.kind != "ether" and data[0] >> 4 == 6:
        data = data[:1] + bytes([data[1] & 0xF0]) + b"\0\0" + data[4:]
        if packet.atomic:
            at = packet.atomic - packet.l3
            return data[: at + 4] + bytes(4) + data[at + 8 :]
    return data


def payload_of(packet: Packet) -> bytes:
    """What `stream_offset` counts (D3)."""
    if packet.kind == "udp":
        return packet.payload
    return packet.frame[packet.l4 : packet.end]


def describe_difference(one: Packet | None, other: Packet | None) -> int:
    """The index of the first payload byte that differs; 0 where only a header does."""
    assert one is not None
    assert other is not None
    a, b = payload_of(one), payload_of(other)
    differ = [at for at, (x, y) in enumerate(zip(a, b, strict=False)) if x != y]
    if len(a) != len(b):
        differ.append(min(len(a), len(b)))
    # A checksum sums up the other bytes, and tells only where none of them differs.
    telling = [at for at in differ if not (one.protocol in (1, 58) and at in (2, 3))]
    return min(telling or differ or [0])


@dataclass
class Whole:
    """A reassembled datagram, and the frames that brought it."""

    packet: Packet
    frames: list[bytes]


class Reassembly:
    """Fragments of one side, by the datagram they belong to (F1, F2)."""

    def __init__(self) -> None:
        self.parts: dict[tuple[object, ...], list[tuple[Packet, bytes, int, int]]] = {}

    def add(self, packet: Packet, frame: bytes, now: int, number: int = 0) -> Whole | None:
        """Add a fragment; the datagram when that was the last one missing."""
        key = (*packet.flow(True), packet.fragment_id)
        parts = self.parts.setdefault(key, [])
        if len(parts) <= MOST:  # one more, dropped in the end, tells that there were too many
            parts.append((packet, frame, now, number))
        data = _joined([part for part, _, _, _ in parts])
        if data is None:
            return None
        del self.parts[key]
        first = next(part for part, _, _, _ in parts if part.fragment_offset == 0)
        return Whole(_rebuilt(first, data), [each for _, each, _, _ in parts])

    def forget_other(self, packet: Packet) -> None:
        """Forget what came with a fragment's ID where it contradicts it: the ID is in use again.

        For who reads all that a guest makes, however long it takes (`promise`).
        """
        parts = self.parts.get((*packet.flow(True), packet.fragment_id), [])
        if any(
            part.fragment_offset == packet.fragment_offset and _data(part) != _data(packet)
            for part, *_ in parts
        ):
            parts.clear()

    def stale(self, before: int) -> list[tuple[int, tuple[object, ...]]]:
        """Datagrams whose first fragment came at or before this time and that are not complete."""
        return [(parts[0][2], key) for key, parts in self.parts.items() if parts[0][2] <= before]

    def remove(self, key: tuple[object, ...]) -> list[bytes]:
        """Take out the fragments of one datagram."""
        return [frame for _, frame, _, _ in self.parts.pop(key)[:MOST]]

    def remove_all(self) -> list[tuple[int, bytes]]:
        """Take out everything, in order of arrival (F1)."""
        found = [(number, frame) for parts in self.parts.values() for _, frame, _, number in parts[:MOST]]
        self.parts.clear()
        return sorted(found)

    def drop(self, before: int) -> None:
        """Forget what stayed incomplete."""
        for _, key in self.stale(before):
            del self.parts[key]


def _data(fragment: Packet) -> bytes:
    return fragment.frame[fragment.l4 : fragment.end]


def _joined(parts: list[Packet]) -> bytes | None:
    """The data of the fragments if they are complete and neither overlap nor contradict (F2)."""
    said = sorted({(part.fragment_offset, not part.more, _data(part)) for part in parts})
    if len(parts) > MOST or [last for _, last, _ in said] != [False] * (len(said) - 1) + [True]:
        return None
    data = b""
    for offset, last, piece in said:
        if offset != len(data) or not piece or (len(piece) % 8 and not last):
            return None
        data += piece
    first = next(part for part in parts if part.fragment_offset == 0)
    header = first.l4 - first.l3 - (8 if len(first.source) == 16 else 0)
    return data if header + len(data) <= 65535 else None


def _rebuilt(first: Packet, data: bytes) -> Packet:
    """The datagram as if it had never been cut, with the headers of its first fragment."""
    at = first.l3
    if len(first.source) == 4:
        head = bytearray(first.frame[: first.l4])
        head[at + 2 : at + 4] = (first.l4 - at + len(data)).to_bytes(2)
        head[at + 6 : at + 8] = (int.from_bytes(head[at + 6 : at + 8]) & 0x4000).to_bytes(2)
        head[at + 10 : at + 12] = bytes(2)
        head[at + 10 : at + 12] = checksum(bytes(head[at:])).to_bytes(2)
    else:
        head = bytearray(first.frame[: first.l4 - 8])
        head[at + 4 : at + 6] = (len(head) - at - 40 + len(data)).to_bytes(2)
        head[first.named] = first.protocol
    return parse(bytes(head) + data)
