"""The checkpoint machine as transcripts: `>> event` goes in at a time, `<< commands` must come out."""

import pytest

from colo_proxy.checkpoint import machine as m
from colo_proxy.checkpoint.commands import (
    Alarm,
    Began,
    Command,
    FailedOver,
    Finished,
    RequestCheckpoint,
    StateChanged,
    Tell,
)
from colo_proxy.checkpoint.events import (
    Aborted,
    Applied,
    Committed,
    Connected,
    Event,
    Failover,
    PrimaryLost,
    PvmStopped,
    ReplicaLost,
    SvmLoaded,
    SvmStopped,
    Unsure,
    Wanted,
)
from colo_proxy.vocabulary import Divergence, Drop, Exhausted, Reason, Word

MS = 1_000_000
FLOW = "tcp 192.0.2.2:80 > 192.0.2.1:40000"
PAYLOAD = Divergence(0, FLOW, "tcp", Reason.PAYLOAD, 4096, 0)


class Play:
    """A machine and its transcript; each step states all that must come out."""

    def __init__(self, **settings: object) -> None:
        defaults = {"min_interval_ms": 50, "repeat_ms": 1000, "max_hold_ms": 10_000, "period_ms": 0}
        self.machine = m.Machine(0, **(defaults | settings))  # type: ignore[arg-type]

    def step(self, at_ms: float, event: Event | None, *expected: Command) -> "Play":
        now = int(at_ms * MS)
        got = self.machine.tick(now) if event is None else self.machine.feed(event, now)
        assert got == list(expected), f"at {at_ms} ms, after {event}"
        return self

    def checkpoint(self, at_ms: float) -> "Play":
        """A whole checkpoint, judged elsewhere."""
        for event in (
            SvmStopped(),
            Applied(Word.SVM_STOP),
            PvmStopped(),
            Applied(Word.PVM_STOP),
            Committed(),
            Applied(Word.COMMIT),
        ):
            self.machine.feed(event, int(at_ms * MS))
        assert self.machine.state is m.State.PROTECTED
        return self


def started(**settings: object) -> Play:
    return Play(**settings).checkpoint(0)


def request(epoch: int, reason: str, attempt: int = 1, **rest: object) -> RequestCheckpoint:
    return RequestCheckpoint(epoch, reason, attempt=attempt, **rest)  # type: ignore[arg-type]


def test_start_holds_and_asks_until_a_checkpoint_is_committed() -> None:
    play = Play()
    assert play.machine.state.label == "requested"
    (
        play.step(0, None, request(0, "start"))
        .step(
            5,
            SvmStopped(7),
            Tell(Word.SVM_STOP, 7),
            Began(0),
            StateChanged("requested", "stopped", "a checkpoint begins"),
        )
        .step(5, Applied(Word.SVM_STOP))
        .step(6, PvmStopped(8), Tell(Word.PVM_STOP, 8))
        .step(6, Applied(Word.PVM_STOP))
        .step(40, SvmLoaded(), Tell(Word.SVM_LOADED))
        .step(80, Committed(), Tell(Word.COMMIT))
        .step(
            81,
            Applied(Word.COMMIT),
            Finished("committed", 1, "start", 76 * MS),
            StateChanged("stopped", "protected", "commit"),
        )
    )
    assert (play.machine.epoch, play.machine.checkpoints) == (1, 1)


def test_a_divergence_asks_at_once_and_names_what_differed() -> None:
    started().step(
        100,
        PAYLOAD,
        StateChanged("protected", "requested", f"payload on {FLOW}"),
        request(1, "payload", flow=FLOW, stream_offset=4096, nic=0),
    )


def test_more_divergences_are_one_request() -> None:
    play = started()
    play.machine.feed(PAYLOAD, 100 * MS)
    other = Divergence(1, "udp 192.0.2.2:53 > 192.0.2.1:9", "udp", Reason.MISSING_SECONDARY, 0, 0)
    play.step(101, other).step(102, PAYLOAD).step(103, Exhausted(0, Drop.MEMORY, 0)).step(104, Wanted())


def test_the_request_waits_for_the_minimum_interval_since_the_last_commit() -> None:
    play = started().step(20, PAYLOAD, StateChanged("protected", "requested", f"payload on {FLOW}"))
    assert play.machine.deadline() == 50 * MS
    play.step(49.9, None).step(50, None, request(1, "payload", flow=FLOW, stream_offset=4096, nic=0))


def test_the_request_is_repeated_while_the_vmm_does_not_react() -> None:
    play = Play().step(0, None, request(0, "start"))
    assert play.machine.deadline() == 1000 * MS
    play.step(999, None).step(1000, None, request(0, "start", 2)).step(2500, None, request(0, "start", 3))


def test_a_vmm_that_comes_back_is_asked_at_once() -> None:
    Play().step(0, None, request(0, "start")).step(300, Connected("primary"), request(0, "start", 2))


def test_connecting_does_not_break_the_rate_limit() -> None:
    play = started()
    play.machine.feed(PAYLOAD, 10 * MS)
    play.step(11, Connected("primary"))


def test_output_held_too_long_raises_an_alarm_once_and_nothing_is_released() -> None:
    play = started(repeat_ms=60_000)
    play.machine.feed(PAYLOAD, 100 * MS)
    play.step(10_099, None).step(10_100, None, Alarm(True, 10_000 * MS)).step(12_000, None)
    assert play.machine.alarm
    play.machine.feed(SvmStopped(), 12_000 * MS)
    play.machine.feed(PvmStopped(), 12_000 * MS)
    play.machine.feed(Applied(Word.SVM_STOP), 12_000 * MS)
    play.machine.feed(Applied(Word.PVM_STOP), 12_000 * MS)
    play.machine.feed(Committed(), 12_000 * MS)
    play.step(
        12_100,
        Applied(Word.COMMIT),
        Finished("committed", 2, "payload", 100 * MS),
        Alarm(False, 12_000 * MS),
        StateChanged("stopped", "protected", "commit"),
    )
    assert not play.machine.alarm


def test_a_checkpoint_that_never_ends_raises_the_alarm() -> None:
    play = started()
    play.machine.feed(SvmStopped(), 100 * MS)
    assert play.machine.deadline() == 10_100 * MS
    play.step(10_100, None, Alarm(True, 10_000 * MS))


def test_a_request_that_holds_nothing_raises_no_alarm() -> None:
    play = started(repeat_ms=100_000)
    play.machine.feed(Wanted(), 100 * MS)
    play.step(50_000, None)


def test_a_divergence_takes_over_an_operators_request() -> None:
    play = started()
    play.step(100, Wanted(), StateChanged("protected", "requested", "operator"), request(1, "operator"))
    play.step(101, PAYLOAD).step(1100, None, request(1, "payload", 2, flow=FLOW, stream_offset=4096, nic=0))


def test_idle_checkpoint() -> None:
    play = started(period_ms=20_000)
    assert play.machine.deadline() == 20_000 * MS
    play.step(19_999, None).step(
        20_000, None, StateChanged("protected", "requested", "period"), request(1, "period")
    )


def test_a_commit_starts_the_period_anew() -> None:
    play = started(period_ms=20_000).checkpoint(15_000)
    assert play.machine.deadline() == 35_000 * MS


def test_period_zero_is_off() -> None:
    assert started(period_ms=0).machine.deadline() is None


@pytest.mark.parametrize(("drop", "reason"), [(Drop.MEMORY, "memory"), (Drop.FLOWS, "flows")])
def test_a_bound_asks_for_a_checkpoint(drop: Drop, reason: str) -> None:
    commands = started().machine.feed(Exhausted(2, drop, 0), 100 * MS)
    assert commands[-1] == request(1, reason, nic=2)


def test_the_vmm_may_begin_unasked() -> None:
    started().step(
        10,
        SvmStopped(),
        Tell(Word.SVM_STOP),
        Began(1),
        StateChanged("protected", "stopped", "a checkpoint begins"),
    )


def test_an_abort_releases_nothing_and_asks_again() -> None:
    play = started()
    play.machine.feed(SvmStopped(), 100 * MS)
    play.machine.feed(PvmStopped(), 101 * MS)
    play.step(
        110,
        Aborted("migration failed"),
        Tell(Word.ABORT),
        Finished("aborted", 1, "vmm", 10 * MS),
        StateChanged("stopped", "requested", "migration failed"),
    )
    play.step(160, None, request(1, "aborted"))
    assert play.machine.epoch == 1


@pytest.mark.parametrize("late", [Word.SVM_STOP, Word.PVM_STOP])
def test_a_stop_told_too_late_turns_the_commit_into_an_abort(late: Word) -> None:
    play = started()
    play.machine.feed(SvmStopped(5), 100 * MS)
    play.machine.feed(Applied(Word.SVM_STOP, late=late is Word.SVM_STOP), 100 * MS)
    play.machine.feed(PvmStopped(6), 100 * MS)
    play.machine.feed(Applied(Word.PVM_STOP, late=late is Word.PVM_STOP), 100 * MS)
    play.step(
        180,
        Committed(),
        Tell(Word.ABORT),
        Finished("aborted", 1, "vmm", 80 * MS),
        StateChanged("stopped", "requested", "a stop was reported too late"),
    )


def test_a_commit_that_the_data_path_refuses_is_an_abort() -> None:
    """Where only the end of the stop shows that the word for it had come too late."""
    play = started()
    for event in (SvmStopped(5), Applied(Word.SVM_STOP), PvmStopped(6), Applied(Word.PVM_STOP)):
        play.machine.feed(event, 100 * MS)
    play.step(180, Committed(9), Tell(Word.COMMIT, 9))
    play.step(
        181,
        Applied(Word.COMMIT, late=True),
        Tell(Word.ABORT),
        Finished("aborted", 1, "vmm", 81 * MS),
        StateChanged("stopped", "requested", "a stop was reported too late"),
    )


def test_no_commit_before_both_stops_are_applied() -> None:
    play = started()
    play.machine.feed(SvmStopped(), 100 * MS)
    play.machine.feed(Applied(Word.SVM_STOP), 100 * MS)
    with pytest.raises(m.IllegalWord, match="checkpoint-commit is not possible in state stopped"):
        play.machine.feed(Committed(), 101 * MS)
    play.machine.feed(PvmStopped(), 102 * MS)
    with pytest.raises(m.IllegalWord, match="not done the stops yet"):
        play.machine.feed(Committed(), 103 * MS)
    play.machine.feed(Applied(Word.PVM_STOP), 104 * MS)
    play.step(105, Committed(), Tell(Word.COMMIT))


def test_divergences_of_the_old_epoch_ask_for_nothing() -> None:
    play = started()
    play.machine.feed(SvmStopped(), 100 * MS)
    play.step(101, PAYLOAD)
    for event in (Applied(Word.SVM_STOP), PvmStopped(), Applied(Word.PVM_STOP), Committed()):
        play.machine.feed(event, 102 * MS)
    play.step(103, PAYLOAD)  # the commit is on its way
    play.machine.feed(Applied(Word.COMMIT), 104 * MS)
    assert play.machine.reason is None
    assert play.machine.feed(PAYLOAD, 200 * MS)[-1] == request(
        2, "payload", flow=FLOW, stream_offset=4096, nic=0
    )


def test_without_a_replica_the_output_passes_and_nobody_takes_over() -> None:
    play = started().step(
        100,
        ReplicaLost("socket closed"),
        Tell(Word.UNPROTECT),
        StateChanged("protected", "unprotected", "socket closed"),
    )
    for event in (Failover(), PrimaryLost(), Wanted()):
        with pytest.raises(m.IllegalWord, match="unprotected"):
            play.machine.feed(event, 101 * MS)
    play.step(102, PAYLOAD)
    play.machine.feed(SvmStopped(), 200 * MS)
    with pytest.raises(m.IllegalWord, match="no SVM has the state"):
        play.machine.feed(PrimaryLost(), 201 * MS)
    play.machine.feed(PvmStopped(), 202 * MS)
    play.machine.feed(SvmLoaded(), 203 * MS)
    assert play.machine.feed(PrimaryLost("killed"), 204 * MS)[0] == Tell(Word.FAILOVER)


def test_losing_the_replica_inside_a_checkpoint_ends_it() -> None:
    play = started()
    play.machine.feed(SvmStopped(), 100 * MS)
    play.step(
        110,
        ReplicaLost("killed"),
        Tell(Word.UNPROTECT),
        Finished("aborted", 1, "vmm", 10 * MS),
        StateChanged("stopped", "unprotected", "killed"),
    )


def test_losing_sight_of_the_vmm_holds_everything() -> None:
    started().step(
        100,
        Unsure("secondary: no answer"),
        Tell(Word.HOLD),
        StateChanged("protected", "requested", "secondary: no answer"),
        request(1, "start"),
    )


@pytest.mark.parametrize(("event", "why"), [(PrimaryLost("killed"), "killed"), (Failover(), "operator")])
def test_failover(event: Event, why: str) -> None:
    play = started().step(
        100, event, Tell(Word.FAILOVER), FailedOver(1, why), StateChanged("protected", "failed-over", why)
    )
    play.step(200, PAYLOAD).step(90_000, None)
    for late in (Failover(), ReplicaLost(), SvmStopped(), Wanted(), Unsure()):
        with pytest.raises(m.IllegalWord, match="failed-over"):
            play.machine.feed(late, 300 * MS)


def test_observing_counts_each_divergence_as_a_checkpoint() -> None:
    play = Play(state=m.State.OBSERVING, period_ms=20_000)
    assert play.machine.state.label == "unprotected"
    play.step(5, PAYLOAD, Finished("assumed", 1, "payload", 0)).step(
        6, PAYLOAD, Finished("assumed", 2, "payload", 0)
    )
    play.step(7, Exhausted(0, Drop.MEMORY, 0), Finished("assumed", 3, "memory", 0))
    play.step(8, Exhausted(0, Drop.FLOWS, 0)).step(10**6, None)
    assert play.machine.deadline() is None
    for event in (SvmStopped(), Committed(), Failover(), Wanted(), ReplicaLost()):
        with pytest.raises(m.IllegalWord):
            play.machine.feed(event, 8 * MS)


def test_every_state_knows_the_facts_and_has_a_label() -> None:
    assert set(m.TRANSITIONS) == set(m.State)
    assert {state.label for state in m.State} == set(m.LABELS)
    for table in m.TRANSITIONS.values():
        assert {Divergence, Exhausted, Applied, Connected} <= set(table)


def test_the_wait_counts_from_the_first_request_of_this_want() -> None:
    machine = m.Machine(0, state=m.State.PROTECTED, period_ms=1000, repeat_ms=500)
    second = 10**9
    for now in range(0, 12 * second, second // 4):
        machine.tick(now)
    assert machine.reason == "period"
    assert machine.waiting_ns(12 * second) == 11 * second
    machine.feed(SvmStopped(), 12 * second)
    machine.feed(PvmStopped(), 12 * second)
    machine.feed(Aborted(""), 13 * second)
    assert machine.waiting_ns(14 * second) == 13 * second, "an abort satisfies nothing"
    machine.feed(ReplicaLost(""), 14 * second)
    assert machine.waiting_ns(15 * second) == 0
