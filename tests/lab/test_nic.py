"""A stopped NIC lets nothing through and loses nothing that arrives."""

import select
import socket
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from colo_lab.nic import Nic
from colo_lab.topology import Topology, Uplink


@pytest.fixture
def ends() -> Iterator[tuple[Nic, socket.socket, socket.socket]]:
    """The PVM's NIC, a UDP socket in the PVM and one in the client."""
    with ExitStack() as stack:
        topology = stack.enter_context(Topology({}, uplink=Uplink.BRIDGE))
        names = topology.nics[0]
        nic = Nic(topology.pvm, names.device, topology.host, names.primary)
        stack.callback(nic.close)
        inside = stack.enter_context(topology.pvm.socket(socket.AF_INET, socket.SOCK_DGRAM))
        outside = stack.enter_context(topology.client.socket(socket.AF_INET, socket.SOCK_DGRAM))
        inside.bind((names.vm4, 9))
        outside.connect((names.vm4, 9))
        outside.send(b"hello")  # so that both know their neighbour
        assert inside.recv(9) == b"hello"
        inside.connect(outside.getsockname())
        yield nic, inside, outside


def readable(sock: socket.socket, seconds: float) -> bool:
    return bool(select.select([sock], [], [], seconds)[0])


def test_nothing_passes_a_stopped_nic(ends: tuple[Nic, socket.socket, socket.socket]) -> None:
    nic, inside, outside = ends
    nic.stop()
    outside.send(b"in")
    inside.send(b"out")
    assert not readable(inside, 0.1)
    assert not readable(outside, 0.1)


def test_what_arrived_meanwhile_is_delivered_in_order(ends: tuple[Nic, socket.socket, socket.socket]) -> None:
    nic, inside, outside = ends
    nic.stop()
    outside.send(b"before it is kept")
    nic.keep()
    for number in range(50):
        outside.send(b"%d" % number)
    assert not readable(inside, 0.05)
    assert nic.go() >= 50  # IPv6 housekeeping may have come too
    assert [inside.recv(99) for _ in range(50)] == [b"%d" % number for number in range(50)]
    outside.send(b"live")
    assert inside.recv(99) == b"live"
    assert not readable(inside, 0.05)
