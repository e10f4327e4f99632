"""The control socket as QMP tools use it, through QEMU's own library."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from qemu.qmp import ExecuteError, QMPClient
from qemu.qmp.qmp_shell import QMPShell
from unit.proxy import Running, running

CONTROL = '[checkpoint]\nvmm = "control"\nperiod_ms = 0\n'


@pytest.fixture
async def proxy(tmp_path: Path) -> AsyncIterator[Running]:
    async with running(tmp_path, CONTROL) as proxy:
        yield proxy


async def test_qemu_qmp_connects_asks_and_hears(proxy: Running) -> None:
    client = QMPClient("test")
    await client.connect(proxy.socket)
    try:
        assert client.greeting is not None
        assert client.greeting._raw["colo-proxy"]["name"] == "web1"
        status = await client.execute("query-status")
        assert isinstance(status, dict)
        assert status["state"] == "requested"
        with pytest.raises(ExecuteError, match="takes no argument"):
            await client.execute("query-status", {"verbose": True})
        with pytest.raises(ExecuteError, match="there is no command"):
            await client.execute("device_add")
        with client.listener("CHECKPOINT_BEGIN") as listener:
            await client.execute("checkpoint-begin")
            event = await asyncio.wait_for(listener.get(), 5)
        assert isinstance(event["data"], dict)
        assert event["data"]["epoch"] == status["epoch"]
    finally:
        await client.disconnect()


async def test_many_commands_of_one_qmp_client_at_once(proxy: Running) -> None:
    client = QMPClient("test")
    await client.connect(proxy.socket)
    try:
        answers = await asyncio.gather(*(client.execute("query-status") for _ in range(100)))
        assert [answer["name"] for answer in answers if isinstance(answer, dict)] == ["web1"] * 100
    finally:
        await client.disconnect()


async def test_qmp_shell_greets(
    proxy: Running, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))  # it keeps a history there

    def greet() -> None:
        with QMPShell(proxy.socket) as shell:
            shell.connect()
            shell.show_banner()

    await asyncio.to_thread(greet)
    assert "Connected to QEMU" in capsys.readouterr().out


async def test_a_client_of_lines(proxy: Running) -> None:
    def lines() -> list[dict[str, Any]]:
        with socket.socket(socket.AF_UNIX) as peer:
            peer.settimeout(5)
            peer.connect(proxy.socket)
            peer.sendall(b'{"execute":"qmp_capabilities"}\r\n\n{"execute":"query-policy","id":"x"}\njunk\n')
            with peer.makefile("rb") as file:
                return [json.loads(file.readline()) for _ in range(4)]

    greeting, capabilities, policy, error = await asyncio.to_thread(lines)
    assert next(iter(greeting)) == "colo-proxy"
    assert capabilities == {"return": {}}
    assert policy == {"return": [], "id": "x"}
    assert error["error"]["class"] == "BadJson"
