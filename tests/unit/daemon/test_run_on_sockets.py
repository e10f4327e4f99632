"""`colo-proxy run` with every port on a socket: a whole proxy, its peers on loopback."""

import errno
import socket
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Protocol, TypeVar

import pytest
from unit.engine.ports.test_qemu_socket import wire
from unit.engine.test_engine import frame, read, silent, until

from colo_proxy.control.client import Client
from colo_proxy.errors import ControlError


class Proxy:
    """A running proxy: uplink and primary on UNIX sockets, secondary on two TCP ports."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as other:
            self.ports = {"in": one.getsockname(), "out": other.getsockname()}
        self.peers: list[socket.socket] = []
        self.client: Client
        self.log = ""
        self.config = directory / "web1.toml"
        ends = ", ".join(f'{key} = "tcp:127.0.0.1:{port}"' for key, (_, port) in self.ports.items())
        self.config.write_text(
            f'[proxy]\ncontrol = "{directory}/ctl"\nmetrics = ""\n[[nic]]\nvnet_hdr = true\n'
            f'uplink = "unix:{directory}/up"\nprimary = "unix:{directory}/pvm"\nsecondary = {{ {ends} }}\n'
            "[compare]\ntimeout_ms = 60000\n[checkpoint]\nmin_interval_ms = 0\nperiod_ms = 0\n"
        )

    def call(self, where: str) -> socket.socket:
        """Connect to a port: `up`, `pvm`, or `in` or `out` of the SVM's."""
        tcp = where in self.ports
        peer = socket.socket(socket.AF_INET if tcp else socket.AF_UNIX)
        peer.settimeout(5)
        peer.connect(self.ports[where] if tcp else str(self.directory / where))
        self.peers.append(peer)
        return peer

    def nic(self) -> dict[str, Any]:
        found: dict[str, Any] = self.client.execute("query-stats")["nics"][0]
        return found

    def port(self, name: str) -> dict[str, Any]:
        found: dict[str, Any] = self.nic()["ports"][name]
        return found

    def up(self, *names: str) -> None:
        """Wait until these ports have their peers."""
        until(lambda: all(self.port(name)["fault"] == 0 for name in names))

    def checkpoint(self, svm: socket.socket) -> socket.socket:
        """Make one. The SVM calls again when its connection ends, as QEMU does; returns the new one."""
        with Client(str(self.directory / "ctl")) as vmm:
            begin = threading.Thread(target=vmm.execute, args=("checkpoint-begin",))
            begin.start()
            with suppress(ConnectionResetError):
                assert svm.recv(1) == b""
            again = self.call("in")
            begin.join(timeout=10)
            vmm.execute("checkpoint-commit")
        return again


class OnSockets(Protocol):
    """What `running` needs to know of a proxy, and tells."""

    directory: Path
    config: Path
    peers: list[socket.socket]
    client: Client
    log: str


Started = TypeVar("Started", bound=OnSockets)


PROGRAM = ("-m", "colo_proxy.cli.main")


@contextmanager
def running(proxy: Started, program: Sequence[str] = PROGRAM) -> Iterator[Started]:
    process = subprocess.Popen([sys.executable, *program, "run", str(proxy.config)], stderr=subprocess.PIPE)
    try:

        def answers() -> bool:
            assert process.poll() is None, process.communicate()[1]
            with suppress(ControlError):
                proxy.client = Client(str(proxy.directory / "ctl"))
                return True
            return False

        until(answers)
        yield proxy
        proxy.client.close()
        process.terminate()
        assert process.wait(10) == 0
        assert list(proxy.directory.iterdir()) == [proxy.config]
    finally:
        process.kill()
        proxy.log = process.communicate()[1].decode()
        print(proxy.log)
        for peer in proxy.peers:
            peer.close()


@pytest.fixture
def proxy(tmp_path: Path) -> Iterator[Proxy]:
    with running(Proxy(tmp_path)) as proxy:
        yield proxy


def protected(proxy: Proxy) -> tuple[socket.socket, socket.socket, socket.socket, socket.socket]:
    """With all peers there, after a checkpoint: uplink, PVM, what the SVM says and what it hears."""
    uplink, pvm, svm, to_svm = (proxy.call(where) for where in ("up", "pvm", "in", "out"))
    proxy.up("uplink", "primary", "secondary")
    return uplink, pvm, proxy.checkpoint(svm), to_svm


HANG_UP_AT = """
import os, signal, sys
def hook(event, arguments):
    if event == "import" and arguments[0] == "{module}" and sys.argv[1:2] == ["run"]:
        os.kill(os.getpid(), signal.SIGHUP)
        print("hung up", file=sys.stderr)
sys.addaudithook(hook)
from colo_proxy.cli.main import main
sys.exit(main())
"""


@pytest.mark.parametrize("module", ["argparse", "colo_proxy.cli.parsers", "colo_proxy.config", "uvloop"])
def test_a_hangup_while_it_is_imported_is_a_reload(tmp_path: Path, module: str) -> None:
    with running(Proxy(tmp_path), ("-c", HANG_UP_AT.format(module=module))) as proxy:
        proxy.client.execute("set-policy", policies=[])  # comes after the reload's own
    assert "hung up" in proxy.log
    assert f"reloaded {proxy.config}" in proxy.log


@pytest.mark.parametrize(("command", "blocked"), [("run", True), ("status", False)])
def test_a_child_does_not_inherit_the_blocked_hangup(command: str, blocked: bool) -> None:
    """Nor does another command block it."""
    code = (
        "import os, signal, sys; import colo_proxy.cli\n"
        "def shown(): return signal.SIGHUP in signal.pthread_sigmask(signal.SIG_BLOCK, ())\n"
        "mine = shown()\n"
        "os._exit(shown()) if not (child := os.fork()) else print(mine, os.waitpid(child, 0)[1])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, command], capture_output=True, text=True, check=True, timeout=30
    )
    assert done.stdout.split() == [str(blocked), "0"]


def test_sockets_are_closed_to_others(proxy: Proxy) -> None:
    for name in ("ctl", "up", "pvm"):
        assert stat.S_IMODE((proxy.directory / name).stat().st_mode) == 0o660


def test_frames_both_ways(proxy: Proxy) -> None:
    uplink, pvm, svm, to_svm = protected(proxy)
    uplink.sendall(wire(frame(1)))
    read(pvm, frame(1))
    read(to_svm, frame(1))
    pvm.sendall(wire(frame(2)) + wire(frame(3)))
    assert silent(uplink)
    svm.sendall(wire(frame(2)))
    read(uplink, frame(2))
    assert silent(uplink)
    assert proxy.client.execute("query-status")["state"] == "protected"


def test_what_the_svm_said_before_its_stop_lets_nothing_go_after_it(proxy: Proxy) -> None:
    """Were its last words taken for new ones, the PVM's next would leave, and no SVM would have said them."""
    uplink, pvm, svm, _ = protected(proxy)
    svm.sendall(wire(frame(1))[:40])  # the rest is still under way when the VMs stop
    until(lambda: proxy.port("secondary")["fault"] == 0)
    again = proxy.checkpoint(svm)
    with suppress(OSError):
        svm.sendall(wire(frame(1))[40:] + wire(frame(2)))
    pvm.sendall(wire(frame(1)) + wire(frame(2)))
    until(lambda: proxy.nic()["held_frames"] == 2)
    assert silent(uplink)
    again.sendall(wire(frame(1)) + wire(frame(2)))
    read(uplink, frame(1), frame(2))


def test_what_the_pvm_said_before_its_stop_leaves_with_the_commit(proxy: Proxy) -> None:
    uplink, pvm, svm, _ = protected(proxy)
    pvm.sendall(wire(frame(1)))
    until(lambda: proxy.nic()["held_frames"] == 1)
    proxy.checkpoint(svm)
    read(uplink, frame(1))


@pytest.mark.parametrize(
    ("nonsense", "error"),
    [
        (wire(frame(1))[:20], errno.ENOTCONN),
        (b"\xff" * 64, errno.EMSGSIZE),
        ((100).to_bytes(4) + (9).to_bytes(4) + bytes(100), errno.EPROTO),
    ],
    ids=["half a frame", "an oversized frame", "a header that lies"],
)
def test_nonsense_ends_that_connection_alone_and_the_next_begins_clean(
    proxy: Proxy, nonsense: bytes, error: int
) -> None:
    uplink, pvm, svm, _ = protected(proxy)
    proxy.client.taken()
    pvm.sendall(nonsense)
    if error == errno.ENOTCONN:
        pvm.close()
    until(lambda: proxy.port("primary")["fault"] == error)
    again = proxy.call("pvm")
    proxy.up("primary")
    again.sendall(wire(frame(2)))
    svm.sendall(wire(frame(2)))
    read(uplink, frame(2))
    told: list[int] = []

    def heard() -> bool:
        proxy.client.execute("query-status")
        faults = [event for event in proxy.client.taken() if event["event"] == "PORT_FAULT"]
        told.extend(event["data"]["errno"] for event in faults)
        return len(told) >= 2

    until(heard)
    assert told == [error, 0]


def test_a_second_peer_is_turned_away(proxy: Proxy) -> None:
    uplink, pvm, svm, _ = protected(proxy)
    assert proxy.call("pvm").recv(1) == b""
    pvm.sendall(wire(frame(1)))
    svm.sendall(wire(frame(1)))
    read(uplink, frame(1))


def test_what_may_leave_waits_for_an_uplink_that_is_away(proxy: Proxy) -> None:
    uplink, pvm, svm, _ = protected(proxy)
    uplink.close()
    until(lambda: proxy.port("uplink")["fault"] == errno.ENOTCONN)
    pvm.sendall(wire(frame(1)))
    svm.sendall(wire(frame(1)))
    until(lambda: proxy.nic()["released_frames"] == 1)
    read(proxy.call("up"), frame(1))


def test_copies_for_an_svm_that_is_away_are_counted(proxy: Proxy) -> None:
    uplink, pvm, _, to_svm = protected(proxy)
    to_svm.close()
    until(lambda: proxy.port("secondary")["fault"] == errno.ENOTCONN)
    uplink.sendall(wire(frame(1)) * 3)
    read(pvm, *[frame(1)] * 3)
    until(lambda: proxy.nic()["dropped_frames"]["send"] == 3)
