"""A port on a socket: whom it lets in, what it lends the engine; nothing old comes in after a stop."""

import asyncio
import errno
import os
import socket
import stat
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

from colo_proxy.endpoints import Tcp, Unix
from colo_proxy.engine.messages import PortFault
from colo_proxy.host import listening
from colo_proxy.host import socket_port as stream_port
from colo_proxy.host.listening import Door, listen
from colo_proxy.host.socket_port import StreamPort
from colo_proxy.vocabulary import Port

LOST = PortFault(0, Port.SECONDARY, errno.ENOTCONN, "svm: the peer closed the connection")


class Scene:
    """One port, and an engine that notes what it is lent, and is done with it when the test says so."""

    def __init__(self, endpoint: Unix | Tcp) -> None:
        self.listener = listen(endpoint)
        self.lent: list[int] = []
        self.detached: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.port = StreamPort("svm", self.listener, self.attach)
        self.peers: list[socket.socket] = []

    def attach(self, fd: int) -> "asyncio.Future[None]":
        self.lent.append(fd)
        return self.detached

    def call(self) -> socket.socket:
        peer = socket.socket(self.listener.family)
        self.peers.append(peer)
        peer.settimeout(5)
        peer.connect(self.listener.getsockname())
        return peer

    async def until(self, lent: int) -> None:
        async with asyncio.timeout(5):
            while len(self.lent) < lent:
                await asyncio.sleep(0.001)

    def hear(self, data: bytes = b"x") -> bytes:
        """What the engine would read from the descriptor it was lent last."""
        with socket.socket(fileno=socket.dup(self.lent[-1])) as ours:
            ours.settimeout(5)
            return ours.recv(len(data))


@asynccontextmanager
async def scene_at(endpoint: Unix | Tcp) -> AsyncIterator[Scene]:
    scene = Scene(endpoint)
    task = asyncio.create_task(scene.port.run())
    try:
        yield scene
    finally:
        assert not task.done(), task.exception()
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        scene.port.close()
        scene.listener.close()
        for peer in scene.peers:
            peer.close()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as trial:
        return int(trial.getsockname()[1])


@pytest.fixture(params=["unix", "tcp"])
async def scene(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Scene]:
    endpoint = Unix(str(tmp_path / "s")) if request.param == "unix" else Tcp("127.0.0.1", free_port())
    async with scene_at(endpoint) as scene:
        yield scene


async def closed(peer: socket.socket) -> bool:
    """Whether the peer's connection ends."""
    with suppress(ConnectionError):
        return await asyncio.to_thread(peer.recv, 1) == b""
    return True


async def test_the_sockets_file_is_closed_to_others(tmp_path: Path) -> None:
    async with scene_at(Unix(str(tmp_path / "s"))):
        assert stat.S_IMODE((tmp_path / "s").stat().st_mode) == 0o660


async def test_a_tcp_peer_is_looked_after_and_heard_at_once() -> None:
    async with scene_at(Tcp("127.0.0.1", free_port())) as scene:
        scene.call()
        await scene.until(1)
        with socket.socket(fileno=socket.dup(scene.lent[0])) as ours:
            assert ours.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
            assert ours.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        assert not os.get_blocking(scene.lent[0])


async def test_one_peer_at_a_time_and_the_next_when_it_has_gone(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listening, "GRACE_S", 0.05)
    scene.call()
    await scene.until(1)
    assert await closed(scene.call())
    assert len(scene.lent) == 1
    scene.port.failed(LOST)
    third = scene.call()
    await scene.until(2)
    third.sendall(b"x")
    assert scene.hear() == b"x"


async def test_who_calls_again_at_once_is_not_refused(scene: Scene) -> None:
    scene.call().close()
    await scene.until(1)
    again = scene.call()
    await asyncio.sleep(0.05)  # it is waiting: the engine has not noticed yet
    assert len(scene.lent) == 1
    scene.port.failed(LOST)
    await scene.until(2)
    again.sendall(b"x")
    assert scene.hear() == b"x"


async def test_good_news_of_a_port_ends_no_connection(scene: Scene) -> None:
    peer = scene.call()
    await scene.until(1)
    scene.port.failed(PortFault(0, Port.SECONDARY, 0, "svm: works again"))
    peer.sendall(b"x")
    assert scene.hear() == b"x"


async def test_after_a_stop_the_connection_is_another_and_the_engine_hears_of_it_first(scene: Scene) -> None:
    old = scene.call()
    await scene.until(1)
    old.sendall(b"old")
    back = scene.port.renew()
    assert scene.lent[1:] == [-1], "posted before anything that follows"
    again = scene.call()
    again.sendall(b"x")
    await asyncio.sleep(0.05)
    assert len(scene.lent) == 2, "nobody else while the engine may still use the old descriptor"
    scene.port.failed(LOST)  # of the old one: told before the engine did what it was asked to
    assert not back.done()
    scene.detached.set_result(None)
    await scene.until(3)
    await back
    assert scene.hear() == b"x"
    assert await closed(old)


async def test_after_a_stop_who_had_connected_before_is_not_let_in(scene: Scene) -> None:
    inside, waiting = scene.call(), scene.call()
    await scene.until(1)
    await asyncio.sleep(0.05)
    queued = scene.call()
    queued.sendall(b"old")
    waiting.sendall(b"old")
    scene.port.renew()
    scene.detached.set_result(None)
    for each in (inside, waiting, queued):
        assert await closed(each)
    scene.call().sendall(b"x")
    await scene.until(3)
    assert scene.hear() == b"x"


async def test_a_stop_while_nobody_is_there_turns_away_who_is_just_coming(scene: Scene) -> None:
    coming = scene.call()  # its connection is there; nobody has looked yet
    coming.sendall(b"old")
    assert scene.port.renew().done(), "nobody is waited for"
    assert await closed(coming)
    assert scene.lent == []
    scene.call()
    await scene.until(1)


async def test_two_stops_on_end_are_one_renewal(scene: Scene) -> None:
    scene.call()
    await scene.until(1)
    scene.port.renew()
    scene.port.renew()
    assert scene.lent[1:] == [-1]
    scene.detached.set_result(None)
    scene.call()
    await scene.until(3)


async def test_a_peer_that_does_not_come_back_is_missed_and_not_waited_for(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(stream_port, "BACK_S", 0.05)
    scene.call()
    await scene.until(1)
    back = scene.port.renew()
    scene.detached.set_result(None)
    async with asyncio.timeout(5):
        await back
    assert "reconnect-ms" in caplog.text


class Failing(socket.socket):
    """A listening socket on which the first peer cannot be accepted."""

    failed = False

    def accept(self) -> tuple[socket.socket, object]:
        if not self.failed:
            self.failed = True
            raise OSError(errno.EMFILE, "Too many open files")
        return super().accept()


async def test_a_peer_that_cannot_be_accepted_ends_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(listening, "PAUSE_S", 0.01)
    with listen(Unix(str(tmp_path / "s"))) as made, Failing(fileno=made.detach()) as listener:
        listener.setblocking(False)
        door = Door("svm", listener)
        entering = asyncio.create_task(door.enter())
        with socket.socket(socket.AF_UNIX) as peer:
            peer.connect(str(tmp_path / "s"))
            async with asyncio.timeout(5):
                (await entering).close()
    assert "svm: a peer could not be accepted: Too many open files" in caplog.text


async def test_peers_that_keep_coming_while_one_is_there_are_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(listening, "GRACE_S", 0.001)
    async with scene_at(Unix(str(tmp_path / "s"))) as scene:
        scene.call()
        await scene.until(1)
        for _ in range(20):
            refused = scene.call()
            assert await asyncio.to_thread(refused.recv, 1) == b""
        assert scene.lent == scene.lent[:1]
    told = [record.message for record in caplog.records if "is rejected" in record.message]
    assert told == ["svm: another peer has connected and is rejected: there is one already (1 so far)"]
