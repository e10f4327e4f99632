"""Dates say which zone they are in, wherever people read them."""

import logging
import re
import subprocess
import sys

import pytest

from colo_proxy.cli.events import line
from colo_proxy.dates import rfc3339
from colo_proxy.telemetry import logs


def test_rfc3339() -> None:
    assert rfc3339(0) == "1970-01-01T00:00:00Z"
    assert rfc3339(1_795_456_664, 7, 3) == "2026-11-23T17:57:44.007Z"


def test_an_event_and_a_log_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("TZ", "America/New_York")
    stamp = {"seconds": 1_795_456_664, "microseconds": 7_999}
    text = line({"event": "FAILOVER", "data": {"epoch": 1, "why": "operator"}, "timestamp": stamp})
    assert text == "2026-11-23T17:57:44.007Z FAILOVER           epoch 1: operator"
    root = logging.getLogger()
    before = list(root.handlers), root.level
    try:
        logs.set_up(level="info", form="plain")
        logging.getLogger("colo_proxy").info("hello")
    finally:
        root.handlers[:], root.level = before
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z INFO hello\n", capsys.readouterr().err)


def test_python_m_is_the_command() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "colo_proxy", "--version"], capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith("colo-proxy ")
