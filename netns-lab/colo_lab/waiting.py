"""Waiting for something to become true: descriptors and deadlines, never a blind sleep."""

import os
import select
import time
from collections.abc import Callable
from typing import TypeVar

from .errors import LabError

T = TypeVar("T")


class Deadline:
    """A moment by which something must have happened."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._end = time.monotonic() + seconds

    @property
    def left(self) -> float:
        """Seconds left; 0 when it has passed."""
        return max(0.0, self._end - time.monotonic())

    @property
    def passed(self) -> bool:
        return self.left == 0.0


def wait_readable(fd: int, deadline: Deadline, what: str) -> None:
    """Return when `fd` has something to read. Raises LabError at the deadline, naming `what`."""
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    if not poll.poll(deadline.left * 1000):
        raise LabError(f"{what}: nothing happened within {deadline.seconds:g} s")


def wait_exit(pid: int, deadline: Deadline) -> bool:
    """Whether the process ended before the deadline."""
    try:
        fd = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        poll = select.poll()
        poll.register(fd, select.POLLIN)
        return bool(poll.poll(deadline.left * 1000))
    finally:
        os.close(fd)


def until(probe: Callable[[], T], deadline: Deadline, what: str, *, every: float = 0.005) -> T:
    """Ask `probe` again and again until its answer is true, and return it.

    Only for states that no descriptor tells of (another program's). Raises LabError at the deadline.
    """
    while True:
        if answer := probe():
            return answer
        if deadline.passed:
            raise LabError(f"{what}: not within {deadline.seconds:g} s")
        time.sleep(every)
