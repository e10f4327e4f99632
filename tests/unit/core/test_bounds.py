"""Floods (docs/comparison.md, section 7): memory is bounded, a checkpoint asked for, nothing leaves unsaid.

Each flood runs under the promise's checker. What the comparator does is counted, not timed; only a flood of
tiny segments has a bound on wall time, far above what it takes and far below what walking all of them would.
"""

import struct
import time
from collections.abc import Callable, Iterable
from random import Random
from typing import Any

import pytest
from models.promise import Promise

from colo_proxy.core.comparator import Comparator
from colo_proxy.vocabulary import Drop, Exhausted, Frame, Port

SECOND = 10**9
ETHERNET = bytes.fromhex("525400000001 525400000002 0800")
LARGEST = 2 * (69632 + 1024)  # a bound on a flow's bytes is looked at before the frame that reaches it
SYN, ACK = 2, 16


def packet(protocol: int, payload: bytes, client: int = 1, fragment: int = 0, name: int = 0) -> bytes:
    """An IPv4 packet of the VM to client 198.18.x.y; `fragment` is the word with the offset and its flags."""
    size = 20 + len(payload)
    ends = b"\xc0\0\2\2" + struct.pack(">I", 0xC6120000 + client)
    header = struct.pack(">BBHHHBBH", 0x45, 0, size, name, fragment, 64, protocol, 0) + ends
    return ETHERNET + header + payload


def segment(seq: int, flags: int = ACK, *, data: bytes = b"", ack: int = 1, client: int = 1) -> bytes:
    header = struct.pack(">HHIIBBHHH", 80, 4000, seq % 2**32, ack % 2**32, 0x50, flags, 1000, 0, 0)
    return packet(6, header + data, client)


class Flooded:
    """A comparator, its promise, and what a flood did to it."""

    def __init__(self, **bounds: Any) -> None:
        self.comparator = Comparator(**bounds)
        self.bounds = bounds
        self.promise = Promise()
        self.asked: set[Drop] = set()
        self.released = 0
        self.most_memory = self.most_flows = 0

    def say(self, side: str, frames: Iterable[bytes], now: int = 0) -> None:
        tell: Callable[[bytes, int], None] = getattr(self.comparator, side)
        for number, frame in enumerate(frames):
            tell(frame, now)
            self.promise.event(side, frame)
            self.take()
            if number % 64 == 0:
                self.look()

    def word(self, kind: str, now: int = 0) -> None:
        getattr(self.comparator, kind)(now)
        self.promise.event(kind)
        self.take()

    def take(self) -> None:
        for item in self.comparator.take():
            self.promise.check(item)
            if isinstance(item, Exhausted):
                self.asked.add(item.drop)
            self.released += isinstance(item, Frame) and item.port == Port.UPLINK

    def look(self) -> None:
        counters = self.comparator.counters
        self.most_memory = max(self.most_memory, counters["memory"])
        self.most_flows = max(self.most_flows, counters["flows"])

    def commit(self) -> None:
        """A checkpoint: it empties everything, and the comparator goes on."""
        self.look()
        for kind in ("svm_stop", "pvm_stop", "commit"):
            self.word(kind)
        counters = self.comparator.counters
        assert (counters["memory"], counters["held_frames"], counters["held_bytes"]) == (0, 0, 0)
        before = self.released
        for side in ("primary", "secondary"):
            self.say(side, [packet(17, struct.pack(">HHHH", 53, 53, 12, 0) + b"then")])
        assert self.released == before + 1


def test_flows_of_syns_reach_max_held_bytes() -> None:
    flooded = Flooded(max_held_bytes=1 << 20)
    flooded.say("primary", (segment(9, SYN, client=n) for n in range(5000)))
    assert flooded.asked == {Drop.MEMORY}
    assert flooded.released == 0
    assert flooded.most_memory <= 1 << 20
    assert flooded.comparator.counters["dropped"][Drop.MEMORY] > 0
    flooded.commit()


def test_syns_reach_max_flows() -> None:
    flooded = Flooded(max_flows=1000)
    flooded.say("primary", (segment(9, SYN, client=n) for n in range(3000)))
    assert flooded.asked == {Drop.FLOWS}
    assert flooded.released == 0
    assert flooded.most_flows == 1000
    assert flooded.comparator.counters["dropped"][Drop.FLOWS] == 2000
    flooded.commit()


def test_syns_that_both_say_need_no_checkpoint() -> None:
    """Half-open connections with the same numbers make room for one another once nothing of them is held."""
    flooded = Flooded(max_flows=100)
    for n in range(1000):
        for side in ("primary", "secondary"):
            flooded.say(side, [segment(9, SYN | ACK, client=n)])
    assert flooded.released == 1000
    assert flooded.most_flows == 100
    assert not flooded.asked


def test_a_hundred_thousand_flows() -> None:
    """The default bound: each flow is held, one more is refused, a commit lets all go."""
    flooded = Flooded(max_flows=100_000, max_held_bytes=256 << 20)
    for n in range(100_000):
        flooded.comparator.primary(segment(9, data=b"x", client=n), 0)
    assert flooded.comparator.counters["flows"] == 100_000
    assert flooded.comparator.take() == []
    flooded.comparator.primary(segment(9, data=b"x", client=100_000), 0)
    [refused] = flooded.comparator.take()
    assert isinstance(refused, Exhausted)
    assert refused.drop is Drop.FLOWS
    flooded.comparator.tick(SECOND)
    for kind in ("svm_stop", "commit"):
        getattr(flooded.comparator, kind)(SECOND)
    assert sum(isinstance(item, Frame) for item in flooded.comparator.take()) == 100_000
    assert flooded.comparator.counters["memory"] == 0


@pytest.mark.parametrize("side", ["primary", "secondary"])
def test_fragments_that_never_complete(side: str) -> None:
    flooded = Flooded(max_held_bytes=1 << 20, timeout_ms=1000)
    more = 0x2000
    flooded.say(
        side, (packet(17, bytes(1400), fragment=more, name=n % 65536, client=n >> 16) for n in range(3000))
    )
    assert flooded.asked == {Drop.MEMORY}
    assert flooded.most_memory <= 1 << 20
    assert flooded.released == 0
    flooded.comparator.tick(2 * SECOND)
    flooded.take()
    flooded.look()
    assert flooded.most_memory <= 1 << 20
    flooded.commit()


def test_whole_datagrams_in_fragments_stay_within_their_flow() -> None:
    """What was reassembled counts with its fragments, and against the bound of its flow."""
    bound = 100_000
    flooded = Flooded(max_flow_bytes=bound)
    for name in range(200):
        first = packet(
            17, struct.pack(">HHHH", 53, 53, 2808, 0) + bytes([name]) * 1392, fragment=0x2000, name=name
        )
        flooded.say("primary", [first, packet(17, bytes(1400), fragment=1400 // 8, name=name)])
    assert flooded.asked == {Drop.MEMORY}
    assert flooded.released == 0
    assert flooded.most_memory <= bound + LARGEST
    flooded.commit()


def test_what_waited_for_a_commit_stays_within_its_flow() -> None:
    """Frames of the next epoch are held against the flow's bound when they are judged."""
    bound = 100_000
    flooded = Flooded(max_flow_bytes=bound)
    flooded.word("svm_stop")
    flooded.word("pvm_stop")
    flooded.say("primary", (segment(1000 * n, data=bytes(1000)) for n in range(500)))
    flooded.word("commit")
    flooded.most_memory = 0
    flooded.look()
    assert flooded.most_memory <= bound + LARGEST
    assert flooded.asked == {Drop.MEMORY}
    flooded.commit()


def test_withheld_acknowledgements() -> None:
    """The PVM acknowledges what the SVM never does: none of that leaves, and its memory is bounded."""
    bound = 50_000
    flooded = Flooded(max_flow_bytes=bound)
    flooded.say("primary", [segment(1)])
    flooded.say("secondary", [segment(1)])
    flooded.say("primary", (segment(1, ack=2 + n) for n in range(2000)))
    assert flooded.released == 1
    assert flooded.asked == {Drop.MEMORY}
    assert flooded.most_memory <= bound + LARGEST
    flooded.commit()


ORDERS: dict[str, Callable[[int], Iterable[int]]] = {
    "in order": range,
    "reversed": lambda count: range(count - 1, -1, -1),
    "random": lambda count: Random(5).sample(range(count), count),
}


@pytest.mark.parametrize("svm", ORDERS)
@pytest.mark.parametrize("pvm", ORDERS)
def test_segments_of_one_byte_behind_a_hole(pvm: str, svm: str) -> None:
    """Bytes 1 to 2000 come in any order, byte 0 last: what finds room leaves at once, and all of it then."""
    count = 2000
    flooded = Flooded()
    for side in ("primary", "secondary"):
        flooded.say(side, [segment(99, SYN | ACK)])
    for side, order in (("primary", pvm), ("secondary", svm)):
        flooded.say(side, (segment(101 + n, data=bytes([n & 255])) for n in ORDERS[order](count)))
    if "random" in {pvm, svm}:  # which has more holes than there is room for
        assert 1 < flooded.released <= 1 + count
    else:
        assert flooded.released == 1 + count
    for side in ("primary", "secondary"):
        flooded.say(side, [segment(100, data=b"0")])
    assert flooded.released == 1 + count + 1
    assert flooded.comparator.counters["held_frames"] == 0
    flooded.commit()


@pytest.mark.parametrize("order", ["in order", "reversed"])
@pytest.mark.parametrize("kind", ["behind a hole", "before the first"])
def test_tiny_segments_take_no_quadratic_time(kind: str, order: str) -> None:
    """Ten thousand segments a side: seconds at most; hours, where each walks through all others twice."""
    count = 10_000
    comparator = Comparator()
    anchor = segment(98, SYN | ACK) if kind == "behind a hole" else segment(100 + count, data=b"!")
    begun = time.monotonic()
    for tell in (comparator.primary, comparator.secondary):
        tell(anchor, 0)
    for tell in (comparator.primary, comparator.secondary):
        for n in ORDERS[order](count):
            tell(segment(100 + n, data=bytes([n & 255])), 0)
    assert time.monotonic() - begun < 30
    assert comparator.counters["held_frames"] == 0


@pytest.mark.parametrize("side", ["primary", "secondary"])
def test_a_segment_that_is_repeated_takes_no_quadratic_time(side: str) -> None:
    """Its other guest is silent. Seconds at most; minutes, where each is compared with all before it."""
    comparator = Comparator()
    tell = getattr(comparator, side)
    begun = time.monotonic()
    for each in (comparator.primary, comparator.secondary):
        each(segment(99, SYN | ACK), 0)
    for _ in range(40_000):
        tell(segment(100, data=bytes(100)), 0)
    assert time.monotonic() - begun < 10
    assert comparator.counters["flows"] == 1
