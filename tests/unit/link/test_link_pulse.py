"""Heartbeats and their acknowledgements."""

import pytest
from unit.link.test_link_channel import drain, fill, take

from colo_proxy.link.channel import Channel
from colo_proxy.link.pulse import Heartbeats
from colo_proxy.link.wire import BadRecord
from colo_proxy.link.words import Heartbeat, Kind, encode

MS = 10**6


def carry(sender: Channel, receiver: Channel) -> list[Heartbeat]:
    fill(receiver, drain(sender))
    return [word for word in take(receiver) if isinstance(word, Heartbeat)]


def hand(pulse: Heartbeats, beat: Heartbeat, now: int) -> None:
    kind, _, _, body = encode(beat)
    pulse.take(kind, body, now)


def newest(pulse: Heartbeats) -> int | None:
    return pulse.acked_sent


def test_a_beat_goes_and_comes_back_with_the_senders_own_time() -> None:
    a, b = Channel(), Channel()
    mine, its = Heartbeats(a, 20 * MS), Heartbeats(b, 20 * MS)
    assert newest(mine) is None
    mine.turn(1000 * MS)
    [beat] = carry(a, b)
    assert beat == Heartbeat(1, 1000 * MS)
    hand(its, beat, 5 * MS)  # the other host's clock is another
    [ack] = carry(b, a)
    assert ack == Heartbeat(1, 1000 * MS, ack=True)
    hand(mine, ack, 1003 * MS)
    assert (mine.acked_sent, mine.round_trip) == (1000 * MS, 3 * MS)
    assert newest(its) is None


def test_beats_are_sent_when_it_is_time() -> None:
    a, b = Channel(), Channel()
    pulse = Heartbeats(a, 20 * MS)
    for now in (0, 1, 19, 20, 39, 40, 41, 500, 501):
        pulse.turn(now * MS)
    assert [beat.sent // MS for beat in carry(a, b)] == [0, 20, 40, 500]


def test_the_newest_acknowledgement_counts_in_any_order() -> None:
    pulse = Heartbeats(Channel(), MS)
    for now in range(1, 6):
        pulse.turn(now * MS)
    hand(pulse, Heartbeat(4, 4 * MS, ack=True), 9 * MS)
    hand(pulse, Heartbeat(2, 2 * MS, ack=True), 10 * MS)
    assert (pulse.acked_sent, pulse.round_trip) == (4 * MS, 5 * MS)


@pytest.mark.parametrize(
    "ack",
    [Heartbeat(3, 3 * MS, ack=True), Heartbeat(2, 3 * MS, ack=True), Heartbeat(2, 2**64 - 1, ack=True)],
    ids=["never-sent", "sent-at-another-time", "in-the-future"],
)
def test_an_acknowledgement_that_would_prolong_a_right_is_refused(ack: Heartbeat) -> None:
    pulse = Heartbeats(Channel(), MS)
    pulse.turn(1 * MS)
    pulse.turn(2 * MS)
    with pytest.raises(BadRecord, match="never sent"):
        hand(pulse, ack, 4 * MS)
    assert newest(pulse) is None


def test_one_that_is_too_old_is_no_error_and_no_proof() -> None:
    pulse = Heartbeats(Channel(), MS)
    for now in range(1, 302):
        pulse.turn(now * MS)
    hand(pulse, Heartbeat(45, 0, ack=True), 400 * MS)  # the time of heartbeat 301 stands in its place
    assert newest(pulse) is None
    hand(pulse, Heartbeat(46, 46 * MS, ack=True), 400 * MS)
    assert newest(pulse) == 46 * MS


def test_number_nought_is_no_heartbeat() -> None:
    pulse = Heartbeats(Channel(), MS)
    for kind in (Kind.HEARTBEAT, Kind.HEARTBEAT_ACK):
        with pytest.raises(BadRecord):
            pulse.take(kind, bytes(16), 1)
