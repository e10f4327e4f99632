"""The systemd unit: systemd finds nothing wrong in it, and the proxy works inside what it forbids."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from lab.test_run import configuration, host
from support.wires import Namespace, needs_wires

from colo_proxy.control.client import Client
from colo_proxy.daemon import privileges
from colo_proxy.errors import ControlError

__all__ = ["host"]

UNIT = Path(__file__).parents[2] / "colo_proxy/systemd/colo-proxy@.service"
EXPOSURE = "2.7"  # of 10, as systemd 252 counts; what remains is what a network proxy is for

# Forbid what the unit forbids, as systemd does it, then become the proxy. Arguments: system calls, command.
CONFINE = """
import ctypes, errno, os, sys
libc = ctypes.CDLL(None, use_errno=True)
assert libc.prctl(65, 1, 0, 0, 0) == 0 or ctypes.get_errno() == errno.EINVAL  # PR_SET_MDWE, Linux 6.3
seccomp = ctypes.CDLL("libseccomp.so.2")
seccomp.seccomp_init.restype = ctypes.c_void_p
SCMP_ACT_ALLOW, SCMP_ACT_EPERM = 0x7FFF0000, 0x00050000 | errno.EPERM
filter_ = ctypes.c_void_p(seccomp.seccomp_init(SCMP_ACT_EPERM))
for name in sys.argv[1].split():
    number = seccomp.seccomp_syscall_resolve_name(name.encode())
    if number >= 0:
        assert seccomp.seccomp_rule_add(filter_, SCMP_ACT_ALLOW, number, 0) == 0
assert seccomp.seccomp_load(filter_) == 0
os.execv(sys.argv[2], sys.argv[2:])
"""


@pytest.fixture
def analyze() -> str:
    found = shutil.which("systemd-analyze")
    if not found:
        if os.environ.get("CI") == "true":
            pytest.fail("systemd-analyze is missing")
        pytest.skip("systemd-analyze is missing (Debian: apt install systemd)")
    return found


def run(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.fixture
def unit(tmp_path: Path) -> Path:
    """The unit as it would be installed, with the command where it is here."""
    command = Path(sys.executable).with_name("colo-proxy")
    copy = tmp_path / UNIT.name
    copy.write_text(UNIT.read_text().replace("ExecStart=colo-proxy ", f"ExecStart={command} "))
    return copy


def test_systemd_finds_nothing_wrong(analyze: str, unit: Path) -> None:
    assert run(analyze, "verify", "--man=no", str(unit)) == ""


def test_how_much_is_exposed(analyze: str, unit: Path) -> None:
    threshold = EXPOSURE.replace(".", "")
    run(analyze, "security", "--no-pager", "--offline=true", f"--threshold={threshold}", str(unit))


def settings(key: str) -> list[str]:
    lines = [line.partition("=") for line in UNIT.read_text().splitlines()]
    return [value for name, _, value in lines if name == key]


def system_calls(analyze: str, name: str) -> set[str]:
    """The members of a set, sets within it too."""
    if not name.startswith("@"):
        return {name}
    told = run(analyze, "syscall-filter", "--no-pager", name).splitlines()[1:]
    members = {line.strip() for line in told if line.strip() and not line.strip().startswith("#")}
    return set().union(*(system_calls(analyze, member) for member in members))


@needs_wires
def test_the_proxy_works_in_its_confinement(analyze: str, host: Namespace, tmp_path: Path) -> None:
    allowed: set[str] = set()
    for said in settings("SystemCallFilter"):
        calls = set().union(*(system_calls(analyze, name) for name in said.lstrip("~").split()))
        allowed = allowed - calls if said.startswith("~") else allowed | calls
    assert {"epoll_wait", "recvmmsg"} <= allowed
    assert not {"ptrace", "mount", "bpf", "init_module", "setuid"} & allowed
    config = configuration(tmp_path)
    command = [sys.executable, "-m", "colo_proxy.cli.main", "run", str(config)]
    with host.inside():
        process = subprocess.Popen(
            [sys.executable, "-c", CONFINE, " ".join(sorted(allowed)), *command], stderr=subprocess.PIPE
        )
    assert process.stderr
    try:
        for _ in range(400):
            try:
                client = Client(str(tmp_path / "ctl"))
                break
            except ControlError:
                assert process.poll() is None, process.stderr.read().decode()
                time.sleep(0.05)  # until the socket is there; nothing announces it
        client.execute("checkpoint-begin")
        client.execute("checkpoint-commit")
        assert client.execute("query-status")["state"] == "protected"
        process.send_signal(signal.SIGHUP)
        client.execute("set-policy", policies=[{"action": "compare"}])
        client.close()
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0
        said = process.stderr.read().decode()
        assert "reloaded" in said
        assert "WARNING capabilities" not in said
        assert "Traceback" not in said
    finally:
        process.kill()
        process.communicate()


def test_capabilities_are_those_that_the_proxy_keeps() -> None:
    (bounding,) = settings("CapabilityBoundingSet")
    assert {getattr(privileges, name) for name in bounding.split()} == set(privileges.KEPT)
