"""A lab leaves nothing behind: at its end, after an error, on a signal, and after kill -9 with a sweep."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from colo_lab import markers, session
from colo_lab.lab import Lab
from colo_lab.topology import Uplink
from colo_lab.waiting import Deadline, wait_readable
from pyroute2 import IPRoute


def links() -> set[str]:
    with IPRoute() as route:
        return {link.get_attr("IFLA_IFNAME") for link in route.get_links()}


def in_namespace(inode: int) -> list[str]:
    """The processes in a network namespace."""
    return [path.parts[2] for path in Path("/proc").glob("[0-9]*/ns/net") if _inode(path) == inode]


def _inode(path: Path) -> int:
    try:
        return path.stat().st_ino
    except OSError:
        return 0


def marked(run: str) -> list[str]:
    """The processes that carry this run's mark."""
    found = []
    for path in Path("/proc").glob("[0-9]*/environ"):
        try:
            if f"COLO_LAB_RUN={run}".encode() in path.read_bytes():
                found.append(path.parts[2])
        except OSError:
            continue
    return found


def test_nothing_is_left_at_the_end() -> None:
    before = links()
    with Lab(uplink=Uplink.BRIDGE) as lab:
        directory, run = lab.run.directory, lab.run.id
        inodes = [os.fstat(space.fd).st_ino for space in lab.topology.namespaces]
        assert len(marked(run)) == 2
        assert links() == before
    assert not directory.exists()
    assert not marked(run)
    assert not any(in_namespace(inode) for inode in inodes)


def test_nothing_is_left_after_an_error() -> None:
    seen: list[Lab] = []

    def fail() -> None:
        with Lab(uplink=Uplink.BRIDGE) as lab:
            seen.append(lab)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert not seen[0].run.directory.exists()
    assert not marked(seen[0].run.id)


def supervisor() -> tuple["subprocess.Popen[bytes]", Path, str]:
    """A lab in a process of its own; its run directory, and its run."""
    read_end, write_end = os.pipe()
    process = subprocess.Popen(
        [sys.executable, "-m", "colo_lab", "serve", "--plain", "--ready", str(write_end)],
        pass_fds=[write_end],
        env={**os.environ, "PYTHONPATH": str(markers.PACKAGE_ROOT)},
    )
    os.close(write_end)
    wait_readable(read_end, Deadline(30), "the lab")
    assert os.read(read_end, 4096)
    os.close(read_end)
    ((directory, _),) = [entry for entry in markers.runs() if entry[1].pid == process.pid]
    return process, directory, directory.name.removeprefix(markers.PREFIX)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_nothing_is_left_on_a_signal(number: signal.Signals) -> None:
    process, directory, run = supervisor()
    process.send_signal(number)
    assert process.wait(15) == 0
    assert not directory.exists()
    assert not marked(run)


def test_sweep_after_kill_9() -> None:
    process, directory, run = supervisor()
    # A process that gave up its privileges outlives its parent (prctl(2), PR_SET_PDEATHSIG).
    survivor = subprocess.Popen(["sleep", "1000"], env={**os.environ, markers.VARIABLE: run})
    with Lab(uplink=Uplink.BRIDGE) as living:
        # Other runs' leavings may be about; what counts is that the living stay and this one goes.
        assert not any(str(directory) in line for line in markers.sweep())
        process.kill()
        process.wait()
        assert directory.exists()
        assert any(str(directory) in line for line in markers.sweep())
        assert living.run.directory.exists()
        assert len(marked(living.run.id)) == 2
    assert not directory.exists()
    assert survivor.wait(5) == -signal.SIGKILL
    assert not marked(run)


def test_sweep_leaves_strangers_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLO_LAB_DIRECTORY", str(tmp_path))
    unmarked = tmp_path / "colo-lab-abcdefgh"
    unmarked.mkdir()
    broken = tmp_path / "colo-lab-ijklmnop"
    broken.mkdir()
    (broken / "owner.json").write_text("[1, 2]")
    pointed_at = tmp_path / "precious"
    pointed_at.mkdir()
    (pointed_at / "owner.json").write_text('{"pid": 999999999, "start": 1, "boot": "x"}')
    (tmp_path / "colo-lab-link").symlink_to(pointed_at)
    assert markers.sweep() == []
    assert unmarked.exists()
    assert broken.exists()
    assert (pointed_at / "owner.json").exists()


@pytest.mark.usefixtures("no_lab_up")
def test_up_exec_down() -> None:
    assert "exec client" in session.up(plain=True)
    try:
        argv = [sys.executable, "-m", "colo_lab", "exec", "client", sys.executable, "-m", "colo_lab.client"]
        out = subprocess.run(
            [*argv, "http://192.0.2.2/bytes/1000"],
            env={**os.environ, "PYTHONPATH": str(markers.PACKAGE_ROOT)},
            capture_output=True,
            check=True,
        ).stdout
        assert b'"bytes": 1000' in out
    finally:
        assert session.down()
