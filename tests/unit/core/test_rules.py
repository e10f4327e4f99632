"""A flow whose rule changes while both guests talk: neither's output from before the change is missing."""

import pytest
from models.packets import ACK, FIN, PSH, SYN
from unit.core.test_bounds import SECOND, packet, segment

from colo_proxy.core.comparator import Comparator
from colo_proxy.core.policy import PolicyRule
from colo_proxy.vocabulary import Divergence, Drop, Frame, Mode, Reason

BYPASS = [PolicyRule({"protocol": proto}, "bypass") for proto in ("tcp", "udp")]
DROP = [PolicyRule({}, "drop")]
OTHER = [PolicyRule({"protocol": "gre"}, "bypass")]
STEP = SECOND // 1000


def datagram(number: int) -> bytes:
    return packet(17, b"\x00\x50\x0f\xa0\x00\x0c\x00\x00" + number.to_bytes(4, "big"))


def bytes_from(first: int, count: int = 100, flags: int = ACK | PSH, fill: bytes = b"x") -> bytes:
    return segment(1000 + first, flags, data=fill * count)


def sent(comparator: Comparator) -> list[bytes]:
    return [each.data for each in comparator.take() if isinstance(each, Frame)]


def quiet(comparator: Comparator, now: int) -> None:
    """Nothing is reported, however long one waits, and nothing is held."""
    for after in range(0, 4 * SECOND, SECOND // 2):
        comparator.tick(now + after)
    assert [each for each in comparator.take() if isinstance(each, Divergence)] == []
    assert comparator.counters["held_frames"] == 0


def test_copies_of_what_was_bypassed_are_no_missing_output() -> None:
    one = Comparator()
    one.set_policies(BYPASS)
    first, second = bytes_from(0), bytes_from(100)
    for frame in (first, datagram(1), datagram(2)):
        one.primary(frame, 0)
    assert sent(one) == [first, datagram(1), datagram(2)]
    one.set_policies([])
    for frame in (first, datagram(1), datagram(2)):
        one.secondary(frame, STEP)
    for frame in (second, datagram(3)):
        one.primary(frame, 2 * STEP)
        one.secondary(frame, 30 * STEP)
    one.tick(40 * STEP)
    assert sorted(sent(one)) == sorted([second, datagram(3)])
    quiet(one, STEP)


def test_a_connection_that_ends_while_the_rule_changes() -> None:
    one = Comparator()
    one.set_policies(BYPASS)
    end = bytes_from(0, 10, ACK | FIN)
    one.primary(end, 0)
    one.set_policies([])
    one.secondary(end, STEP)
    assert sent(one) == [end]
    quiet(one, STEP)


def test_what_waits_leaves_when_its_flow_is_bypassed_and_the_rest_does_not() -> None:
    one = Comparator()
    gre = packet(47, b"held")
    held = [bytes_from(0), datagram(1), gre, bytes_from(100)]
    for frame in held:
        one.primary(frame, 0)
    one.set_policies(BYPASS)
    assert sent(one) == [held[0], held[1], held[3]]
    one.secondary(gre, STEP)
    assert sent(one) == [gre]
    quiet(one, STEP)


def test_what_the_svm_was_ahead_with_is_forgotten_with_the_comparison() -> None:
    one = Comparator()
    for frame in (bytes_from(0), datagram(1)):
        one.secondary(frame, 0)
    one.set_policies(BYPASS)
    for frame in (bytes_from(0), datagram(1)):
        one.primary(frame, STEP)
    assert sent(one) == [bytes_from(0), datagram(1)]
    quiet(one, STEP)


def test_what_waits_is_dropped_when_its_flow_is() -> None:
    one = Comparator()
    one.primary(datagram(1), 0)
    one.secondary(datagram(2), 0)
    one.set_policies(DROP)
    assert sent(one) == []
    assert one.counters["dropped"][Drop.POLICY] == 1
    quiet(one, STEP)


def opened(svm: int = 7_000_000) -> Comparator:
    """A connection of which both have sent 100 bytes, with numbers of their own."""
    one = Comparator()
    for isn, tell in ((999, one.primary), (svm - 1, one.secondary)):
        tell(segment(isn, SYN | ACK), 0)
        tell(segment(isn + 1, ACK | PSH, data=b"x" * 100), 0)
    assert len(sent(one)) == 2
    return one


def test_offsets_outlive_the_time_without_comparison() -> None:
    one = opened()
    one.set_policies(BYPASS)
    for number in range(1, 50):
        one.primary(bytes_from(100 * number), STEP)
        one.secondary(segment(7_000_000 + 100 * number, data=b"y" * 100), STEP)
    assert len(sent(one)) == 49
    one.set_policies([])
    one.secondary(segment(7_004_900, data=b"y" * 100), 2 * STEP)  # that of the PVM was the last one bypassed
    one.primary(bytes_from(5000), 2 * STEP)
    assert sent(one) == []
    one.secondary(segment(7_005_000, data=b"x" * 100), 3 * STEP)
    assert sent(one) == [bytes_from(5000)]
    one.primary(bytes_from(5100), 4 * STEP)
    one.secondary(segment(7_005_100, data=b"x" * 50 + b"z" * 50), 4 * STEP)
    (found,) = [each for each in one.take() if isinstance(each, Divergence)]
    assert (found.reason, found.stream_offset) == (Reason.PAYLOAD, 150)


def test_a_list_that_decides_the_same_of_a_flow_changes_nothing_of_it() -> None:
    one = Comparator()
    one.primary(bytes_from(0), 0)
    one.set_policies(OTHER)
    assert (sent(one), one.counters["held_frames"]) == ([], 1)
    one.secondary(bytes_from(0), STEP)
    assert sent(one) == [bytes_from(0)]
    one.secondary(bytes_from(100), STEP)
    one.tick(4 * SECOND)
    (found,) = [each for each in one.take() if isinstance(each, Divergence)]
    assert found.reason is Reason.MISSING_PRIMARY


@pytest.mark.parametrize("tell", ["primary", "secondary"])
def test_what_is_missing_later_is_told(tell: str) -> None:
    one = Comparator()
    one.set_policies(BYPASS)
    one.primary(datagram(0), 0)
    one.set_policies([])
    sent(one)
    getattr(one, tell)(datagram(1), 10 * SECOND)
    one.tick(14 * SECOND)
    (found,) = [each for each in one.take() if isinstance(each, Divergence)]
    assert found.reason is (Reason.MISSING_SECONDARY if tell == "primary" else Reason.MISSING_PRIMARY)


def test_in_a_hold_what_is_bypassed_leaves_and_the_rest_waits() -> None:
    one = Comparator(mode=Mode.HOLD)
    gre = packet(47, b"held")
    for frame in (datagram(1), gre):
        one.primary(frame, 0)
    one.set_policies(BYPASS)
    assert (sent(one), one.counters["held_frames"]) == ([datagram(1)], 1)
    one.svm_stop(STEP)
    one.pvm_stop(STEP)
    one.commit(STEP)
    assert sent(one) == [gre]
