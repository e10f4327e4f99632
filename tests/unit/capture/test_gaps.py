"""Bytes that the PVM's capture lacks, though the client acknowledges them: not compared, no difference."""

from typing import Any

import pytest
from models.packets import ACK, FIN, RST, SYN, ethernet, tcp

from colo_proxy.core.comparator import Comparator
from colo_proxy.vocabulary import Divergence, Missed

from .frames import MAC, SECOND, START, Compared, Timed

VM, CLIENT = ("192.0.2.2", 80), ("192.0.2.1", 40000)
FLOW = "tcp 192.0.2.2:80 > 192.0.2.1:40000"
DATA = bytes(i * 31 & 255 for i in range(10_000))
MTU = 500


class Port:
    """What crosses a VM's port, a frame a millisecond; positions are stream offsets of what the VM sends."""

    def __init__(self, isn: int, data: bytes = DATA) -> None:
        self.isn, self.data, self.now, self.seq = isn, data, START, 100
        self.frames: list[Timed] = []

    def add(self, source: tuple[str, int], **fields: Any) -> None:
        frame = ethernet(tcp(source, CLIENT if source is VM else VM, **fields), 0x0800, from_vm=source is VM)
        self.now += 1_000_000
        self.frames.append((self.now, frame))

    def opens(self) -> "Port":
        self.add(CLIENT, seq=self.seq - 1, ack=0, flags=SYN)
        self.add(VM, seq=self.isn, ack=self.seq, flags=SYN | ACK)
        return self.acks(0)

    def acks(self, until: int) -> "Port":
        self.add(CLIENT, seq=self.seq, ack=(self.isn + 1 + until) % 2**32, flags=ACK)
        return self

    def sends(self, begin: int, end: int) -> "Port":
        for at in range(begin, end, MTU):
            payload = self.data[at : min(at + MTU, end)]
            self.add(VM, seq=(self.isn + 1 + at) % 2**32, ack=self.seq, flags=ACK, payload=payload)
        return self

    def closes(self, at: int) -> "Port":
        self.add(VM, seq=(self.isn + 1 + at) % 2**32, ack=self.seq, flags=FIN | ACK)
        return self

    def waits(self, seconds: float) -> "Port":
        self.now += int(seconds * SECOND)
        return self


@pytest.fixture
def compared(compared: Compared) -> Compared:
    return lambda pvm, svm: compared(pvm.frames, svm.frames, MAC)


def lost(begin: int, end: int) -> dict[str, Any]:
    return {"what": "missing", "frames": None, "bytes": end - begin, "flow": FLOW, "from": begin, "to": end}


ISNS = (1000, 77_000), (2**32 - 1500, 2**32 - 900), (5, 2**31 + 5)


@pytest.mark.parametrize("isns", ISNS)
@pytest.mark.parametrize(("begin", "end"), [(1000, 2000), (0, 500), (3500, 9500)])
@pytest.mark.parametrize("pause", [0, 10])
def test_a_gap_in_both(compared: Compared, isns: tuple[int, int], begin: int, end: int, pause: int) -> None:
    pvm, svm = (
        Port(isn).opens().sends(0, begin).sends(end, 10_000).acks(10_000).waits(pause).acks(10_000)
        for isn in isns
    )
    status, found = compared(pvm, svm)
    assert (status, found["verdict"], found["divergences"]) == (2, "incomplete", [])
    assert (found["not_compared"], found["held_frames"]) == ([lost(begin, end)], 0)


def test_two_gaps_of_one_flow(compared: Compared) -> None:
    ports = [
        Port(isn).opens().sends(0, 1000).sends(2000, 3000).sends(4000, 9000).acks(9000) for isn in (1, 2)
    ]
    status, found = compared(*ports)
    assert (status, found["not_compared"]) == (2, [lost(1000, 2000), lost(3000, 4000)])


def test_it_goes_on_behind_the_gap(compared: Compared) -> None:
    other = DATA[:5000] + b"!" + DATA[5001:]
    assert other != DATA
    pvm, svm = (
        Port(isn, data).opens().sends(0, 1000).sends(2000, 10_000).acks(10_000)
        for isn, data in ((1, DATA), (2, other))
    )
    status, found = compared(pvm, svm)
    assert (status, found["verdict"]) == (1, "diverged")
    assert [(each["reason"], each["stream_offset"]) for each in found["divergences"]] == [("payload", 5000)]


@pytest.mark.parametrize("svm_end", [3000, 5000, 10_000])
def test_what_the_pvms_capture_has_is_compared(compared: Compared, svm_end: int) -> None:
    pvm = Port(1).opens().sends(0, 1000).sends(2000, 10_000).acks(10_000)
    svm = Port(2).opens().sends(0, 1000).sends(svm_end, 10_000).acks(10_000)
    status, found = compared(pvm, svm)
    assert status == 1
    assert [(each["reason"], each["stream_offset"]) for each in found["divergences"]] == [
        ("missing-secondary", 2000)
    ]
    assert found["not_compared"] == [lost(1000, 2000)]


@pytest.mark.parametrize("isns", ISNS)
@pytest.mark.parametrize(
    ("begin", "end"), [(1000, 2000), (2000, 3000), (500, 1500), (2500, 9500), (0, 10_000)]
)
@pytest.mark.parametrize("pause", [0, 10])
def test_a_gap_of_the_pvms_of_which_the_svm_has_a_part(
    compared: Compared, isns: tuple[int, int], begin: int, end: int, pause: int
) -> None:
    """The client has acknowledged it, so the PVM has sent it, and its capture has lost it."""
    pvm, svm = map(Port, isns)
    pvm.opens().sends(0, 1000).sends(3000, 10_000).acks(10_000).waits(pause).acks(10_000)
    svm.opens().sends(0, 1000).sends(begin, end).sends(3000, 10_000).acks(10_000).waits(pause).acks(10_000)
    status, found = compared(pvm, svm)
    assert (status, found["divergences"]) == (2, [])
    assert sum(each["bytes"] for each in found["not_compared"]) == 2000
    assert (found["not_compared"][0]["from"], found["not_compared"][-1]["to"]) == (1000, 3000)
    assert found["held_frames"] == 0


@pytest.mark.parametrize("acked", [0, 1000])
def test_what_no_client_has_acknowledged_is_missing(compared: Compared, acked: int) -> None:
    ports = [Port(isn).opens().sends(0, 1000).sends(2000, 3000).acks(acked) for isn in (1, 2)]
    status, found = compared(*ports)
    assert (status, found["not_compared"]) == (1, [])
    assert found["divergences"][0]["reason"] == "missing-secondary"


@pytest.mark.parametrize("isns", ISNS)
@pytest.mark.parametrize("pause", [0, 100])
def test_the_end_of_a_stream_in_neither(compared: Compared, isns: tuple[int, int], pause: int) -> None:
    """Nothing waits for it; yet the client has it."""
    ports = [Port(isn).opens().sends(0, 3000).acks(7000).waits(pause).acks(7000) for isn in isns]
    status, found = compared(*ports)
    assert (status, found["verdict"], found["not_compared"]) == (2, "incomplete", [lost(3000, 7000)])


def test_a_fin_in_neither(compared: Compared) -> None:
    ports = [Port(isn).opens().sends(0, 3000).acks(3001) for isn in (1, 2)]
    assert compared(*ports)[1]["not_compared"] == [lost(3000, 3001)]
    ports = [Port(isn).opens().sends(0, 3000).closes(3000).acks(3001).waits(200).acks(3001) for isn in (1, 2)]
    assert compared(*ports)[1]["verdict"] == "identical"


def test_the_end_in_one_alone_is_missing(compared: Compared) -> None:
    whole, short = Port(1).opens().sends(0, 7000).acks(7000), Port(2).opens().sends(0, 3000).acks(7000)
    status, found = compared(whole, short)
    assert (status, found["divergences"][0]["reason"], found["not_compared"]) == (1, "missing-secondary", [])
    whole, short = Port(2).opens().sends(0, 7000).acks(7000), Port(1).opens().sends(0, 3000).acks(7000)
    status, found = compared(short, whole)
    assert (status, found["divergences"], found["not_compared"]) == (2, [], [lost(3000, 7000)])


@pytest.mark.parametrize("pause", [0, 10])
def test_what_no_client_has_acknowledged_of_the_svms(compared: Compared, pause: int) -> None:
    """Only what is acknowledged is known to have been sent by the PVM."""
    short = Port(1).opens().sends(0, 3000).acks(5000).waits(pause).acks(5000)
    whole = Port(2).opens().sends(0, 7000).acks(5000).waits(pause).acks(5000)
    status, found = compared(short, whole)
    assert (status, found["not_compared"]) == (1, [lost(3000, 5000)])
    assert [(each["reason"], each["stream_offset"]) for each in found["divergences"]] == [
        ("missing-primary", 5000)
    ]


@pytest.mark.parametrize("first", range(1000, 2**32, 700_000_000))
def test_the_next_connection_on_the_same_ports(compared: Compared, first: int) -> None:
    """Its acknowledgements say nothing of the one before, and the reverse."""

    def port(isns: tuple[int, int]) -> Port:
        port = Port(isns[0]).opens().sends(0, 1000).closes(1000).acks(1001)
        port.isn, port.seq = isns[1], 1_500_000_000
        port.opens().sends(0, 1000).acks(1000)
        port.isn, port.seq = isns[0], 100
        return port.acks(1001)

    status, found = compared(port((1000, (first + 5_000_000) % 2**32)), port((77_000, 2_000_000_000)))
    assert (status, found["verdict"]) == (0, "identical")


@pytest.mark.parametrize("apart", [2000, 4990, 1_000_000])
def test_the_next_connection_of_a_guest_that_binds_its_port(compared: Compared, apart: int) -> None:
    """The client's SYN/ACK acknowledges the guest's new number, and no bytes of the connection before."""

    def port(isn: int) -> Port:
        port = Port(isn)
        for _ in range(3):
            port.add(VM, seq=port.isn, ack=0, flags=SYN)
            port.add(CLIENT, seq=port.seq - 1, ack=port.isn + 1, flags=SYN | ACK)
            port.sends(0, 200).acks(200).waits(8)
            port.isn, port.seq = port.isn + apart, port.seq + 900
        return port

    status, found = compared(port(10), port(77_000))
    assert (status, found["verdict"], found["not_compared"]) == (0, "identical", [])


def test_a_reset_acknowledges_nothing(compared: Compared) -> None:
    ports = [Port(isn).opens().sends(0, 1000).acks(1000) for isn in (1, 2)]
    for port in ports:
        port.add(CLIENT, seq=100, ack=port.isn + 9000, flags=RST | ACK)
    assert compared(*ports)[1]["verdict"] == "identical"


def test_live_an_acknowledgement_proves_nothing() -> None:
    for captured, wanted in ((False, [Divergence]), (True, [Missed])):
        comparator = Comparator(observe=True, captured=captured)
        pvm, svm = (Port(isn).opens().sends(0, 1000).sends(2000, 3000).acks(3000) for isn in (1, 2))
        for (now, frame), (_, other) in zip(pvm.frames, svm.frames, strict=True):
            if frame[6:12] == bytes.fromhex(MAC.replace(":", "")):
                comparator.primary(frame, now)
                comparator.secondary(other, now)
            else:
                comparator.uplink(frame, now)
        comparator.tick(pvm.now + 4 * SECOND)
        comparator.finish(pvm.now + 4 * SECOND)
        assert [type(each) for each in comparator.take() if isinstance(each, Divergence | Missed)] == wanted
