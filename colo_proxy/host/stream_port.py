"""A port on a socket: it listens, and lends the engine the connection of one peer at a time.

    listening --peer connects--> lent to the engine --PortFault--> closed; listening

The engine reads and writes; it gives a connection up when the peer goes, or has said what no frame can be
(PortFault), and does not use the descriptor any more. The next peer then begins with a whole frame,
whatever the last one left half said.
"""

import socket
from collections.abc import Callable

from colo_proxy.datapath.messages import PortFault
from colo_proxy.listening import Door


class StreamPort:
    """One port. `attach` gives the engine a descriptor, from whose PortFault on it is ours again."""

    def __init__(self, name: str, listener: socket.socket, attach: Callable[[int], object]) -> None:
        self._door = Door(name, listener)
        self._attach = attach
        self._peer: socket.socket | None = None

    @property
    def name(self) -> str:
        """What the port is called in the log."""
        return self._door.name

    async def run(self) -> None:
        """Take peers until cancelled. The last one's connection stays open for the engine: see `close`."""
        while True:
            self._peer = await self._door.enter()
            self._attach(self._peer.fileno())

    def failed(self, fault: PortFault) -> None:
        """The engine has given the connection up, if it was not told that the port works again (errno 0)."""
        if fault.errno and self._peer:
            self.close()
            self._peer = None
            self._door.leave()

    def close(self) -> None:
        """Close the connection; the engine has stopped, or given it up."""
        if self._peer:
            self._peer.close()
