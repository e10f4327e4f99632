"""Commands with a configuration of two hosts."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from colo_proxy.cli.main import main
from colo_proxy.pair import founding
from colo_proxy.pair import note as notes
from colo_proxy.pair.actions import Note
from colo_proxy.pair.directory import Directory
from colo_proxy.pair.record import Record


def cli(*arguments: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "colo_proxy", *arguments]
    return subprocess.run(command, check=False, capture_output=True, text=True)


def two_hosts(folder: Path) -> Path:
    """A configuration of the host `a`, with all its directories in `folder`."""
    path = folder / "web1.toml"
    path.write_text(
        '[pair]\nhost = "a"\npeer_host = "b"\nlisten = "127.0.0.1:9310"\npeer = "127.0.0.2:9310"\n'
        f'insecure = true\nstate_dir = "{folder}/state"\n'
        f'[arbiter]\nkind = "directory"\npath = "{folder}/shared"\n'
        '[[nic]]\nuplink = "packet:up0"\nvm = "packet:vm0"\n'
    )
    return path


def test_run_refuses_two_hosts(tmp_path: Path) -> None:
    path = two_hosts(tmp_path)
    done = cli("run", str(path))
    assert done.returncode == os.EX_CONFIG
    assert done.stderr == (
        f"colo-proxy: {path}: [pair]: two hosts are not available in this version: the proxy does not run "
        "with [pair]; give it a configuration of one host\n"
    )


NONCE = "6ba7b810-9dad-41d1-80b4-00c04fd430c8"


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The configuration of the host `a`, whose directories are there; a busy disk may take its time."""
    monkeypatch.setattr(founding, "WITHIN_S", 60.0)
    (tmp_path / "state").mkdir()
    (tmp_path / "shared").mkdir()
    return two_hosts(tmp_path)


def store(path: Path) -> Directory:
    return Directory(f"{path.parent}/shared/default/web1")


def known(path: Path) -> Note:
    return notes.read(f"{path.parent}/state")


def status(path: Path, capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    """The exit status of `pair status`, and what it prints."""
    capsys.readouterr()
    return main(["pair", "status", str(path)]), capsys.readouterr().out


def test_the_record_is_created_once(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["pair", "init", str(path), "--switched-off", "b"]) == 0
    assert capsys.readouterr().out == "web1: a is the owner, alone (generation 1)\n"
    record = store(path).read()
    assert record is not None
    assert record[:4] == (1, "solo", "a", None)
    assert known(path) == Note(1, record.nonce, 0)
    assert main(["pair", "init", str(path), "--switched-off", "b"]) == 6
    assert "there is a record already, or was one: a (this host) is alone" in capsys.readouterr().err
    assert store(path).read() == record
    code, out = status(path, capsys)
    assert code == 0
    first, second, third = out.splitlines()
    assert first == "web1: a (this host) is alone: if it dies, the service stops until it is back"
    assert second == "  generation 1; this host has known 1"
    assert third.startswith("  the arbiter (directory) has answered in ")


@pytest.mark.parametrize("arguments", [(), ("--switched-off", "a"), ("--switched-off", "c")])
def test_init_needs_the_other_host_by_name(
    path: Path, arguments: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["pair", "init", str(path), *arguments]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert ("add --switched-off b" if not arguments else "which is b") in line
    assert list((path.parent / "shared").iterdir()) == []


def test_a_record_that_has_vanished_is_an_alarm_and_no_permission(
    path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (path.parent / "shared/default/web1").mkdir(parents=True)
    notes.keep(f"{path.parent}/state", Note(4, None, 0))
    code, out = status(path, capsys)
    assert code == 3
    assert out.startswith(
        "web1: ALARM: the store has no record, but this host has known generation 4: it was"
    )
    assert main(["pair", "init", str(path), "--switched-off", "b"]) == 6
    assert "nothing was changed" in capsys.readouterr().err
    assert store(path).read() is None


def test_an_older_record_is_an_alarm(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["pair", "init", str(path), "--switched-off", "b"]) == 0
    notes.keep(f"{path.parent}/state", Note(4, None, 3))
    code, out = status(path, capsys)
    assert code == 3
    assert "ALARM: the store holds generation 1, but this host has known 4" in out
    assert "an operator has forced this host past generation 3" in out
    assert known(path) == Note(4, None, 3), "status changes nothing"


def test_a_store_that_does_not_answer(
    path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(founding, "WITHIN_S", 2.0)
    (path.parent / "shared").rmdir()
    assert main(["pair", "init", str(path), "--switched-off", "b"]) == 5
    assert "the arbiter does not answer: " in capsys.readouterr().err
    assert not (path.parent / "shared").exists(), "a share that is not mounted is not made"
    assert main(["pair", "status", str(path), "--json"]) == 5
    printed = capsys.readouterr()
    assert json.loads(printed.out)["arbiter"] == {"kind": "directory", "reachable": False, "latency_ms": None}
    assert f"mount {path.parent}/shared" in printed.err
    assert known(path) == Note(0, None, 0)


def test_status_for_programs(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["pair", "init", str(path), "--switched-off", "b"]) == 0
    first = store(path).read()
    assert first is not None
    store(path).swap(first, Record(2, "pair", "b", NONCE, NONCE))
    capsys.readouterr()
    assert main(["pair", "status", str(path), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told.pop("arbiter")["latency_ms"] > 0
    assert told == {
        "name": "web1",
        "host": "a",
        "peer_host": "b",
        "known_generation": 1,
        "forced_generation": 0,
        "record": {"g": 2, "mode": "pair", "owner": "b", "pairing": NONCE, "nonce": NONCE},
        "verdict": "pair",
        "meaning": "b is the primary, and a has its replica: if either dies, the other goes on",
    }


def test_two_hosts_create_one_record(path: Path, tmp_path: Path) -> None:
    other = tmp_path / "other" / "web1.toml"
    other.parent.mkdir()
    (tmp_path / "other" / "state").mkdir()
    text = path.read_text().replace('host = "a"', 'host = "x"').replace('peer_host = "b"', 'peer_host = "a"')
    other.write_text(text.replace('"x"', '"b"').replace(f"{tmp_path}/state", f"{tmp_path}/other/state"))
    commands = [
        [sys.executable, "-m", "colo_proxy", "pair", "init", str(file), "--switched-off", peer]
        for file, peer in ((path, "b"), (other, "a"))
    ]
    running = [
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) for command in commands
    ]
    for process in running:
        process.communicate()
    assert sorted(process.returncode for process in running) == [0, 6]


def test_a_configuration_of_one_host_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "one.toml"
    path.write_text('[[nic]]\nuplink = "packet:u"\nprimary = "packet:p"\nsecondary = "packet:s"\n')
    for command in (["init", str(path), "--switched-off", "b"], ["status", str(path)]):
        assert main(["pair", *command]) == 2
        assert "it has no [pair]" in capsys.readouterr().err
