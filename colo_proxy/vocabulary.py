"""The words of the design, as types: the same in log, metric, event, report and test.

The integer values are those of the enums in core/vocabulary.pxd; the compiled core asserts at
import that the two agree.
"""

from dataclasses import dataclass
from enum import IntEnum


class Port(IntEnum):
    """A place where frames enter and leave."""

    UPLINK = 0
    PRIMARY = 1
    SECONDARY = 2


class Reason(IntEnum):
    """Why the outputs differ."""

    PAYLOAD = 0
    CONTROL = 1
    MISSING_SECONDARY = 2
    MISSING_PRIMARY = 3

    @property
    def label(self) -> str:
        """The reason as users read it: `missing-secondary`."""
        return self.name.lower().replace("_", "-")


class Drop(IntEnum):
    """Why a frame was dropped."""

    MEMORY = 0  # a bound on held bytes
    FLOWS = 1  # the bound on flows
    POLICY = 2  # a rule says drop
    OLD_EPOCH = 3  # SVM output from before its state was replaced
    UNCOMMITTED = 4  # PVM output held at a failover
    FRAGMENT = 5  # fragments that overlap, contradict or never complete
    OVERSIZED = 6  # longer than any frame can be
    SEND = 7  # the port could not take it
    TRUNCATED = 8  # shorter than an Ethernet header
    CLOSED = 9  # what nobody waits for, of a connection that is over

    @property
    def label(self) -> str:
        """The reason as users read it: `old-epoch`."""
        return self.name.lower().replace("_", "-")


class Mode(IntEnum):
    """What the comparator does with the output of both sides (docs/comparison.md, section 6)."""

    HOLD = 0  # PVM output is held, SVM output dropped, until a commit
    PASS = 1  # no replica: the PVM's output passes
    COMPARE = 2
    FAILED_OVER = 3  # the SVM's output is the output


@dataclass(frozen=True, slots=True)
class Frame:
    """A frame for a port. `data` begins at the Ethernet header; `vnet` is the 10-byte virtio-net header."""

    port: Port
    data: bytes
    vnet: bytes = bytes(10)


class Fate(IntEnum):
    """What had become of a frame when a flow diverged."""

    WAITS = 0  # the PVM's is held; clients' were passed on, and the SVM's are only compared
    LEFT = 1
    DROPPED = 2

    @property
    def label(self) -> str:
        """As users read it: `left`."""
        return self.name.lower()


@dataclass(frozen=True, slots=True)
class Exchange:
    """A frame of a flow's recent past: where it came in, and what became of it.

    Times are in nanoseconds on the clock of the frames. `data` is where the frame begins, which has `size`
    bytes in all.
    """

    time: int
    port: Port
    data: bytes
    size: int
    fate: Fate = Fate.WAITS
    fate_time: int = 0  # where the fate is not WAITS


@dataclass(frozen=True, slots=True)
class Divergence:
    """Proof, or a timeout's suspicion, that the outputs of PVM and SVM differ.

    `flow` reads `tcp 192.0.2.2:80 > 192.0.2.1:40000`, the VM first. `stream_offset` counts as
    docs/comparison.md says. `time` is in nanoseconds on the clock of the frames. `primary` and
    `secondary` are the packets that show the difference, from the Ethernet header, where there is one.
    `exchanges` are the flow's last frames, oldest first, and `seq_offset` is isn_svm - isn_pvm, modulo 2**32.
    `count`: how many of this reason are reported with this one, itself included (`core_diverge`, `storms`).
    """

    nic: int
    flow: str
    protocol: str
    reason: Reason
    stream_offset: int
    time: int
    primary: bytes | None = None
    secondary: bytes | None = None
    exchanges: tuple[Exchange, ...] = ()
    seq_offset: int = 0
    count: int = 1


@dataclass(frozen=True, slots=True)
class Missed:
    """Bytes of a stream that the PVM's capture does not have, though the client has acknowledged them.

    Stream offsets: the first, and one past the last.
    """

    flow: str
    begin: int
    end: int


@dataclass(frozen=True, slots=True)
class Exhausted:
    """A bound was reached (`Drop.MEMORY` or `Drop.FLOWS`): a checkpoint is needed to go on."""

    nic: int
    drop: Drop
    time: int


@dataclass(frozen=True, slots=True)
class FlowInfo:
    """A snapshot of one flow, for people and for `query-flows`.

    `id` is the flow's as long as it lives, above 0; flows are listed in its order.
    """

    id: int
    nic: int
    flow: str
    protocol: str
    held_frames: int
    held_bytes: int
    matched_bytes: int
    seq_offset: int  # isn_svm - isn_pvm, modulo 2**32
    blocked: bool
    divergences: int
    idle_ms: int


class Word(IntEnum):
    """A checkpoint word for all NICs (docs/comparison.md, section 6); values as in nic.pxd."""

    HOLD = 0  # nothing is known: hold until a commit
    UNPROTECT = 1
    SVM_STOP = 2
    PVM_STOP = 3
    COMMIT = 4
    ABORT = 5
    FAILOVER = 6
    SVM_LOADED = 8  # between SVM_STOP and COMMIT: the SVM runs on the PVM's state
