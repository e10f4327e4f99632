"""A lab that stays, as the tutorial uses it: its metrics are on the person's own loopback."""

import re
import urllib.request
from pathlib import Path

import pytest
from colo_lab import markers, session
from colo_lab.__main__ import main

from colo_proxy.control.client import Client


@pytest.mark.usefixtures("no_lab_up")
def test_metrics_and_configuration_of_the_lab_that_is_up() -> None:
    told = session.up()
    found = re.search(r"configuration\s+(\S+)[\s\S]*its metrics\s+(\S+)", told)
    assert found
    config, metrics = Path(found[1]), found[2]
    try:
        for _ in range(2):  # each scrape is a connection of its own
            with urllib.request.urlopen(metrics, timeout=10) as answer:
                assert 'colo_proxy_state{state="protected"} 1.0' in answer.read().decode()
        assert (config.parent / "reports").is_dir()
        with Client(str(config.parent / "control.sock")) as client:
            assert client.execute("query-status")["name"] == "lab"
    finally:
        assert session.down()


@pytest.mark.usefixtures("no_lab_up")
def test_a_second_lab_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    """Which of them `exec` and `down` mean could only be guessed."""
    session.up(plain=True)
    try:
        [(directory, _)] = markers.runs()
        assert main(["up", "--plain"]) == 1
        said = capsys.readouterr()
        assert said.err.startswith(f"colo_lab: a lab is up already, in {directory}: use it (")
        assert said.err.endswith("or end it (make lab-down)\n")
        assert said.out == ""
        assert len(markers.runs()) == 1
    finally:
        assert session.down()
