"""A checkpoint of the lab carries live connections: the client of a VM that died goes on with the other."""

import hashlib
import json
import subprocess
from collections.abc import Iterator

import pytest
from colo_lab.lab import Lab
from colo_lab.replica.connection import Chain
from colo_lab.replica.content import Content
from colo_lab.topology import Uplink
from colo_lab.vmm import copy_state

MIB = 1 << 20


@pytest.fixture
def lab() -> Iterator[Lab]:
    with Lab(uplink=Uplink.BRIDGE) as lab:
        yield lab


def take_over(lab: Lab) -> None:
    """Copy the PVM's state, let the PVM die, and put the SVM on the bridge in its place."""
    copy_state(lab.pvm, lab.svm)
    lab.pvm.power_off()
    host = lab.topology.host
    bridge = host.index("br0")
    host.route.link("set", index=host.index("pvm0"), master=0)
    host.route.link("set", index=host.index("svm0"), master=bridge)
    lab.svm.go()


def start(lab: Lab, *arguments: str) -> "subprocess.Popen[bytes]":
    return lab.topology.client.popen(lab.client_argv(*arguments), stdout=subprocess.PIPE)


def results(client: "subprocess.Popen[bytes]") -> list[dict[str, object]]:
    out, _ = client.communicate(timeout=60)
    return [line for line in map(json.loads, out.splitlines()) if "at" not in line]


@pytest.mark.parametrize("version", [4, 6])
def test_download_goes_on_with_the_other_vm(lab: Lab, version: int) -> None:
    nic, size = lab.topology.nics[0], 64 * MIB
    client = start(lab, nic.url(f"/bytes/{size}", version=version), "--rate", "1e8", "--marks", str(8 * MIB))
    assert client.stdout is not None
    client.stdout.readline()  # in mid-download
    take_over(lab)
    (result,) = results(client)
    assert result["sha256"] == Content(0).sha256(size)
    assert lab.svm.report()["connections"] <= 1  # it was the SVM who ended it


def test_many_connections_at_once(lab: Lab) -> None:
    nic, size = lab.topology.nics[0], MIB
    client = start(
        lab, nic.url(f"/bytes/{size}"), "--parallel", "100", "--rate", "1e8", "--marks", str(10 * MIB)
    )
    assert client.stdout is not None
    client.stdout.readline()
    take_over(lab)
    expected = Content(0).sha256(size)
    assert [result["sha256"] for result in results(client)] == [expected] * 100


def test_upload_goes_on_with_the_other_vm(lab: Lab) -> None:
    nic, size = lab.topology.nics[0], 32 * MIB + 5
    client = start(lab, nic.url("/upload"), "--post", str(size), "--rate", "1e8", "--marks", str(8 * MIB))
    assert client.stdout is not None
    client.stdout.readline()
    take_over(lab)
    (result,) = results(client)
    chain = Chain()
    chain.update(b"x" * size)
    assert result["sha256"] == hashlib.sha256(chain.hexdigest().encode() + b"\n").hexdigest()


def test_pvm_notices_nothing_either(lab: Lab) -> None:
    """The PVM goes on after each of many checkpoints, and the SVM could be started from every one."""
    nic, size = lab.topology.nics[0], 128 * MIB
    client = start(lab, nic.url(f"/bytes/{size}"), "--rate", "2e8", "--marks", str(8 * MIB))
    assert client.stdout is not None
    for _ in range(10):
        client.stdout.readline()
        carried = copy_state(lab.pvm, lab.svm)
        assert carried == {"connections": 1, "lost": 0}
        lab.svm.go()
        lab.pvm.go()
    (result,) = results(client)
    assert result["sha256"] == Content(0).sha256(size)
