"""Connections in every state that a FIN leads to are carried from the PVM's namespace to the SVM's."""

import select
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass

import pytest
from colo_lab import kernel
from colo_lab.namespaces import Namespace
from colo_lab.nftables import Switch
from colo_lab.replica import repair
from colo_lab.replica.arena import Arena
from colo_lab.replica.arena import create as create_arena
from colo_lab.replica.repair import State
from colo_lab.topology import Topology, Uplink

PORT = 9000


@dataclass
class Wire:
    """A connection from the client to the PVM, and the means to move its server end to the SVM."""

    topology: Topology
    arena: Arena
    switches: dict[str, Switch]
    peer: socket.socket
    server: socket.socket

    def block(self, who: str) -> None:
        self.switches[who].set(open_=False)

    def move(self) -> None:
        """The server end is now in the SVM's namespace, and the SVM on the bridge."""
        for who in ("pvm", "svm"):
            self.block(who)
        snap, unsent = repair.snapshot(self.server, self.arena)
        assert not unsent
        repair.vanish(self.server)
        with kernel.inside(self.topology.svm.fd):
            self.server = repair.recreate(snap, self.arena)
        repair.release(self.server)
        host = self.topology.host
        host.route.link("set", index=host.index("pvm0"), master=0)
        host.route.link("set", index=host.index("svm0"), master=host.index("br0"))
        for switch in self.switches.values():
            switch.set(open_=True)


def say(sock: socket.socket, data: bytes) -> None:
    sock.sendall(data)


def hear(sock: socket.socket, count: int) -> bytes:
    """Exactly `count` bytes, or fewer where the stream ends."""
    data = b""
    while len(data) < count:
        assert select.select([sock], [], [], 10)[0], "nothing came within 10 s"
        part = sock.recv(count - len(data))
        if not part:
            break
        data += part
    return data


def reach(sock: socket.socket, state: State) -> None:
    """Wait for a TCP state; the kernel tells of it by no descriptor that both ends share."""
    poll = select.poll()
    for _ in range(400):
        if repair.state(sock) is state:
            return
        poll.poll(5)
    assert repair.state(sock) is state


def _server(namespace: Namespace, family: int) -> socket.socket:
    listener = namespace.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("", PORT))
    listener.listen()
    return listener


@pytest.fixture(params=[socket.AF_INET, socket.AF_INET6], ids=["IPv4", "IPv6"])
def wire(request: pytest.FixtureRequest) -> Iterator[Wire]:
    with ExitStack() as stack:
        topology = stack.enter_context(Topology({}, uplink=Uplink.BRIDGE))
        nic = topology.nics[0]
        address = nic.vm4 if request.param == socket.AF_INET else nic.vm6
        switches = {
            space.name: Switch(space, nic.device) for space in (topology.client, topology.pvm, topology.svm)
        }
        for switch in switches.values():
            stack.callback(switch.close)
        peer = stack.enter_context(topology.client.socket(request.param, socket.SOCK_STREAM))
        with _server(topology.pvm, request.param) as listener:
            peer.connect((address, PORT))
            server, _ = listener.accept()
        made = Wire(topology, Arena(create_arena()), switches, peer, server)
        yield made
        made.server.close()


def established(_: Wire) -> None:
    """Nothing has been closed."""


def peer_closed(wire: Wire) -> None:
    wire.peer.shutdown(socket.SHUT_WR)
    reach(wire.server, State.CLOSE_WAIT)


def server_closed(wire: Wire) -> None:
    wire.server.shutdown(socket.SHUT_WR)
    reach(wire.server, State.FIN_WAIT2)


def server_closed_unheard(wire: Wire) -> None:
    wire.block("client")
    wire.server.shutdown(socket.SHUT_WR)
    reach(wire.server, State.FIN_WAIT1)


def both_closed(wire: Wire) -> None:
    peer_closed(wire)
    wire.block("client")
    wire.server.shutdown(socket.SHUT_WR)
    reach(wire.server, State.LAST_ACK)


@pytest.mark.parametrize(
    "close", [established, peer_closed, server_closed, server_closed_unheard, both_closed]
)
def test_moves(wire: Wire, close: Callable[[Wire], None]) -> None:
    """Bytes said before and not yet read, and whatever may still be said, arrive after the move."""
    say(wire.peer, b"question")
    assert hear(wire.server, 4) == b"ques"
    assert select.select([wire.server], [], [], 10)[0]
    say(wire.server, b"answer")
    assert hear(wire.peer, 6) == b"answer"
    close(wire)
    state = repair.state(wire.server)
    wire.move()
    assert hear(wire.server, 4) == b"tion"
    if state in (State.ESTABLISHED, State.CLOSE_WAIT):
        say(wire.server, b"more")
        assert hear(wire.peer, 4) == b"more"
        wire.server.shutdown(socket.SHUT_WR)
    assert hear(wire.peer, 1) == b""
    if state not in (State.CLOSE_WAIT, State.LAST_ACK):
        say(wire.peer, b"last words")
        assert hear(wire.server, 10) == b"last words"
        wire.peer.shutdown(socket.SHUT_WR)
    assert hear(wire.server, 1) == b""
    reach(wire.server, State.CLOSE)


def test_handshake_does_not_move(wire: Wire) -> None:
    with wire.topology.client.socket(wire.peer.family, socket.SOCK_STREAM) as sock:
        sock.setblocking(False)
        wire.block("client")
        with pytest.raises(BlockingIOError):
            sock.connect(wire.peer.getpeername())
        with pytest.raises(repair.Immovable, match="SYN_SENT"):
            repair.snapshot(sock, wire.arena)
