"""The engine on real interfaces: the kernel's own TCP through it, link faults, stops by timestamp."""

import errno
import hashlib
import os
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from support.wires import Namespace, namespaces, needs_wires
from unit.engine.ports.test_port import PLAIN, number, port, receive
from unit.engine.test_engine import Bench, frame

from colo_proxy.engine.engine import Done, Engine, PortFault, PortSpec, Word
from colo_proxy.vocabulary import Mode, Port

pytestmark = [pytest.mark.lab, needs_wires]


class Wires(Bench):
    """An engine on three veth pairs (`ports` names the kinds); the far ends are up, client, pvm and svm."""

    def __init__(
        self,
        ns: Namespace,
        far: tuple[Namespace, ...] | None = None,
        tap_uplink: bool = False,
        **settings: Any,
    ) -> None:
        self.ns = ns
        self.engine = Engine(**settings)
        self.sockets = []
        specs = []
        for which, (near, peer) in enumerate((("up0", "client"), ("pvm0", "pvm"), ("svm0", "svm"))):
            if which == 0 and tap_uplink:
                specs.append(PortSpec(ns.tap(near), "tap", near))
                continue
            ns.veth(near, peer, None if far is None else far[which])
            specs.append(PortSpec(ns.packet(near).fileno(), "packet", near))
        self.engine.add_nic(*specs)
        self.thread = threading.Thread(target=self.engine.run)


@pytest.fixture
def ns() -> Iterator[Namespace]:
    with namespaces() as (one,):
        yield one


def serve(listener: socket.socket, data: bytes) -> None:
    while True:
        try:
            connection, _ = listener.accept()
        except OSError:
            return
        with connection:
            connection.sendall(data)


@pytest.mark.parametrize("tap_uplink", [False, True])
@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6])
def test_kernel_tcp_crosses_in_super_frames(tap_uplink: bool, family: socket.AddressFamily) -> None:
    addresses = ("192.0.2.1", "192.0.2.2") if family == socket.AF_INET else ("2001:db8::1", "2001:db8::2")
    prefix = 24 if family == socket.AF_INET else 64
    data = os.urandom(1 << 20) * 64
    with namespaces(4) as (middle, client, pvm, svm):
        wires = Wires(middle, (client, pvm, svm), tap_uplink=tap_uplink, mode=Mode.PASS)
        if tap_uplink:  # a bridge between the TAP and the client, as on a host
            middle.veth("br-client", "client", client)
            middle.bridge("br", "up0", "br-client")
        client.address("client", addresses[0], prefix)
        pvm.address("pvm", addresses[1], prefix)
        with pvm.inside():
            listener = socket.create_server((addresses[1], 80), family=family)
        server = threading.Thread(target=serve, args=(listener, data), daemon=True)
        server.start()
        with wires:
            digest, began = hashlib.sha256(), time.monotonic()
            with client.inside():
                sock = socket.socket(family)
            with sock:
                sock.settimeout(20)
                sock.connect((addresses[1], 80))
                while chunk := sock.recv(1 << 20):
                    digest.update(chunk)
            print(f"{len(data) * 8 / (time.monotonic() - began) / 1e9:.1f} Gbit/s")
            counted = wires.engine.snapshot()[0].ports[Port.PRIMARY]
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        server.join()
    assert digest.digest() == hashlib.sha256(data).digest()
    assert counted.received_bytes / counted.received > 3000


def test_copies_for_the_svm_are_as_the_pvm_got_them(ns: Namespace) -> None:
    with Wires(ns, mode=Mode.COMPARE):
        client, pvm, svm = (port(ns.packet(name)) for name in ("client", "pvm", "svm"))
        tagged = frame(2)[:12] + bytes.fromhex("8100 0064") + frame(2)[12:]
        assert client.send([(PLAIN, frame(1)), (PLAIN, tagged)]) == 0
        assert [data for _, data, _ in receive(pvm, 2)] == [frame(1), tagged]
        assert [data for _, data, _ in receive(svm, 2)] == [frame(1), tagged]


def test_a_stop_divides_the_pvms_output_by_its_timestamp(ns: Namespace) -> None:
    wires = Wires(ns, mode=Mode.HOLD)
    client, pvm = (port(ns.packet(name)) for name in ("client", "pvm"))
    for first in range(0, 100, 50):
        pvm.send([(PLAIN, frame(first + i)) for i in range(50)])
    stopped = time.time_ns()
    pvm.send([(PLAIN, frame(1000 + i)) for i in range(50)])
    wires.engine.command(Word.SVM_STOP)
    wires.engine.command(Word.PVM_STOP, stopped)
    wires.engine.command(Word.COMMIT)
    with wires:
        assert [event.late for event in wires.events(3)] == [False] * 3
        assert [number(data) for _, data, _ in receive(client, 150, timeout=0.5)] == list(range(100))
        counted = wires.engine.snapshot()[0]
        assert counted.ports[Port.PRIMARY].received == 150
        assert counted.held_frames == 50
        assert wires.command(Word.PVM_STOP, stopped).late  # judged by now: too late for that
        assert not wires.command(Word.PVM_STOP, time.time_ns()).late


def test_link_down_is_reported_once_and_heals(ns: Namespace) -> None:
    with Wires(ns, mode=Mode.PASS) as wires:
        client, pvm = (port(ns.packet(name)) for name in ("client", "pvm"))
        ns.up("pvm0", "down")
        assert wires.events(1) == [PortFault(0, Port.PRIMARY, errno.ENETDOWN, "pvm0: the interface is down")]
        beat = wires.engine.beat
        for _ in range(3):
            client.send([(PLAIN, frame(0))])
            time.sleep(0.3)
        assert wires.engine.events() == []
        assert wires.engine.beat - beat < 15
        ns.up("pvm0")
        deadline = time.monotonic() + 5
        got: list[tuple[bytes, bytes, int]] = []
        while not got and time.monotonic() < deadline:
            pvm.send([(PLAIN, frame(5))])
            got = receive(client, 1, timeout=0.1)
        assert number(got[0][1]) == 5
        assert wires.events(1) == [PortFault(0, Port.PRIMARY, 0, "pvm0: works again")]


def test_removed_interface_is_reported_and_can_be_replaced(ns: Namespace) -> None:
    with Wires(ns, mode=Mode.PASS) as wires:
        client = port(ns.packet("client"))
        ns.remove("pvm0")
        faults = wires.events(1)
        deadline = time.monotonic() + 5
        while faults[-1].errno != errno.ENODEV and time.monotonic() < deadline:
            faults += wires.events(1)
        assert [fault.errno for fault in faults] in ([errno.ENODEV], [errno.ENETDOWN, errno.ENODEV])
        ns.veth("pvm0", "pvm")
        pvm = port(ns.packet("pvm"))
        ticket = wires.engine.attach(0, Port.PRIMARY, ns.packet("pvm0").fileno())
        assert Done(ticket) in wires.events(1)
        pvm.send([(PLAIN, frame(5))])
        assert [number(data) for _, data, _ in receive(client, 1)] == [5]


def test_tap_removed_is_reported_and_does_not_spin(ns: Namespace) -> None:
    with Wires(ns, tap_uplink=True, mode=Mode.PASS) as wires:
        ns.remove("up0")
        [fault] = wires.events(1)
        assert fault.port == Port.UPLINK
        assert fault.errno == errno.EBADFD
        beat = wires.engine.beat
        time.sleep(1)
        assert wires.engine.beat - beat < 10
        assert wires.engine.events() == []
