"""The control socket's server: a UNIX socket on asyncio, closed to others, that no client can harm.

Each client's commands are carried out one after the other. A client that does not read its replies stops
being read, and one that does not read its events loses events (`peer`): a client costs bounded memory.

There are `MAX_CLIENTS` places. Where they are taken, a newcomer gets the place of the client that has been
idle longest, if that is `IDLE_S` or more. Otherwise, where the VMM is a client of this socket, one more place
is open while it is not connected, because it must always get in: whoever takes that place has `VMM_WORD_S` to
send a word of the VMM. The VMM itself never has to go. Who has to go is told why.
"""

import asyncio
import contextlib
import logging
import socket
import time
from collections.abc import Awaitable, Callable, Collection
from pathlib import Path
from typing import Any

from colo_proxy.control import protocol
from colo_proxy.control.peer import Peer, Summary, event_now
from colo_proxy.seldom import Seldom

log = logging.getLogger(__name__)

MAX_CLIENTS = 64
IDLE_S = 10.0  # without a command for so long, a client's place may be given to another
VMM_WORD_S = 1.0
_READ = 8 * 1024  # bytes of a client that are looked at before others have their turn

Handler = Callable[[str, dict[str, Any]], Awaitable[object]]


class Server:
    """Serves one control socket until `close`. A client that has said one of `vmm_words` is the VMM.

    Without `vmm_words` the VMM is no client here. `summary` gives what a client is told that has lost events.
    """

    def __init__(
        self,
        listener: socket.socket,
        name: str,
        version: str,
        handler: Handler,
        *,
        vmm_words: Collection[str] = (),
        summary: Summary = dict,
    ) -> None:
        self._listener = listener
        self._path = Path(listener.getsockname())
        self._inode = self._path.stat().st_ino
        self._hello = protocol.greeting(version, name)
        self._handler = handler
        self._vmm_words = vmm_words
        self._summary = summary
        self._clients: dict[Peer, asyncio.Task[None]] = {}
        self._kept: Peer | None = None  # in the place that is kept for the VMM
        self._refusals = 0
        self._refusals_told = Seldom(flood=True)
        self._gone = 0  # clients that had to make room
        self._gone_told = Seldom(flood=True)
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        """Answer clients from now on."""
        self._server = await asyncio.start_unix_server(self._client, sock=self._listener, limit=_READ)

    async def close(self) -> None:
        """Say goodbye to every client and remove the socket, if it is still ours."""
        with contextlib.suppress(OSError):
            if self._path.lstat().st_ino == self._inode:
                self._path.unlink()
        if self._server:
            self._server.close()
        # A command that a client is waiting for (`quit`) still gets its reply.
        tasks = [task for task in self._clients.values() if task is not asyncio.current_task()]
        for peer in list(self._clients):
            peer.say_goodbye()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._listener.close()

    @property
    def clients(self) -> int:
        """How many are connected."""
        return len(self._clients)

    @property
    def vmms(self) -> int:
        """How many of them are the VMM."""
        return sum(peer.is_vmm for peer in self._clients)

    def broadcast(self, name: str, data: dict[str, Any]) -> None:
        """Send an event to every client."""
        line = event_now(name, data)
        for peer in self._clients:
            peer.event(line)

    async def _client(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peer = Peer(writer, self._summary)
        if not self._let_in(peer):
            error = protocol.CommandError("GenericError", f"{MAX_CLIENTS} clients are connected already")
            writer.write(self._hello + protocol.failure(error))
            writer.close()
            return
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - a stream server runs each client in a task
        self._clients[peer] = task
        try:
            await peer.reply(self._hello)
            await self._serve(reader, peer)
        except (ConnectionError, asyncio.CancelledError):
            pass  # the client is gone, or the proxy is going
        finally:
            self._leave(peer)
            peer.close()

    async def _serve(self, reader: asyncio.StreamReader, peer: Peer) -> None:
        requests = protocol.RequestReader()
        while data := await reader.read(_READ):
            for message in requests.feed(data):
                peer.idle_since = time.monotonic()
                if isinstance(message, protocol.Request) and message.command in self._vmm_words:
                    peer.is_vmm = True
                    if peer is self._kept:
                        self._kept = None
                await peer.reply(await self._reply(message))
            await asyncio.sleep(0)  # neither read nor drain need give others a turn

    def _let_in(self, peer: Peer) -> bool:
        """Whether there is a place for a new client; somebody idle may have to go for it."""
        if len(self._clients) < MAX_CLIENTS or self._make_room():
            return True
        if self._vmm_words and self._kept is None and not self.vmms:
            self._kept = peer
            asyncio.get_running_loop().call_later(VMM_WORD_S, self._end_of_trial, peer)
            return True
        self._refusals += 1
        if self._refusals_told.due(self._refusals):
            log.warning(
                "%d clients are connected; another is refused (%d so far)", MAX_CLIENTS, self._refusals
            )
        return False

    def _make_room(self) -> bool:
        """Have the client go that has been idle longest, if that is long enough."""
        idle = min(
            (peer for peer in self._clients if not peer.is_vmm),
            key=lambda peer: peer.idle_since,
            default=None,
        )
        if idle is None or time.monotonic() - idle.idle_since < IDLE_S:
            return False
        self._gone += 1
        if self._gone_told.due(self._gone):
            log.info(
                "a client idle for %.0f s is disconnected to make room for another (%d so far)",
                IDLE_S,
                self._gone,
            )
        why = f"disconnected to make room for another client, after {IDLE_S:.0f} s without a command"
        self._send_away(idle, why)
        return True

    def _end_of_trial(self, peer: Peer) -> None:
        """Whoever has the kept place and is not the VMM by now gives it back."""
        if peer is self._kept:
            why = f"{MAX_CLIENTS} clients are connected already; the last place is kept for the VMM"
            self._send_away(peer, why)

    def _send_away(self, peer: Peer, why: str) -> None:
        peer.refuse(protocol.failure(protocol.CommandError("GenericError", why)))
        task = self._clients[peer]
        self._leave(peer)
        task.cancel()

    def _leave(self, peer: Peer) -> None:
        self._clients.pop(peer, None)
        if peer is self._kept:
            self._kept = None

    async def _reply(self, message: protocol.Request | protocol.CommandError) -> bytes:
        if isinstance(message, protocol.CommandError):
            return protocol.failure(message)
        try:
            return protocol.success(message, await self._handler(message.command, message.arguments))
        except protocol.CommandError as error:
            return protocol.failure(error, message.id)
        except Exception:  # a fault of ours must not take the data path down with it
            log.exception("the command %r failed", message.command)
            fault = protocol.CommandError("GenericError", "internal error; see the proxy's log")
            return protocol.failure(fault, message.id)
