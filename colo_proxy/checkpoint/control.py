"""The adapters without a connection of their own.

`Control`: the VMM is a client of our control socket. Requests reach it as events, its words come as commands
(control/commands.py). `Absent`: `vmm = "none"`, there is nobody to ask.
"""

import asyncio
from collections.abc import Callable

from colo_proxy.checkpoint.adapter import Proxy
from colo_proxy.checkpoint.commands import FailedOver, RequestCheckpoint


class Absent:
    """No VMM, or none that we connect to: those on the control socket have the events."""

    @property
    def connected(self) -> dict[str, bool]:
        """There is no side."""
        return {}

    async def run(self, proxy: Proxy) -> None:  # noqa: ARG002 - an Adapter
        """Wait to be cancelled."""
        await asyncio.Event().wait()

    def request(self, request: RequestCheckpoint) -> None:
        """The event CHECKPOINT_REQUEST says it."""

    def fail_over(self, failover: FailedOver) -> None:
        """The event FAILOVER says it."""


class Control(Absent):
    """The VMM on our control socket: there while a client is connected that has said one of a VMM's words."""

    def __init__(self, vmms: Callable[[], int]) -> None:
        self._vmms = vmms

    @property
    def connected(self) -> dict[str, bool]:
        """The one side `control`."""
        return {"control": self._vmms() > 0}
