"""What a service manager is told, seen from its end of the socket."""

import asyncio
import os
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from fakes.engine import FakeEngine
from unit.proxy import NIC, running

from colo_proxy.daemon import service


@pytest.fixture
def manager(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(tmp_path / "notify"))
        listener.settimeout(10)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        yield listener


async def told(manager: socket.socket) -> list[str]:
    return (await asyncio.to_thread(manager.recv, 4096)).decode().splitlines()


async def test_ready_reloading_stopping(manager: socket.socket, tmp_path: Path) -> None:
    async with running(tmp_path) as proxy:
        ready = ["READY=1", f"STATUS=web1: requested; control socket {proxy.socket}"]
        assert await told(manager) == ready
        head = f'[proxy]\nname = "web1"\ncontrol = "{proxy.socket}"\nmetrics = ""\n'
        proxy.config.path.write_text(head + NIC)
        os.kill(os.getpid(), signal.SIGHUP)
        reloading, stamp = await told(manager)
        assert reloading == "RELOADING=1"
        assert stamp.removeprefix("MONOTONIC_USEC=").isdigit()
        assert await told(manager) == ready
        os.kill(os.getpid(), signal.SIGTERM)
        assert await told(manager) == ["STOPPING=1"]
        await asyncio.wait_for(proxy.task, 10)


async def test_the_status_says_whether_it_protects(manager: socket.socket, tmp_path: Path) -> None:
    async with running(tmp_path, "[checkpoint]\nmin_interval_ms = 0\n") as proxy:
        where = f"control socket {proxy.socket}"
        await told(manager)
        await proxy.execute("checkpoint-begin")
        await proxy.execute("checkpoint-commit")
        assert await told(manager) == [f"STATUS=web1: protected; {where}"], "what was between is over"
        for _ in range(20):  # a storm, which ends as it began
            await proxy.execute("checkpoint-begin")
            await proxy.execute("checkpoint-commit")
        await proxy.execute("replica-lost")
        seen = await told(manager)
        while seen != [f"STATUS=web1: unprotected; {where}"]:
            assert "protect" in seen[0] or "stopped" in seen[0]
            seen = await told(manager)
        os.kill(os.getpid(), signal.SIGTERM)
        assert await told(manager) == ["STOPPING=1"]
        await asyncio.wait_for(proxy.task, 10)


async def test_an_observer_says_so(manager: socket.socket, tmp_path: Path) -> None:
    async with running(tmp_path, '[checkpoint]\nvmm = "none"\n') as proxy:
        assert await told(manager) == [
            "READY=1",
            f"STATUS=web1: observing; control socket {proxy.socket}",
        ]


async def test_the_status_says_why_a_reload_was_refused(manager: socket.socket, tmp_path: Path) -> None:
    async with running(tmp_path) as proxy:
        fine = await told(manager)
        head = f'[proxy]\nname = "web1"\ncontrol = "{proxy.socket}"\nmetrics = ""\n'
        for text, refused in (
            ("[compare]\nmax_flows = 0\n", "[compare] max_flows"),
            ("[compare]\nmax_flows = 0\nmax_held_bytes = 0\n", " (and 1 more; see the log)"),
            ("", ""),
        ):
            proxy.config.path.write_text(head + NIC + text)
            os.kill(os.getpid(), signal.SIGHUP)
            assert (await told(manager))[0] == "RELOADING=1"
            ready, status = await told(manager)
            assert ready == "READY=1"
            if refused:
                start = f"STATUS=web1: requested; reload refused: {proxy.config.path}:"
                assert status.startswith(start)
                assert refused in status
            else:
                assert [ready, status] == fine


async def test_the_watchdog_is_fed_by_the_data_path(
    manager: socket.socket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", "200000")
    engine = FakeEngine()
    async with running(tmp_path, engine=engine):
        fed = 0
        while fed < 3:
            engine.beat += 1
            fed += await told(manager) == ["WATCHDOG=1"]
        manager.settimeout(0.4)
        silent = False  # a data path that hangs; that the control plane lives is not enough
        while not silent:
            try:
                await told(manager)
            except TimeoutError:
                silent = True
        engine.beat += 1
        manager.settimeout(10)
        assert await told(manager) == ["WATCHDOG=1"]


def test_an_abstract_socket_and_none_and_one_that_is_gone(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind("")  # the kernel finds an abstract name, which begins with a NUL
        monkeypatch.setenv("NOTIFY_SOCKET", "@" + listener.getsockname()[1:].decode())
        service.notify("READY=1", "STATUS=x")
        assert listener.recv(100) == b"READY=1\nSTATUS=x"
    service.notify("READY=1")
    for gone in ("", str(tmp_path / "none")):
        monkeypatch.setenv("NOTIFY_SOCKET", gone)
        service.notify("READY=1")


@pytest.mark.parametrize(
    ("usec", "pid", "seconds"),
    [
        ("10000000", "", 10.0),
        ("500000", "us", 0.5),
        ("500000", "1", None),
        ("0", "", None),
        ("", "", None),
        ("x", "", None),
    ],
)
def test_patience(monkeypatch: pytest.MonkeyPatch, usec: str, pid: str, seconds: float | None) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", usec)
    monkeypatch.setenv("WATCHDOG_PID", str(os.getpid()) if pid == "us" else pid)
    assert service.watchdog_s() == seconds
