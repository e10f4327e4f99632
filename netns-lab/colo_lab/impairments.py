"""What a bad link does to frames, as devices that stack: loss, duplication, reordering. No I/O, no clock.

A device takes frames one at a time, in the order in which they were sent, and gives on those that go on
now. What it keeps goes on later: when other frames have passed, when its time has come (`due`, `late`), or
when all is to be let go (`flush`). Times are nanoseconds, never backwards.

Each device of each direction draws from a generator of its own, a fixed number of draws for each frame. So
what becomes of a direction's frame number n depends on the seed alone, not on the frames or on their times.
The one exception is where a kept frame goes on: its time may come before enough frames have passed.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import Protocol

MILLISECOND = 1_000_000
OVERTAKING, KEPT_NS = 8, 5 * MILLISECOND  # a frame is overtaken by so many at most, and waits so long at most


class Device(Protocol):
    """One fault."""

    @property
    def hits(self) -> int:
        """How many frames it has struck."""

    def take(self, frame: bytes, now: int) -> Sequence[bytes]:
        """The frames that go on, now that this one has come."""

    def due(self) -> int | None:
        """When `late` is to be called next; None: no frame waits."""

    def late(self, now: int) -> Sequence[bytes]:
        """The frames whose time has come."""

    def flush(self, now: int) -> Sequence[bytes]:
        """All frames that wait."""


class Passing:
    """What a device does that keeps no frame."""

    hits = 0

    def due(self) -> int | None:
        return None

    def late(self, now: int) -> Sequence[bytes]:  # noqa: ARG002 - the protocol's
        return ()

    def flush(self, now: int) -> Sequence[bytes]:  # noqa: ARG002
        return ()


class Loss(Passing):
    """Drops a share of the frames, each for itself."""

    def __init__(self, share: float, random: Random) -> None:
        self._share, self._draw = share, random.random

    def take(self, frame: bytes, now: int) -> Sequence[bytes]:  # noqa: ARG002
        if self._draw() < self._share:
            self.hits += 1
            return ()
        return (frame,)


class Duplication(Passing):
    """Gives on a share of the frames twice."""

    def __init__(self, share: float, random: Random) -> None:
        self._share, self._draw = share, random.random

    def take(self, frame: bytes, now: int) -> Sequence[bytes]:  # noqa: ARG002
        if self._draw() < self._share:
            self.hits += 1
            return (frame, frame)
        return (frame,)


class Reordering:
    """Keeps a share of the frames until 1 to `overtaking` others have passed, or for `kept` ns."""

    def __init__(
        self, share: float, random: Random, *, overtaking: int = OVERTAKING, kept: int = KEPT_NS
    ) -> None:
        self.hits = 0
        self._share, self._random = share, random
        self._overtaking, self._kept = overtaking, kept
        self._waiting: list[_Kept] = []  # in the order in which they came

    def take(self, frame: bytes, now: int) -> Sequence[bytes]:
        draw, places = self._random.random(), 1 + int(self._random.random() * self._overtaking)
        if draw < self._share:
            self.hits += 1
            self._waiting.append(_Kept(frame, places, now + self._kept))
            return ()
        if not self._waiting:
            return (frame,)
        for kept in self._waiting:
            kept.places -= 1
        return [frame, *self._let_go([kept for kept in self._waiting if not kept.places])]

    def due(self) -> int | None:
        return self._waiting[0].until if self._waiting else None

    def late(self, now: int) -> Sequence[bytes]:
        return self._let_go([kept for kept in self._waiting if kept.until <= now])

    def flush(self, now: int) -> Sequence[bytes]:  # noqa: ARG002
        return self._let_go(list(self._waiting))

    def _let_go(self, leaving: "list[_Kept]") -> list[bytes]:
        for kept in leaving:
            self._waiting.remove(kept)
        return [kept.frame for kept in leaving]


@dataclass(slots=True, eq=False)
class _Kept:
    """A frame that waits for `places` others, or until `until`, ns."""

    frame: bytes
    places: int
    until: int


class Stack:
    """Devices one behind the other: what the first gives on, the second takes. A device itself."""

    def __init__(self, *devices: Device) -> None:
        self._devices = devices

    @property
    def hits(self) -> int:
        return sum(device.hits for device in self._devices)

    def take(self, frame: bytes, now: int) -> Sequence[bytes]:
        frames: Sequence[bytes] = (frame,)
        for device in self._devices:
            frames = _through(device, frames, now)
        return frames

    def due(self) -> int | None:
        return min((when for device in self._devices if (when := device.due()) is not None), default=None)

    def late(self, now: int) -> Sequence[bytes]:
        frames: Sequence[bytes] = ()
        for device in self._devices:
            frames = [*_through(device, frames, now), *device.late(now)]
        return frames

    def flush(self, now: int) -> Sequence[bytes]:
        frames: Sequence[bytes] = ()
        for device in self._devices:
            frames = [*_through(device, frames, now), *device.flush(now)]
        return frames


def _through(device: Device, frames: Sequence[bytes], now: int) -> Sequence[bytes]:
    if len(frames) == 1:
        return device.take(frames[0], now)
    return [out for frame in frames for out in device.take(frame, now)]


@dataclass(frozen=True, slots=True)
class Impairments:
    """What every direction of the lab's links suffers: shares from 0 to 1, and the seed of it all."""

    loss: float = 0.0
    duplicates: float = 0.0
    reordering: float = 0.0
    seed: int = 0

    def devices(self, direction: str) -> dict[str, Device]:
        """For one direction, in the order in which they stack. The same for the same seed and name."""

        def random(device: str) -> Random:
            return Random(f"{self.seed} {direction} {device}")

        return {
            "lost": Loss(self.loss, random("loss")),
            "duplicated": Duplication(self.duplicates, random("duplicates")),
            "reordered": Reordering(self.reordering, random("reordering")),
        }
