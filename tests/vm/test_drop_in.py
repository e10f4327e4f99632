"""A real pair with QEMU's own filters, and `colo-proxy colo-compare` where its colo-compare would be.

The test plays libxl: it makes the checkpoints that the comparator asks for, and tells of them when the SVM
runs on the new state, before the PVM goes on.
"""

import asyncio
import contextlib
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from colo_vm import guest
from colo_vm.debian import LabError
from colo_vm.pair import Vm
from colo_vm.stage import Stage

pytestmark = [pytest.mark.vm, pytest.mark.timeout(300)]

HEADERS = "vnet_hdr_support=on"
NEVER_MS = 100_000


def filters(home: Path) -> tuple[list[str], list[str]]:
    """What stays of QEMU's colo-proxy.txt when its colo-compare goes: arguments of the PVM and of the SVM."""

    def end(name: str, path: str, *, serve: bool = False) -> list[str]:
        how = "server=on,wait=off" if serve else "reconnect-ms=100"
        return ["-chardev", f"socket,id={name},path={home}/{path},{how}"]

    pvm = [
        *end("mirror0", "mirror", serve=True),
        *end("compare0", "primary-in"),
        *end("compare_out0", "outdev"),
        *("-object", f"filter-mirror,id=m0,netdev=hn0,queue=tx,outdev=mirror0,{HEADERS}"),
        *("-object", f"filter-redirector,netdev=hn0,id=in,queue=rx,indev=compare_out0,{HEADERS}"),
        *("-object", f"filter-redirector,netdev=hn0,id=out,queue=rx,outdev=compare0,{HEADERS}"),
    ]
    svm = [
        *end("red0", "mirror"),
        *end("red1", "secondary-in"),
        *("-object", f"filter-redirector,id=f1,netdev=hn0,queue=tx,indev=red0,{HEADERS}"),
        *("-object", f"filter-redirector,id=f2,netdev=hn0,queue=rx,outdev=red1,{HEADERS}"),
        *("-object", f"filter-rewriter,id=rew0,netdev=hn0,queue=all,{HEADERS}"),
    ]
    return pvm, svm


class Libxl:
    """Makes a checkpoint for each DO_CHECKPOINT."""

    def __init__(self, path: Path, pvm: Vm) -> None:
        self.path, self.pvm = path, pvm
        self.svm: Vm | None = None
        self.checkpoints = 0

    async def run(self) -> None:
        reader, writer = await asyncio.open_unix_connection(str(self.path))
        writer.write(_framed(b"COLO_USERSPACE_PROXY_INIT"))
        assert await _message(reader) == b"COLO_COMPARE_GET_XEN_INIT"
        while True:
            assert await _message(reader) == b"DO_CHECKPOINT"
            await self.make()
            writer.write(_framed(b"COLO_CHECKPOINT"))

    async def make(self) -> None:
        """A checkpoint; returns when the SVM runs on the PVM's state."""
        assert self.svm
        before = len(self.svm.events)
        await self.pvm.execute("migrate-set-parameters", x_checkpoint_delay=NEVER_MS)
        while [name for _, name in self.svm.events[before:]].count("RESUME") < 1:
            await asyncio.sleep(0.001)
        self.checkpoints += 1


def _framed(text: bytes) -> bytes:
    return len(text).to_bytes(4) + text


async def _message(reader: asyncio.StreamReader) -> bytes:
    return await reader.readexactly(int.from_bytes(await reader.readexactly(4)))


@contextlib.asynccontextmanager
async def comparator(stage: Stage) -> AsyncIterator[None]:
    words = [sys.executable, "-m", "colo_proxy.cli.main", "colo-compare", "--vnet-hdr"]
    for name in ("primary-in", "secondary-in", "outdev", "notify-dev"):
        words += [f"--{name}", f"unix:{stage.home / name}"]
    stage.log = stage.home / "colo-compare.log"
    with stage.log.open("wb") as log:
        process = await asyncio.create_subprocess_exec(*words, stdout=log, stderr=log)
    try:
        while not (stage.home / "notify-dev").exists():
            assert process.returncode is None, stage.log.read_text()
            await asyncio.sleep(0.02)
        yield
    finally:
        process.terminate()
        await process.wait()
        print(stage.log.read_text()[-3000:])


@pytest.fixture
async def pair() -> AsyncIterator[tuple[Stage, Libxl]]:
    if os.geteuid() != 0 or not Path("/dev/net/tun").exists():
        if os.environ.get("CI") == "true":
            pytest.fail("a real pair needs root and /dev/net/tun")
        pytest.skip("a real pair needs root and /dev/net/tun")
    try:
        async with Stage() as stage, comparator(stage):
            stage.pair.pvm_extra, stage.pair.svm_extra = filters(stage.home)
            stage.network.bridge("pvm0")
            stage.network.bridge("svm0")
            await stage.pair.start()
            libxl = Libxl(stage.home / "notify-dev", stage.pair.pvm)
            playing = asyncio.create_task(libxl.run())
            await stage.pair.protect()
            libxl.svm = stage.pair.svm
            yield stage, libxl
            assert not playing.done(), playing
            playing.cancel()
    except LabError as error:
        pytest.fail(str(error))


async def test_downloads_come_right_and_cost_no_checkpoint(pair: tuple[Stage, Libxl]) -> None:
    stage, libxl = pair
    before = libxl.checkpoints
    runs = await stage.fetch("/64m", "--times", "5")
    assert [run.get("sha256") for run in runs] == [guest.sha256("64m")] * 5
    assert stage.surprises() == []
    assert libxl.checkpoints - before <= 5  # a Date header may differ


async def test_each_answer_that_differs_costs_one_checkpoint(pair: tuple[Stage, Libxl]) -> None:
    stage, libxl = pair
    before = libxl.checkpoints
    answers = await stage.fetch("/cgi-bin/clock", "--times", "10")
    assert all(answer.get("complete") for answer in answers)
    assert libxl.checkpoints - before == 10
