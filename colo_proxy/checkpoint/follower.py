"""What an unmodified QEMU pair is doing, told from its QMP events. No I/O; time only as the events' stamps.

How it works. Each side's adapter says what it sees of one QEMU (`connected`, `polled`, `event`,
`blind`, `gone`); each call answers with the news for the checkpoint machine, in order. A
checkpoint of QEMU (11.1, migration/colo.c) is, on one host's clock,

    SVM STOP < PVM STOP < SVM RESUME (its state has been replaced) < PVM RESUME (SVM said so)

and the two sockets may deliver these in any interleaving. So the stop of one side alone is no
checkpoint (an operator may pause a VM): two stops whose intervals overlap are. It is
committed once *both* have resumed with no `COLO_EXIT` before: the PVM resumes of itself only after the SVM's
`VMSTATE_LOADED`; a resume made by `x-colo-lost-heartbeat` follows `COLO_EXIT`.

What proves a death is that nobody listens any more where QEMU was seen listening. A connection that closes or
hangs proves nothing (`blind`), nor does `COLO_EXIT`: the SVM emits it when its link to the
PVM fails. Nor does an absence at the start: a path may be mistyped, so nothing is lost that was never seen.

| phase | what is known | the news on entering it |
| --- | --- | --- |
| WAITING | not enough; hold | BLIND |
| APART | the PVM runs without a replica | UNPROTECTED or REPLICA_LOST |
| COLO | both are in the COLO state | IN_STEP |
| OVER | the SVM is the service | PRIMARY_LOST |
"""

from dataclasses import dataclass, field
from enum import Enum, auto


class Side(Enum):
    """One of the two VMs."""

    PRIMARY = "primary"
    SECONDARY = "secondary"

    @property
    def other(self) -> "Side":
        """The peer."""
        return Side.SECONDARY if self is Side.PRIMARY else Side.PRIMARY


class Phase(Enum):
    """What the pair is known to be."""

    WAITING = auto()
    APART = auto()
    COLO = auto()
    OVER = auto()


class Kind(Enum):
    """What the checkpoint machine is told."""

    UNPROTECTED = auto()  # the PVM runs alone: its output may pass
    IN_STEP = auto()  # both are in COLO; what each said before is unknown: hold, and ask for a checkpoint
    SVM_STOPPED = auto()  # stamp: when the SVM stopped, in a checkpoint
    PVM_STOPPED = auto()
    COMMITTED = auto()  # stamp: when the PVM resumed; the SVM has loaded the PVM's state
    ABORTED = auto()  # a checkpoint that began did not end, or its end was not seen
    BLIND = auto()  # the pair cannot be followed: hold until it can
    REPLICA_LOST = auto()  # tell the PVM to go on alone
    PRIMARY_LOST = auto()  # tell the SVM to take over


@dataclass(frozen=True, slots=True)
class News:
    """One thing the checkpoint machine must know.

    `stamp_ns` is QEMU's wall clock (`CLOCK_REALTIME`) in nanoseconds, microsecond steps, where the
    kind has one. `replaced` belongs to PRIMARY_LOST: the SVM had loaded the state of an uncommitted
    checkpoint, so it goes on from there; otherwise it goes on from before its stop.
    """

    kind: Kind
    stamp_ns: int = 0
    text: str = ""
    replaced: bool = False


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
    exited: bool = False  # the SVM said COLO_EXIT: its mode still reads `secondary` until it is told (11.1)
    stop_ns: int | None = None
    resume_ns: int | None = None

    @property
    def live(self) -> bool:
        return self.sight == "live"

    def forget_stop(self) -> None:
        self.stop_ns = self.resume_ns = None


@dataclass(slots=True)
class Follower:
    """The pair, as far as its two QMP connections tell."""

    phase: Phase = Phase.WAITING
    _vms: dict[Side, _Vm] = field(default_factory=lambda: {side: _Vm() for side in Side})
    _was_colo: bool = False
    _replaced: bool = False  # in the last checkpoint that was given up, the SVM had loaded the state
    _checkpoint: bool = False  # SVM_STOPPED and PVM_STOPPED were told
    _later: list[tuple[Side, str, int]] = field(default_factory=list)

    # What the adapters see.

    def connected(self, side: Side, snapshot: Snapshot) -> list[News]:
        """A QMP session with this side has begun, and this is its state."""
        vm = self._vms[side]
        vm.seen, vm.sight, vm.shut_down, vm.exited = True, "live", False, False
        vm.forget_stop()
        return self.polled(side, snapshot)

    def polled(self, side: Side, snapshot: Snapshot) -> list[News]:
        """The state of a connected side, asked for again."""
        self._vms[side].snapshot = snapshot
        # In COLO, events tell of every change; an answer may be older than an event already taken in.
        return [] if self.phase in (Phase.COLO, Phase.OVER) else self._look()

    def blind(self, side: Side, why: str) -> list[News]:
        """The session is lost or there is none, and QEMU may well be alive."""
        vm = self._vms[side]
        known = vm.live
        vm.sight, vm.snapshot = "unknown", None
        if self.phase is not Phase.COLO or not known:
            return []
        self.phase = Phase.WAITING
        return [*self._give_up("its end could not be seen"), News(Kind.BLIND, text=f"{side.value}: {why}")]

    def gone(self, side: Side, why: str) -> list[News]:
        """Nobody listens at this side's socket."""
        vm = self._vms[side]
        if vm.sight == "gone":
            return []
        vm.sight, vm.snapshot = "gone", None
        if self.phase is Phase.OVER or not vm.seen or not self._was_colo or self.phase is Phase.APART:
            return []
        if vm.shut_down:
            self.phase = Phase.WAITING
            return [*self._give_up("the guest shut down"), News(Kind.BLIND, text="the guest has shut down")]
        if not self._vms[side.other].live:
            return []  # its peer may come into sight again; until then nothing can be decided
        return self._lost(side, why)

    def event(self, side: Side, name: str, stamp_ns: int, data: dict[str, object]) -> list[News]:
        """A QMP event of this side, in the order its socket gave them."""
        if name in ("STOP", "RESUME"):
            return self._stop_or_resume(side, name, stamp_ns)
        if name == "SHUTDOWN" and data.get("guest") is True:
            self._vms[side].shut_down = True
        if name == "COLO_EXIT" and self.phase in (Phase.COLO, Phase.WAITING):
            return self._colo_exit(side, str(data.get("reason")))
        return []

    def give_up_primary(self, why: str) -> list[News]:
        """An operator says that the PVM is lost; nothing else is asked."""
        return [] if self.phase is Phase.OVER else self._lost(Side.PRIMARY, why)

    # Checkpoints.

    def _stop_or_resume(self, side: Side, name: str, stamp_ns: int) -> list[News]:
        if self.phase is not Phase.COLO:
            return []
        vm = self._vms[side]
        if self._checkpoint and vm.resume_ns is not None:
            # This side is already in the next checkpoint; the other's end of this one is still to be read.
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
        news = []
        if not self._checkpoint:
            apart = (svm.resume_ns is not None and svm.resume_ns < pvm.stop_ns) or (
                pvm.resume_ns is not None and pvm.resume_ns < svm.stop_ns
            )
            if apart:
                return []  # one of them was only paused
            self._checkpoint, self._replaced = True, False
            news = [News(Kind.SVM_STOPPED, svm.stop_ns), News(Kind.PVM_STOPPED, pvm.stop_ns)]
        if pvm.resume_ns is not None and svm.resume_ns is not None:
            news.append(News(Kind.COMMITTED, pvm.resume_ns))
            self._end()
            later, self._later = self._later, []
            for side, name, stamp_ns in later:
                news += self._stop_or_resume(side, name, stamp_ns)
        return news

    def _end(self) -> None:
        self._checkpoint = False
        for vm in self._vms.values():
            vm.forget_stop()

    def _give_up(self, why: str) -> list[News]:
        begun = self._checkpoint
        if begun:
            self._replaced = self._vms[Side.SECONDARY].resume_ns is not None
        self._later.clear()
        self._end()
        return [News(Kind.ABORTED, text=f"the checkpoint did not complete: {why}")] if begun else []

    # Losses, and the pair's state without events.

    def _colo_exit(self, side: Side, reason: str) -> list[News]:
        if side is Side.PRIMARY:
            # QEMU on the PVM says that it has lost the SVM, or was told so.
            return self._lost(Side.SECONDARY, f"the primary left COLO: {reason}")
        if reason == "request":
            return self._lost(Side.PRIMARY, "the secondary was told to take over")
        # The SVM has lost its link to the PVM. Whether the PVM lives is for its own socket to say.
        self._vms[side].exited = True
        self.phase = Phase.WAITING
        return [
            *self._give_up("the secondary left COLO"),
            News(Kind.BLIND, text=f"the secondary left COLO: {reason}"),
        ]

    def _lost(self, side: Side, why: str) -> list[News]:
        begun = self._give_up(why)
        self._was_colo = False
        if side is Side.PRIMARY:
            self.phase = Phase.OVER
            return [News(Kind.PRIMARY_LOST, text=why, replaced=self._replaced)]
        self.phase = Phase.APART
        self._vms[Side.PRIMARY].snapshot = None  # it leaves COLO now; ask again
        return [*begun, News(Kind.REPLICA_LOST, text=why)]

    def _look(self) -> list[News]:
        """Decide from the two states alone, at the start and while there is no COLO."""
        pvm, svm = self._vms[Side.PRIMARY], self._vms[Side.SECONDARY]
        if death := self._primary_lost_unseen(pvm, svm.snapshot):
            return self._lost(Side.PRIMARY, death)
        if pvm.snapshot is None:
            return []
        if pvm.snapshot.mode == "none" and self.phase is Phase.WAITING:
            self.phase, self._was_colo = Phase.APART, False
            return [News(Kind.UNPROTECTED, text="the primary is not in the COLO state")]
        if pvm.snapshot.mode == "primary":
            if svm.snapshot is not None and svm.snapshot.mode == "secondary" and not svm.exited:
                self.phase, self._was_colo, self._replaced = Phase.COLO, True, False
                self._end()
                return [News(Kind.IN_STEP)]
            if self._was_colo and svm.sight == "gone":
                return self._lost(Side.SECONDARY, "nobody listens on the secondary's QMP socket any more")
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
