"""Replicas that serve the same need no checkpoint, however their kernels cut, pace and acknowledge.

COLO_LAB_FULL=1 makes the single downloads 1 GiB.
"""

import hashlib
import os
import shutil
import socket
import subprocess
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import pytest
from colo_lab.addresses import ECHO_PORT
from colo_lab.errors import Missing
from colo_lab.protected import Protected
from colo_lab.replica.content import Content
from colo_lab.topology import Uplink
from colo_lab.transfer import MIB, Transfer, uploaded

SIZE = 1024 * MIB if os.environ.get("COLO_LAB_FULL") == "1" else 64 * MIB


@pytest.mark.parametrize("version", [4, 6])
def test_curl(pair: Protected, version: int) -> None:
    if not shutil.which("curl"):
        raise Missing("curl is not installed")
    url = pair.lab.topology.nics[0].url(f"/bytes/{SIZE}", version=version)
    with pair.lab.topology.client.running(
        ["curl", "--silent", "--show-error", "--globoff", "--max-time", "90", url], stdout=subprocess.PIPE
    ) as curl:
        assert curl.stdout
        digest = hashlib.sha256()
        while data := curl.stdout.read(MIB):
            digest.update(data)
        assert curl.wait() == 0
    assert digest.hexdigest() == Content().sha256(SIZE)
    assert pair.later == []


@pytest.mark.parametrize("uplink", [Uplink.TAP, Uplink.PACKET])
@pytest.mark.parametrize("version", [4, 6])
def test_uplinks(protect: Callable[..., Any], uplink: Uplink, version: int) -> None:
    with protect(uplink=uplink) as made:
        with Transfer(made.lab, made.lab.topology.nics[0].url(f"/bytes/{MIB}", version=version)) as download:
            assert download.result()["sha256"] == Content().sha256(MIB)
        assert made.later == []


@pytest.mark.parametrize("version", [4, 6])
def test_200_at_once(protect: Callable[..., Any], version: int) -> None:
    """On a busy machine the SVM comes to some of them seconds after the PVM."""
    with protect(compare={"timeout_ms": 30_000}) as pair:
        url = pair.lab.topology.nics[0].url(f"/bytes/{MIB}", version=version)
        with Transfer(pair.lab, url, parallel=200) as downloads:
            hashes = [result["sha256"] for result in downloads.results()]
        assert hashes == [Content().sha256(MIB)] * 200
        assert pair.later == []


def test_many_small_ones(pair: Protected) -> None:
    """Connections that open and close all the time."""
    url, expected = pair.lab.topology.nics[0].url("/bytes/6"), Content().sha256(6)
    for _ in range(5):
        with Transfer(pair.lab, url, parallel=40) as downloads:
            assert {result["sha256"] for result in downloads.results()} == {expected}
    assert pair.later == []


@pytest.mark.parametrize("version", [4, 6])
def test_upload(pair: Protected, version: int) -> None:
    size = 32 * MIB
    url = pair.lab.topology.nics[0].url("/upload", version=version)
    with Transfer(pair.lab, url, post=size) as upload:
        result = upload.result()
    assert result["sha256"] == uploaded(size)
    assert pair.later == []


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6], ids=["IPv4", "IPv6"])
@pytest.mark.parametrize("size", [1, 1400, 4000], ids=["small", "one-frame", "fragments"])
def test_udp(pair: Protected, family: int, size: int) -> None:
    nic = pair.lab.topology.nics[0]
    with pair.lab.topology.client.socket(family, socket.SOCK_DGRAM) as sock:
        sock.settimeout(10)
        sock.connect((nic.vm4 if family == socket.AF_INET else nic.vm6, ECHO_PORT))
        for number in range(20):
            question = bytes([number]) * size
            sock.send(question)
            assert sock.recv(65536) == question
    assert pair.later == []


def test_the_svm_waits_to_be_heard(pair: Protected) -> None:
    """It says in two segments, one after the other is acknowledged, what the PVM says in one (T13)."""
    topology, address = pair.lab.topology, (pair.lab.topology.nics[0].vm4, 8080)
    topology.svm.sysctl({"ipv4/tcp_early_retrans": 0})  # else it does not wait long (RFC 8985, 7.3)
    with ExitStack() as stack:
        listeners = []
        for vm in (topology.pvm, topology.svm):
            listeners.append(stack.enter_context(vm.socket(socket.AF_INET, socket.SOCK_STREAM)))
            listeners[-1].bind(address)
            listeners[-1].listen()
        client = stack.enter_context(topology.client.socket(socket.AF_INET, socket.SOCK_STREAM))
        client.settimeout(20)
        client.connect(address)
        pvm, svm = (stack.enter_context(listener.accept()[0]) for listener in listeners)
        svm.sendall(b"a" * 300)
        svm.sendall(b"b" * 300)  # waits for the acknowledgement (RFC 9293, 3.7.4)
        pvm.sendall(b"a" * 300 + b"b" * 300)
        said = b""
        while len(said) < 600:
            said += client.recv(65536)
    assert said == b"a" * 300 + b"b" * 300
    assert pair.later == []
