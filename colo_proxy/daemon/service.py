"""What a service manager is told: readiness, reloads, that we live (sd_notify(3), systemd.service(5))."""

import asyncio
import contextlib
import os
import socket
import time
from collections.abc import Sequence
from typing import Protocol

from colo_proxy.checkpoint.commands import StateChanged

_AT_MOST_EVERY = 1.0  # s


class Beating(Protocol):
    """A data path: `beat` grows for as long as it turns, at least every 500 ms."""

    @property
    def beat(self) -> int: ...


def notify(*states: str) -> None:
    """Tell the service manager, if there is one."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return
    with (
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as manager,
        contextlib.suppress(OSError),  # a manager that has gone is no reason to stop
    ):
        manager.connect("\0" + address[1:] if address.startswith("@") else address)
        manager.send("\n".join(states).encode())


class Status:
    """What `systemctl status` shows: who this is, whether it protects, and what came of the last reload."""

    def __init__(self, name: str, where: str, state: str, *, observes: bool) -> None:
        self._name = name
        self._where = where
        self._state = state
        self._observes = observes
        self._refused = ""
        self._said = ""
        self._timer: asyncio.TimerHandle | None = None

    def ready(self) -> None:
        """The proxy serves; or a reload has ended."""
        self._said = self._text()
        notify("READY=1", f"STATUS={self._said}")

    def refused(self, lines: Sequence[str]) -> None:
        """A reload has changed nothing, for these reasons. None: it has been done."""
        more = f" (and {len(lines) - 1} more; see the log)" if len(lines) > 1 else ""
        self._refused = f"; reload refused: {lines[0]}{more}" if lines else ""

    def watch(self, what: object) -> None:
        """A watcher of the coordinator. A storm of checkpoints is no storm of messages: one a second."""
        if isinstance(what, StateChanged):
            self._state = what.new
            if self._timer is None:
                self._timer = asyncio.get_running_loop().call_later(_AT_MOST_EVERY, self._tell)

    def _tell(self) -> None:
        self._timer = None
        if self._said and self._text() != self._said:
            self._said = self._text()
            notify(f"STATUS={self._said}")

    def close(self) -> None:
        """Nothing more is told: the proxy ends."""
        if self._timer:
            self._timer.cancel()
        self._said = ""

    def _text(self) -> str:
        state = "observing" if self._observes else self._state
        return f"{self._name}: {state}{self._refused}; {self._where}".replace("\n", " ")


def reloading() -> None:
    """The configuration is being read again; `Status.ready` ends it (Type=notify-reload needs the time)."""
    notify("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")


def stopping() -> None:
    """The proxy ends."""
    notify("STOPPING=1")


def watchdog_s() -> float | None:
    """How often the manager wants to hear that we live, in seconds; None: it does not."""
    usec, pid = os.environ.get("WATCHDOG_USEC", ""), os.environ.get("WATCHDOG_PID", "")
    if not usec.isdigit() or not int(usec) or pid not in ("", str(os.getpid())):
        return None
    return int(usec) / 1e6


async def feed_watchdog(engine: Beating, patience: float) -> None:
    """Tell the manager that we live, for as long as the data path turns: one that hangs is restarted.

    `patience`: seconds after which the manager gives us up; it hears of us four times in it at most, and
    never of a beat that it has heard of before.
    """
    beat = -1
    while True:
        if engine.beat != beat:
            beat = engine.beat
            notify("WATCHDOG=1")
        await asyncio.sleep(patience / 4)
