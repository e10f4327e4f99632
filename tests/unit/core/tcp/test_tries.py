"""T10a: what clients acknowledge reaches the SVM in the numbers of the ISN that it goes on with."""

import pytest
from models.packets import ACK, SYN, ethernet, parse, tcp

from colo_proxy.core.comparator import Comparator
from colo_proxy.vocabulary import Frame, Port

VM, CLIENT = ("192.0.2.2", 80), ("192.0.2.1", 40000)
A, B, X, Y = 1_000_000, 2_500_000_000, 7_000_000, 4_294_967_295
CLOCK = {A: 1000, B: 61_000, X: 900_000, Y: 990_000}  # the TSvals of the SYN/ACKs


class Conversation:
    """One client's connection."""

    def __init__(self) -> None:
        self.now = 0
        self.comparator = Comparator(timeout_ms=3000, reorder_ms=5)

    def answer(self, who: str, isn: int) -> None:
        """A guest sends a SYN/ACK."""
        options = b"\x02\x04\x05\xb4\x08\x0a" + CLOCK[isn].to_bytes(4) + bytes(4)
        segment = tcp(VM, CLIENT, seq=isn, ack=500, flags=SYN | ACK, window=9000, options=options)
        getattr(self.comparator, who)(ethernet(segment, 0x0800), self.now)

    def acknowledge(self, ack: int, tsecr: int) -> tuple[int, int]:
        """The client acknowledges; returns acknowledgement and TSecr as the SVM gets them."""
        options = b"\x01\x01\x08\x0a" + bytes(4) + tsecr.to_bytes(4)
        segment = tcp(CLIENT, VM, seq=500, ack=ack, flags=ACK, window=9000, options=options)
        self.comparator.take()
        self.comparator.uplink(ethernet(segment, 0x0800, from_vm=False), self.now)
        out = self.comparator.take()
        (frame,) = [each.data for each in out if isinstance(each, Frame) and each.port == Port.SECONDARY]
        packet = parse(frame)
        return packet.ack, int.from_bytes(packet.options[8][4:])


def told(guests: list[tuple[str, int]], taken: int) -> tuple[int, int]:
    conversation = Conversation()
    for who, isn in guests:
        conversation.answer(who, isn)
    return conversation.acknowledge((taken + 1) % 2**32, CLOCK[taken] + 5)


@pytest.mark.parametrize("taken", [A, B])
def test_whichever_of_the_pvms_is_taken_it_is_the_svms(taken: int) -> None:
    assert told([("primary", A), ("secondary", X), ("primary", B)], taken) == (X + 1, CLOCK[X] + 5)
    assert told([("primary", A), ("primary", B), ("secondary", X)], taken) == (X + 1, CLOCK[X] + 5)


@pytest.mark.parametrize("taken", [A, B])
def test_of_the_svms_it_is_the_latest(taken: int) -> None:
    guests = [("primary", A), ("secondary", X), ("primary", B), ("secondary", Y)]
    assert told(guests, taken) == (0, CLOCK[Y] + 5)


@pytest.mark.parametrize(
    ("later", "isn"), [(0, X), (1_000_000, X), (99_999_999, X), (100_000_000, Y), (1_000_000_000, Y)]
)
def test_one_that_crosses_the_acknowledgement_changes_nothing(later: int, isn: int) -> None:
    """Much later it is what the SVM listens to: the acknowledgement was lost."""
    conversation = Conversation()
    conversation.answer("primary", A)
    conversation.answer("secondary", X)
    assert conversation.acknowledge(A + 1, CLOCK[A]) == (X + 1, CLOCK[X])
    conversation.now += later
    conversation.answer("secondary", Y)
    conversation.answer("primary", B)
    assert conversation.acknowledge(A + 1, CLOCK[A]) == ((isn + 1) % 2**32, CLOCK[isn])


@pytest.mark.parametrize("taken", [A, B])
def test_after_a_commit_both_have_the_same(taken: int) -> None:
    conversation = Conversation()
    conversation.answer("primary", A)
    conversation.answer("secondary", X)
    conversation.answer("primary", B)
    for word in ("svm_stop", "pvm_stop", "commit"):
        getattr(conversation.comparator, word)(0)
    assert conversation.acknowledge(taken + 1, CLOCK[taken]) == (taken + 1, CLOCK[taken])
