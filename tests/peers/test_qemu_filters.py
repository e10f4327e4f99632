"""The frames of QEMU's own tests of filter-mirror and filter-redirector, with our sockets at the other end.

Those push one 22-byte frame through a mirror and "Hello!!" through redirectors, and switch a filter off and
on.
"""

import json
import os
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from colo_vm.debian import LabError
from colo_vm.qemu import find
from unit.daemon.test_run_on_sockets import running
from unit.engine.ports.test_qemu_socket import wire
from unit.engine.test_engine import silent, until

from colo_proxy.control.client import Client

FRAME = b"Hello! filter-mirror~\0"
SHORT = b"Hello!!\0"  # no Ethernet frame: its header alone has 14 bytes


class Chain:
    """A netdev whose other end is ours, a mirror from it to the proxy's PVM port, a redirector back."""

    def __init__(self, base: Path) -> None:
        self.base, self.directory = base, base / "proxy"
        self.directory.mkdir()
        self.peers: list[socket.socket] = []
        self.config = self.directory / "web1.toml"
        self.config.write_text(
            f'[proxy]\ncontrol = "{self.directory}/ctl"\nmetrics = ""\n[[nic]]\n'
            f'uplink = "unix:{self.directory}/up"\nsecondary = "unix:{self.directory}/svm"\n'
            f'primary = {{ in = "unix:{self.directory}/in", out = "unix:{self.directory}/out" }}\n'
        )
        self.listeners = [socket.socket(socket.AF_UNIX) for _ in range(2)]
        for at, listener in enumerate(self.listeners):
            listener.bind(str(base / f"net{at}"))
            listener.listen()
            listener.settimeout(20)
        self.client: Client
        self.log = ""

    def qemu(self) -> list[str]:
        words = [*find().command(self.base), "-machine", "none", "-nodefaults", "-nographic"]
        words += ["-qmp", f"unix:{self.base}/qmp,server=on,wait=off"]
        # What goes past the mirror must end somewhere, or QEMU reads no more: in a second netdev of the hub.
        for at in (0, 1):
            words += ["-netdev", f"stream,id=n{at},server=off,addr.type=unix,addr.path={self.base}/net{at}"]
            words += ["-netdev", f"hubport,id=h{at},hubid=0,netdev=n{at}"]
        for end in ("in", "out"):
            words += ["-chardev", f"socket,id={end},path={self.directory}/{end},reconnect-ms=10"]
        words += ["-object", "filter-mirror,id=m0,netdev=n0,queue=tx,outdev=in"]
        return [*words, "-object", "filter-redirector,id=r0,netdev=n0,queue=rx,indev=out"]

    def port(self, name: str) -> dict[str, int]:
        found: dict[str, int] = self.client.execute("query-stats")["nics"][0]["ports"][name]
        return found

    def pass_output(self) -> socket.socket:
        """No replica: what the PVM's port says goes to the uplink, whose peer is returned."""
        self.client.execute("replica-lost")
        uplink = socket.socket(socket.AF_UNIX)
        uplink.settimeout(5)
        uplink.connect(str(self.directory / "up"))
        self.peers.append(uplink)
        until(lambda: self.port("uplink")["fault"] == self.port("primary")["fault"] == 0)
        return uplink

    def switch(self, status: str) -> None:
        with socket.socket(socket.AF_UNIX) as qmp, qmp.makefile("rw") as lines:
            qmp.settimeout(5)
            qmp.connect(str(self.base / "qmp"))
            lines.readline()
            argument = {"path": "/objects/m0", "property": "status", "value": status}
            for command in ({"execute": "qmp_capabilities"}, {"execute": "qom-set", "arguments": argument}):
                lines.write(json.dumps(command) + "\n")
                lines.flush()
                assert "return" in json.loads(lines.readline())


def read(sock: socket.socket, frame: bytes) -> None:
    expected, got = wire(frame, None), b""
    while len(got) < len(expected):
        got += sock.recv(len(expected) - len(got))
    assert got == expected


@pytest.fixture
def chain() -> Iterator[Chain]:
    with ExitStack() as stack:
        base = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="colo-")))
        try:
            chain = Chain(base)
            command = chain.qemu()
        except LabError as error:
            if os.environ.get("CI") == "true":
                raise
            pytest.skip(str(error))
        for listener in chain.listeners:
            stack.callback(listener.close)
        process = subprocess.Popen(command)
        stack.callback(process.wait)
        stack.callback(process.kill)
        yield chain


def test_mirror_redirector_off_on_and_reconnect(chain: Chain) -> None:
    net, beyond = (listener.accept()[0] for listener in chain.listeners)
    net.settimeout(5)
    with running(chain):
        uplink = chain.pass_output()
        net.sendall(wire(FRAME, None))
        read(uplink, FRAME)
        uplink.sendall(wire(FRAME, None))
        read(net, FRAME)
        net.sendall(wire(SHORT, None) + wire(FRAME, None))
        read(uplink, FRAME)
        assert chain.client.execute("query-stats")["nics"][0]["dropped_frames"]["truncated"] == 1
        chain.switch("off")
        net.sendall(wire(FRAME, None))
        assert silent(uplink, 0.3)
        chain.switch("on")
        net.sendall(wire(FRAME[::-1], None))
        read(uplink, FRAME[::-1])
    with running(chain):  # another proxy: QEMU's sockets find it by themselves
        uplink = chain.pass_output()
        net.sendall(wire(FRAME, None))
        read(uplink, FRAME)
        uplink.sendall(wire(FRAME, None))
        read(net, FRAME)
    net.close()
    beyond.close()
