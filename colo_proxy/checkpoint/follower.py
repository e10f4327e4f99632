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

| phase | what is known | what is heeded (`_HEEDED`) |
| --- | --- | --- |
| WAITING | not enough; output is held | states, `COLO_EXIT` |
| APART | the PVM runs without a replica | states |
| COLO | both are in the COLO state | `STOP`, `RESUME`, `COLO_EXIT`, lost sight, deaths |
| BLIND | both were, but one is out of sight or the guest has shut down | states, `COLO_EXIT`, deaths |
| LOSING | the PVM is dead; whether the SVM has its state is asked | as in COLO, and answers to `Ask` |
| OVER | the SVM is the service | nothing |

Within COLO and LOSING a checkpoint goes through `Step`, as `_STEPS` says.
"""

from collections.abc import Callable
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
    BLIND = auto()
    LOSING = auto()
    OVER = auto()


# In which phases each kind of input counts; in the others it changes nothing.
_HEEDED = {
    "state": {Phase.WAITING, Phase.APART, Phase.BLIND},  # in COLO an answer may be older than an event
    "blind": {Phase.COLO, Phase.LOSING},
    "gone": {Phase.COLO, Phase.BLIND, Phase.LOSING},
    "answer": {Phase.LOSING},
    "stop": {Phase.COLO, Phase.LOSING},
    "exit": {Phase.WAITING, Phase.COLO, Phase.BLIND, Phase.LOSING},
}


class Step(Enum):
    """How far a checkpoint has come, as the machine has been told."""

    NONE = auto()
    STOPPED = auto()  # both VMs
    LOADED = auto()  # the SVM has the PVM's state


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


def _both_stopped(pvm: _Vm, svm: _Vm) -> bool:
    """Whether the stops overlap: else one of them was only paused."""
    if pvm.stop_ns is None or svm.stop_ns is None:
        return False
    return not (
        (svm.resume_ns is not None and svm.resume_ns < pvm.stop_ns)
        or (pvm.resume_ns is not None and pvm.resume_ns < svm.stop_ns)
    )


def _wrong_order(pvm: _Vm, svm: _Vm) -> bool:
    """A checkpoint lets the PVM go on last: somebody paused both, and nothing was copied."""
    return pvm.resume_ns is not None and svm.resume_ns is not None and pvm.resume_ns < svm.resume_ns - _SKEW


def _seen(stamp_ns: int | None) -> int:
    """The stamp of an event without which the step would not have been taken."""
    if stamp_ns is None:
        raise AssertionError("a step was taken before its events were seen")
    return stamp_ns


def _stops(pvm: _Vm, svm: _Vm) -> list[Event]:
    return [SvmStopped(_seen(svm.stop_ns)), PvmStopped(_seen(pvm.stop_ns))]


def _loaded(_: _Vm, svm: _Vm) -> list[Event]:
    return [SvmLoaded(_seen(svm.resume_ns))]


def _committed(pvm: _Vm, _: _Vm) -> list[Event]:
    return [Committed(_seen(pvm.resume_ns))]


def _paused(_: _Vm, __: _Vm) -> list[Event]:
    return [Unsure("both VMs were paused, and the primary went on first: no checkpoint")]


# From where, when, to where, and what the machine is told. The first that applies is done, then the next.
_STEPS: tuple[tuple[Step, Callable[[_Vm, _Vm], bool], Step, Callable[[_Vm, _Vm], list[Event]]], ...] = (
    (Step.NONE, _both_stopped, Step.STOPPED, _stops),
    (Step.STOPPED, _wrong_order, Step.NONE, _paused),
    (Step.STOPPED, lambda _, svm: svm.resume_ns is not None, Step.LOADED, _loaded),
    (Step.LOADED, _wrong_order, Step.NONE, _paused),
    (Step.LOADED, lambda pvm, _: pvm.resume_ns is not None, Step.NONE, _committed),
)


@dataclass(slots=True)
class Follower:
    """The pair, as far as its two QMP connections tell."""

    phase: Phase = Phase.WAITING
    _vms: dict[Side, _Vm] = field(default_factory=lambda: {side: _Vm() for side in Side})
    _step: Step = Step.NONE
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
        return self._look() if self._heeds("state") else []

    def blind(self, side: Side, why: str) -> list[News]:
        """The session is lost or there is none, and QEMU may well be alive."""
        vm = self._vms[side]
        known = vm.sight == "live"
        vm.sight, vm.snapshot = "unknown", None
        if not known or not self._heeds("blind"):
            return []
        return self._lose_sight(f"{side.value}: {why}")

    def gone(self, side: Side, why: str) -> list[News]:
        """Nobody listens at this side's socket."""
        vm, other = self._vms[side], self._vms[_other(side)]
        if vm.sight == "gone":
            return []
        vm.sight, vm.snapshot = "gone", None
        if not vm.seen or not self._heeds("gone"):
            return []
        if vm.shut_down:
            return self._lose_sight("the guest has shut down")
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
        if not self._heeds("answer"):
            return []
        if self._vms[side].stopped and attempt < 3:
            return [Ask(side, attempt + 1)]
        return self._primary_lost("nothing listens on the primary's QMP socket any more")

    def event(self, side: Side, name: str, stamp_ns: int, data: dict[str, object]) -> list[News]:
        """A QMP event of this side, in the order its socket gave them."""
        if name in ("STOP", "RESUME"):
            return self._stop_or_resume(side, name, stamp_ns)
        if name == "SHUTDOWN" and data.get("guest") is True:
            self._vms[side].shut_down = True
        if name == "COLO_EXIT" and self._heeds("exit"):
            return self._colo_exit(side, str(data.get("reason")))
        return []

    def give_up_primary(self) -> None:
        """The SVM takes over, on whoever's word: what the pair does from now on is of no consequence."""
        self._primary_lost("")

    def _heeds(self, what: str) -> bool:
        return self.phase in _HEEDED[what]

    # Checkpoints.

    def _stop_or_resume(self, side: Side, name: str, stamp_ns: int) -> list[News]:
        if not self._heeds("stop"):
            return []
        vm = self._vms[side]
        if self._step is not Step.NONE and vm.resume_ns is not None:
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
        news: list[News] = []
        if pvm.stop_ns is None or svm.stop_ns is None:
            return news
        while step := next((step for step in _STEPS if step[0] is self._step and step[1](pvm, svm)), None):
            _, _, self._step, tell = step
            news += tell(pvm, svm)
            if self._step is Step.NONE:
                later = self._later if tell is _committed else []
                self._forget_checkpoint()
                for event in later:
                    news += self._stop_or_resume(*event)
                break
        return news

    def _forget_checkpoint(self) -> None:
        self._step = Step.NONE
        self._later = []
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
            return self._primary_lost("nothing listens on the primary's QMP socket any more")
        # Its link to the PVM is dead, perhaps not the PVM. It still runs, and what both say may still leave.
        return [Probe()]

    def _replica_lost(self, why: str) -> list[News]:
        self._forget_checkpoint()
        self.phase = Phase.APART
        self._vms[Side.PRIMARY].snapshot = None  # it leaves COLO now; ask again
        return [ReplicaLost(why), GoOnAlone()]

    def _primary_lost(self, why: str) -> list[News]:
        self._forget_checkpoint()
        self.phase = Phase.OVER
        return [PrimaryLost(why)]

    def _lose_sight(self, why: str) -> list[News]:
        self._forget_checkpoint()
        self.phase = Phase.BLIND
        return [Unsure(why)]

    # The pair's state without events: at the start, and while there is no COLO.

    def _look(self) -> list[News]:
        pvm, svm = self._vms[Side.PRIMARY], self._vms[Side.SECONDARY]
        if death := self._primary_lost_unseen(pvm, svm.snapshot):
            return self._primary_lost(death)
        if pvm.snapshot is None:
            return []
        if pvm.snapshot.mode == "none" and self.phase is not Phase.APART:
            self.phase = Phase.APART
            return [ReplicaLost("the primary is not in the COLO state")]
        if pvm.snapshot.mode == "primary":
            if svm.snapshot is not None and svm.snapshot.mode == "secondary" and not svm.exited:
                self._forget_checkpoint()
                self.phase = Phase.COLO
                return [Unsure("both are in the COLO state; their past is not known")]
            if self.phase is Phase.BLIND and svm.sight == "gone":
                return self._replica_lost("nothing listens on the secondary's QMP socket any more")
        return []

    def _primary_lost_unseen(self, pvm: _Vm, svm: Snapshot | None) -> str:
        """Why the states prove that the service is the SVM's now; empty when they do not."""
        if svm is None:
            return ""
        if svm.mode == "none" and svm.last_mode == "secondary" and svm.running:
            return "the secondary has already taken over"
        if self.phase is Phase.BLIND and svm.mode == "secondary":
            if pvm.sight == "gone":
                return "nothing listens on the primary's QMP socket any more"
            # A PVM that left COLO by order says so in its last mode; this one is another QEMU.
            if pvm.snapshot is not None and (pvm.snapshot.mode, pvm.snapshot.last_mode) == ("none", "none"):
                return "another QEMU answers on the primary's QMP socket"
        return ""


def _other(side: Side) -> Side:
    return Side.SECONDARY if side is Side.PRIMARY else Side.PRIMARY
