"""Which guest's leg loses frames: holes in its TCP streams, and segments that it sends again."""

import pytest
from models.packets import ACK, RST, SYN, ethernet, tcp

from colo_proxy.core.comparator import Comparator

VM, CLIENT = ("192.0.2.2", 80), ("192.0.2.1", 40000)


def segment(seq: int, data: bytes = b"", flags: int = ACK) -> bytes:
    return ethernet(tcp(VM, CLIENT, seq=seq, ack=100, flags=flags, payload=data), 0x0800)


@pytest.mark.parametrize("which", [0, 1])
def test_holes_and_repetitions_are_counted_by_guest(which: int) -> None:
    comparator = Comparator()
    say = (comparator.primary, comparator.secondary)[which]

    def counted() -> tuple[int, int]:
        gaps, resent = comparator.counters["gaps"], comparator.counters["resent"]
        assert (gaps[1 - which], resent[1 - which]) == (0, 0)
        return gaps[which], resent[which]

    comparator.primary(segment(2**32 - 1, flags=SYN | ACK), 1)
    comparator.secondary(segment(2**32 - 1, flags=SYN | ACK), 1)
    say(segment(0, bytes(100)), 2)
    say(segment(100, bytes(100)), 3)
    say(segment(200), 4)  # an acknowledgement
    assert counted() == (0, 0), "in order across the end of the numbers"
    say(segment(300, bytes(100)), 5)
    say(segment(400, bytes(100)), 5)
    assert counted() == (1, 0), "one hole, however much comes behind it"
    say(segment(200, bytes(100)), 6)
    assert counted() == (1, 1)
    say(segment(500, bytes(100)), 7)
    say(segment(400, bytes(300)), 8)  # again, with more
    say(segment(600, bytes(100)), 8)
    assert counted() == (1, 3)
    say(segment(701 + 2**30, bytes(100)), 9)  # no number of this stream
    say(segment(700, b"bye", flags=RST | ACK), 10)
    assert counted() == (1, 3)


def test_a_stream_first_seen_in_the_middle_has_no_hole_before() -> None:
    comparator = Comparator()
    for say in (comparator.primary, comparator.secondary):
        say(segment(5000, bytes(10)), 1)
        say(segment(5010, bytes(10)), 2)
    assert (comparator.counters["gaps"], comparator.counters["resent"]) == ((0, 0), (0, 0))
