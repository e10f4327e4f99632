"""The `qmp` adapter: an unmodified QEMU pair, followed and steered over both its QMP sockets.

`Qmp` owns the two connections, feeds what they say to the `Follower` and says the follower's events to the
proxy, one after the other. It asks for checkpoints (setting `x-checkpoint-delay` on a primary in the
COLO state starts one at once, seen with QEMU 11.1) and tells the survivor of a pair to go on alone
(`x-colo-lost-heartbeat`).

A connection that ends is tried again at once, and then with growing pauses, for ever. Nobody listening
any more is the one proof of a death; see `follower.py`.
"""

import asyncio
import contextlib
import logging
import os
import socket
from collections.abc import Coroutine
from typing import Any

from qemu.qmp import ExecuteError, Message, QMPClient, QMPError
from qemu.qmp.protocol import Runstate

from colo_proxy.checkpoint.adapter import Proxy
from colo_proxy.checkpoint.commands import FailedOver, RequestCheckpoint
from colo_proxy.checkpoint.events import Event
from colo_proxy.checkpoint.follower import Ask, Follower, GoOnAlone, News, Phase, Probe, Side, Snapshot
from colo_proxy.checkpoint.machine import IllegalWord
from colo_proxy.checkpoint.qemu_versions import Colo, Verdict, judge
from colo_proxy.endpoints import Tcp, Unix
from colo_proxy.errors import HostError
from colo_proxy.seldom import Seldom

log = logging.getLogger(__name__)
logging.getLogger("qemu.qmp").setLevel(logging.CRITICAL)  # what matters of it is logged here, once

REPLY_S = 3.0  # QEMU answers in 0.1 ms; its main loop may be busy with a guest's state for a second or two
POLL_S = 1.0  # the state asked for again: finds a hung QEMU, and a pair that enters the COLO state
BACKOFF_S = (0.005, 1.0)  # first and longest pause between two attempts to connect
# A dying QEMU may close its connections some milliseconds before its listening socket (seen). For that long a
# PVM that hung up is not out of sight yet; a checkpoint whose end is missed meanwhile is never committed.
GRACE_S = 0.03
FILTERS = ("child<filter-mirror>", "child<filter-redirector>")
NEVER_MS = 0xFFFF_FFFF  # `x-checkpoint-delay` is a uint32; 49 days

# What a peer that closes, hangs, lies or sends garbage raises out of qemu.qmp 0.0.6, each seen: nested JSON
# gives RecursionError, a connection that ends just as its session begins an AssertionError.
TROUBLE: tuple[type[Exception], ...] = (
    *(QMPError, OSError, EOFError, TimeoutError, ValueError, KeyError, TypeError),
    *(RecursionError, AssertionError),
)


class BrokenQemu(HostError):
    """This QEMU's COLO is known not to work. The text names it and what to use instead."""


async def _dial(endpoint: Unix | Tcp) -> socket.socket:
    """Connect. Raises `ConnectionRefusedError` or `FileNotFoundError` when nobody listens there."""
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(REPLY_S):
        address: Any
        if isinstance(endpoint, Unix):
            family, address = socket.AF_UNIX, endpoint.path
        else:
            found = await loop.getaddrinfo(endpoint.host, endpoint.port, type=socket.SOCK_STREAM)
            family, _, _, _, address = found[0]
        sock = socket.socket(family, socket.SOCK_STREAM)
        sock.setblocking(False)
        try:
            await loop.sock_connect(sock, address)
        except BaseException:
            sock.close()
            raise
    return sock


async def _ask(client: QMPClient, command: str, **arguments: object) -> dict[str, Any]:
    named = {name.replace("_", "-"): value for name, value in arguments.items()}
    async with asyncio.timeout(REPLY_S):
        answer = await client.execute(command, named)
    if not isinstance(answer, dict):
        raise TypeError(f"{command} answered with {type(answer).__name__}")
    return answer


def _list(answer: object) -> list[Any]:
    if not isinstance(answer, list):
        raise TypeError(f"QEMU answered with {type(answer).__name__}, not a list")
    return answer


async def _snapshot(client: QMPClient) -> Snapshot:
    colo = await _ask(client, "query-colo-status")
    status = await _ask(client, "query-status")
    return Snapshot(str(colo["mode"]), str(colo.get("last-mode", "none")), status["running"] is True)


async def _judge(client: QMPClient) -> Verdict:
    version = (await _ask(client, "query-version"))["qemu"]
    kvm = (await _ask(client, "query-kvm"))["enabled"] is True
    return judge((int(version["major"]), int(version["minor"]), int(version["micro"])), kvm=kvm)


async def inspect(endpoint: Unix | Tcp) -> tuple[Verdict, Snapshot | None]:
    """Ask the QEMU behind a QMP endpoint what it is and, unless broken, its state; for `colo-proxy check`.

    Raises `ConnectionError` with a line for the operator when it does not answer as QMP does.
    """
    client = QMPClient("check")
    try:
        async with asyncio.timeout(REPLY_S):
            await client.connect(await _dial(endpoint))
        verdict = await _judge(client)
        return verdict, None if verdict.colo is Colo.BROKEN else await _snapshot(client)
    except TROUBLE as error:
        raise ConnectionError(f"{endpoint}: {_plain(error)}") from error
    finally:
        with contextlib.suppress(*TROUBLE):
            await client.disconnect()


def _plain(error: BaseException) -> str:
    if isinstance(error, TimeoutError):
        return f"no answer within {REPLY_S:g} s"
    if isinstance(error, OSError) and error.errno:
        return os.strerror(error.errno)
    return str(error) or type(error).__name__


def _stamp_ns(event: Message) -> int:
    """The event's own time in nanoseconds; 0 when it has none (QEMU writes -1 when its clock fails)."""
    stamp = event.get("timestamp")
    if not isinstance(stamp, dict):
        return 0
    seconds, micros = stamp.get("seconds"), stamp.get("microseconds")
    if not isinstance(seconds, int) or not isinstance(micros, int) or seconds < 0 or micros < 0:
        return 0
    return seconds * 1_000_000_000 + micros * 1_000


class Qmp:
    """The adapter (adapter.py) of a QEMU pair.

    `period_ms` 0: QEMU makes no checkpoints unasked. `filters`: the SVM's frames come by its filter objects.
    """

    def __init__(
        self, primary: Unix | Tcp, secondary: Unix | Tcp, *, period_ms: int = 0, filters: bool = False
    ) -> None:
        self._endpoints = {Side.PRIMARY: primary, Side.SECONDARY: secondary}
        self._period_ms = period_ms or NEVER_MS
        self._filters = filters
        self._follower = Follower()
        self._clients: dict[Side, QMPClient] = {}
        self._unsent = 0  # orders since one was sent
        self._seldom = Seldom()
        self._trouble: dict[Side, str] = {}
        self._events: asyncio.Queue[Event] = asyncio.Queue()
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def connected(self) -> dict[str, bool]:
        """By side: is a QMP session up?"""
        return {side.value: side in self._clients for side in Side}

    async def run(self, proxy: Proxy) -> None:
        """Follow both sides until cancelled. Raises `BrokenQemu`."""
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._say(proxy))
                for side in Side:
                    group.create_task(self._follow(side))
        except* BrokenQemu as broken:
            raise broken.exceptions[0] from None
        finally:
            for task in tuple(self._tasks):
                task.cancel()

    async def _say(self, proxy: Proxy) -> None:
        while True:
            event = await self._events.get()
            log.debug("%s", event)
            try:
                await proxy.say(event)
            except IllegalWord as error:
                log.warning("%s", error)

    def request(self, request: RequestCheckpoint) -> None:
        """Ask the primary for a checkpoint now."""
        log.debug("checkpoint requested: %s, attempt %d", request.reason, request.attempt)
        self._spawn(self._make_checkpoint())

    def fail_over(self, failover: FailedOver) -> None:
        """Tell the SVM to take over."""
        log.warning("the secondary takes over: %s", failover.why)
        self._follower.give_up_primary()
        self._spawn(self._take_over())

    async def _make_checkpoint(self) -> None:
        await self._order(Side.PRIMARY, "migrate-set-parameters", x_checkpoint_delay=self._period_ms)

    # One side's connection, again and again.

    async def _follow(self, side: Side) -> None:
        pause, longest = BACKOFF_S
        loop = asyncio.get_running_loop()
        lost: asyncio.TimerHandle | None = None
        lost_at = 0.0
        why = "the connection ended"
        while True:
            try:
                sock = await _dial(self._endpoints[side])
            except (ConnectionRefusedError, FileNotFoundError) as error:
                if lost is not None:
                    lost.cancel()
                self._log(side, f"nothing listens on {self._endpoints[side]} ({_plain(error)})")
                self._pass(self._follower.gone(side, "nothing listens on its QMP socket"))
            except TROUBLE as error:
                self._log(side, f"cannot connect to {self._endpoints[side]}: {_plain(error)}")
                self._pass(self._follower.blind(side, _plain(error)))
            else:
                if side is Side.SECONDARY:
                    self._lose_sight(side, why)
                elif lost is None or lost.cancelled() or lost_at < loop.time():
                    lost_at = loop.time() + GRACE_S
                    lost = loop.call_at(lost_at, self._lose_sight, side, why)
                began = loop.time()
                await self._session(side, sock)
                if loop.time() - began > longest:
                    pause = BACKOFF_S[0]
                    continue  # a session that worked has ended: look at once who listens now
            await asyncio.sleep(pause)
            pause = min(2 * pause, longest)

    def _lose_sight(self, side: Side, why: str) -> None:
        if side not in self._clients:
            self._pass(self._follower.blind(side, why))

    async def _session(self, side: Side, sock: socket.socket) -> None:
        """One QMP session to its end, if one comes about at all. Raises `BrokenQemu`."""
        client = QMPClient(side.value)
        # The library keeps every event that a listener accepts; this one accepts none, and passes all on.
        client.events.accept = lambda event: self._heard(side, event)  # type: ignore[method-assign]
        try:
            async with asyncio.timeout(REPLY_S):
                await client.connect(sock)
            self._refuse_broken(side, await _judge(client))
            snapshot = await _snapshot(client)
            self._pass(self._follower.blind(side, "the connection ended"))  # what it said meanwhile is lost
            self._clients[side] = client
            self._log(side, f"connected to {self._endpoints[side]}")
            self._pass(self._follower.connected(side, snapshot))
            await self._watch(side, client)
        except TROUBLE as error:
            self._log(side, f"{self._endpoints[side]}: {_plain(error)}")
        finally:
            self._clients.pop(side, None)
            with contextlib.suppress(*TROUBLE):
                async with asyncio.timeout(REPLY_S):
                    await client.disconnect()
            sock.close()

    async def _watch(self, side: Side, client: QMPClient) -> None:
        """Poll until the session ends. Listeners do not wake on end of file; the run state does."""
        ended = asyncio.ensure_future(client.runstate_changed())
        try:
            while client.runstate is Runstate.RUNNING:
                pause = POLL_S if self._follower.phase is Phase.COLO else POLL_S / 5
                await asyncio.wait({ended}, timeout=pause)
                if ended.done():
                    break
                self._pass(self._follower.polled(side, await _snapshot(client)))
        finally:
            ended.cancel()

    def _refuse_broken(self, side: Side, verdict: Verdict) -> None:
        if verdict.colo is Colo.BROKEN:
            raise BrokenQemu(f"{self._endpoints[side]}: {verdict.text}")
        if verdict.colo is Colo.UNTESTED:
            log.warning("%s: %s", side.value, verdict.text)

    # Events in, news out, orders to the VMs.

    def _heard(self, side: Side, event: Message) -> bool:
        name, data = event.get("event"), event.get("data")
        if isinstance(name, str):
            facts = data if isinstance(data, dict) else {}
            self._pass(self._follower.event(side, name, _stamp_ns(event), facts))
        return False

    def _pass(self, news: list[News]) -> None:
        for item in news:
            match item:
                case GoOnAlone():
                    self._spawn(self._leave_colo(Side.PRIMARY))
                case Ask(side, attempt):
                    self._spawn(self._sync(side, attempt))
                case Probe():
                    self._spawn(self._make_checkpoint())
                case _:
                    self._events.put_nowait(item)

    async def _sync(self, side: Side, attempt: int) -> None:
        """Have all events of this side that were emitted until now; a QMP answer comes after them."""
        client = self._clients.get(side)
        if client is None:
            return  # the follower hears that this side is out of sight, too
        if attempt > 1:
            await asyncio.sleep(POLL_S / 10)
        try:
            await _ask(client, "query-status")
        except TROUBLE as error:
            self._log(side, f"{self._endpoints[side]}: {_plain(error)}")
            return
        self._pass(self._follower.asked(side, attempt))

    async def _take_over(self) -> None:
        await self._leave_colo(Side.SECONDARY)
        if self._filters and (client := self._clients.get(Side.SECONDARY)):
            await self._switch_on(client)

    async def _switch_on(self, client: QMPClient) -> None:
        """An SVM that takes over has its filters switched off (QEMU 11.1, seen): its frames come by them."""
        try:
            async with asyncio.timeout(REPLY_S):
                found = await client.execute("qom-list", {"path": "/objects"})
            names = [str(each["name"]) for each in _list(found) if each["type"] in FILTERS]
        except TROUBLE as error:
            log.error("secondary: its filters cannot be switched on again: %s", _plain(error))
            return
        for name in names:
            await self._order(
                Side.SECONDARY, "qom-set", path=f"/objects/{name}", property="status", value="on"
            )
        log.info("secondary: filters switched on again: %s", ", ".join(names) or "there are none")

    async def _leave_colo(self, side: Side) -> None:
        """Tell the survivor that its peer is lost, until it has left the COLO state."""
        while side in self._clients:
            if not await self._order(side, "x-colo-lost-heartbeat"):
                await asyncio.sleep(POLL_S / 5)
            with contextlib.suppress(*TROUBLE):
                if (await _snapshot(self._clients[side])).mode == "none":
                    return
            await asyncio.sleep(POLL_S / 20)

    async def _order(self, side: Side, command: str, **arguments: object) -> bool:
        client = self._clients.get(side)
        if client is None or client.runstate is not Runstate.RUNNING:
            self._unsent += 1
            if self._seldom.due(self._unsent):
                log.info("%s: %s not sent: no QMP session", side.value, command)
            return False
        try:
            await _ask(client, command, **arguments)
            self._unsent = 0
        except ExecuteError as error:
            log.error("%s: QEMU refused %s: %s", side.value, command, error)
            return False
        except TROUBLE as error:
            log.warning("%s: %s: %s", side.value, command, _plain(error))
            return False
        return True

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _log(self, side: Side, text: str) -> None:
        """Each change of a side's condition once, however often it is tried again."""
        if self._trouble.get(side) != text:
            self._trouble[side] = text
            log.info("%s: %s", side.value, text)
