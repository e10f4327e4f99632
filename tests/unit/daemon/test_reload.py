"""SIGHUP: what changes, what is named and stays, and that a wrong file changes nothing."""

import asyncio
import logging
import os
import signal
from pathlib import Path

import pytest
from unit.proxy import NIC, Running, running

from colo_proxy import config
from colo_proxy.daemon import reload
from colo_proxy.telemetry import logs


@pytest.fixture(autouse=True)
def logging_stays(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> list[dict[str, str]]:
    """pytest's own handler must stay where it is."""
    caplog.set_level(logging.INFO)
    monkeypatch.setattr(reload, "PAUSE_S", 0.0)
    asked: list[dict[str, str]] = []
    monkeypatch.setattr(logs, "set_up", lambda **keywords: asked.append(keywords))
    return asked


async def hang_up(proxy: Running, caplog: pytest.LogCaptureFixture, text: str) -> list[str]:
    """Write the file, send SIGHUP; returns what the log says until it is done."""
    head = f'[proxy]\nname = "web1"\ncontrol = "{proxy.socket}"\nmetrics = ""\n'
    proxy.config.path.write_text(text if text.startswith("!") else head + text)
    caplog.clear()
    os.kill(os.getpid(), signal.SIGHUP)
    while not any("reloaded" in record.message for record in caplog.records):
        await asyncio.sleep(0.01)
    return [record.message for record in caplog.records if record.name == "colo_proxy.reload"]


RULE = '[[policy]]\nmatch = { protocol = "udp", port = 123 }\naction = "bypass"\n'


TWO_HOSTS = """
[pair]
host = "a"
peer_host = "b"
listen = "192.0.2.1:9310"
peer = "192.0.2.2:9310"
insecure = true
[arbiter]
kind = "directory"
path = "/nowhere"
[[nic]]
uplink = "packet:up0"
vm = "packet:vm0"
"""


async def test_what_can_be_changed_is(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, logging_stays: list[dict[str, str]]
) -> None:
    async with running(tmp_path, "[checkpoint]\nmax_hold_ms = 100000\n") as proxy:
        assert not (await proxy.execute("query-status"))["alarm"]
        text = NIC + '[checkpoint]\nmax_hold_ms = 1\n[log]\nlevel = "debug"\nformat = "json"\n' + RULE
        said = await hang_up(proxy, caplog, text)
        assert said == [f"reloaded {proxy.config.path}: 1 policy, log level debug"]
        assert await proxy.execute("query-policy") == [
            {"match": {"protocol": "udp", "port": 123}, "action": "bypass", "frames": 0}
        ]
        assert len(proxy.engine.rules) == 1
        assert logging_stays[-1] == {"level": "debug", "form": "json"}
        while not (await proxy.execute("query-status"))["alarm"]:  # it had been waiting for long enough
            await asyncio.sleep(0.01)


async def test_the_file_outweighs_what_set_policy_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with running(tmp_path) as proxy:
        await proxy.execute("set-policy", policies=[{"action": "drop"}])
        await hang_up(proxy, caplog, NIC)
        assert await proxy.execute("query-policy") == []


async def test_what_cannot_is_named_each_time_and_stays(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with running(tmp_path) as proxy:
        text = (
            NIC.replace("pvm0", "pvm1") + "[compare]\nmax_flows = 7\n[checkpoint]\nperiod_ms = 60000\n" + RULE
        )
        for _ in range(2):
            said = await hang_up(proxy, caplog, text)
            assert said[:3] == [
                f"{proxy.config.path}: {key} has changed and needs a restart; the old value is kept"
                for key in ("[[nic]]", "[compare] max_flows", "[checkpoint] period_ms")
            ]
        assert len(await proxy.execute("query-policy")) == 1
        assert (await proxy.execute("query-stats"))["max_flows"] == 100_000


@pytest.mark.parametrize("text", ["!", NIC + RULE + "[compare]\nmax_flows = 0\n", TWO_HOSTS])
async def test_a_wrong_file_changes_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, text: str
) -> None:
    async with running(tmp_path) as proxy:
        said = await hang_up(proxy, caplog, text)
        assert len(said) == 1
        assert said[0].startswith(f"not reloaded: {proxy.config.path}:")
        assert proxy.engine.rules == []
        assert (await proxy.execute("query-status"))["state"] == "requested"


def test_every_key_is_either_reloaded_or_named() -> None:
    """A key that is added to a section that needs a restart is named without anybody thinking of it."""
    base = config.parse(NIC, Path("/etc/web1.toml"))
    for section in ("proxy", "compare", "checkpoint"):
        for key in type(getattr(base, section)).model_fields:
            changed = getattr(base, section).model_copy(update={key: object()})
            other = config.Config(**{**{f: getattr(base, f) for f in base.__slots__}, section: changed})
            named = list(reload.needing_restart(base, other))
            assert named == ([] if key in reload.TIMES else [f"[{section}] {key}"])
    covered = {"path", "proxy", "nics", "compare", "checkpoint", "log", "policies", "two_hosts"}
    assert set(base.__slots__) == covered, "say in reload.py what becomes of a new section"


async def test_a_storm_of_signals_is_one_reload_and_the_last_file_counts(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running(tmp_path) as proxy:
        monkeypatch.setattr(reload, "PAUSE_S", 0.3)
        await hang_up(proxy, caplog, NIC)
        began = asyncio.get_running_loop().time()
        caplog.clear()
        for _ in range(100):
            os.kill(os.getpid(), signal.SIGHUP)
            await asyncio.sleep(0)
        await hang_up(proxy, caplog, NIC + RULE)
        assert asyncio.get_running_loop().time() - began > 0.2
        assert len(await proxy.execute("query-policy")) == 1
        for _ in range(10):
            await proxy.execute("query-status")
        assert [record.message for record in caplog.records if "reloaded" in record.message] == [
            f"reloaded {proxy.config.path}: 1 policy, log level info"
        ]
