"""What a connection that is over leaves behind is dropped, and counted (docs/comparison.md, T8 and M1)."""

from typing import Any

from models.packets import ACK, FIN, RST, SYN, ethernet, tcp

from colo_proxy.core.comparator import Comparator
from colo_proxy.vocabulary import Drop

SECOND = 10**9
HELD = ("held_frames", "held_bytes", "memory")


def said(**fields: Any) -> bytes:
    return ethernet(tcp(("192.0.2.2", 80), ("192.0.2.1", 40000), **fields), 0x0800)


def opened() -> Comparator:
    comparator = Comparator()
    comparator.primary(said(seq=1000, ack=1, flags=SYN | ACK), 1)
    comparator.secondary(said(seq=7000, ack=1, flags=SYN | ACK), 1)
    return comparator


def closed_ones(comparator: Comparator) -> int:
    """How many were dropped for it, where nothing is held any more."""
    comparator.take()
    assert [comparator.counters[what] for what in HELD] == [0, 0, 0]
    return int(comparator.counters["dropped"][Drop.CLOSED])


def test_acknowledgements_that_wait_when_both_reset() -> None:
    comparator = opened()
    comparator.primary(said(seq=1001, ack=50), 2)
    comparator.primary(said(seq=1001, ack=90), 3)
    comparator.primary(said(seq=1001, flags=RST), 4)
    assert comparator.counters["held_frames"] == 3
    comparator.secondary(said(seq=7001, flags=RST), 5)
    assert closed_ones(comparator) == 2


def test_one_that_is_owed_when_both_reset() -> None:
    comparator = opened()
    comparator.primary(said(seq=1001, ack=50, payload=b"data"), 2)
    comparator.secondary(said(seq=7001, ack=20, payload=b"data"), 3)
    comparator.primary(said(seq=1005, flags=RST), 4)
    comparator.secondary(said(seq=7005, flags=RST), 5)
    assert closed_ones(comparator) == 1


def test_resets_for_stray_segments() -> None:
    for alone in ("primary", "secondary"):
        comparator = opened()
        comparator.primary(said(seq=1001, ack=2, flags=FIN | ACK), 2)
        comparator.secondary(said(seq=7001, ack=2, flags=FIN | ACK), 2)
        getattr(comparator, alone)(said(seq=1002 if alone == "primary" else 7002, flags=RST), 3)
        comparator.tick(3 * SECOND + 3)
        assert closed_ones(comparator) == 1
