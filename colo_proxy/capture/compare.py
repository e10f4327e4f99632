"""The comparator over two captures: what the proxy would have done with what PVM and SVM said.

Both captures are read twice and never held: once to see whose they are and when, once to be merged by time
and fed; and once more in between where it is hard to tell whose they are. In the primary's capture, frames
that the VM did not send are its clients' and are fed as the uplink's; in the secondary's they are the same
clients' copies, which only show what the SVM has received (T10a of docs/comparison.md).
"""

import heapq
import os
from collections.abc import Callable, Iterator, Sequence
from enum import IntEnum
from operator import itemgetter
from pathlib import Path

from colo_proxy.capture.notices import of_addresses, of_file, of_frames, of_nothing, of_shift, of_withheld
from colo_proxy.capture.origin import Heard, Survey, listen, mac_text, survey, vm_address
from colo_proxy.capture.reader import NS, Capture, Captured, CaptureError
from colo_proxy.capture.result import NotCompared, Result
from colo_proxy.capture.tap import Tap, is_fragment
from colo_proxy.capture.times import Times, steady
from colo_proxy.core.comparator import Comparator
from colo_proxy.errors import UserError
from colo_proxy.vocabulary import Divergence, Drop, Exhausted, Frame, Missed, Mode, Port, Reason

# A capture waits for nobody, so more may be held than by a proxy that guards a service.
MAX_HELD_BYTES = 1 << 30
MAX_FLOW_BYTES = 1 << 28
MAX_FLOWS = 1_000_000
DIGEST_BYTES = 64 << 20  # of retransmissions, whose bytes are always compared here (T14)
_COUNT_EVERY = 30 * NS  # the comparator forgets a flow that is over after 60 s


class Origin(IntEnum):
    """Who said it; at the same instant, clients first, and the PVM before the SVM."""

    CLIENT = 0
    PVM = 1
    SVM = 2
    COPY = 3  # a client; the SVM's copy


_Said = tuple[int, Origin, bytes, bytes | None]  # time in ns, who, frame and virtio-net header


class Comparison:
    """One run over two captures. `primary` and `secondary` tell how far it has got."""

    def __init__(
        self,
        primary: str | Path,
        secondary: str | Path,
        *,
        vms: Sequence[bytes] = (),
        timeout_ms: int = 3000,
        reorder_ms: int = 5,
        released: Callable[[int, bytes], None] | None = None,
    ) -> None:
        """`vms` are the VM's MAC addresses; none: the captures tell. `released` gets each frame that clients
        would have received, with its time in ns.

        Raises CaptureError if a capture cannot be read.
        """
        self.primary = Capture(primary, cut=True)
        self.secondary = Capture(secondary, cut=True)
        self._vms = tuple(vms)
        self._released = released
        self.progress: Callable[[], None] | None = None  # called now and then
        self._passes = 0  # done, of so many
        self._all_passes = 2
        self._timeout = timeout_ms * 1_000_000
        self._horizon = 4 * (timeout_ms + reorder_ms) * 1_000_000
        self._comparator = Comparator(
            timeout_ms=timeout_ms,
            reorder_ms=reorder_ms,
            max_held_bytes=MAX_HELD_BYTES,
            max_flow_bytes=MAX_FLOW_BYTES,
            max_flows=MAX_FLOWS,
            observe=True,
            captured=True,
            digest_bytes=DIGEST_BYTES,
            seed=int.from_bytes(os.urandom(8), "little"),
            mode=Mode.COMPARE,
        )
        self._result = Result()
        self._flows: set[str] = set()
        self._last = 0

    @property
    def done(self) -> float:
        """The part of the work that is done, 0 to 1."""
        size = (self.primary.size + self.secondary.size) or 1
        read = self.primary.position + self.secondary.position
        return min((self._passes * size + read) / (self._all_passes * size), 1.0)

    def run(self) -> Result:
        """Compare. Raises CaptureError where a capture makes no sense or does not tell what the VM sent."""
        pvm = survey(steady(self._watched(self.primary), Times()))
        svm = survey(steady(self._watched(self.secondary), Times()))
        shift = 0
        if pvm.frames or svm.frames:
            self._result.vms = self._identify(pvm, svm)
            shift = _shift(pvm, svm, self._horizon)
        vms = self._result.vms
        taps = Tap(self.primary.path, vms), Tap(self.secondary.path, vms)
        self._next_pass()
        self._feed(self._frames(*taps, shift))
        self._result.flows = len(self._flows)
        self._result.primary_frames, self._result.secondary_frames = (tap.frames for tap in taps)
        self._result.looked_at = all(tap.comparable for tap in taps)
        self._leave_out(*taps)
        self._result.notices += of_shift(taps, (pvm, svm), shift, self._result, self._timeout)
        for capture, tap in zip((self.primary, self.secondary), taps, strict=True):
            self._result.notices += of_file(capture, tap)
        self._result.notices += of_addresses(taps, (pvm, svm))
        self._result.notices += of_nothing(taps, self._result)
        self._result.notices += of_withheld(taps[0], self._result)
        self._result.notices += of_frames(taps)
        return self._result

    def _identify(self, pvm: Survey, svm: Survey) -> tuple[bytes, ...]:
        if not self._vms:
            return (vm_address(pvm, svm, self._listen),)
        for vm in self._vms:
            if vm not in pvm.sources and vm not in svm.sources:
                seen = sorted(mac_text(address) for address, _ in (pvm.sources + svm.sources).most_common(8))
                raise CaptureError(
                    f"{mac_text(vm)} sent no frame in either capture; "
                    f"give as --vm-mac one of {', '.join(seen)}"
                )
        return self._vms

    def _leave_out(self, *taps: Tap) -> None:
        """What was not looked at; of a flow whose frames are cut, what seems to be missing may be there.

        Of any flow, where it is not known whose the frames are.
        """
        cut = {flow for tap in taps for flow in tap.cut}
        missing = [each for each in self._result.not_compared if each.flow not in cut]
        self._result.not_compared = [each for tap in taps for each in tap.not_compared()] + missing
        if fragments := self._comparator.counters["dropped"][Drop.FRAGMENT]:
            self._result.not_compared.append(NotCompared("dropped", fragments))
            self._leave_out_pieces(taps[1].pieces)
        self._result.divergences = [
            each
            for each in self._result.divergences
            if not (each.flow in cut or None in cut) or each.reason in (Reason.PAYLOAD, Reason.CONTROL)
        ]

    def _leave_out_pieces(self, of_svm: set[str]) -> None:
        """Datagrams of which either capture has a part of the fragments: nobody could compare them."""
        lost = [
            each
            for each in self._result.divergences
            if each.reason is Reason.MISSING_SECONDARY
            and each.flow in of_svm
            and each.primary is not None
            and is_fragment(each.primary)
        ]
        for each in lost:
            self._result.divergences.remove(each)
            self._result.not_compared.append(NotCompared("dropped", None, None, each.flow))

    def _listen(self, candidates: set[bytes]) -> tuple[Heard, Heard]:
        self._all_passes += 1
        self._next_pass()
        primary, secondary = (
            listen(self._watched(each), candidates) for each in (self.primary, self.secondary)
        )
        return primary, secondary

    def _next_pass(self) -> None:
        self._passes += 1
        self.primary.position = self.secondary.position = 0

    def _watched(self, capture: Capture) -> Iterator[Captured]:
        for frame in capture:
            if self.progress and capture.frames & 0x3FF == 0:
                self.progress()
            yield frame

    def _frames(self, primary: Tap, secondary: Tap, shift: int) -> Iterator[_Said]:
        """Both captures as one, by time, the secondary's moved by `shift`."""

        def of(capture: Capture, tap: Tap, said: Origin, others: Origin, shift: int) -> Iterator[_Said]:
            for frame in steady(self._watched(capture), tap.times):
                if (taken := tap.take(frame)) is None:
                    continue
                from_vm, data, vnet = taken
                yield frame.time + shift, said if from_vm else others, data, vnet

        return heapq.merge(
            of(self.primary, primary, Origin.PVM, Origin.CLIENT, 0),
            of(self.secondary, secondary, Origin.SVM, Origin.COPY, shift),
            key=itemgetter(0, 1),
        )

    def _feed(self, frames: Iterator[_Said]) -> None:
        comparator = self._comparator
        deadline = sample = 0
        for time, origin, data, vnet in frames:
            if origin is Origin.COPY:
                comparator.received(data, time, vnet)
                continue
            if time >= sample:
                self._count_flows()
                sample = time + _COUNT_EVERY
            self._wait_until(deadline, time)
            match origin:
                case Origin.CLIENT:
                    comparator.uplink(data, time, vnet)
                case Origin.PVM:
                    comparator.primary(data, time, vnet)
                case Origin.SVM:
                    comparator.secondary(data, time, vnet)
            self._take(time)
            deadline = comparator.tick(time)
            self._take(time)
            self._last = time
        self._count_flows()
        comparator.finish(self._last)
        self._take(self._last)
        self._result.held_frames = comparator.counters["held_frames"]

    def _wait_until(self, deadline: int, time: int) -> None:
        """Let each deadline before a frame pass at its own time, as it would have.

        Beyond the horizon nothing waits any more, however long the capture's pause is.
        """
        horizon = min(time, self._last + self._horizon)
        while self._last < deadline < horizon:
            self._last = deadline
            deadline = self._comparator.tick(deadline)
            self._take(self._last)

    def _take(self, time: int) -> None:
        for what in self._comparator.take():
            match what:
                case Frame(port=Port.UPLINK):
                    self._result.released_frames += 1
                    if self._released:
                        self._released(time, what.data)
                case Divergence():
                    self._result.divergences.append(what)
                case Missed():
                    self._result.not_compared.append(
                        NotCompared("missing", None, what.end - what.begin, what.flow, what.begin, what.end)
                    )
                case Exhausted():
                    raise UserError(
                        f"{self.primary.path}: what waits for the SVM exceeds {MAX_HELD_BYTES >> 20} MiB or "
                        f"{MAX_FLOWS:,} flows; compare shorter captures, or give a shorter --timeout-ms"
                    )

    def _count_flows(self) -> None:
        self._flows.update(flow.flow for flow in self._comparator.flows())


def _shift(pvm: Survey, svm: Survey, apart: int) -> int:
    """What to add to the secondary's times: nothing, unless they are too far apart for anything to match."""
    if not pvm.frames or not svm.frames or (pvm.first <= svm.last + apart and svm.first <= pvm.last + apart):
        return 0
    return pvm.first - svm.first
