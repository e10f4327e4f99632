"""The comparator over two captures: what the proxy would have done with what PVM and SVM said.

Both captures are read twice and never held: once to see whose they are and when, once to be merged by time
and fed; and once more in between where it is hard to tell whose they are. In the primary's capture, frames
that the VM did not send are its clients' and are fed as the uplink's; in the secondary's they are the same
clients' copies and are left out.
"""

import heapq
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from enum import IntEnum
from operator import itemgetter
from pathlib import Path
from typing import Any

from colo_proxy.capture.origin import Heard, Survey, listen, mac_text, survey, vm_address
from colo_proxy.capture.reader import NS, Capture, Captured, CaptureError
from colo_proxy.datapath.comparator import Comparator
from colo_proxy.errors import UserError
from colo_proxy.words import Divergence, Exhausted, Frame, Mode, Port

# A capture waits for nobody, so more may be held than by a proxy that guards a service.
MAX_HELD_BYTES = 1 << 30
MAX_FLOW_BYTES = 1 << 28
MAX_FLOWS = 1_000_000
_COUNT_EVERY = 30 * NS  # the comparator forgets a flow that is over after 60 s


@dataclass(slots=True)
class Result:
    """What `colo-proxy compare` reports. Frames count what the VM sent; times are those of the primary's
    capture.
    """

    vm: bytes | None = None  # MAC address; None where the captures are empty
    shift: int = 0  # ns that were added to the secondary's times
    later: int = 0  # ns by which the secondary's capture began after the primary's, where they were not moved
    flows: int = 0
    primary_frames: int = 0
    secondary_frames: int = 0
    released_frames: int = 0
    held_frames: int = 0
    divergences: list[Divergence] = field(default_factory=list)

    @property
    def identical(self) -> bool:
        return not self.divergences

    def as_json(self) -> dict[str, Any]:
        """The object that `--json` prints; programs rely on its names."""
        return {
            "verdict": "identical" if self.identical else "diverged",
            "flows": self.flows,
            "primary_frames": self.primary_frames,
            "secondary_frames": self.secondary_frames,
            "released_frames": self.released_frames,
            "held_frames": self.held_frames,
            "divergences": [
                {
                    "flow": divergence.flow,
                    "reason": divergence.reason.label,
                    "stream_offset": divergence.stream_offset,
                    "time": divergence.time / NS,
                }
                for divergence in self.divergences
            ],
        }


class Origin(IntEnum):
    """Who said it; at the same instant, clients first, and the PVM before the SVM."""

    CLIENT = 0
    PVM = 1
    SVM = 2


class Comparison:
    """One run over two captures. `primary` and `secondary` tell how far it has got."""

    def __init__(
        self,
        primary: str | Path,
        secondary: str | Path,
        *,
        vm: bytes | None = None,
        timeout_ms: int = 3000,
        reorder_ms: int = 5,
        released: Callable[[int, bytes], None] | None = None,
    ) -> None:
        """`released` gets each frame that clients would have received, with its time in ns.

        Raises CaptureError if a capture cannot be read.
        """
        self.primary = Capture(primary)
        self.secondary = Capture(secondary)
        self._vm = vm
        self._released = released
        self.progress: Callable[[], None] | None = None  # called now and then
        self._passes = 0  # done, of so many
        self._all_passes = 2
        self._horizon = 4 * (timeout_ms + reorder_ms) * 1_000_000
        self._comparator = Comparator(
            timeout_ms=timeout_ms,
            reorder_ms=reorder_ms,
            max_held_bytes=MAX_HELD_BYTES,
            max_flow_bytes=MAX_FLOW_BYTES,
            max_flows=MAX_FLOWS,
            observe=True,
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
        pvm = survey(self._watched(self.primary))
        svm = survey(self._watched(self.secondary))
        if pvm.frames or svm.frames:
            self._result.vm = self._identify(pvm, svm)
            self._result.shift = _shift(pvm, svm, self._horizon)
            if pvm.frames and svm.frames and not self._result.shift:
                self._result.later = svm.first - pvm.first
        self._next_pass()
        self._feed()
        self._result.flows = len(self._flows)
        return self._result

    def _identify(self, pvm: Survey, svm: Survey) -> bytes:
        if self._vm is None:
            return vm_address(pvm, svm, self._listen)
        if self._vm not in pvm.sources and self._vm not in svm.sources:
            seen = sorted(mac_text(address) for address, _ in (pvm.sources + svm.sources).most_common(8))
            raise CaptureError(
                f"{mac_text(self._vm)} sent no frame in either capture; "
                f"give as --vm-mac one of {', '.join(seen)}"
            )
        return self._vm

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

    def _frames(self) -> Iterator[tuple[int, Origin, bytes]]:
        """Both captures as one, by time; what the SVM was sent is left out.

        A time that goes backwards inside a capture counts as the latest seen: the file's order is what the
        port saw.
        """
        vm = self._result.vm

        def of(capture: Capture, said: Origin, others: Origin | None, shift: int) -> Iterator[Any]:
            latest = 0
            for time, data, *_ in self._watched(capture):
                latest = max(latest, time + shift)
                origin = said if data[6:12] == vm else others
                if origin is not None:
                    yield latest, origin, data

        return heapq.merge(
            of(self.primary, Origin.PVM, Origin.CLIENT, 0),
            of(self.secondary, Origin.SVM, None, self._result.shift),
            key=itemgetter(0, 1),
        )

    def _feed(self) -> None:
        comparator = self._comparator
        deadline = sample = 0
        for time, origin, data in self._frames():
            if time >= sample:
                self._count_flows()
                sample = time + _COUNT_EVERY
            self._wait_until(deadline, time)
            match origin:
                case Origin.CLIENT:
                    comparator.uplink(data, time)
                case Origin.PVM:
                    self._result.primary_frames += 1
                    comparator.primary(data, time)
                case Origin.SVM:
                    self._result.secondary_frames += 1
                    comparator.secondary(data, time)
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
