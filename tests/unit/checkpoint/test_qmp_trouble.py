"""A whole control plane beside QEMUs that close, hang, talk rubbish or never end a checkpoint.

Each time: output stays held, the state says so, the alarm comes, and all is well again when QEMU is.
"""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from fakes.qemu import FakeQemu
from unit.proxy import Running, running

from colo_proxy.checkpoint import qmp
from colo_proxy.checkpoint.commands import RequestCheckpoint
from colo_proxy.cli.status import lines
from colo_proxy.endpoints import Unix
from colo_proxy.vocabulary import Word

RELEASES = {Word.COMMIT, Word.UNPROTECT, Word.FAILOVER}


class Pair:
    """Two fakes and the proxy between them."""

    def __init__(self, primary: FakeQemu, secondary: FakeQemu, proxy: Running) -> None:
        self.primary, self.secondary, self.proxy = primary, secondary, proxy

    async def until(self, true: Callable[[dict[str, Any]], object]) -> dict[str, Any]:
        end = time.monotonic() + 20
        while True:
            status: Any = await self.proxy.execute("query-status")
            if true(status):
                return dict(status)
            assert time.monotonic() < end, status
            await asyncio.sleep(0.01)

    async def stop(self) -> None:
        """Both stop for a checkpoint."""
        self.secondary.emit("STOP")
        self.primary.emit("STOP")
        await self.until(lambda status: status["state"] == "stopped")

    async def checkpoint(self) -> None:
        await self.stop()
        self.secondary.emit("RESUME")
        self.primary.emit("RESUME")
        await self.until(lambda status: status["state"] == "protected")

    def requests(self) -> int:
        return sum(name == "migrate-set-parameters" for name, _ in self.primary.received)

    def released(self) -> list[Word]:
        return [word for word, _ in self.proxy.engine.words if word in RELEASES]


@pytest.fixture
async def pair(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Pair]:
    """Protected, with one checkpoint."""
    monkeypatch.setattr(qmp, "REPLY_S", 1)  # less is no sign of a hang on a busy machine
    monkeypatch.setattr(qmp, "POLL_S", 0.1)
    monkeypatch.setattr(qmp, "BACKOFF_S", (0.02, 0.1))
    primary = await FakeQemu(tmp_path / "pvm.qmp", "primary").listen()
    secondary = await FakeQemu(tmp_path / "svm.qmp", "secondary").listen()
    text = f"""[checkpoint]
vmm = "qmp"
primary = "unix:{primary.path}"
secondary = "unix:{secondary.path}"
min_interval_ms = 0
repeat_ms = 100
max_hold_ms = 300
period_ms = 0
"""
    async with running(tmp_path, text) as proxy:
        made = Pair(primary, secondary, proxy)
        await made.until(lambda status: all(status["vmm_connected"].values()) and made.requests())
        await made.checkpoint()
        assert made.released() == [Word.COMMIT]
        yield made
    for vm in (primary, secondary):
        with contextlib.suppress(Exception):
            await vm.die()


def shown(status: dict[str, Any]) -> str:
    return "\n".join(lines(status))


def closes(vm: FakeQemu) -> None:
    vm.greets = False
    vm.hang_up()


def hangs(vm: FakeQemu) -> None:
    vm.silent, vm.greets = True, False


def talks_rubbish(vm: FakeQemu) -> None:
    vm.write(b"\xff\xfe\x00 no JSON\r\n")
    vm.greets = False


@pytest.mark.parametrize("which", ["primary", "secondary"])
@pytest.mark.parametrize("trouble", [closes, hangs, talks_rubbish])
async def test_a_peer_in_trouble(pair: Pair, trouble: Callable[[FakeQemu], None], which: str) -> None:
    vm: FakeQemu = getattr(pair, which)
    trouble(vm)
    status = await pair.until(lambda status: status["alarm"])
    assert (status["state"], status["reason"]) == ("requested", "start")
    assert status["vmm_connected"] == {"primary": which != "primary", "secondary": which != "secondary"}
    assert f"{which} DOWN" in shown(status)
    assert "ALARM" in shown(status)
    assert pair.released() == [Word.COMMIT]  # the one from before
    assert pair.proxy.engine.words[-1][0] is Word.HOLD
    vm.silent, vm.greets = False, True
    await pair.until(lambda status: all(status["vmm_connected"].values()))
    before = pair.requests()
    await pair.until(lambda _: pair.requests() > before)
    await pair.checkpoint()
    status = await pair.until(lambda status: not status["alarm"])
    assert (status["state"], status["epoch"]) == ("protected", 2)


async def test_a_checkpoint_that_never_ends(pair: Pair) -> None:
    await pair.stop()
    status = await pair.until(lambda status: status["alarm"])
    assert status["state"] == "stopped"
    assert all(status["vmm_connected"].values())
    assert "ALARM" in shown(status)
    assert pair.released() == [Word.COMMIT]
    pair.secondary.emit("RESUME")  # half of an end is none
    await pair.until(lambda _: pair.proxy.engine.words[-1][0] is Word.SVM_LOADED)
    assert pair.released() == [Word.COMMIT]
    pair.primary.emit("RESUME")
    status = await pair.until(lambda status: status["state"] == "protected")
    assert (status["epoch"], status["alarm"]) == (2, False)


async def test_a_checkpoint_that_never_begins(pair: Pair) -> None:
    before = pair.requests()
    await pair.proxy.execute("checkpoint")
    await pair.until(lambda status: pair.requests() - before >= 3)  # asked for again and again
    await pair.checkpoint()
    assert pair.released() == [Word.COMMIT, Word.COMMIT]


async def test_a_qemu_that_hangs_inside_a_checkpoint(pair: Pair) -> None:
    """What became of the SVM's state is not known: nothing of that checkpoint counts."""
    await pair.stop()
    hangs(pair.primary)
    status = await pair.until(lambda status: status["state"] == "requested" and status["alarm"])
    assert status["reason"] == "start"
    pair.primary.silent, pair.primary.greets = False, True
    await pair.until(lambda status: all(status["vmm_connected"].values()))
    pair.secondary.emit("RESUME")
    pair.primary.emit("RESUME")
    await asyncio.sleep(0.2)
    assert pair.released() == [Word.COMMIT]
    await pair.checkpoint()
    assert pair.released() == [Word.COMMIT, Word.COMMIT]


async def test_orders_that_cannot_be_sent_are_logged_ever_less_often(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO")
    adapter = qmp.Qmp(Unix("/nowhere/p"), Unix("/nowhere/s"))
    for _ in range(100):
        adapter.request(RequestCheckpoint(0, "start"))
        await asyncio.sleep(0)
    said = [text for text in caplog.messages if "not sent: no QMP session" in text]
    assert len(said) == 7, "the 1st, 2nd, 4th, ... 64th"
