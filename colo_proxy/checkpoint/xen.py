"""The `xen` adapter: libxl, which connects to our `notify_dev` and makes the checkpoints.

A message is a 4-byte big-endian length and as many bytes of ASCII, with no NUL; never a virtio-net header's
length (QEMU 11.1's colo-compare expects one from its peer, but sends none, where `vnet_hdr_support` is on).

| from libxl | what we do |
| --- | --- |
| `COLO_USERSPACE_PROXY_INIT` | answer `COLO_COMPARE_GET_XEN_INIT` |
| `COLO_CHECKPOINT` | a checkpoint is done: what is held leaves, what the SVM said before is dropped |
| anything else | log it, and nothing more |

We send `DO_CHECKPOINT`: once, until one is done or libxl connects anew. It keeps every message it is sent,
and each would cost a checkpoint.

Neither stop is told, only the end, so both VMs' stops are said with the time at which that was read. What
either says later belongs to the new epoch. While nobody is connected a checkpoint may pass us by, after
which the SVM is not what it was: so when a libxl goes, all is held until the next `COLO_CHECKPOINT`.
"""

import asyncio
import logging
import socket
import time

from colo_proxy.checkpoint.adapter import Proxy
from colo_proxy.checkpoint.commands import FailedOver, RequestCheckpoint
from colo_proxy.checkpoint.events import (
    Committed,
    Connected,
    Event,
    PvmStopped,
    SvmLoaded,
    SvmStopped,
    Unsure,
)
from colo_proxy.checkpoint.machine import IllegalWord
from colo_proxy.host.listening import Door

log = logging.getLogger(__name__)

SIDE = "xen"
LONGEST = 1024  # bytes of a message; libxl's longest has 25
INIT, ANSWER = b"COLO_USERSPACE_PROXY_INIT", b"COLO_COMPARE_GET_XEN_INIT"
ASK, DONE = b"DO_CHECKPOINT", b"COLO_CHECKPOINT"


class Xen:
    """Serves one libxl at a time on a listening socket."""

    def __init__(self, listener: socket.socket) -> None:
        self._door = Door("notify_dev", listener)
        self._connect = (
            asyncio.open_unix_connection if listener.family == socket.AF_UNIX else asyncio.open_connection
        )
        self._peer: asyncio.StreamWriter | None = None
        self._asked = False

    @property
    def connected(self) -> dict[str, bool]:
        """The one side `xen`."""
        return {SIDE: self._peer is not None}

    async def run(self, proxy: Proxy) -> None:
        """Serve until cancelled."""
        async with asyncio.TaskGroup() as group:
            while True:
                reader, self._peer = await self._connect(sock=await self._door.enter(), limit=LONGEST)
                self._asked = False
                group.create_task(self._serve(proxy, reader, self._peer))

    def request(self, request: RequestCheckpoint) -> None:
        """Ask libxl, unless it has been asked already."""
        if self._peer is None:
            if request.attempt == 1:
                log.warning(
                    "a checkpoint is needed (%s), but no libxl is connected",
                    request.reason,
                )
        elif not self._asked:
            self._asked = True
            self._send(ASK)

    def fail_over(self, failover: FailedOver) -> None:
        """Nothing to say: libxl has the domains, and sees to its side of a failover by itself."""

    def _send(self, text: bytes) -> None:
        assert self._peer is not None  # noqa: S101 - asked by both callers
        self._peer.write(len(text).to_bytes(4) + text)

    async def _serve(self, proxy: Proxy, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        why = "its connection was closed"
        spoke = False
        try:
            while True:
                message = await _message(reader)
                spoke = True
                await self._take(proxy, message)
        except asyncio.IncompleteReadError as error:
            why += " within a message" if error.partial else ""
        except (OSError, ValueError) as error:
            why = str(error)
        finally:
            self._peer = None
            writer.close()
        if spoke:
            log.warning("libxl is gone: %s; all output is held until the next checkpoint", why)
            await self._say(proxy, Unsure(f"libxl is gone: {why}"))
        else:  # somebody tried whether we listen
            log.info("notify_dev: the peer has disconnected without a message: %s", why)
        self._door.leave()

    async def _take(self, proxy: Proxy, message: bytes) -> None:
        if message == INIT:
            self._send(ANSWER)
            await self._say(proxy, Connected(SIDE))  # a request that is due comes behind the answer
        elif message == DONE:
            self._asked = False
            now = time.time_ns()
            await self._say(proxy, SvmStopped(now), PvmStopped(now), SvmLoaded(now), Committed(now))
        else:
            log.error("libxl sent %.80r, which is not a message of its protocol; ignored", message)

    async def _say(self, proxy: Proxy, *events: Event) -> None:
        try:
            await proxy.say(*events)
        except IllegalWord as error:
            log.warning("%s", error)


async def _message(reader: asyncio.StreamReader) -> bytes:
    """The next message. Raises ValueError for a length that none can have, IncompleteReadError at the end."""
    length = int.from_bytes(await reader.readexactly(4))
    if length > LONGEST:
        raise ValueError(f"it announced a message of {length} bytes, more than {LONGEST}")
    return await reader.readexactly(length)
