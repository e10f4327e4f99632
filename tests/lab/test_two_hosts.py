"""The links of docs/qemu.md, as written there: the SVM on another host, behind a tunnel."""

import re
import subprocess
from contextlib import ExitStack
from pathlib import Path

import pytest
from colo_lab import kernel, topology
from colo_lab.namespaces import Namespace
from colo_lab.protected import protected
from colo_lab.replica.content import Content
from colo_lab.transfer import MIB, Transfer

PAGE = (Path(__file__).parents[2] / "docs" / "qemu.md").read_text()
A, B = "198.51.100.11", "198.51.100.12"


def commands(host: str) -> list[str]:
    """The page's lines for a host; the VMs' own interfaces are the lab's, which makes them itself."""
    block = re.search(rf"<!-- host {host} -->\n```sh\n(.*?)```", PAGE, re.DOTALL)
    assert block
    lines = block[1].splitlines()
    made_by_the_lab = {"A": ["ip tuntap add pvm0", "ip link set pvm0"], "B": ["ip tuntap add svm0"]}[host]
    return [line for line in lines if not line.startswith(tuple(made_by_the_lab))]


def run(space: Namespace, *lines: str) -> None:
    with kernel.inside(space.fd):
        for line in lines:
            subprocess.run(line.split(), check=True, timeout=10)


def test_the_svm_behind_a_tunnel(monkeypatch: pytest.MonkeyPatch) -> None:
    plain, stack = topology._cable, ExitStack()

    def cable(host: Namespace, outer: str, inside: Namespace, inner: str, mac: str | None = None) -> None:
        """The SVM's cable goes to host B, the others as ever."""
        if outer != "svm0":
            plain(host, outer, inside, inner, mac)
            return
        far = stack.enter_context(Namespace("far", {}))
        plain(host, "eth1", far, "eth1")
        plain(far, outer, inside, inner, mac)
        for space, address in ((host, A), (far, B)):
            run(space, "ip link set eth1 mtu 1550", f"ip addr add {address}/24 dev eth1")
        run(host, *commands("A"))
        run(far, *commands("B"))

    monkeypatch.setattr(topology, "_cable", cable)
    size = 32 * MIB
    with stack, protected(compare={"timeout_ms": 3000}) as made:
        nic = made.lab.topology.nics[0]
        for version in (4, 6):
            with Transfer(made.lab, nic.url(f"/bytes/{size}", version=version)) as download:
                assert download.result()["sha256"] == Content().sha256(size)
        assert made.later == []
        made.lab.svm.fault(flip=MIB)
        with Transfer(made.lab, nic.url(f"/bytes/{size}")) as download:
            assert download.result()["sha256"] == Content().sha256(size)
        assert made.later == ["payload"]
