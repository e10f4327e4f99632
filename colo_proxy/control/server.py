"""The control socket's server: a UNIX socket on asyncio, closed to others, that no client can harm.

Each client's commands are carried out one after the other; a client that does not read its replies stops
being read, and one that does not read its events is dropped, so that a client costs bounded memory.
"""

import asyncio
import contextlib
import logging
import socket
import time
from collections.abc import Awaitable, Callable, Container
from pathlib import Path
from typing import Any

from colo_proxy.control import protocol

log = logging.getLogger(__name__)

MAX_CLIENTS = 64
MAX_UNREAD = 1 << 20  # bytes of events that wait for one client before it is dropped
_READ = 8 * 1024  # bytes of a client that are looked at before others have their turn

Handler = Callable[[str, dict[str, Any]], Awaitable[object]]


class Server:
    """Serves one control socket until `close`. A client that has said one of `vmm_words` is the VMM."""

    def __init__(
        self,
        listener: socket.socket,
        name: str,
        version: str,
        handler: Handler,
        vmm_words: Container[str] = (),
    ) -> None:
        self._listener = listener
        self._path = Path(listener.getsockname())
        self._inode = self._path.stat().st_ino
        self._hello = protocol.greeting(version, name)
        self._handler = handler
        self._vmm_words = vmm_words
        self._vmms: set[asyncio.StreamWriter] = set()
        self._clients: dict[asyncio.StreamWriter, asyncio.Task[None]] = {}
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
        for writer in list(self._clients):
            with contextlib.suppress(OSError, RuntimeError):
                writer.write_eof() if writer.can_write_eof() else None
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
        return len(self._vmms)

    def broadcast(self, name: str, data: dict[str, Any]) -> None:
        """Send an event to every client; one that has stopped reading is dropped."""
        seconds, nanoseconds = divmod(time.time_ns(), 1_000_000_000)
        line = protocol.event(name, data, seconds, nanoseconds // 1000)
        for writer in list(self._clients):
            if writer.transport.get_write_buffer_size() > MAX_UNREAD:
                log.warning("dropping a control client that does not read its events")
                writer.transport.abort()
            elif not writer.is_closing():
                writer.write(line)

    async def _client(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(self._clients) >= MAX_CLIENTS:
            error = protocol.CommandError("GenericError", f"{MAX_CLIENTS} clients are connected already")
            writer.write(self._hello + protocol.failure(error))
            writer.close()
            return
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - a stream server runs each client in a task
        self._clients[writer] = task
        try:
            writer.write(self._hello)
            requests = protocol.RequestReader()
            while data := await reader.read(_READ):
                for message in requests.feed(data):
                    if isinstance(message, protocol.Request) and message.command in self._vmm_words:
                        self._vmms.add(writer)
                    writer.write(await self._reply(message))
                    await writer.drain()
                await asyncio.sleep(0)  # neither read nor drain need give others a turn
        except (ConnectionError, asyncio.CancelledError):
            pass  # the client is gone, or the proxy is going
        finally:
            del self._clients[writer]
            self._vmms.discard(writer)
            writer.close()

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
