"""Stream ports of the engine: peers that come late, ports of two sockets, frames cut by a stop."""

import errno
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from unit.engine.ports.test_qemu_socket import wire
from unit.engine.test_engine import MACS, frame, read, silent, until

from colo_proxy.engine.engine import Done, Engine, PortCounters, PortFault, PortSpec, Word
from colo_proxy.vocabulary import Drop, Mode, Port

NAMES = ("up", "pvm", "svm")


class Nic:
    """An engine with one NIC of stream ports without peers; `split`: those of two sockets."""

    def __init__(self, *split: Port, **settings: Any) -> None:
        self.engine = Engine(**settings)
        self.sockets: list[socket.socket] = []
        self.engine.add_nic(
            *(
                PortSpec(-1, "stream", name, split=port in split)
                for port, name in zip(Port, NAMES, strict=True)
            )
        )

    def connect(self, port: Port, *, out: bool = False) -> socket.socket:
        ours, theirs = socket.socketpair()
        self.sockets += [ours, theirs]
        ours.setblocking(False)
        theirs.settimeout(5)
        self.engine.attach(0, port, ours.fileno(), out=out)
        return theirs

    def events(self, count: int) -> list[object]:
        """The next events that are no answers."""
        got: list[object] = []

        def enough() -> bool:
            got.extend(event for event in self.engine.events() if not isinstance(event, Done))
            return len(got) >= count

        until(enough)
        return got

    def counters(self, port: Port) -> PortCounters:
        return self.engine.snapshot()[0].ports[port]


@contextmanager
def turning(*split: Port, **settings: Any) -> Iterator[Nic]:
    nic = Nic(*split, **settings)
    thread = threading.Thread(target=nic.engine.run)
    thread.start()
    try:
        yield nic
    finally:
        nic.engine.stop()
        thread.join(timeout=5)
        for each in nic.sockets:
            each.close()
        assert not thread.is_alive()


def faults(nic: Nic) -> list[int]:
    return [nic.counters(port).fault for port in Port]


def test_a_port_without_a_peer_does_not_work_until_there_is_one() -> None:
    with turning(mode=Mode.PASS) as nic:
        assert faults(nic) == [errno.ENOTCONN] * 3
        nic.connect(Port.SECONDARY)
        until(lambda: faults(nic) == [errno.ENOTCONN, errno.ENOTCONN, 0])
        assert nic.events(1) == [PortFault(0, Port.SECONDARY, 0, "svm: works again")]


def test_copies_for_an_absent_svm_are_counted_and_output_waits_for_an_absent_uplink() -> None:
    with turning(mode=Mode.COMPARE) as nic:
        pvm, svm = nic.connect(Port.PRIMARY), nic.connect(Port.SECONDARY)
        for guest in (pvm, svm):
            guest.sendall(wire(frame(1)) + wire(frame(2)))
        until(lambda: nic.engine.snapshot()[0].released == 2)
        svm.close()
        until(lambda: nic.counters(Port.SECONDARY).fault == errno.ENOTCONN)
        uplink = nic.connect(Port.UPLINK)
        read(uplink, frame(1), frame(2))
        uplink.sendall(wire(frame(3)))
        read(pvm, frame(3))
        until(lambda: nic.counters(Port.SECONDARY).dropped[Drop.SEND] == 1)
        assert silent(nic.connect(Port.SECONDARY))


def test_a_port_of_two_sockets_reads_one_and_writes_the_other() -> None:
    with turning(*Port, mode=Mode.COMPARE) as nic:
        up, pvm, svm = (nic.connect(port) for port in Port)
        to_up, to_pvm, to_svm = (nic.connect(port, out=True) for port in Port)
        up.sendall(wire(frame(1)))
        read(to_pvm, frame(1))
        read(to_svm, frame(1))
        pvm.sendall(wire(frame(2)))
        assert silent(to_up)
        svm.sendall(wire(frame(2)))
        read(to_up, frame(2))
        assert all(silent(each, 0) for each in (up, pvm, svm))
        counted = nic.counters(Port.SECONDARY)
        assert (counted.received, counted.sent, counted.fault) == (1, 1, 0)


def test_the_half_that_is_written_to_is_lost_and_comes_back_by_itself() -> None:
    with turning(Port.SECONDARY, mode=Mode.COMPARE) as nic:
        svm, to_svm = nic.connect(Port.SECONDARY), nic.connect(Port.SECONDARY, out=True)
        pvm, uplink = nic.connect(Port.PRIMARY), nic.connect(Port.UPLINK)
        nic.events(4)
        to_svm.close()
        text = "svm (out): the peer closed the connection"
        assert nic.events(1) == [PortFault(0, Port.SECONDARY, errno.ENOTCONN, text, out=True)]
        assert nic.counters(Port.SECONDARY).fault == errno.ENOTCONN
        before = nic.engine.beat
        time.sleep(0.3)
        assert nic.engine.beat - before < 10  # it does not spin
        uplink.sendall(wire(frame(1)))
        read(pvm, frame(1))
        svm.sendall(wire(frame(2)))
        until(lambda: nic.counters(Port.SECONDARY).received == 1)
        again = nic.connect(Port.SECONDARY, out=True)
        assert nic.events(1) == [PortFault(0, Port.SECONDARY, 0, "svm (out): works again", out=True)]
        uplink.sendall(wire(frame(3)))
        read(again, frame(3))
        assert nic.counters(Port.SECONDARY).dropped[Drop.SEND] == 1


def test_what_is_said_where_nothing_should_be_is_not_listened_to() -> None:
    with turning(Port.PRIMARY, mode=Mode.PASS) as nic:
        nic.connect(Port.PRIMARY)
        to_pvm, uplink = nic.connect(Port.PRIMARY, out=True), nic.connect(Port.UPLINK)
        to_pvm.sendall(wire(frame(1)) * 1000)
        uplink.sendall(wire(frame(2)))
        read(to_pvm, frame(2))
        assert silent(uplink)
        assert nic.counters(Port.PRIMARY).received == 0
        to_pvm.sendall(b"\xff" * 100)
        until(lambda: nic.counters(Port.PRIMARY).fault == errno.EMSGSIZE)


def test_output_waits_for_the_half_of_an_uplink_that_is_written_to() -> None:
    with turning(Port.UPLINK, mode=Mode.PASS) as nic:
        nic.connect(Port.UPLINK)
        pvm = nic.connect(Port.PRIMARY)
        pvm.sendall(wire(frame(1)))
        until(lambda: nic.counters(Port.PRIMARY).received == 1)
        to_up = nic.connect(Port.UPLINK, out=True)
        read(to_up, frame(1))


def test_only_a_split_port_has_two_halves() -> None:
    with turning(mode=Mode.PASS) as nic, pytest.raises(ValueError, match="pvm is not split"):
        nic.connect(Port.PRIMARY, out=True)


def test_a_connection_given_up_on_purpose_is_no_fault_to_tell_of() -> None:
    with turning(mode=Mode.PASS) as nic:
        nic.connect(Port.SECONDARY)
        nic.events(1)
        nic.engine.attach(0, Port.SECONDARY, -1)
        until(lambda: nic.counters(Port.SECONDARY).fault == errno.ENOTCONN)
        nic.connect(Port.SECONDARY)
        until(lambda: nic.counters(Port.SECONDARY).fault == 0)
        assert [event for event in nic.engine.events() if isinstance(event, PortFault)] == []


@pytest.mark.parametrize("size", [100, 60_000])
@pytest.mark.parametrize("port", [Port.PRIMARY, Port.SECONDARY])
def test_a_frame_whose_beginning_came_before_a_stop_is_not_of_the_new_epoch(port: Port, size: int) -> None:
    with turning(mode=Mode.COMPARE) as nic:
        uplink, pvm, svm = (nic.connect(each) for each in Port)
        cut, other = (pvm, svm) if port is Port.PRIMARY else (svm, pvm)
        cut.sendall(wire(frame(1, size))[:50])
        until(lambda: nic.counters(port).fault == 0)
        for word in (Word.SVM_STOP, Word.PVM_STOP, Word.COMMIT):
            nic.engine.command(word)
        until(lambda: nic.engine.snapshot()[0].mode is Mode.COMPARE and not nic.engine.events())
        cut.sendall(wire(frame(1, size))[50:] + wire(frame(2)))
        other.sendall(wire(frame(1, size)) + wire(frame(2)))
        read(uplink, frame(2))
        assert silent(uplink)
        assert nic.counters(port).dropped[Drop.OLD_EPOCH] == 1


@pytest.mark.parametrize("first", [Port.PRIMARY, Port.SECONDARY])
@pytest.mark.parametrize("mode", [Mode.COMPARE, Mode.HOLD])
def test_long_frames_stay_where_they_were_received(mode: Mode, first: Port) -> None:
    """What is held outlives many later frames, whose memory is used over and over."""
    said = [
        MACS + b"\x88\xb5" + bytes([number]) * size
        for number, size in enumerate([60_000, 60, 30_000, 3000] * 6)
    ]
    with turning(mode=mode) as nic:
        uplink, pvm, svm = (nic.connect(each) for each in Port)
        early, late = (pvm, svm) if first is Port.PRIMARY else (svm, pvm)
        everything = b"".join(map(wire, said))
        early.sendall(everything)
        if mode is Mode.HOLD:
            pvm.sendall(everything if early is svm else b"")
            until(lambda: nic.engine.snapshot()[0].held_frames == len(said))
            for word in (Word.SVM_STOP, Word.PVM_STOP, Word.COMMIT):
                nic.engine.command(word)
        else:
            late.sendall(everything)
        read(uplink, *said)
        until(lambda: nic.engine.snapshot()[0].held_frames == 0)
