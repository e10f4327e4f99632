"""Divergence reports of a running proxy: on disk for each event that names one, bounded, beside the loop."""

import asyncio
import errno
import logging
import os
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest
from fakes.engine import FLOW
from unit.proxy import Running, running

from colo_proxy.capture import report
from colo_proxy.errors import UserError
from colo_proxy.telemetry import report_writer as reporting
from colo_proxy.vocabulary import Divergence, Reason

FRAME = bytes(range(64))
PAYLOAD = Divergence(0, FLOW.flow, "tcp", Reason.PAYLOAD, 4096, 0, FRAME, FRAME[::-1])


def payload(offset: int = 4096) -> Divergence:
    return replace(PAYLOAD, stream_offset=offset, time=time.monotonic_ns())


async def appears(path: Path) -> None:
    async with asyncio.timeout(5):
        while not path.exists():
            await asyncio.sleep(0.01)


async def diverge(proxy: Running, divergence: Divergence) -> dict[str, object]:
    events = await proxy.events("DIVERGENCE")
    proxy.engine.report(divergence)
    event = await events.next()
    events.close()
    return event


async def test_the_event_and_the_log_name_a_report_that_can_be_read(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    async with running(tmp_path, reports=tmp_path) as proxy:
        await proxy.execute("checkpoint-begin")
        await proxy.execute("checkpoint-commit")
        event = await diverge(proxy, payload())
        path = Path(str(event["report"]))
        assert path.parent == tmp_path
        await appears(path)
        read = report.load(path)
    assert (read.epoch, read.divergence.primary, read.divergence.secondary) == (1, FRAME, FRAME[::-1])
    assert (read.divergence.flow, read.divergence.stream_offset) == (FLOW.flow, 4096)
    assert abs(read.divergence.time - time.time_ns()) < 60e9, "wall-clock time, for people"
    assert f"divergence report written: {path}" in caplog.text
    assert caplog.text.count(path.name) == 1


async def test_who_only_observes_gets_reports_too(tmp_path: Path) -> None:
    async with running(tmp_path, '[checkpoint]\nvmm = "none"\n', reports=tmp_path) as proxy:
        for epoch in (0, 1):
            path = Path(str((await diverge(proxy, payload()))["report"]))
            await appears(path)
            assert report.load(path).epoch == epoch


async def test_no_reports_where_they_are_off(tmp_path: Path) -> None:
    async with running(tmp_path) as proxy:
        assert (await diverge(proxy, payload()))["report"] is None
    assert not list(tmp_path.glob("*.pcapng"))


async def test_their_number_is_bounded(tmp_path: Path) -> None:
    async with running(tmp_path, reports=tmp_path, max_reports=3) as proxy:
        names = [str((await diverge(proxy, payload(offset)))["report"]) for offset in range(6)]
        await appears(Path(names[-1]))
    assert sorted(map(str, tmp_path.glob("*.pcapng"))) == names[-3:]


async def test_a_slow_disk_delays_no_event_and_what_waits_is_bounded_and_finished_at_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(reporting, "MAX_WAITING", 2)
    disk = threading.Event()
    real = report.Reports.write

    def slow(self: report.Reports, what: report.Report) -> Path:
        disk.wait(10)
        return real(self, what)

    monkeypatch.setattr(report.Reports, "write", slow)
    async with running(tmp_path, reports=tmp_path) as proxy:
        named = [(await diverge(proxy, payload(offset)))["report"] for offset in range(5)]
        assert [name is not None for name in named] == [True, True, False, False, False]
        assert "no report" in caplog.text
        disk.set()
    assert sorted(map(str, tmp_path.glob("*.pcapng"))) == sorted(filter(None, map(str, named[:2])))


async def test_a_report_that_cannot_be_written_is_logged_and_harms_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "r").mkdir()
    async with running(tmp_path, reports=tmp_path / "r") as proxy:
        (tmp_path / "r").rmdir()
        await diverge(proxy, payload())
        await proxy.execute("query-status")
    assert "cannot be written" in caplog.text


@pytest.mark.parametrize("directory", ["nowhere", "file", "/proc"])
def test_a_directory_that_takes_no_reports_is_one_line(tmp_path: Path, directory: str) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"\[proxy\] reports: .*; ") as caught:
        reporting.prove(str(tmp_path / directory))
    assert str(tmp_path / directory) in str(caught.value)
    reporting.prove(str(tmp_path))
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


async def test_a_full_disk_is_one_line_that_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    caplog.set_level(logging.INFO)
    async with running(tmp_path, reports=tmp_path) as proxy:
        monkeypatch.setattr("tempfile.mkstemp", full)
        for nic in range(20):  # of one NIC they would be gathered
            proxy.engine.report(replace(payload(), nic=nic))
        await proxy.execute("query-status")
    failures = [record.message for record in caplog.records if "divergence report" in record.message]
    assert len(failures) == 1
    assert failures[0].endswith("cannot be written: No space left on device; make room there (1 have failed)")
    claimed = [record.message for record in caplog.records if ".pcapng" in record.message]
    assert claimed == failures, "no other line names a file that is not there"
