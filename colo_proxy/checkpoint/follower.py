"""What an unmodified QEMU pair is doing, told from its QMP events. No I/O; time only as the events' stamps.

How it works. The adapter says what it sees of each QEMU (`connected`, `polled`, `event`, `blind`, `gone`,
`asked`); each call answers with events for the checkpoint machine and orders for the adapter, in order. A
checkpoint of QEMU (11.1, migration/colo.c) is, on one host's clock,

    SVM STOP < PVM STOP < SVM RESUME (its state has been replaced) < PVM RESUME (SVM said so)

and the two sockets may deliver these in any interleaving. So the stop of one side alone is no
checkpoint (an operator may pause a VM): two stops whose intervals overlap are, if the SVM goes on first.
(Who pauses both and resumes them in this very order is not told apart.) It is committed once
*both* have resumed with no `COLO_EXIT` before: the PVM resumes of itself only after the SVM's
`VMSTATE_LOADED`; a resume made by `x-colo-lost-heartbeat` follows `COLO_EXIT`.

What proves a death is that nobody listens any more where QEMU was seen listening. A connection that
closes or hangs proves nothing (`blind`), nor does `COLO_EXIT`: the SVM emits it when its link to the
PVM fails. Nor does an absence at the start: a path may be mistyped, so nothing is lost that was never
seen. When the PVM dies inside a checkpoint, the SVM either has its state in full and loads it yet (`RESUME`,
then `COLO_EXIT`), or it stays stopped in its old state (`COLO_EXIT` alone); which of them must be known
before it takes over, since connections are aligned differently. All of that was seen with QEMU 11.1.2.

| phase | what is known |
| --- | --- |
| WAITING | not enough; output is held |
| APART | the PVM runs without a replica |
| COLO | both are in the COLO state |
| LOSING | the PVM is dead; whether the SVM has its last state will be known in a moment |
| OVER | the SVM is the service |
"""

from dataclasses import dataclass, field
from enum import Enum, auto

from colo_proxy.checkpoint.events import (
    Committed,
    Connected,
    Event,
    PrimaryLost,
    PvmStopped,
    ReplicaLost,
    SvmLoaded,
    SvmStopped,
    Unsure,
)

_SKEW = 20_000_000  # ns by which the clocks of two hosts may differ


class Side(Enum):
    """One of the two VMs."""

    PRIMARY = "primary"
    SECONDARY = "secondary"


class Phase(Enum):
    """What the pair is known to be."""

    WAITING = auto()
    APART = auto()
    COLO = auto()
    LOSING = auto()
    OVER = auto()


@dataclass(frozen=True, slots=True)
class GoOnAlone:
    """Order: tell the PVM that its peer is lost (`x-colo-lost-heartbeat`)."""


@dataclass(frozen=True, slots=True)
class Ask:
    """Order: ask this side anything and call `asked` after the answer: its events up to now are read then."""

    side: Side
    attempt: int = 1


@dataclass(frozen=True, slots=True)
class Probe:
    """Order: have the PVM make a checkpoint, so that it notices a link that is dead."""


News = Event | GoOnAlone | Ask | Probe


@dataclass(frozen=True, slots=True)
class Snapshot:
    """`query-colo-status` and `query-status` of one QEMU: COLO mode `none`, `primary` or `secondary`."""

    mode: str
    last_mode: str
    running: bool


@dataclass(slots=True)
class _Vm:
    seen: bool = False  # at least once since the start
    sight: str = "unknown"  # unknown | live | gone
    snapshot: Snapshot | None = None
    shut_down: bool = False  # the guest switched itself off: no death
    exited: bool = False  # said COLO_EXIT; an SVM's mode reads `secondary` all the same until it is told
    stop_ns: int | None = None
    resume_ns: int | None = None

    @property
    def stopped(self) -> bool:
        return self.stop_ns is not None and self.resume_ns is None


@dataclass(slots=True)
class Follower:
    """The pair, as far as its two QMP connections tell."""

    phase: Phase = Phase.WAITING
    _vms: dict[Side, _Vm] = field(default_factory=lambda: {side: _Vm() for side in Side})
    _was_colo: bool = False  # and neither side has been given up since
    _checkpoint: bool = False  # both stops were told
    _loaded: bool = False  # SvmLoaded was told
    _later: list[tuple[Side, str, int]] = field(default_factory=list)

    # What the adapter sees.

    def connected(self, side: Side, snapshot: Snapshot) -> list[News]:
        """A QMP session with this side has begun, and this is its state."""
        vm = self._vms[side]
        vm.seen, vm.sight, vm.shut_down, vm.exited = True, "live", False, False
        vm.stop_ns = vm.resume_ns = None
        return [Connected(side.value), *self.polled(side, snapshot)]

    def polled(self, side: Side, snapshot: Snapshot) -> list[News]:
        """The state of a connected side, asked for again."""
        self._vms[side].snapshot = snapshot
        # In COLO, events tell of every change; an answer may be older than an event already taken in.
        return self._look() if self.phase in (Phase.WAITING, Phase.APART) else []

    def blind(self, side: Side, why: str) -> list[News]:
        """The session is lost or there is none, and QEMU may well be alive."""
        vm = self._vms[side]
        known = vm.sight == "live"
        vm.sight, vm.snapshot = "unknown", None
        if not known or self.phase not in (Phase.COLO, Phase.LOSING):
            return []
        return self._wait(f"{side.value}: {why}")

    def gone(self, side: Side, why: str) -> list[News]:
        """Nobody listens at this side's socket."""
        vm, other = self._vms[side], self._vms[_other(side)]
        if vm.sight == "gone":
            return []
        vm.sight, vm.snapshot = "gone", None
        if self.phase in (Phase.OVER, Phase.APART) or not vm.seen or not self._was_colo:
            return []
        if vm.shut_down:
            return self._wait("the guest has shut down")
        if other.sight != "live":
            return []  # its peer may come into sight again; until then nothing can be decided
        return self._replica_lost(why) if side is Side.SECONDARY else self._primary_dead(why)

    def _primary_dead(self, why: str) -> list[News]:
        if self._vms[Side.SECONDARY].exited:
            return self._primary_lost(why)
        self.phase = Phase.LOSING
        return [Ask(Side.SECONDARY)]

    def asked(self, side: Side, attempt: int = 1) -> list[News]:
        """The answer to `Ask` came. A stopped SVM's COLO_EXIT is waited for, up to a third attempt."""
        if self.phase is not Phase.LOSING:
            return []
        if self._vms[side].stopped and attempt < 3:
            return [Ask(side, attempt + 1)]
        return self._primary_lost("nobody listens on the primary's QMP socket any more")

    def event(self, side: Side, name: str, stamp_ns: int, data: dict[str, object]) -> list[News]:
        """A QMP event of this side, in the order its socket gave them."""
        if name in ("STOP", "RESUME"):
            return self._stop_or_resume(side, name, stamp_ns)
        if name == "SHUTDOWN" and data.get("guest") is True:
            self._vms[side].shut_down = True
        if name == "COLO_EXIT" and self.phase not in (Phase.APART, Phase.OVER):
            return self._colo_exit(side, str(data.get("reason")))
        return []

    def give_up_primary(self) -> None:
        """The SVM takes over, on whoever's word: what the pair does from now on is of no consequence."""
        self._primary_lost("")

    # Checkpoints.

    def _stop_or_resume(self, side: Side, name: str, stamp_ns: int) -> list[News]:
        if self.phase not in (Phase.COLO, Phase.LOSING):
            return []
        vm = self._vms[side]
        if self._checkpoint and vm.resume_ns is not None:
            # This side is in the next checkpoint already; the other's end of this one is still to be read.
            self._later.append((side, name, stamp_ns))
            return []
        if name == "STOP":
            vm.stop_ns, vm.resume_ns = stamp_ns, None
        elif vm.stop_ns is not None:
            vm.resume_ns = stamp_ns
        return self._match()

    def _match(self) -> list[News]:
        pvm, svm = self._vms[Side.PRIMARY], self._vms[Side.SECONDARY]
        if pvm.stop_ns is None or svm.stop_ns is None:
            return []
        news: list[News] = []
        if not self._checkpoint:
            if (svm.resume_ns is not None and svm.resume_ns < pvm.stop_ns) or (
                pvm.resume_ns is not None and pvm.resume_ns < svm.stop_ns
            ):
                return []  # one of them was only paused
            self._checkpoint = True
            news = [SvmStopped(svm.stop_ns), PvmStopped(pvm.stop_ns)]
        if pvm.resume_ns is not None and svm.resume_ns is not None and pvm.resume_ns < svm.resume_ns - _SKEW:
            # A checkpoint lets the PVM go on last: somebody paused both, and nothing was copied.
            self._forget_checkpoint()
            return [*news, Unsure("both VMs were paused, and the primary went on first: no checkpoint")]
        if svm.resume_ns is not None and not self._loaded:
            self._loaded = True
            news.append(SvmLoaded(svm.resume_ns))
        if pvm.resume_ns is not None and svm.resume_ns is not None:
            news.append(Committed(pvm.resume_ns))
            later, self._later = self._later, []
            self._forget_checkpoint()
            for side, name, stamp_ns in later:
                news += self._stop_or_resume(side, name, stamp_ns)
        return news

    def _forget_checkpoint(self) -> None:
        self._checkpoint = self._loaded = False
        self._later.clear()
        for vm in self._vms.values():
            vm.stop_ns = vm.resume_ns = None

    # Losses.

    def _colo_exit(self, side: Side, reason: str) -> list[News]:
        if side is Side.PRIMARY:
            # QEMU on the PVM says that it has lost the SVM, or was told so.
            return self._replica_lost(f"the primary left COLO: {reason}")
        if reason == "request":
            return self._primary_lost("the secondary was told to take over")
        self._vms[side].exited = True
        if self.phase is Phase.LOSING:
            return self._primary_lost("nobody listens on the primary's QMP socket any more")
        # Its link to the PVM is dead, perhaps not the PVM. It still runs, and what both say may still leave.
        return [Probe()]

    def _replica_lost(self, why: str) -> list[News]:
        self._forget_checkpoint()
        self.phase, self._was_colo = Phase.APART, False
        self._vms[Side.PRIMARY].snapshot = None  # it leaves COLO now; ask again
        return [ReplicaLost(why), GoOnAlone()]

    def _primary_lost(self, why: str) -> list[News]:
        self._forget_checkpoint()
        self.phase, self._was_colo = Phase.OVER, False
        return [PrimaryLost(why)]

    def _wait(self, why: str) -> list[News]:
        self._forget_checkpoint()
        self.phase = Phase.WAITING
        return [Unsure(why)]

    # The pair's state without events: at the start, and while there is no COLO.

    def _look(self) -> list[News]:
        pvm, svm = self._vms[Side.PRIMARY], self._vms[Side.SECONDARY]
        if death := self._primary_lost_unseen(pvm, svm.snapshot):
            return self._primary_lost(death)
        if pvm.snapshot is None:
            return []
        if pvm.snapshot.mode == "none" and self.phase is Phase.WAITING:
            self.phase, self._was_colo = Phase.APART, False
            return [ReplicaLost("the primary is not in the COLO state")]
        if pvm.snapshot.mode == "primary":
            if svm.snapshot is not None and svm.snapshot.mode == "secondary" and not svm.exited:
                self._forget_checkpoint()
                self.phase, self._was_colo = Phase.COLO, True
                return [Unsure("both are in the COLO state; their past is not known")]
            if self._was_colo and svm.sight == "gone":
                return self._replica_lost("nobody listens on the secondary's QMP socket any more")
        return []

    def _primary_lost_unseen(self, pvm: _Vm, svm: Snapshot | None) -> str:
        """Why the states prove that the service is the SVM's now; empty when they do not."""
        if svm is None:
            return ""
        if svm.mode == "none" and svm.last_mode == "secondary" and svm.running:
            return "the secondary has already taken over"
        if self._was_colo and svm.mode == "secondary":
            if pvm.sight == "gone":
                return "nobody listens on the primary's QMP socket any more"
            # A PVM that left COLO by order says so in its last mode; this one is another QEMU.
            if pvm.snapshot is not None and (pvm.snapshot.mode, pvm.snapshot.last_mode) == ("none", "none"):
                return "another QEMU answers on the primary's QMP socket"
        return ""


def _other(side: Side) -> Side:
    return Side.SECONDARY if side is Side.PRIMARY else Side.PRIMARY
