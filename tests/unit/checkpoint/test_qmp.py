"""The adapter over real sockets, against QEMUs that close, hang, lie, die and come back."""

import asyncio
import contextlib
import socket
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from fakes.qemu import FakeQemu

from colo_proxy.checkpoint import qmp
from colo_proxy.checkpoint.commands import FailedOver, RequestCheckpoint
from colo_proxy.checkpoint.events import (
    Committed,
    Connected,
    Event,
    PrimaryLost,
    PvmStopped,
    ReplicaLost,
    SvmLoaded,
    SvmStopped,
    Unsure,
)
from colo_proxy.checkpoint.machine import IllegalWord, State
from colo_proxy.checkpoint.qemu_versions import Colo, judge
from colo_proxy.endpoints import Tcp, Unix


class Scene:
    """A pair of fakes, the adapter on them, and the news so far."""

    def __init__(self, directory: Path) -> None:
        self.primary = FakeQemu(directory / "pvm.qmp", "primary")
        self.secondary = FakeQemu(directory / "svm.qmp", "secondary")
        self.news: list[Event] = []
        self.pair = qmp.Qmp(Unix(str(self.primary.path)), Unix(str(self.secondary.path)), period_ms=7000)

    async def say(self, *events: Event) -> None:
        """The proxy, for the adapter."""
        self.news += events
        for event in events:
            if isinstance(event, PrimaryLost):
                self.pair.fail_over(FailedOver(7, event.why))

    @property
    def kinds(self) -> list[type]:
        return [type(event) for event in self.news if not isinstance(event, Connected)]

    async def until(self, true: Callable[[], object], seconds: float = 10) -> None:
        end = time.monotonic() + seconds
        while not true():
            assert time.monotonic() < end, f"news so far: {self.news}"
            await asyncio.sleep(0.005)

    async def news_of(self, kind: type, times: int = 1) -> None:
        await self.until(lambda: self.kinds.count(kind) >= times)

    def asked(self, vm: FakeQemu, command: str) -> list[dict[str, object]]:
        return [arguments for name, arguments in vm.received if name == command]


@pytest.fixture
async def scene(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Scene]:
    monkeypatch.setattr(qmp, "REPLY_S", 0.3)
    monkeypatch.setattr(qmp, "POLL_S", 0.1)
    monkeypatch.setattr(qmp, "BACKOFF_S", (0.02, 0.1))
    scene = Scene(tmp_path)
    await scene.primary.listen()
    await scene.secondary.listen()
    task = asyncio.create_task(scene.pair.run(scene))
    yield scene
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
    await scene.primary.die()
    await scene.secondary.die()


async def test_checkpoint_with_its_stamps(scene: Scene) -> None:
    await scene.news_of(Unsure)
    assert scene.pair.connected == {"primary": True, "secondary": True}
    scene.pair.request(RequestCheckpoint(1, "payload"))
    await scene.until(lambda: scene.asked(scene.primary, "migrate-set-parameters"))
    assert scene.asked(scene.primary, "migrate-set-parameters") == [{"x-checkpoint-delay": 7000}]
    svm_stop, pvm_stop = scene.secondary.emit("STOP"), scene.primary.emit("STOP")
    await scene.news_of(PvmStopped)
    svm_runs, pvm_runs = scene.secondary.emit("RESUME"), scene.primary.emit("RESUME")
    await scene.news_of(Committed)
    assert scene.news[-4:] == [
        *(SvmStopped(svm_stop), PvmStopped(pvm_stop)),
        *(SvmLoaded(svm_runs), Committed(pvm_runs)),
    ]


FOUND = [
    {"name": "type", "type": "string"},
    {"name": "f0", "type": "child<filter-redirector>"},
    {"name": "iothread1", "type": "child<iothread>"},
    {"name": "f1", "type": "child<filter-redirector>"},
]


@pytest.mark.parametrize(
    ("filters", "found", "switched"),
    [
        (True, FOUND, ["/objects/f0", "/objects/f1"]),
        (False, FOUND, []),
        (True, [], []),
        (True, {}, []),
        (True, [5], []),
    ],
    ids=["of a secondary on a socket", "of one on an interface", "there are none", "no list", "no object"],
)
async def test_the_filters_of_an_svm_that_takes_over_are_switched_on_again(
    scene: Scene, caplog: pytest.LogCaptureFixture, filters: bool, found: object, switched: list[str]
) -> None:
    caplog.set_level("INFO")
    scene.pair._filters = filters
    scene.secondary.objects = found
    await scene.news_of(Unsure)
    await scene.primary.die()
    await scene.until(lambda: scene.asked(scene.secondary, "x-colo-lost-heartbeat"))
    await scene.until(lambda: not filters or "switched on again" in caplog.text)
    if not filters:
        await asyncio.sleep(0.2)
    assert scene.asked(scene.secondary, "qom-set") == [
        {"path": path, "property": "status", "value": "on"} for path in switched
    ]


async def test_dead_primary_is_told_at_once_to_the_secondary(scene: Scene) -> None:
    await scene.news_of(Unsure)
    died = time.monotonic()
    await scene.primary.die()
    await scene.news_of(PrimaryLost)
    await scene.until(lambda: scene.asked(scene.secondary, "x-colo-lost-heartbeat"))
    assert time.monotonic() - died < 5
    await asyncio.sleep(0.5)
    assert len(scene.asked(scene.secondary, "x-colo-lost-heartbeat")) == 1
    assert not scene.asked(scene.primary, "x-colo-lost-heartbeat")


async def test_dead_secondary_and_a_new_one(scene: Scene) -> None:
    await scene.news_of(Unsure)
    await scene.secondary.die()
    await scene.news_of(ReplicaLost)
    await scene.until(lambda: scene.asked(scene.primary, "x-colo-lost-heartbeat"))
    scene.news.clear()
    scene.secondary.path.unlink()
    scene.secondary = await FakeQemu(scene.secondary.path, "secondary").listen()
    await scene.until(lambda: scene.pair.connected["secondary"])
    await asyncio.sleep(0.2)
    assert scene.kinds == []  # the primary is not in COLO
    scene.primary.mode = "primary"
    await scene.news_of(Unsure)


@pytest.mark.parametrize("which", ["primary", "secondary"])
async def test_closed_connection_is_no_death(scene: Scene, which: str) -> None:
    await scene.news_of(Unsure)
    vm: FakeQemu = getattr(scene, which)
    vm.hang_up()
    await scene.news_of(Unsure, 3)  # connected, lost from sight, connected
    assert scene.kinds == [Unsure] * 3
    assert not scene.asked(scene.primary, "x-colo-lost-heartbeat")
    assert not scene.asked(scene.secondary, "x-colo-lost-heartbeat")


@pytest.mark.parametrize("which", ["primary", "secondary"])
async def test_hung_qemu_holds_until_it_answers(scene: Scene, which: str) -> None:
    await scene.news_of(Unsure)
    vm: FakeQemu = getattr(scene, which)
    vm.silent, vm.greets = True, False
    await scene.news_of(Unsure, 2)
    await asyncio.sleep(0.5)
    assert scene.kinds == [Unsure, Unsure]
    vm.silent, vm.greets = False, True
    await scene.news_of(Unsure, 3)


GARBAGE = [
    b"\xff\xfe\x00not json\r\n",
    b"[1, 2]\r\n",
    b'{"event": "STOP"}\r\n' + b"x" * 200_000,
    b'{"error": {"class": "GenericError", "desc": "parse error"}}\r\n',
    b'"' + b"a" * 70_000 + b'"\r\n',
    b"[" * 50_000 + b"\r\n",
]


@pytest.mark.parametrize("garbage", GARBAGE, ids=["bytes", "list", "flood", "error", "long", "nested"])
async def test_garbage_ends_the_session_and_nothing_else(scene: Scene, garbage: bytes) -> None:
    await scene.news_of(Unsure)
    scene.primary.write(garbage)
    await scene.news_of(Unsure, 3)  # connected, lost from sight, connected
    assert scene.kinds == [Unsure] * 3


ODD_EVENTS = [
    b'{"event": 7, "timestamp": 7}\r\n',
    b'{"event": "STOP", "timestamp": {"seconds": -1, "microseconds": -1}}\r\n{"event": "RESUME"}\r\n',
    b'{"event": "COLO_EXIT_SOON", "data": [1], "timestamp": {"seconds": "x"}}\r\n',
    b'{"return": {}, "id": "never asked"}\r\n',
]


@pytest.mark.parametrize("odd", ODD_EVENTS)
async def test_odd_messages_do_no_harm(scene: Scene, odd: bytes) -> None:
    await scene.news_of(Unsure)
    scene.primary.write(odd)
    await asyncio.sleep(0.2)
    assert scene.kinds == [Unsure]
    assert scene.primary.sessions == 1


async def test_closing_again_and_again_is_no_busy_loop(scene: Scene) -> None:
    await scene.news_of(Unsure)
    end = time.monotonic() + 0.6
    while time.monotonic() < end:
        scene.primary.hang_up()
        await asyncio.sleep(0.001)
    assert scene.primary.sessions < 30


async def test_broken_version_is_refused_by_name(tmp_path: Path) -> None:
    vm = await FakeQemu(tmp_path / "qmp", version=(10, 0, 2)).listen()
    pair = qmp.Qmp(Unix(str(vm.path)), Unix(f"{tmp_path}/none"))
    with pytest.raises(qmp.BrokenQemu, match=r"QEMU 10\.0\.2 never enters .* use QEMU 11\.1"):
        await asyncio.wait_for(pair.run(Scene(tmp_path)), 10)
    verdict, state = await qmp.inspect(Unix(str(vm.path)))
    assert verdict.colo is Colo.BROKEN
    assert state is None
    await vm.die()
    with pytest.raises(ConnectionError, match="refused"):
        await qmp.inspect(Unix(str(vm.path)))


@pytest.mark.parametrize(
    ("version", "kvm", "colo"),
    [
        ((7, 2, 22), False, Colo.BROKEN),
        ((7, 2, 22), True, Colo.UNTESTED),
        ((9, 2, 0), False, Colo.UNTESTED),
        ((10, 0, 2), True, Colo.BROKEN),
        ((11, 1, 2), False, Colo.WORKS),
    ],
)
def test_versions(version: tuple[int, int, int], kvm: bool, colo: Colo) -> None:
    verdict = judge(version, kvm=kvm)
    assert verdict.colo is colo
    assert bool(verdict.text) == (colo is not Colo.WORKS)


async def test_over_tcp() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    with pytest.raises(ConnectionError, match=f"tcp:127.0.0.1:{port}: Connection refused"):
        await qmp.inspect(Tcp("127.0.0.1", port))


async def test_operator_fails_over(scene: Scene) -> None:
    await scene.news_of(Unsure)
    scene.pair.fail_over(FailedOver(7, "operator"))
    await scene.until(lambda: scene.asked(scene.secondary, "x-colo-lost-heartbeat"))
    scene.news.clear()
    await scene.primary.die()
    await asyncio.sleep(0.3)
    assert scene.kinds == []


async def test_word_that_the_machine_does_not_take_stops_nothing(scene: Scene) -> None:
    async def refuse(event: Event) -> None:
        raise IllegalWord(State.FAILED_OVER, type(event).__name__)

    await scene.news_of(Unsure)
    taken, scene.say = scene.say, refuse  # type: ignore[assignment,method-assign]
    scene.secondary.hang_up()
    await asyncio.sleep(0.2)
    scene.say = taken  # type: ignore[method-assign]
    scene.secondary.hang_up()
    await scene.news_of(Unsure, 2)
