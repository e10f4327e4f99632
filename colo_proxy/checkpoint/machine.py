"""The checkpoint state machine of one proxy. No I/O, no clock: events and the time in, commands out.

How it works. `feed(event, now)` looks the event up in `TRANSITIONS`. An event that the state does not allow
raises `IllegalWord` and changes nothing. Otherwise the machine moves and answers with commands, in
order: `Tell` goes to the data path, everything else to the VMM adapter and to those who watch.
`tick(now)` does what is due by time alone, and `deadline()` says when that will next be. All times are
nanoseconds of one clock that never goes back.

| state | users read | what the data path does |
| --- | --- | --- |
| UNPROTECTED | unprotected | there is no replica: the PVM's output passes |
| PROTECTED | protected | compares; output leaves when both have said it |
| REQUESTED | requested | holds what diverged (everything after a start or an abort) until a commit |
| SVM_STOPPED | stopped | what the SVM said before is dropped, what it says now belongs to the new epoch |
| STOPPED | stopped | likewise the PVM, whose earlier output leaves on commit |
| SPOILT | stopped | as STOPPED, but a stop was reported too late: this checkpoint can only be given up |
| COMMITTING | stopped | the commit is on its way to the data path |
| FAILED_OVER | failed-over | the SVM's output is the output |
| OBSERVING | unprotected | `vmm = "none"`: the PVM's output passes, differences are counted |

The promise rests on these rules. `COMMIT` is told only after both stops have been *applied*. A stop that
came too late (a frame from after it had been judged already) spoils the checkpoint, for the PVM's new output
would leave uncompared; where only the end of the stop shows that, the data path refuses the commit. An
abort, a restart or a lost view of the VMM releases nothing. And the SVM does not take over where it has never
had the PVM's state.

Past 400 lines: one table of transitions, with the actions that it names.
"""

from dataclasses import dataclass
from enum import Enum, auto

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
from colo_proxy.vocabulary import Divergence, Drop, Exhausted, Word

_MS = 1_000_000  # nanoseconds


class State(Enum):
    """What is known of the replica; `label` is the state of the design that users read."""

    UNPROTECTED = auto()
    PROTECTED = auto()
    REQUESTED = auto()
    SVM_STOPPED = auto()
    STOPPED = auto()
    SPOILT = auto()
    COMMITTING = auto()
    FAILED_OVER = auto()
    OBSERVING = auto()

    @property
    def label(self) -> str:
        """One of `LABELS`."""
        if self in _CHECKPOINT:
            return "stopped"
        if self is State.OBSERVING:
            return "unprotected"
        return self.name.lower().replace("_", "-")


_CHECKPOINT = frozenset({State.SVM_STOPPED, State.STOPPED, State.SPOILT, State.COMMITTING})

LABELS = ("unprotected", "protected", "requested", "stopped", "failed-over")


class IllegalWord(Exception):
    """An event that the state does not allow; nothing has changed."""

    def __init__(self, state: State, word: str, why: str = "") -> None:
        super().__init__(f"{word} is not possible in state {state.label}" + (f": {why}" if why else ""))
        self.state = state
        self.word = word


# Facts, not wishes: never illegal, not always of consequence.
_ANY_TIME = (Divergence, Exhausted, Applied, Connected)


def _stays(state: State) -> dict[type, State]:
    return dict.fromkeys(_ANY_TIME, state)


_LOSSES = {
    ReplicaLost: State.UNPROTECTED,
    PrimaryLost: State.FAILED_OVER,
    Failover: State.FAILED_OVER,
    Unsure: State.REQUESTED,
}
_BEGINS = {SvmStopped: State.SVM_STOPPED}  # asked for or not

# The next state. An event that is not listed is illegal. `Applied` alone moves by its content (`_applied`).
TRANSITIONS: dict[State, dict[type, State]] = {
    State.UNPROTECTED: _stays(State.UNPROTECTED)
    | _BEGINS
    | {ReplicaLost: State.UNPROTECTED, Unsure: State.REQUESTED},
    State.PROTECTED: _stays(State.PROTECTED)
    | _LOSSES
    | _BEGINS
    | {Wanted: State.REQUESTED, Divergence: State.REQUESTED, Exhausted: State.REQUESTED},
    State.REQUESTED: _stays(State.REQUESTED) | _LOSSES | _BEGINS | {Wanted: State.REQUESTED},
    State.SVM_STOPPED: _stays(State.SVM_STOPPED)
    | _LOSSES
    | {SvmLoaded: State.SVM_STOPPED, PvmStopped: State.STOPPED, Aborted: State.REQUESTED},
    State.STOPPED: _stays(State.STOPPED)
    | _LOSSES
    | {SvmLoaded: State.STOPPED, Committed: State.COMMITTING, Aborted: State.REQUESTED},
    State.SPOILT: _stays(State.SPOILT)
    | _LOSSES
    | {
        SvmLoaded: State.SPOILT,
        PvmStopped: State.SPOILT,
        Committed: State.REQUESTED,
        Aborted: State.REQUESTED,
    },
    State.COMMITTING: _stays(State.COMMITTING) | _LOSSES,
    State.FAILED_OVER: _stays(State.FAILED_OVER),
    State.OBSERVING: _stays(State.OBSERVING),
}


@dataclass(frozen=True, slots=True)
class _Cause:
    """Why a checkpoint is wanted; `holds`: output waits for it already."""

    reason: str
    holds: bool
    flow: str | None = None
    stream_offset: int | None = None
    nic: int | None = None


_UNASKED = _Cause("vmm", holds=False)


class Machine:
    """The checkpoint state of one proxy, shared by its NICs.

    Starts in REQUESTED with reason `start`, the data path holding: whatever was before is not known. Other
    states to start in are OBSERVING, where it stays, and PROTECTED, the data path comparing: what comes from
    now on is said by a PVM and its replica.
    """

    def __init__(
        self,
        now: int,
        *,
        state: State = State.REQUESTED,
        min_interval_ms: int = 50,
        repeat_ms: int = 1000,
        max_hold_ms: int = 10_000,
        period_ms: int = 20_000,
    ) -> None:
        self.retime(min_interval_ms=min_interval_ms, repeat_ms=repeat_ms, max_hold_ms=max_hold_ms)
        self._period = period_ms * _MS
        self.state = state
        self.epoch = 0
        self.alarm = False
        asks = state is State.REQUESTED
        self._cause: _Cause | None = _Cause("start", holds=True) if asks else None
        self._attempts = 0
        self._request_at = now  # when the request is due (again)
        self._not_before = now  # rate limit
        self._held_since: int | None = now if asks else None
        self._wanted_since = self._held_since  # since when a checkpoint has been asked for in vain
        self._began_at = now
        self._protected_at = now
        self._replica = state is not State.OBSERVING  # there may be an SVM that can take over
        self._unapplied: set[Word] = set()  # stops that the data path has not done yet

    def retime(self, *, min_interval_ms: int, repeat_ms: int, max_hold_ms: int) -> None:
        """Set the times that may change while it runs; what is due already stays due."""
        self._min_interval = min_interval_ms * _MS
        self._repeat = repeat_ms * _MS
        self._max_hold = max_hold_ms * _MS

    @property
    def checkpoints(self) -> int:
        """Checkpoints that were committed, or assumed by observing."""
        return self.epoch

    @property
    def reason(self) -> str | None:
        """Why a checkpoint is wanted or under way, or None."""
        return self._cause.reason if self._cause else None

    @property
    def replica(self) -> bool:
        """There may be an SVM that can take over."""
        return self._replica

    @property
    def unapplied(self) -> frozenset[Word]:
        """The stops that the data path has been told and has not done yet."""
        return frozenset(self._unapplied)

    def held_ns(self, now: int) -> int:
        """How long output may have been waiting for a checkpoint."""
        return now - self._held_since if self._held_since is not None else 0

    def waiting_ns(self, now: int) -> int:
        """How long a checkpoint has been wanted, or output been waiting for one."""
        since = [start for start in (self._held_since, self._wanted_since) if start is not None]
        return now - min(since, default=now)

    def feed(self, event: Event, now: int) -> list[Command]:
        """Take an event in; returns what is to be done, in order.

        Raises IllegalWord, and changes nothing, where the state does not allow the event.
        """
        old = self.state
        new = TRANSITIONS[old].get(type(event))
        if new is None:
            raise IllegalWord(old, _name(event), _WHY_NOT.get(old, ""))
        if isinstance(event, Committed) and self._unapplied:
            raise IllegalWord(old, _name(event), "the data path has not done the stops yet")
        if isinstance(event, PrimaryLost | Failover) and not self._replica:
            raise IllegalWord(old, _name(event), "no SVM has the state to take over")
        commands: list[Command] = []
        match event:
            case Applied():
                new = self._applied(event, commands, now)
            case Divergence() | Exhausted():
                self._differs(event, commands, now)
            case Wanted():
                self._want(_Cause("operator", holds=False), now)
            case Connected():
                if old is State.REQUESTED:
                    self._request_at = max(now, self._not_before)
            case _:
                self._spoken(event, commands, now)
        self._move(new, _why(event), commands)
        return commands + self.tick(now)

    def _spoken(self, event: Event, commands: list[Command], now: int) -> None:
        """The VMM (or an operator, about a failover) has said what has happened or must happen."""
        match event:
            case Unsure():
                self._replica = True
                commands.append(Tell(Word.HOLD))
                self._end_of_checkpoint(commands, now)
                self._ask(_Cause("start", holds=True), now)
            case SvmStopped(stamp_ns):
                self._cause = self._cause or _UNASKED
                self._began_at = now
                self._hold(now)
                commands += [self._stop(Word.SVM_STOP, stamp_ns), Began(self.epoch)]
            case SvmLoaded(stamp_ns):
                self._replica = True
                commands.append(Tell(Word.SVM_LOADED, stamp_ns))
            case PvmStopped(stamp_ns):
                commands.append(self._stop(Word.PVM_STOP, stamp_ns))
            case Committed(stamp_ns) if self.state is State.STOPPED:
                commands.append(Tell(Word.COMMIT, stamp_ns))
            case Committed() | Aborted():
                self._give_up(commands, now)
            case ReplicaLost():
                self._replica = False
                commands.append(Tell(Word.UNPROTECT))
                self._end_of_checkpoint(commands, now)
                self._rest(commands, now)
            case PrimaryLost() | Failover():
                commands.append(Tell(Word.FAILOVER))
                self._end_of_checkpoint(commands, now)
                self._rest(commands, now)
                commands.append(FailedOver(self.epoch, _why(event)))

    def tick(self, now: int) -> list[Command]:
        """Do what is due by time alone."""
        commands: list[Command] = []
        if self.state is State.PROTECTED and self._period and now >= self._protected_at + self._period:
            self._want(_Cause("period", holds=False), now)
            self._move(State.REQUESTED, "period", commands)
        if self.state is State.REQUESTED and self._cause and now >= self._request_at:
            self._attempts += 1
            self._request_at = now + self._repeat
            cause = self._cause
            commands.append(
                RequestCheckpoint(
                    self.epoch, cause.reason, cause.flow, cause.stream_offset, cause.nic, self._attempts
                )
            )
        if self._held_since is not None and not self.alarm and self.held_ns(now) >= self._max_hold:
            self.alarm = True
            commands.append(Alarm(active=True, held_ns=self.held_ns(now)))
        return commands

    def deadline(self) -> int | None:
        """When `tick` has something to do next, or None."""
        due = []
        if self.state is State.PROTECTED and self._period:
            due.append(self._protected_at + self._period)
        if self.state is State.REQUESTED:
            due.append(self._request_at)
        if self._held_since is not None and not self.alarm:
            due.append(self._held_since + self._max_hold)
        return min(due, default=None)

    # What the events have in common.

    def _applied(self, event: Applied, commands: list[Command], now: int) -> State:
        """The data path has done a word: a commit is complete only now; a late stop spoils the checkpoint."""
        self._unapplied.discard(event.word)
        if event.late and event.word in (Word.SVM_STOP, Word.PVM_STOP) and self.state in _CHECKPOINT:
            return State.SPOILT
        if event.word is Word.COMMIT and self.state is State.COMMITTING:
            if event.late:  # the data path has not done it
                self._give_up(commands, now)
                return State.REQUESTED
            self.epoch += 1
            self._replica = True
            commands.append(Finished("committed", self.epoch, self.reason or "", now - self._began_at))
            self._not_before = now + self._min_interval
            self._protected_at = now
            self._rest(commands, now)
            return State.PROTECTED
        return self.state

    def _differs(self, event: Divergence | Exhausted, commands: list[Command], now: int) -> None:
        cause = (
            _Cause(event.reason.label, True, event.flow, event.stream_offset, event.nic)
            if isinstance(event, Divergence)
            else _Cause(event.drop.label, True, nic=event.nic)
        )
        if self.state is State.OBSERVING:
            # The data path goes on as after a checkpoint from both (C8), but not where flows are too many.
            if isinstance(event, Divergence) or event.drop is Drop.MEMORY:
                self.epoch += 1
                commands.append(Finished("assumed", self.epoch, cause.reason, 0))
        elif self.state in (State.PROTECTED, State.REQUESTED):
            self._want(cause, now)
        # During a checkpoint it is of the old epoch, which the commit heals; otherwise there is no replica.

    def _want(self, cause: _Cause, now: int) -> None:
        """Ask for a checkpoint unless one is asked for; a cause that holds output outweighs another."""
        if self._cause is None:
            self._ask(cause, now)
        elif cause.holds and not self._cause.holds:
            self._cause = cause
        if cause.holds:
            self._hold(now)

    def _ask(self, cause: _Cause, now: int) -> None:
        self._cause = cause
        self._attempts = 0
        self._request_at = max(now, self._not_before)
        if self._wanted_since is None:
            self._wanted_since = now
        if cause.holds:
            self._hold(now)

    def _hold(self, now: int) -> None:
        if self._held_since is None:
            self._held_since = now

    def _stop(self, word: Word, stamp_ns: int) -> Tell:
        self._unapplied.add(word)
        return Tell(word, stamp_ns)

    def _give_up(self, commands: list[Command], now: int) -> None:
        """The checkpoint that is under way commits nothing: ask for another."""
        commands.append(Tell(Word.ABORT))
        self._end_of_checkpoint(commands, now)
        self._ask(_Cause("aborted", holds=True), now)

    def _end_of_checkpoint(self, commands: list[Command], now: int) -> None:
        """A checkpoint that was under way has come to nothing."""
        self._unapplied.clear()
        if self.state in _CHECKPOINT:
            commands.append(Finished("aborted", self.epoch, self.reason or "", now - self._began_at))
            self._not_before = now + self._min_interval

    def _rest(self, commands: list[Command], now: int) -> None:
        """Nothing waits for a checkpoint any more."""
        if self.alarm:
            commands.append(Alarm(active=False, held_ns=self.held_ns(now)))
        self.alarm = False
        self._cause = None
        self._held_since = self._wanted_since = None

    def _move(self, new: State, why: str, commands: list[Command]) -> None:
        old, self.state = self.state, new
        if old.label != new.label:
            commands.append(StateChanged(old.label, new.label, why))


# An event in the words of who says it; what an adapter alone says, in its own.
_NAMES: dict[type, str] = {
    Wanted: "a checkpoint",
    Failover: "failover",
    SvmStopped: "checkpoint-begin",
    PvmStopped: "the PVM's stop",
    Committed: "checkpoint-commit",
    Aborted: "checkpoint-abort",
    ReplicaLost: "replica-lost",
    PrimaryLost: "a failover",
}
_WHY_NOT = {
    State.UNPROTECTED: "there is no replica",
    State.OBSERVING: 'vmm = "none" only observes',
    State.FAILED_OVER: "the SVM is the service",
}


def _name(event: Event) -> str:
    return _NAMES.get(type(event), type(event).__name__)


def _why(event: Event) -> str:  # noqa: PLR0911
    match event:
        case Divergence():
            return f"{event.reason.label} on {event.flow}"
        case Exhausted():
            return (
                "the bound on flows was reached"
                if event.drop is Drop.FLOWS
                else "the bound on held bytes was reached"
            )
        case Aborted() | ReplicaLost() | PrimaryLost() | Unsure():
            return event.why or _name(event)
        case Wanted() | Failover():
            return "operator"
        case SvmStopped():
            return "a checkpoint begins"
        case Committed() | Applied(late=True):
            return "a stop was reported too late"  # else it is the data path's `commit` that moves the state
        case Applied():
            return event.word.name.lower().replace("_", "-")
        case _:
            return _name(event)
