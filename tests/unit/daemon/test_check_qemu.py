"""`colo-proxy check` names a QEMU whose COLO does not work, and one that does not answer."""

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from fakes.qemu import FakeQemu

from colo_proxy.checkpoint import qmp
from colo_proxy.daemon import check
from colo_proxy.endpoints import Unix


async def found(directory: Path) -> list[str]:
    sides = {side: Unix(f"{directory}/{side}") for side in ("primary", "secondary")}
    config: Any = SimpleNamespace(checkpoint=SimpleNamespace(vmm="qmp", vm=None, **sides))
    return await asyncio.to_thread(lambda: [str(problem) for problem in check._qemus(config)])


async def test_broken_and_working(tmp_path: Path) -> None:
    broken = await FakeQemu(tmp_path / "primary", version=(10, 0, 2)).listen()
    works = await FakeQemu(tmp_path / "secondary", mode="secondary").listen()
    (problem,) = await found(tmp_path)
    assert problem.startswith("error: [checkpoint] primary: QEMU 10.0.2 never enters the COLO state")
    assert "use QEMU 11.1 or newer" in problem
    await broken.die()
    await works.die()


async def test_roles(tmp_path: Path) -> None:
    pvm = await FakeQemu(tmp_path / "primary", mode="secondary").listen()
    svm = await FakeQemu(tmp_path / "secondary").listen()
    exchanged, not_yet = await found(tmp_path)
    assert exchanged.startswith(
        "error: [checkpoint] primary: this QEMU is the secondary of its pair; exchange"
    )
    assert not_yet.startswith(
        "warning: [checkpoint] secondary: this QEMU is not in the COLO state; until it is"
    )
    assert "x-colo" in not_yet
    await pvm.die()
    await svm.die()


def test_a_running_proxy_says_whom_it_reaches() -> None:
    (problem,) = check._reached({"vmm_connected": {"primary": True, "secondary": False}})
    assert str(problem) == "warning: VMM secondary: the running proxy cannot reach it; look at its log"


async def test_silent_and_absent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(qmp, "REPLY_S", 0.2)
    silent = FakeQemu(tmp_path / "primary")
    silent.greets = False
    await silent.listen()
    (problem,) = await found(tmp_path)
    assert problem.startswith("warning: [checkpoint] primary: unix:")
    assert "no answer within 0.2 s" in problem
    await silent.die()
