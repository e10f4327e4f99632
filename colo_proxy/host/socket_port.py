"""A port on a socket: it listens, and lends the engine the connection of one peer at a time.

    listening --peer connects--> lent to the engine --PortFault--> closed; listening

The engine reads and writes; it gives a connection up when the peer goes, or has said what no frame can be
(PortFault), and does not use the descriptor any more. The next peer then begins with a whole frame,
whatever the last one left half said.

**A fresh connection after a stop** (`renew`). When a guest's stop is heard of, what it said before may still
be under way on a TCP connection, and a stream does not tell when its frames were made. Who connects after
that can only bring what was said after it. So the connection is given up, with all that is in it.
"""

import asyncio
import logging
import socket
from collections.abc import Awaitable, Callable

from colo_proxy.engine.messages import PortFault
from colo_proxy.host.listening import Door

log = logging.getLogger("colo_proxy.host.stream_port")

BACK_S = 1.0  # a peer that has not connected again by then is waited for no longer


class StreamPort:
    """One port, or a half of one that has two sockets.

    `attach` gives the engine a descriptor, from whose PortFault on it is ours again. -1 takes it away: what
    that returns is done when the engine uses it no more.
    """

    def __init__(
        self, name: str, listener: socket.socket, attach: Callable[[int], Awaitable[object]]
    ) -> None:
        self._door = Door(name, listener)
        self._attach = attach
        self._peer: socket.socket | None = None
        self._renewal: asyncio.Task[None] | None = None
        self._back: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._back.set_result(None)

    @property
    def name(self) -> str:
        """What the port is called in the log."""
        return self._door.name

    async def run(self) -> None:
        """Take peers until cancelled. The last one's connection stays open for the engine: see `close`."""
        while True:
            self._peer = await self._door.enter()
            self._attach(self._peer.fileno())
            if not self._back.done():
                self._back.set_result(None)

    def failed(self, fault: PortFault) -> None:
        """The engine has given the connection up, if it was not told that the port works again (errno 0)."""
        if fault.errno and self._peer and not self._renewal:  # of its end the engine tells anyway
            self._leave()

    def renew(self) -> "asyncio.Future[None]":
        """Have the peer connect anew. Whatever is posted to the engine after this comes after its end.

        Returns what is done when the peer is back, or has not come within `BACK_S`.
        """
        loop = asyncio.get_running_loop()
        self._door.renew()
        if self._peer and not self._renewal:
            self._renewal = loop.create_task(self._take_back(self._attach(-1)))
            if self._back.done():
                self._back = loop.create_future()
            loop.call_later(BACK_S, self._miss, self._back)
        return self._back

    async def _take_back(self, detached: Awaitable[object]) -> None:
        await detached
        self._renewal = None
        self._leave()

    def _miss(self, back: "asyncio.Future[None]") -> None:
        if not back.done():
            back.set_result(None)
            log.warning(
                "%s: no peer has connected again after a stop; give QEMU's socket reconnect-ms", self.name
            )

    def _leave(self) -> None:
        self.close()
        self._peer = None
        self._door.leave()

    def close(self) -> None:
        """Close the connection; the engine has stopped, or given it up."""
        if self._peer:
            self._peer.close()
