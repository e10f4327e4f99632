"""What the checkpoint machine is told: by the VMM through an adapter, by operators, by the data path."""

from dataclasses import dataclass

from colo_proxy.vocabulary import Divergence, Exhausted, Word

# Events: what the VMM says, through an adapter. Stamps are CLOCK_REALTIME nanoseconds, 0 where unknown.


@dataclass(frozen=True, slots=True)
class SvmStopped:
    """The SVM has stopped, to be given the PVM's state. It stops no later than the PVM."""

    stamp_ns: int = 0


@dataclass(frozen=True, slots=True)
class SvmLoaded:
    """The SVM has loaded the PVM's state and runs on it since then; a failover now goes on from there."""

    stamp_ns: int = 0


@dataclass(frozen=True, slots=True)
class PvmStopped:
    """The PVM has stopped; its state as it is now is what the SVM is given."""

    stamp_ns: int = 0


@dataclass(frozen=True, slots=True)
class Committed:
    """The SVM has loaded the PVM's state, and the VMM says that the checkpoint is done.

    The stamp: when the PVM began to run again, or the VMM was about to let it.
    """

    stamp_ns: int = 0


@dataclass(frozen=True, slots=True)
class Aborted:
    """The checkpoint that had begun did not complete."""

    why: str = ""


@dataclass(frozen=True, slots=True)
class ReplicaLost:
    """There is no SVM (any more): the PVM goes on alone."""

    why: str = ""


@dataclass(frozen=True, slots=True)
class PrimaryLost:
    """The PVM is gone: the SVM takes over."""

    why: str = ""


@dataclass(frozen=True, slots=True)
class Unsure:
    """There may be a replica; what it has of the PVM's past is not known: hold, and ask for a checkpoint."""

    why: str = ""


@dataclass(frozen=True, slots=True)
class Connected:
    """The VMM, or one side of it, can be reached."""

    side: str


# Events: from the operator and from the data path (which also gives `Divergence` and `Exhausted`).


@dataclass(frozen=True, slots=True)
class Wanted:
    """An operator wants a checkpoint."""


@dataclass(frozen=True, slots=True)
class Failover:
    """An operator wants the SVM to take over."""


@dataclass(frozen=True, slots=True)
class Applied:
    """The data path has done what `Tell` said.

    `late`: it had judged a frame from after the stop already; a commit it has then not done.
    """

    word: Word
    late: bool = False


Event = (
    SvmStopped
    | SvmLoaded
    | PvmStopped
    | Committed
    | Aborted
    | ReplicaLost
    | PrimaryLost
    | Unsure
    | Connected
    | Wanted
    | Failover
    | Applied
    | Divergence
    | Exhausted
)
