"""What the checkpoint machine wants done: in the data path, at the VMM, and made known."""

from dataclasses import dataclass

from colo_proxy.vocabulary import Word


@dataclass(frozen=True, slots=True)
class Tell:
    """Tell the data path this word; feed `Applied` when it has."""

    word: Word
    stamp_ns: int = 0


@dataclass(frozen=True, slots=True)
class RequestCheckpoint:
    """Ask the VMM for a checkpoint. `attempt` counts from 1 and grows when the request is repeated."""

    epoch: int
    reason: str
    flow: str | None = None
    stream_offset: int | None = None
    nic: int | None = None
    attempt: int = 1


@dataclass(frozen=True, slots=True)
class Began:
    """A checkpoint has begun: both sides stop."""

    epoch: int


@dataclass(frozen=True, slots=True)
class Finished:
    """A checkpoint has ended. `result`: `committed`, `aborted` or `assumed` (observed, not made)."""

    result: str
    epoch: int  # after it
    reason: str
    duration_ns: int  # since it began


@dataclass(frozen=True, slots=True)
class StateChanged:
    """The state that users read has changed."""

    old: str
    new: str
    why: str


@dataclass(frozen=True, slots=True)
class FailedOver:
    """The SVM is the service now: make it so."""

    epoch: int
    why: str


@dataclass(frozen=True, slots=True)
class Alarm:
    """A checkpoint has been awaited for too long (`active`), output held meanwhile; or no longer is."""

    active: bool
    held_ns: int


Command = Tell | RequestCheckpoint | Began | Finished | StateChanged | FailedOver | Alarm
