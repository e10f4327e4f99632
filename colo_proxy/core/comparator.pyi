"""The comparator of one NIC for tests, captures and anyone who has frames in a list.

No I/O: frames and the time go in, frames and divergences come out (`take`), in order. The rules are in
docs/comparison.md. Frames begin at the Ethernet header; `vnet` is a virtio-net header of 10 bytes (all zero
where it is not given). Times are nanoseconds and never go backwards; an earlier time counts as the latest
seen.
"""

from collections.abc import Sequence
from typing import Any

from colo_proxy.core.policy import PolicyRule
from colo_proxy.vocabulary import Divergence, Exhausted, FlowInfo, Frame, Missed, Mode

Buffer = bytes | bytearray | memoryview

class Comparator:
    def __init__(
        self,
        *,
        nic: int = 0,
        timeout_ms: int = 3000,
        reorder_ms: int = 5,
        max_held_bytes: int = ...,
        max_flow_bytes: int = ...,
        max_flows: int = 100_000,
        observe: bool = False,
        passthrough: bool = False,
        compare_only: bool = False,
        captured: bool = False,
        digest_bytes: int = 0,
        mode: Mode = ...,
        seed: int = 0,
    ) -> None:
        """`timeout_ms` 0 learns the SVM's usual lag. `observe` follows each divergence as if a checkpoint had
        been made; with `passthrough` PVM frames leave on arrival. `compare_only`: the SVM's frames come
        through QEMU's filter-rewriter. `captured`: frames of captures may be longer than any port takes
        them, and what the PVM's capture has lost is told as `Missed`. `seed` is that of the flow
        table's hash and of the digests. `digest_bytes`: memory to check retransmissions with; 0: they are
        trusted (T14)."""

    def uplink(self, frame: Buffer, now: int, vnet: Buffer | None = None) -> None:
        """A frame from the clients: comes out for the PVM as it is, and aligned for the SVM."""

    def received(self, frame: Buffer, now: int, vnet: Buffer | None = None) -> None:
        """A client's frame as the SVM's capture has it, in the SVM's numbers (T10a). Offline only."""

    def primary(self, frame: Buffer, now: int, vnet: Buffer | None = None) -> None:
        """A frame the PVM sent."""

    def secondary(self, frame: Buffer, now: int, vnet: Buffer | None = None) -> None:
        """A frame the SVM sent."""

    def tick(self, now: int) -> int:
        """Let time pass. Returns when to call again at the latest, ns; the largest int64 if nothing waits."""

    def hold(self, now: int) -> None:
        """Hold the PVM's output and drop the SVM's until a commit (docs/comparison.md, section 6)."""

    def unprotect(self, now: int) -> None:
        """Release what is held, and from now on the PVM's output as it comes: there is no SVM."""

    def svm_stop(self, now: int) -> None:
        """The SVM has stopped: its frames wait unjudged from now on, and the PVM's are held."""

    def svm_loaded(self, now: int) -> None:
        """The SVM has the PVM's state: a failover from now on finds all offsets zero."""

    def pvm_stop(self, now: int) -> None:
        """The PVM has stopped too: its frames wait unjudged from now on."""

    def commit(self, now: int) -> None:
        """The checkpoint is done: what is held leaves, then what has waited is judged."""

    def abort(self, now: int) -> None:
        """The checkpoint has failed: as `hold`, and nothing is released."""

    def failover(self, now: int) -> None:
        """The SVM is the service: its output leaves, aligned; what only the PVM has sent is dropped."""

    def finish(self, now: int) -> None:
        """The captures end: what has no counterpart is reported."""

    def take(self) -> list[Frame | Divergence | Exhausted | Missed]:
        """What came out since the last call, in order."""

    def set_policies(self, rules: Sequence[PolicyRule]) -> None:
        """Let these rules decide from now on."""

    def flows(self) -> list[FlowInfo]:
        """Return the flows that are known."""

    @property
    def mode(self) -> Mode:
        """What happens to the guests' output now."""

    @property
    def counters(self) -> dict[str, Any]:
        """Return the counters of this NIC by name: frames, bytes, nanoseconds."""
