"""Memory that both replicas map: queued bytes go from socket to socket with two copies and no message.

A checkpoint of hundreds of busy connections carries hundreds of megabytes; through pipes that takes seconds.
"""

import mmap
import os

SIZE = 2 << 30  # sparse: only what is used takes memory
_KEEP = 64 << 20  # bytes left mapped between two checkpoints, so that they need no page faults


def create() -> int:
    """The descriptor of a new arena, to be given to both replicas."""
    fd = os.memfd_create("colo-lab-arena", os.MFD_CLOEXEC)
    os.ftruncate(fd, SIZE)
    return fd


class Arena:
    """One replica's view of it. Who dumps fills it from the start; who loads reads what it was told of."""

    def __init__(self, fd: int) -> None:
        self._map = mmap.mmap(fd, SIZE)
        self._view = memoryview(self._map)
        self._used = 0

    def clear(self) -> None:
        """Start again from the beginning, and give back most of the memory."""
        if self._used > _KEEP:
            self._map.madvise(mmap.MADV_REMOVE, _KEEP, -(-self._used // 4096) * 4096 - _KEEP)
        self._used = 0

    def room(self, count: int) -> memoryview:
        """At least `count` free bytes, to be written and then kept with `keep`. Raises MemoryError."""
        if self._used + count > SIZE:
            raise MemoryError("the lab's arena is full")
        return self._view[self._used : self._used + count]

    def keep(self, skip: int, count: int) -> tuple[int, int]:
        """Keep `count` bytes of the room, after the first `skip`; returns what `read` takes."""
        place = (self._used + skip, count)
        self._used += skip + count
        return place

    def read(self, place: tuple[int, int]) -> memoryview:
        start, count = place
        return self._view[start : start + count]
