"""What a service manager is told: readiness, reloads, that we live (sd_notify(3), systemd.service(5))."""

import asyncio
import contextlib
import os
import socket
import time
from typing import Protocol


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


def ready(status: str) -> None:
    """The proxy serves; `status` is what `systemctl status` shows."""
    notify("READY=1", f"STATUS={status}")


def reloading() -> None:
    """The configuration is being read again; `ready` ends it (Type=notify-reload needs the time)."""
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
