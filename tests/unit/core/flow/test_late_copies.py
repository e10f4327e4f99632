"""C8: late copies of what left while a divergence was followed are no new divergence, however many."""

import pytest
from models.packets import ethernet, udp

from colo_proxy.core.comparator import Comparator
from colo_proxy.vocabulary import Divergence, Drop

SECOND = 10**9
VM, CLIENT = ("192.0.2.2", 53), ("192.0.2.1", 40000)


def said(number: int) -> bytes:
    return ethernet(udp(VM, CLIENT, number.to_bytes(4)), 0x0800)


def other(text: bytes) -> bytes:
    return ethernet(udp(VM, ("192.0.2.9", 7), text), 0x0800)


def followed(numbers: list[int]) -> Comparator:
    """The PVM has sent these, and they have left for the divergence of another flow."""
    comparator = Comparator(observe=True)
    for number in numbers:
        comparator.primary(said(number), 1)
    comparator.primary(other(b"one"), 2)
    comparator.secondary(other(b"two"), 2)
    comparator.tick(SECOND // 10)
    assert len(comparator.take()) == len(numbers) + 2  # the divergence, and its own datagram
    return comparator


def divergences(comparator: Comparator) -> int:
    comparator.tick(10 * SECOND)
    return sum(isinstance(item, Divergence) for item in comparator.take())


@pytest.mark.parametrize("count", [1, 9, 3000])
def test_a_burst(count: int) -> None:
    comparator = followed(list(range(count)))
    for number in reversed(range(count)):
        comparator.secondary(said(number), SECOND)
    assert divergences(comparator) == 0
    assert comparator.counters["dropped"][Drop.OLD_EPOCH] == count


def test_equal_ones_are_counted() -> None:
    """A copy more than the PVM has sent is news."""
    comparator = followed([7] * 100)
    for _ in range(101):
        comparator.secondary(said(7), SECOND)
    assert divergences(comparator) == 1


def test_too_late() -> None:
    comparator = followed([1])
    comparator.tick(SECOND * 31 // 10)
    comparator.secondary(said(1), SECOND * 32 // 10)
    assert divergences(comparator) == 1


def test_beyond_the_bound_copies_are_news() -> None:
    """Memory is bounded: of 30,000 different datagrams not all are remembered, and the latest are."""
    comparator = followed(list(range(30_000)))
    for number in range(30_000 - 100, 30_000):
        comparator.secondary(said(number), SECOND)
    assert divergences(comparator) == 0
    for number in range(100):
        comparator.secondary(said(number), SECOND)
    assert divergences(comparator) == 0  # they wait from 10 s on
    comparator.tick(20 * SECOND)
    assert any(isinstance(item, Divergence) for item in comparator.take())
