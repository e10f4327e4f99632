"""The checkpoint machine under any sequence of words, with a data path that just remembers them."""

import copy

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from colo_proxy.checkpoint.commands import (
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
from colo_proxy.checkpoint.machine import LABELS, IllegalWord, Machine, State
from colo_proxy.vocabulary import Divergence, Drop, Exhausted, Reason, Word

MS = 1_000_000
MIN_INTERVAL, REPEAT, MAX_HOLD, PERIOD = 50, 1000, 10_000, 20_000

VMM = st.sampled_from(
    [SvmStopped(), SvmLoaded(), PvmStopped(), Committed(), Aborted(), ReplicaLost(), PrimaryLost(), Unsure()]
)
OTHERS = st.sampled_from(
    [
        Wanted(),
        Failover(),
        Connected("primary"),
        Divergence(0, "tcp a > b", "tcp", Reason.PAYLOAD, 1, 0),
        Exhausted(0, Drop.FLOWS, 0),
    ]
)


class Checkpoints(RuleBasedStateMachine):
    """Words in any order; the data path does what it is told at any later moment."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0
        self.machine = Machine(
            0, min_interval_ms=MIN_INTERVAL, repeat_ms=REPEAT, max_hold_ms=MAX_HOLD, period_ms=PERIOD
        )
        self.told: list[Word] = []  # in flight to the data path
        self.stops: list[Word] = []  # applied since the last end of a checkpoint, in order
        self.late = False
        self.commits = 0
        self.last_end = -(10**18)
        self.last_request = -(10**18)
        self.label = self.machine.state.label

    def judge(self, commands: list[Command]) -> None:
        for command in commands:
            match command:
                case Tell(word):
                    self.judge_word(word)
                case Finished(result):
                    assert result in ("committed", "aborted")
                    self.commits += result == "committed"
                    self.last_end = self.now
                case RequestCheckpoint(epoch):
                    assert epoch == self.commits
                    assert self.now >= self.last_end + MIN_INTERVAL * MS, "rate limit"
                    assert self.machine.state is State.REQUESTED
                    self.last_request = self.now
                case StateChanged(old, new):
                    assert old == self.label
                    assert new in LABELS
                    self.label = new
                case FailedOver():
                    assert self.machine.state is State.FAILED_OVER

    def judge_word(self, word: Word) -> None:
        if word is Word.COMMIT:
            assert self.stops == [Word.SVM_STOP, Word.PVM_STOP], "a commit needs both stops, applied"
            assert not self.late, "a commit after a late stop releases output that nobody compared"
        if word in (Word.SVM_STOP, Word.COMMIT, Word.ABORT, Word.HOLD, Word.UNPROTECT, Word.FAILOVER):
            self.stops = []
            self.late = False
            # What was in flight about an older checkpoint says nothing about this one.
            self.told = [w for w in self.told if w not in (Word.SVM_STOP, Word.PVM_STOP)]
        self.told.append(word)

    def feed(self, event: Event) -> None:
        before = copy.deepcopy(self.machine.__dict__)
        refused = None
        try:
            commands = self.machine.feed(event, self.now)
        except IllegalWord as error:
            refused = str(error)
        if refused is not None:
            assert self.machine.__dict__ == before, "an illegal word changes nothing"
            assert f" is not possible in state {self.machine.state.label}" in refused
            assert self.machine.state.name not in refused, "that is our word for it"
            assert before["state"].label in refused
            return
        self.judge(commands)

    @rule(event=VMM)
    def vmm(self, event: Event) -> None:
        self.feed(event)

    @rule(event=OTHERS)
    def others(self, event: Event) -> None:
        self.feed(event)

    @rule()
    def whole_checkpoint(self) -> None:
        for event in (SvmStopped(), PvmStopped(), None, Committed(), None):
            if event is None:
                while self.told:
                    self.applied(late=False)
            else:
                self.feed(event)

    @rule(late=st.booleans())
    def applied(self, late: bool) -> None:
        if not self.told:
            return
        word = self.told.pop(0)
        if word in (Word.SVM_STOP, Word.PVM_STOP):
            self.stops.append(word)
            self.late |= late
        self.feed(Applied(word, late))

    @rule(ms=st.sampled_from([0, 1, 49, 50, 999, 1000, 10_000, 20_000]))
    def time(self, ms: int) -> None:
        self.now += ms * MS
        self.judge(self.machine.tick(self.now))

    @invariant()
    def time_is_never_forgotten(self) -> None:
        if self.machine.state is State.REQUESTED:
            deadline = self.machine.deadline()
            assert deadline is not None
            assert deadline <= max(self.now, self.last_request) + max(REPEAT, MIN_INTERVAL) * MS

    @invariant()
    def nothing_is_due_now(self) -> None:
        deadline = self.machine.deadline()
        assert deadline is None or deadline > self.now or self.now == 0

    @invariant()
    def the_epoch_counts_commits(self) -> None:
        assert self.machine.epoch == self.machine.checkpoints == self.commits

    @invariant()
    def users_were_told_the_state(self) -> None:
        assert self.machine.state.label == self.label

    @invariant()
    def an_alarm_means_held_output(self) -> None:
        if self.machine.alarm:
            assert self.machine.held_ns(self.now) >= MAX_HOLD * MS
            assert self.machine.state not in (State.UNPROTECTED, State.FAILED_OVER, State.PROTECTED)


TestCheckpoints = Checkpoints.TestCase
TestCheckpoints.settings = settings(max_examples=200, stateful_step_count=40, deadline=None)
