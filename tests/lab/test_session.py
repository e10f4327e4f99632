"""A lab that stays, as the tutorial uses it: its metrics are on the person's own loopback."""

import os
import re
import subprocess
import urllib.request
from pathlib import Path

import pytest
from colo_lab import markers, session
from colo_lab.__main__ import main
from colo_lab.errors import LabError

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
        assert f"export LAB={config.parent} METRICS={metrics} PATH=" in session.environment()
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
        assert said.err.startswith(
            f"colo_lab: a lab of this checkout is up already, in {directory}: use it ("
        )
        assert said.err.endswith("or end it (make lab-down)\n")
        assert said.out == ""
        assert len(markers.runs()) == 1
    finally:
        assert session.down()


@pytest.mark.usefixtures("no_lab_up")
def test_a_lab_belongs_to_its_checkout(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Another checkout neither sees this one's lab nor ends it, and a terminal's TMPDIR does not count."""
    session.up(plain=True)
    mine = markers.CHECKOUT
    try:
        [(directory, owner)] = markers.runs(mine)
        monkeypatch.setattr(markers, "CHECKOUT", "another")
        assert session.down() == []
        with pytest.raises(LabError, match="no lab of this checkout is up"):
            session.environment()
        assert owner.alive
        monkeypatch.setattr(markers, "CHECKOUT", mine)
        monkeypatch.setenv("TMPDIR", str(tmp_path))
        assert session.environment().startswith(
            f"export LAB={directory} METRICS= PATH={markers.PACKAGE_ROOT}:"
        )
    finally:
        monkeypatch.setattr(markers, "CHECKOUT", mine)
        assert session.down() == [f"{directory}: down"]


def test_the_lab_is_found_from_anywhere(tmp_path: Path) -> None:
    command = [str(markers.PACKAGE_ROOT / "colo-lab"), "env"]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    environment["COLO_LAB_DIRECTORY"] = str(tmp_path)
    done = subprocess.run(command, cwd="/", env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "colo_lab: no lab of this checkout is up: make lab-up starts one\n"
