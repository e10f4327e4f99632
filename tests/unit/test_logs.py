"""What a log line looks like: for people, for programs, for the journal."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

SPEAK = """
import logging, sys
from colo_proxy import logs
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


def test_for_people(tmp_path: Path):
    lines = speak(tmp_path, "info", "text")
    assert lines[:3] == ["INFO a fact", "WARNING a worry", "ERROR a fault"]
    assert lines[-1] == "ZeroDivisionError: division by zero"
    assert speak(tmp_path, "debug", "text")[0] == "DEBUG a detail"
    assert speak(tmp_path, "error", "text")[0] == "ERROR a fault"


def test_for_programs(tmp_path: Path):
    lines = [json.loads(line) for line in speak(tmp_path, "info", "json")]
    assert [(line["level"], line["message"]) for line in lines] == [
        ("info", "a fact"),
        ("warning", "a worry"),
        ("error", "a fault"),
    ]
    assert all(line["logger"] == "colo_proxy.x" and isinstance(line["time"], float) for line in lines)
    assert lines[2]["trace"].startswith("Traceback")
    assert "trace" not in lines[0]


@pytest.mark.parametrize("form", ["text", "json"])
def test_for_the_journal_every_line_has_its_priority(tmp_path: Path, form: str):
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
