"""The times of a capture's frames, made to go forward; what was wrong with them is counted.

Clocks are set and files are damaged. One frame that is dated far ahead would otherwise put all frames behind
it at that time, and after all that the other capture holds.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from colo_proxy.capture.reader import NS, Captured

_APART = NS  # ns; by less than this, frames of several queues may be out of order
_DAY = 86_400 * NS  # no capture stands still for so long before its last frame


@dataclass(slots=True)
class Times:
    """What was found; frames are numbered from 1, as people do."""

    ahead: int = 0  # frames that were dated far ahead, and got the time of the frame before
    first_ahead: int = 0  # the number of the first of them
    by: int = 0  # ns, at most
    back: int = 0  # frames dated long before the one ahead of them
    first_back: int = 0
    back_by: int = 0


def steady(frames: Iterable[Captured], found: Times) -> Iterator[Captured]:
    """The frames in the order of the file, no time before the one ahead of it."""
    latest: int | None = None
    waiting: Captured | None = None
    number = 0
    for number, frame in enumerate(frames):
        if waiting is not None:
            if waiting.time - frame.time > _APART and (latest is None or frame.time >= latest):
                _ahead(found, number, waiting.time - frame.time)
                waiting = waiting._replace(time=frame.time if latest is None else latest)
            waiting = _forward(waiting, latest, found, number)
            latest = waiting.time
            yield waiting
        waiting = frame
    if waiting is None:
        return
    if latest is not None and waiting.time - latest > _DAY:
        _ahead(found, number + 1, waiting.time - latest)
        waiting = waiting._replace(time=latest)
    yield _forward(waiting, latest, found, number + 1)


def _ahead(found: Times, number: int, by: int) -> None:
    found.ahead += 1
    found.first_ahead = found.first_ahead or number
    found.by = max(found.by, by)


def _forward(frame: Captured, latest: int | None, found: Times, number: int) -> Captured:
    if latest is None or frame.time >= latest:
        return frame
    if latest - frame.time > _APART:
        found.back += 1
        found.first_back = found.first_back or number
        found.back_by = max(found.back_by, latest - frame.time)
    return frame._replace(time=latest)
