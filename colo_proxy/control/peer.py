"""One client of the control socket, as the server writes to it: replies first, events in bounded memory.

A reply is written when its command is done; the client is not read again before the reply has been taken, so
replies need no bound of their own. An event is written at once while the client reads. Where it does not,
events wait, in order, up to `MAX_UNREAD` bytes. Beyond that they are lost and counted, and the connection
stays. A client that reads again receives what waited, then one `EVENTS_LOST`, with how many are missing and
what a client needs to go on: state and counters as they are by then.
"""

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import Callable
from typing import Any

from colo_proxy.control import protocol

MAX_UNREAD = 256 * 1024  # bytes of events that wait for one client
_IN_TRANSPORT = 64 * 1024  # bytes that are handed to the system's side before a client counts as slow

Summary = Callable[[], dict[str, Any]]


class Peer:
    """The writing side of one client. `idle_since`: when it last sent a command, on the monotonic clock."""

    def __init__(self, writer: asyncio.StreamWriter, summary: Summary) -> None:
        self._writer = writer
        self._summary = summary
        self._waiting: deque[bytes] = deque()
        self._unread = 0
        self._lost = 0
        self._flow: asyncio.Task[None] | None = None
        self.idle_since = time.monotonic()
        self.is_vmm = False
        writer.transport.set_write_buffer_limits(high=_IN_TRANSPORT)

    async def reply(self, line: bytes) -> None:
        """Write a reply, and wait until the client has taken most of it."""
        self._writer.write(line)
        await self._writer.drain()

    def event(self, line: bytes) -> None:
        """Write an event, now or later; or count it as lost."""
        if self._writer.is_closing():
            return
        if self._flow is None and self._writer.transport.get_write_buffer_size() <= _IN_TRANSPORT:
            self._writer.write(line)
            return
        if self._lost or self._unread + len(line) > MAX_UNREAD:
            self._lost += 1
        else:
            self._waiting.append(line)
            self._unread += len(line)
        if self._flow is None:
            self._flow = asyncio.get_running_loop().create_task(self._catch_up())

    async def _catch_up(self) -> None:
        """Write what waits as the client reads; then say what it has missed."""
        with contextlib.suppress(ConnectionError):
            while self._waiting or self._lost:
                await self._writer.drain()
                if self._waiting:
                    line = self._waiting.popleft()
                    self._unread -= len(line)
                else:
                    line = event_now("EVENTS_LOST", {"lost": self._lost, **self._summary()})
                    self._lost = 0
                self._writer.write(line)
        self._flow = None

    def refuse(self, line: bytes) -> None:
        """Say why the connection ends. Events that wait are not written any more."""
        if self._flow:
            self._flow.cancel()
        if not self._writer.is_closing():
            self._writer.write(line)

    def close(self) -> None:
        """Nothing more is written."""
        if self._flow:
            self._flow.cancel()
        self._writer.close()

    def say_goodbye(self) -> None:
        """Send the end of the stream; what is being replied still goes out before it."""
        if self._flow:
            self._flow.cancel()
        with contextlib.suppress(OSError, RuntimeError):
            if self._writer.can_write_eof():
                self._writer.write_eof()


def event_now(name: str, data: dict[str, Any]) -> bytes:
    """An event's line, with the time as it is."""
    seconds, nanoseconds = divmod(time.time_ns(), 1_000_000_000)
    return protocol.event(name, data, seconds, nanoseconds // 1000)
