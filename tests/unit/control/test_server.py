"""The control socket against clients that are rude, slow, many, or gone."""

import asyncio
import contextlib
import json
import os
import socket
import tracemalloc
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from colo_proxy.control import peer as peers
from colo_proxy.control import server as module
from colo_proxy.control.protocol import CommandError
from colo_proxy.control.server import Server
from colo_proxy.endpoints import Unix
from colo_proxy.host.listening import listen


async def handler(command: str, arguments: dict[str, Any]) -> object:
    if command == "fail":
        raise RuntimeError("a bug")
    if command == "refuse":
        raise CommandError("WrongState", "not now")
    if command in ("big", "huge"):
        return "x" * (100_000 if command == "big" else 3_000_000)
    return {"command": command, **arguments}


class Peer:
    """A raw client."""

    def __init__(self, path: Path) -> None:
        self.path = path

    async def __aenter__(self) -> "Peer":
        self.reader, self.writer = await asyncio.open_unix_connection(str(self.path), limit=1 << 22)
        self.greeting = await self.line()
        return self

    async def __aexit__(self, *_: object) -> None:
        self.writer.close()

    async def line(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(await asyncio.wait_for(self.reader.readline(), 5))
        return found

    async def ask(self, data: bytes) -> dict[str, Any]:
        self.writer.write(data)
        return await self.line()


Served = tuple[Server, Path]


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[Served]:
    path = tmp_path / "ctl"
    server = Server(
        listen(Unix(str(path))),
        "web1",
        "1.2",
        handler,
        vmm_words=("begin",),
        summary=lambda: {"state": "protected"},
    )
    await server.start()
    yield server, path
    await server.close()


async def test_greeting_reply_and_event(served: Served) -> None:
    server, path = served
    async with Peer(path) as peer:
        assert peer.greeting["colo-proxy"] == {"version": "1.2", "name": "web1"}
        assert await peer.ask(b'{"execute":"hi","id":1}\n') == {"return": {"command": "hi"}, "id": 1}
        server.broadcast("DIVERGENCE", {"reason": "payload"})
        event = await peer.line()
        assert (event["event"], event["data"]) == ("DIVERGENCE", {"reason": "payload"})
        assert abs(event["timestamp"]["seconds"] - __import__("time").time()) < 5
        assert 0 <= event["timestamp"]["microseconds"] < 1_000_000


async def test_errors_are_replies_and_the_connection_lives(served: Served) -> None:
    _, path = served
    async with Peer(path) as peer:
        for line, class_ in (
            (b"junk\n", "BadJson"),
            (b"x" * 70_000 + b"\n", "LineTooLong"),
            (b'{"execute":"refuse","id":2}\n', "WrongState"),
            (b'{"execute":"fail","id":3}\n', "GenericError"),
        ):
            assert (await peer.ask(line))["error"]["class"] == class_
        assert "return" in await peer.ask(b'{"execute":"hi"}\n')


async def test_a_bug_is_logged_and_not_shown(served: Served, caplog: pytest.LogCaptureFixture) -> None:
    _, path = served
    async with Peer(path) as peer:
        reply = await peer.ask(b'{"execute":"fail"}\n')
    assert "a bug" not in reply["error"]["desc"]
    assert "a bug" in caplog.text


async def test_random_bytes_never_stop_the_server(served: Served) -> None:
    _, path = served
    for _ in range(5):
        async with Peer(path) as peer:
            peer.writer.write(os.urandom(300_000))
    async with Peer(path) as peer:
        assert "return" in await peer.ask(b'{"execute":"hi"}\n')


async def test_many_commands_at_once_are_answered_in_order(served: Served) -> None:
    _, path = served
    async with Peer(path) as peer:
        peer.writer.write(b"".join(b'{"execute":"hi","id":%d}\n' % n for n in range(500)))
        assert [(await peer.line())["id"] for _ in range(500)] == list(range(500))


async def test_a_client_that_does_not_read_its_replies_is_not_read(served: Served) -> None:
    _, path = served
    with socket.socket(socket.AF_UNIX) as mute:
        mute.connect(str(path))
        mute.setblocking(False)
        sent = 0
        line = b'{"execute":"big"}\n'
        for _ in range(200):  # each asks for 100 kB
            await asyncio.sleep(0.002)
            try:
                sent += mute.send(line * 500)
            except BlockingIOError:
                break
        else:
            raise AssertionError(f"{sent} bytes of commands were taken, and no reply was read")
        async with Peer(path) as peer:
            assert "return" in await peer.ask(b'{"execute":"hi"}\n')


@contextlib.contextmanager
def mute(path: Path) -> Iterator[socket.socket]:
    """A client that reads nothing."""
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))
        yield client


async def connected(server: Server, wanted: int) -> None:
    async with asyncio.timeout(5):
        while server.clients != wanted:
            await asyncio.sleep(0.01)


async def test_a_client_that_does_not_read_loses_events_and_not_its_connection(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(peers, "MAX_UNREAD", 50_000)
    server, path = served
    with mute(path) as slow:
        await connected(server, 1)
        for number in range(3000):
            server.broadcast("E", {"n": number, "pad": "x" * 500})
        await asyncio.sleep(0)
        reader, writer = await asyncio.open_unix_connection(sock=slow, limit=1 << 22)
        await reader.readline()
        seen = []
        while (event := json.loads(await asyncio.wait_for(reader.readline(), 5)))["event"] == "E":
            seen.append(event["data"]["n"])
        assert seen == list(range(len(seen)))
        assert event["event"] == "EVENTS_LOST"
        assert event["data"] == {"lost": 3000 - len(seen), "state": "protected"}
        assert 0 < len(seen) < 3000
        writer.write(b'{"execute":"hi"}\n')
        assert "return" in json.loads(await asyncio.wait_for(reader.readline(), 5))
        server.broadcast("E", {"n": "after"})
        assert json.loads(await asyncio.wait_for(reader.readline(), 5))["data"] == {"n": "after"}
        writer.close()


async def test_a_large_reply_is_not_counted_as_unread_events(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(peers, "MAX_UNREAD", 50_000)
    server, path = served
    async with Peer(path) as peer:
        peer.writer.write(b'{"execute":"huge"}\n')
        await asyncio.sleep(0.05)
        for number in range(10):
            server.broadcast("E", {"n": number})
        lines = [await peer.line() for _ in range(11)]
        assert len(lines[0]["return"]) == 3_000_000
        assert [line["data"]["n"] for line in lines[1:]] == list(range(10))


async def test_what_a_slow_client_costs_is_bounded(served: Served) -> None:
    server, path = served
    with mute(path):
        await connected(server, 1)
        tracemalloc.start()
        for number in range(20_000):
            server.broadcast("E", {"n": number, "pad": "x" * 500})
        assert tracemalloc.get_traced_memory()[0] < 4 * peers.MAX_UNREAD
        tracemalloc.stop()


async def test_who_says_a_word_of_the_vmm_is_it_until_he_leaves(served: Served) -> None:
    server, path = served
    async with Peer(path) as looker, Peer(path) as vmm:
        await looker.ask(b'{"execute":"query-status"}\n')
        await vmm.ask(b'{"execute":"query-status"}\n')
        assert server.vmms == 0
        for _ in range(2):
            await vmm.ask(b'{"execute":"begin"}\n')
            assert server.vmms == 1
    while server.clients:
        await asyncio.sleep(0.01)
    assert server.vmms == 0


async def test_too_many_clients_are_told(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_CLIENTS", 1)
    _, path = served
    async with Peer(path) as vmm:
        await vmm.ask(b'{"execute":"begin"}\n')
        async with Peer(path) as second:
            assert "clients are connected" in (await second.line())["error"]["desc"]
            assert await second.reader.read() == b""


async def test_the_vmm_gets_in_where_all_places_are_taken(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_CLIENTS", 2)
    server, path = served
    async with Peer(path), Peer(path), Peer(path) as vmm:
        assert "return" in await vmm.ask(b'{"execute":"begin"}\n')
        assert (server.vmms, server.clients) == (1, 3)
        await asyncio.sleep(0)
        async with Peer(path) as fourth:
            assert "clients are connected" in (await fourth.line())["error"]["desc"]


async def test_no_place_is_kept_for_a_vmm_that_does_not_come_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_CLIENTS", 1)
    path = tmp_path / "ctl"
    server = Server(listen(Unix(str(path))), "web1", "1.2", handler)
    await server.start()
    async with Peer(path), Peer(path) as second:
        assert "clients are connected" in (await second.line())["error"]["desc"]
    await server.close()


async def test_the_place_of_the_vmm_is_not_held_by_others(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_CLIENTS", 1)
    monkeypatch.setattr(module, "VMM_WORD_S", 0.01)
    _, path = served
    async with Peer(path), Peer(path) as looker:
        assert (await looker.line())["error"] == {
            "class": "GenericError",
            "desc": "1 clients are connected already; the last place is kept for the VMM",
        }
        assert await asyncio.wait_for(looker.reader.read(), 5) == b""
        async with Peer(path) as vmm:
            assert "return" in await vmm.ask(b'{"execute":"begin"}\n')


async def test_who_has_been_idle_longest_makes_room(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_CLIENTS", 3)
    monkeypatch.setattr(module, "IDLE_S", 0.0)
    _, path = served
    async with Peer(path) as vmm, Peer(path) as busy, Peer(path) as idle:
        await vmm.ask(b'{"execute":"begin"}\n')
        await idle.ask(b'{"execute":"hi"}\n')
        await busy.ask(b'{"execute":"hi"}\n')
        async with Peer(path) as new:
            assert (await idle.line())["error"] == {
                "class": "GenericError",
                "desc": "disconnected to make room for another client, after 0 s without a command",
            }
            assert await asyncio.wait_for(idle.reader.read(), 5) == b""
            for peer in (vmm, busy, new):
                assert "return" in await peer.ask(b'{"execute":"hi"}\n')


async def test_a_client_that_leaves_in_mid_line(served: Served) -> None:
    server, path = served
    async with Peer(path) as peer:
        peer.writer.write(b'{"execute":')
    while server.clients:
        await asyncio.sleep(0.01)
    server.broadcast("E", {})


async def test_close_leaves_a_socket_that_is_no_longer_ours(tmp_path: Path) -> None:
    path = tmp_path / "ctl"
    server = Server(listen(Unix(str(path))), "web1", "1", handler)
    await server.start()
    path.unlink()
    path.write_text("somebody else's")
    await server.close()
    assert path.read_text() == "somebody else's"


async def test_a_flood_of_clients_is_one_line(
    served: Served, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "MAX_CLIENTS", 2)
    caplog.set_level("INFO")
    _, path = served
    async with Peer(path) as vmm, Peer(path):
        await vmm.ask(b'{"execute":"begin"}\n')
        for _ in range(100):
            async with Peer(path) as refused:
                assert "error" in await refused.line()
        assert len(caplog.records) == 1
        assert caplog.records[0].message == "2 clients are connected; another is refused (1 so far)"
        caplog.clear()
        monkeypatch.setattr(module, "IDLE_S", 0.0)
        for _ in range(100):
            async with Peer(path) as newcomer:
                newcomer.writer.write(b'{"execute": "hi')  # half a line
        assert len(caplog.records) == 1
        assert "is disconnected to make room for another (1 so far)" in caplog.records[0].message
        assert "return" in await vmm.ask(b'{"execute":"hi"}\n')
