"""The xen adapter over real sockets: libxl's words, and peers that lie, vanish or come twice."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from fakes.engine import FakeEngine

from colo_proxy.checkpoint.commands import FailedOver, RequestCheckpoint
from colo_proxy.checkpoint.coordinator import Coordinator
from colo_proxy.checkpoint.machine import Machine, State
from colo_proxy.checkpoint.xen import Xen
from colo_proxy.host import listening
from colo_proxy.vocabulary import Divergence, Reason, Word

INIT, ANSWER = "COLO_USERSPACE_PROXY_INIT", "COLO_COMPARE_GET_XEN_INIT"
ASK, DONE = "DO_CHECKPOINT", "COLO_CHECKPOINT"
PAYLOAD = Divergence(0, "tcp 192.0.2.2:80 > 192.0.2.1:40000", "tcp", Reason.PAYLOAD, 4096, 0)
COMMIT = [Word.SVM_STOP, Word.PVM_STOP, Word.SVM_LOADED, Word.COMMIT]


def framed(text: str) -> bytes:
    return len(text).to_bytes(4) + text.encode()


class Scene:
    """The adapter, a real machine behind it, and a data path that does each word at once."""

    def __init__(self, listener: socket.socket, state: State) -> None:
        self.address = listener.getsockname()
        self.family = listener.family
        self.xen = Xen(listener)
        self.engine = FakeEngine()
        self.coordinator = Coordinator(
            self.engine, Machine(0, state=state, min_interval_ms=0, repeat_ms=20, period_ms=0)
        )
        self.coordinator.watchers.append(self._watch)
        self.requests = 0

    def _watch(self, what: object) -> None:
        if isinstance(what, RequestCheckpoint):
            self.requests += 1
            self.xen.request(what)

    @property
    def state(self) -> State:
        return self.coordinator.machine.state

    @property
    def words(self) -> list[Word]:
        return [word for word, _ in self.engine.words]

    async def until(self, true: Callable[[], object]) -> None:
        async with asyncio.timeout(5):
            while not true():
                await asyncio.sleep(0.002)

    @contextlib.asynccontextmanager
    async def libxl(self, *words: str) -> AsyncIterator["Libxl"]:
        if self.family == socket.AF_UNIX:
            reader, writer = await asyncio.open_unix_connection(self.address)
        else:
            reader, writer = await asyncio.open_connection(*self.address)
        try:
            libxl = Libxl(reader, writer)
            libxl.say(*words)
            yield libxl
        finally:
            writer.close()


class Libxl:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    def say(self, *words: str) -> None:
        for word in words:
            self.writer.write(framed(word))

    async def hears(self, word: str) -> None:
        async with asyncio.timeout(5):
            assert await self.reader.readexactly(4 + len(word)) == framed(word)

    async def hears_nothing(self) -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await self.reader.readexactly(1)

    async def is_hung_up_on(self) -> None:
        async with asyncio.timeout(5):
            assert await self.reader.read() == b""


@contextlib.asynccontextmanager
async def scene_on(listener: socket.socket, state: State = State.PROTECTED) -> AsyncIterator[Scene]:
    listener.listen()
    listener.setblocking(False)
    scene = Scene(listener, state)
    scene.coordinator.start()
    task = asyncio.create_task(scene.xen.run(scene.coordinator))
    try:
        yield scene
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        scene.coordinator.close()
        listener.close()


@pytest.fixture
async def scene(tmp_path: Path) -> AsyncIterator[Scene]:
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(tmp_path / "notify"))
    async with scene_on(listener) as scene:
        yield scene


async def test_init_is_answered(scene: Scene) -> None:
    async with scene.libxl(INIT) as libxl:
        await libxl.hears(ANSWER)
        await libxl.hears_nothing()
        assert scene.xen.connected == {"xen": True}
    await scene.until(lambda: scene.xen.connected == {"xen": False})


async def test_over_tcp() -> None:
    listener = socket.socket(socket.AF_INET)
    listener.bind(("127.0.0.1", 0))
    async with scene_on(listener) as scene, scene.libxl(INIT) as libxl:
        await libxl.hears(ANSWER)


async def test_a_difference_is_asked_for_once_and_a_checkpoint_commits(scene: Scene) -> None:
    async with scene.libxl(INIT) as libxl:
        await libxl.hears(ANSWER)
        scene.engine.report(PAYLOAD)
        await libxl.hears(ASK)
        await scene.until(lambda: scene.requests > 2)  # the machine repeats; libxl would make each
        await libxl.hears_nothing()
        libxl.say(DONE)
        await scene.until(lambda: scene.state is State.PROTECTED)
        assert scene.words == COMMIT
        stops = [stamp for word, stamp in scene.engine.words if word in (Word.SVM_STOP, Word.PVM_STOP)]
        assert stops[0] == stops[1] > 0
        scene.engine.report(PAYLOAD)
        await libxl.hears(ASK)


async def test_a_checkpoint_that_nobody_asked_for(scene: Scene) -> None:
    """libxl makes one when it has heard nothing for five seconds."""
    async with scene.libxl(INIT, DONE):
        await scene.until(lambda: scene.words == COMMIT)
        assert scene.requests == 0


async def test_a_stop_that_came_too_late_is_no_commit(scene: Scene) -> None:
    """The PVM had spoken again before the word was read: its new output must not leave as old."""
    scene.engine.late.add(Word.PVM_STOP)
    async with scene.libxl(INIT, DONE) as libxl:
        await libxl.hears(ANSWER)
        await libxl.hears(ASK)
        assert Word.ABORT in scene.words
        assert Word.COMMIT not in scene.words


async def test_words_in_pieces_and_together(scene: Scene) -> None:
    async with scene.libxl() as libxl:
        for byte in framed(INIT):
            libxl.writer.write(bytes([byte]))
            await libxl.writer.drain()
            await asyncio.sleep(0)
        await libxl.hears(ANSWER)
        libxl.writer.write(framed(DONE) + framed(DONE))
        await scene.until(lambda: scene.words == COMMIT * 2)


@pytest.mark.parametrize("word", ["", "COLO_CHECKPOIN", "COLO_CHECKPOINT\0", "colo_checkpoint", "\xff" * 512])
async def test_what_is_no_word_is_logged_and_nothing_more(
    scene: Scene, word: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with scene.libxl() as libxl:
        libxl.writer.write(len(word.encode()).to_bytes(4) + word.encode())
        libxl.say(INIT)
        await libxl.hears(ANSWER)
    assert "not a message of its protocol" in caplog.text
    assert Word.COMMIT not in scene.words


async def test_a_length_that_no_message_has_ends_the_connection(
    scene: Scene, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    async with scene.libxl() as libxl:
        libxl.writer.write(b"\0\0\x04\x01")
        await libxl.is_hung_up_on()
    assert "a message of 1025 bytes" in caplog.text
    async with scene.libxl(INIT) as libxl:
        await libxl.hears(ANSWER)


async def test_who_only_looks_in_changes_nothing(scene: Scene, caplog: pytest.LogCaptureFixture) -> None:
    """`colo-proxy check`, or a proxy that is started twice."""
    caplog.set_level("INFO")
    async with scene.libxl():
        pass
    await scene.until(lambda: "disconnected without a message" in caplog.text)
    assert scene.words == []


async def test_half_a_message_does_not_spoil_the_next_connection(scene: Scene) -> None:
    async with scene.libxl(INIT) as libxl:
        await libxl.hears(ANSWER)
        libxl.writer.write(framed(DONE)[:9])
    await scene.until(lambda: Word.HOLD in scene.words)
    async with scene.libxl(INIT) as libxl:
        await libxl.hears(ANSWER)
        await libxl.hears(ASK)
        assert Word.COMMIT not in scene.words


async def test_when_libxl_goes_all_is_held_until_the_next_checkpoint(scene: Scene) -> None:
    """A checkpoint may have passed us by: the SVM is not what it was."""
    async with scene.libxl(INIT) as libxl:
        await libxl.hears(ANSWER)
    await scene.until(lambda: scene.state is State.REQUESTED)
    assert scene.words == [Word.HOLD]
    async with scene.libxl(INIT) as libxl:
        await libxl.hears(ANSWER)
        await libxl.hears(ASK)
        libxl.say(DONE)
        await scene.until(lambda: scene.state is State.PROTECTED)


async def test_a_second_libxl_is_turned_away(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listening, "GRACE_S", 0.05)
    async with scene.libxl(INIT) as libxl:
        await libxl.hears(ANSWER)
        async with scene.libxl() as second:
            await second.is_hung_up_on()
        assert scene.words == []
        scene.engine.report(PAYLOAD)
        await libxl.hears(ASK)


async def test_nobody_to_ask(scene: Scene, caplog: pytest.LogCaptureFixture) -> None:
    scene.engine.report(PAYLOAD)
    await scene.until(lambda: scene.requests > 1)
    assert caplog.text.count("no libxl is connected") == 1
    scene.xen.fail_over(FailedOver(0, "operator"))
    async with scene.libxl(INIT) as libxl:
        await libxl.hears(ANSWER)
        await libxl.hears(ASK)
