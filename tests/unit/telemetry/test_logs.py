"""What a log line looks like: for people, for programs, for the journal."""

import json
import os
import re
import subprocess
import sys
import time
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from colo_proxy.checkpoint.commands import Alarm, Finished, RequestCheckpoint, StateChanged
from colo_proxy.engine.messages import PortFault
from colo_proxy.seldom import Seldom
from colo_proxy.telemetry import logs
from colo_proxy.telemetry.event_log import EventLog, event_of
from colo_proxy.vocabulary import Divergence, Drop, Exhausted, Port, Reason

PACKAGE = Path(logs.__file__).parents[1]
SPEAK = """
import logging, sys
from colo_proxy.telemetry import logs
logs.set_up(level=sys.argv[1], form=sys.argv[2])
log = logging.getLogger("colo_proxy.x")
log.debug("a detail")
log.info("a fact")
log.warning("a worry")
try:
    1 / 0
except ZeroDivisionError:
    log.exception("a fault")
"""


def speak(directory: Path, level: str, form: str, *, journal: bool = False) -> list[str]:
    with (directory / "stderr").open("w+") as file:
        environment = dict(os.environ)
        environment.pop("JOURNAL_STREAM", None)
        about = os.fstat(file.fileno())
        # The journal names itself; a stream of another number is somebody else's.
        environment["JOURNAL_STREAM"] = f"{about.st_dev}:{about.st_ino + (not journal)}"
        subprocess.run(
            [sys.executable, "-c", SPEAK, level, form], stderr=file, env=environment, check=True, timeout=30
        )
        file.seek(0)
        return file.read().splitlines()


RFC3339 = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}"


@pytest.mark.parametrize(
    ("what", "data"),
    [
        (
            RequestCheckpoint(1, "payload", "tcp a > b", 8, 0),
            {
                "epoch": 1,
                "reason": "payload",
                "flow": "tcp a > b",
                "stream_offset": 8,
                "nic": 0,
                "attempt": 1,
            },
        ),
        (Finished("committed", 2, "start", 5_000_000), {"epoch": 2, "reason": "start", "seconds": 0.005}),
        (Finished("aborted", 2, "start", 5_000_000), {"epoch": 2, "reason": "start", "seconds": 0.005}),
        (StateChanged("requested", "stopped", "why"), {"from": "requested", "to": "stopped", "why": "why"}),
        (Alarm(active=True, held_ns=1_000_000), {"active": True, "held_ms": 1}),
        (PortFault(0, Port.UPLINK, 5, "it"), {"nic": 0, "port": "uplink", "errno": 5, "text": "it"}),
        (
            Divergence(0, "tcp a > b", "tcp", Reason.PAYLOAD, 7, 0),
            {
                "nic": 0,
                "flow": "tcp a > b",
                "protocol": "tcp",
                "reason": "payload",
                "stream_offset": 7,
                "count": 1,
                "report": None,
            },
        ),
    ],
)
def test_an_event_is_structured_for_programs_as_on_the_control_socket(
    what: Any, data: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    EventLog().say(what)
    [record] = caplog.records
    entry = json.loads(logs._Json().format(record))
    event = event_of(what)
    assert event
    assert (entry["event"], entry["data"]) == (event[0], data)
    assert entry["message"]
    stamp, _, said = logs._Plain().format(record).partition("Z ")
    assert re.fullmatch(RFC3339, stamp)
    assert said == f"{record.levelname} {entry['message']}"


def test_what_is_no_event_has_none(caplog: pytest.LogCaptureFixture) -> None:
    EventLog().say(Exhausted(0, Drop.MEMORY, 0))
    assert {"event", "data"}.isdisjoint(json.loads(logs._Json().format(caplog.records[0])))


def test_a_bound_that_is_met_again_and_again_is_logged_once_a_minute(
    caplog: pytest.LogCaptureFixture,
) -> None:
    now = 1000.0
    log = EventLog(lambda: now)
    for _ in range(3):
        for at in range(5000):
            log.say(Exhausted(0, Drop.FLOWS, at))
            log.say(Exhausted(1, Drop.FLOWS, at))
            log.say(Exhausted(0, Drop.MEMORY, at))
        now += 20
    lines = [
        f"nic {nic} has reached its bound: {bound}"
        for nic, bound in ((0, "flows"), (1, "flows"), (0, "memory"))
    ]
    assert [record.message for record in caplog.records] == lines
    now += 1
    log.say(Exhausted(0, Drop.FLOWS, 0))
    assert [record.message for record in caplog.records] == [*lines, lines[0]]


def test_a_request_that_nobody_hears_is_logged_ever_less_often(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    now = 0.0
    said = EventLog(lambda: now)
    for attempt in range(1, 601):  # one a second, as they are repeated
        now = attempt
        said.say(RequestCheckpoint(0, "start", attempt=attempt))
    numbers = [data["attempt"] for record in caplog.records if (data := vars(record)["data"])]
    assert numbers == [1, 2, 4, 8, 16, 32, 64, 124, 184, 244, 304, 364, 424, 484, 544]
    caplog.clear()
    said.say(RequestCheckpoint(1, "payload"))
    assert caplog.messages == ["checkpoint requested: payload"]


def test_for_people(tmp_path: Path) -> None:
    lines = speak(tmp_path, "info", "text")
    assert [line.partition("Z ")[2] for line in lines[:3]] == [
        "INFO a fact",
        "WARNING a worry",
        "ERROR a fault",
    ]
    assert re.fullmatch(RFC3339, lines[0].partition("Z ")[0])
    assert lines[-1] == "ZeroDivisionError: division by zero"
    assert speak(tmp_path, "debug", "text")[0].endswith("Z DEBUG a detail")
    assert speak(tmp_path, "error", "text")[0].endswith("Z ERROR a fault")


def test_for_programs(tmp_path: Path) -> None:
    lines = [json.loads(line) for line in speak(tmp_path, "info", "json")]
    assert [(line["level"], line["message"]) for line in lines] == [
        ("info", "a fact"),
        ("warning", "a worry"),
        ("error", "a fault"),
    ]
    assert all(line["logger"] == "colo_proxy.x" for line in lines)
    for line in lines:
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", line["time"])
        assert abs(datetime.fromisoformat(line["time"]).timestamp() - time.time()) < 60
    assert lines[2]["trace"].startswith("Traceback")
    assert "trace" not in lines[0]


@pytest.mark.parametrize("form", ["text", "json"])
def test_for_the_journal_every_line_has_its_priority(tmp_path: Path, form: str) -> None:
    lines = speak(tmp_path, "debug", form, journal=True)
    assert [line[:3] for line in lines[:4]] == ["<7>", "<6>", "<4>", "<3>"]
    assert all(line.startswith("<3>") for line in lines[4:])
    if form == "json":
        assert [json.loads(line[3:])["message"] for line in lines] == [
            "a detail",
            "a fact",
            "a worry",
            "a fault",
        ]
    else:
        assert lines[1] == "<6>a fact"
        assert lines[-1] == "<3>ZeroDivisionError: division by zero"


def test_of_a_flood_one_line_and_then_one_a_minute() -> None:
    now = 1000.0
    seldom = Seldom(lambda: now, flood=True)
    assert [attempt for attempt in range(1, 5000) if seldom.due(attempt)] == [1]
    now += 60
    assert [attempt for attempt in range(5000, 9000) if seldom.due(attempt)] == [5000]


# Users filter JSON logs by these: a file that moves keeps the name of its logger.
LOGGERS = {
    "colo_proxy.link",
    "colo_proxy.capture.report",
    "colo_proxy.checkpoint.coordinator",
    "colo_proxy.checkpoint.qmp",
    "colo_proxy.checkpoint.xen",
    "colo_proxy.colo_compare",
    "colo_proxy.control.commands",
    "colo_proxy.control.server",
    "colo_proxy.daemon",
    "colo_proxy.events",
    "colo_proxy.host.packet_port",
    "colo_proxy.host.stream_port",
    "colo_proxy.listening",
    "colo_proxy.metrics",
    "colo_proxy.reload",
    "colo_proxy.reporting",
    "colo_proxy.running",
}


def test_loggers_keep_their_names() -> None:
    found = set()
    for path in PACKAGE.rglob("*.py"):
        module = ".".join(("colo_proxy", *path.relative_to(PACKAGE).with_suffix("").parts))
        for name in re.findall(r"^log = logging\.getLogger\(([^)]*)\)", path.read_text(), re.M):
            found.add(module if name == "__name__" else name.strip('"'))
    assert found == LOGGERS
