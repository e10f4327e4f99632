"""A port on an interface that somebody else makes, removes and makes again.

    lent to the engine --removed (PortFault)--> taken back, closed --there again--> opened anew, lent

A TAP that QEMU makes goes with it, and another comes with the next QEMU, under the same name. What the guest
said meanwhile is lost, and it may be another guest: so a checkpoint is asked for before the engine hears it.

The name is looked up often, which is one cheap system call, because until the interface is open the host's
stack is not kept off it.
"""

import asyncio
import logging
import socket
from collections.abc import Awaitable, Callable

from colo_proxy.engine.messages import PortFault
from colo_proxy.errors import HostError
from colo_proxy.host.ports import PacketSocket

log = logging.getLogger(__name__)

LOOK_S = 0.05
RETRY_S = 0.5  # after an interface of the name could not be opened


class PacketPort:
    """One `packet:` port. `attach` gives the engine a descriptor, -1 for none.

    `back` is told, in words, when there is an interface again and the engine does not have it yet.
    """

    def __init__(
        self,
        packet: PacketSocket,
        attach: Callable[[int], Awaitable[object]],
        back: Callable[[str], Awaitable[None]] | None,
    ) -> None:
        self._packet = packet
        self._attach = attach
        self._back = back
        self._told = asyncio.Event()

    @property
    def name(self) -> str:
        """What the port is called in the log."""
        return str(self._packet.endpoint)

    def failed(self, fault: PortFault) -> None:
        """The engine has told of a fault, or its end."""
        if fault.errno:
            self._told.set()

    async def run(self) -> None:
        """Open the port anew whenever its interface has been removed, until cancelled."""
        while True:
            await self._told.wait()
            self._told.clear()
            # The fault may be another (the interface is down), or that of the socket before this one.
            if self._packet.lost:
                await self._replace()

    async def _replace(self) -> None:
        log.warning("%s: the interface has been removed; waiting for another of this name", self.name)
        await self._attach(-1)
        self._packet.close()
        await self._open_again()
        if self._back:
            await self._back(f"{self.name}: the interface exists again")
        await self._attach(self._packet.fd)

    async def _open_again(self) -> None:
        trouble = ""
        while True:
            try:
                socket.if_nametoindex(self._packet.endpoint.name)
            except OSError:
                await asyncio.sleep(LOOK_S)
                continue
            try:
                return await asyncio.to_thread(self._packet.open_again)
            except HostError as error:
                if str(error) != trouble:
                    trouble = str(error)
                    log.warning("%s", trouble)
            await asyncio.sleep(RETRY_S)
