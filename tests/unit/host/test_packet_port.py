"""A port whose interface goes and comes: what the engine is told, and when."""

import asyncio
import errno
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

import pytest
from fakes.engine import FakeEngine

from colo_proxy.checkpoint.coordinator import Coordinator
from colo_proxy.checkpoint.machine import Machine, State
from colo_proxy.endpoints import Packet
from colo_proxy.engine.messages import PortFault
from colo_proxy.errors import HostError
from colo_proxy.host import packet_port
from colo_proxy.host.packet_port import PacketPort
from colo_proxy.vocabulary import Port, Word

GONE = PortFault(0, Port.SECONDARY, errno.ENODEV, "lo: the interface has been removed")
BACK = PortFault(0, Port.SECONDARY, 0, "lo: works again")


class Interface:
    """A packet socket without a kernel; `lost` and `refusals` are the test's to set."""

    def __init__(self) -> None:
        self.endpoint = Packet("lo")  # the name exists
        self.lost = False
        self.fd = 5
        self.refusals: list[str] = []
        self.done: list[str] = []

    def open_again(self) -> None:
        if self.refusals:
            raise HostError(self.refusals.pop(0))
        self.fd, self.lost = 6, False
        self.done.append("open")

    def close(self) -> None:
        self.done.append("close")


@asynccontextmanager
async def port_on(interface: Interface) -> AsyncIterator[PacketPort]:
    async def attach(fd: int) -> None:
        interface.done.append(f"attach {fd}")

    async def back(why: str) -> None:
        interface.done.append(why)

    port = PacketPort(interface, attach, back)  # type: ignore[arg-type]
    task = asyncio.create_task(port.run())
    try:
        yield port
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not true():
            await asyncio.sleep(0.001)


async def test_what_was_lost_is_told_before_the_engine_hears_the_port_again(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(packet_port, "RETRY_S", 0.001)
    interface = Interface()
    async with port_on(interface) as port:
        interface.lost = True
        interface.refusals = ["in use as a port of a bridge"] * 3
        port.failed(GONE)
        await until(lambda: "attach 6" in interface.done)
        again = "packet:lo: the interface exists again"
        assert interface.done == ["attach -1", "close", "open", again, "attach 6"]
        assert caplog.text.count("in use as a port of a bridge") == 1
        port.failed(GONE)  # of the socket before
        port.failed(BACK)
        for _ in range(10):
            await asyncio.sleep(0)
        assert interface.done[5:] == []
        interface.lost = True
        port.failed(GONE)
        await until(lambda: interface.done[5:].count("attach 6") == 1)


@pytest.mark.parametrize(
    ("state", "words", "after"),
    [
        (State.PROTECTED, [Word.HOLD], State.REQUESTED),
        (State.REQUESTED, [Word.HOLD], State.REQUESTED),
        (State.UNPROTECTED, [], State.UNPROTECTED),
        (State.STOPPED, [], State.STOPPED),
        (State.FAILED_OVER, [], State.FAILED_OVER),
        (State.OBSERVING, [], State.OBSERVING),
    ],
)
async def test_a_doubt_holds_only_where_there_is_something_to_lose(
    state: State, words: list[Word], after: State
) -> None:
    engine = FakeEngine()
    machine = Machine(0, state=state)
    coordinator = Coordinator(engine, machine)
    coordinator.start()
    try:
        await coordinator.doubt("svm0 was made again")
    finally:
        coordinator.close()
    assert [word for word, _ in engine.words] == words
    assert machine.state is after
