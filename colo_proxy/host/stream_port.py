"""A port on a socket: it listens, and lends the engine the connection of one peer at a time.

    listening --peer connects--> lent to the engine --PortFault--> closed; listening

The engine reads and writes; it gives a connection up when the peer goes, or has said what no frame can be
(PortFault), and does not use the descriptor any more. The next peer then begins with a whole frame,
whatever the last one left half said. A peer that comes while another is there is turned away, unless that
one is found gone within `GRACE_S`: who hangs up and calls again at once is not refused for being quick.
"""

import asyncio
import logging
import socket
from collections.abc import Callable

from colo_proxy.datapath.messages import PortFault

log = logging.getLogger(__name__)

GRACE_S = 0.5
# A peer whose host has died must not keep its successor out: found out within some 11 s, idle or not.
_KEEPALIVE = ((socket.TCP_KEEPIDLE, 5), (socket.TCP_KEEPINTVL, 2), (socket.TCP_KEEPCNT, 3))
_UNACKNOWLEDGED_MS = 11_000


def prepare(peer: socket.socket) -> None:
    """Have a TCP connection say at once what it has to say, and find out when its peer has died."""
    if peer.family == socket.AF_UNIX:
        return
    peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in _KEEPALIVE:
        peer.setsockopt(socket.IPPROTO_TCP, option, value)
    peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _UNACKNOWLEDGED_MS)


class StreamPort:
    """One port. `attach` gives the engine a descriptor, from whose PortFault on it is ours again."""

    def __init__(self, name: str, listener: socket.socket, attach: Callable[[int], object]) -> None:
        self.name = name
        self._listener = listener
        self._attach = attach
        self._peer: socket.socket | None = None
        self._gone = asyncio.Event()

    @property
    def connected(self) -> bool:
        """Whether there is a peer."""
        return self._peer is not None

    async def run(self) -> None:
        """Take peers until cancelled. The last one's connection stays open for the engine: see `close`."""
        while True:
            peer, _ = await asyncio.get_running_loop().sock_accept(self._listener)
            if self._peer and not await self._is_gone():
                log.warning("%s: another peer has connected, and is turned away: one is there", self.name)
                peer.close()
                continue
            try:
                peer.setblocking(False)
                prepare(peer)
            except OSError as error:  # it has gone already
                log.info("%s: a peer did not stay: %s", self.name, error.strerror)
                peer.close()
                continue
            self._peer = peer
            self._gone.clear()
            self._attach(peer.fileno())
            log.info("%s: a peer has connected", self.name)

    async def _is_gone(self) -> bool:
        try:
            async with asyncio.timeout(GRACE_S):
                await self._gone.wait()
        except TimeoutError:
            return False
        return True

    def failed(self, fault: PortFault) -> None:
        """The engine has given the connection up."""
        if fault.errno and self._peer:
            self._peer.close()
            self._peer = None
            self._gone.set()

    def close(self) -> None:
        """Close the connection, once the engine has stopped."""
        if self._peer:
            self._peer.close()
