"""What the machine is told. Each is a fact or an operator's wish; none carries a time."""

from typing import NamedTuple

from colo_proxy.pair.record import Record

# ---- from the arbiter


class Answer(NamedTuple):
    """What the store holds, in answer to the question `tag`: read, or found after a swap, won or not."""

    tag: str
    record: Record | None  # None: there is none


class Unanswered(NamedTuple):
    """The question `tag` has had no answer in its time. A swap may have been applied, or may be later."""

    tag: str


class Again(NamedTuple):
    """Time to ask again: every 30 ms while an answer decides, every second else."""


# ---- from the link


class Suspected(NamedTuple):
    """No sign of the peer for `timeout_ms`, or the stream of the pairing has ended."""

    why: str = "no sign of the peer"


class Returned(NamedTuple):
    """The peer is heard on a stream of this pairing again."""


class SilenceOver(NamedTuple):
    """The last sign of the primary is `timeout_ms` + 30 ms old. Told in each state that waits for it."""


class CutDone(NamedTuple):
    """This host's end of the stream is shut: nothing is sent, and nothing acknowledged, any more."""


class Said(NamedTuple):
    """A word of the peer, about a pairing. See `actions.Tell`."""

    word: str
    pairing: str


# ---- from the own VM and data path


class Gated(NamedTuple):
    """The data path has applied the last `Gate`."""


class Begin(NamedTuple):
    """A pairing begins: the PVM stops for its first checkpoint, and its output is compared from then on."""

    pairing: str


class Ready(NamedTuple):
    """The SVM has loaded the state, the commit is applied, and the peer has all that a takeover needs."""


class NotReady(NamedTuple):
    """The pairing's first checkpoint came to nothing."""


class Loaded(NamedTuple):
    """This host's VM has loaded the state of the peer's: it is the SVM of this pairing."""

    pairing: str


class VmDead(NamedTuple):
    """The VM is dead, or has not answered for `vm_timeout_ms`."""


class VmGone(NamedTuple):
    """The VM that was to be killed is gone, or there was none."""


class KillHangs(NamedTuple):
    """The VM that was to be killed still lives."""


class Carrier(NamedTuple):
    """The uplink's carrier has gone or come back."""

    up: bool


# ---- from the operator


class Init(NamedTuple):
    """Create the record. `switched_off`: the other host, which is then not asked."""

    switched_off: str = ""


class Switchover(NamedTuple):
    """The other host shall speak: on the primary and on the secondary."""


class Relinquish(NamedTuple):
    """The secondary shall give its SVM up."""


class Force(NamedTuple):
    """Speak without the store's answer: the other host is certainly switched off, and stays so."""

    generation: int
    switched_off: str


# ---- from the disk, and named times


class Noted(NamedTuple):
    """The last `Note` is on disk."""


class YieldOver(NamedTuple):
    """The peer has had time enough to take over after a yield."""


class Unyielded(NamedTuple):
    """The primary was asked to yield and has not."""


class Delayed(NamedTuple):
    """The 300 ms are over that a primary without carrier lets the other host go first."""


Event = (
    Answer
    | Unanswered
    | Again
    | Suspected
    | Returned
    | SilenceOver
    | CutDone
    | Said
    | Gated
    | Begin
    | Ready
    | NotReady
    | Loaded
    | VmDead
    | VmGone
    | KillHangs
    | Carrier
    | Init
    | Switchover
    | Relinquish
    | Force
    | Noted
    | YieldOver
    | Unyielded
    | Delayed
)
