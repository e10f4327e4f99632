"""TCP in IP fragments is aligned too: the first fragment has the header, and the sum in it is of them all."""

import struct

import pytest
from models.datagrams import Reassembly
from models.packets import ACK, PSH, SYN, Packet, ethernet, fragments, parse, tcp, with_tcp
from support.taken import frames_of

from colo_proxy.core.comparator import Comparator
from colo_proxy.vocabulary import Port

PVM_ISN, SVM_ISN = 1000, 4_000_000_000
CLOCKS = 700_000, 90_000  # TSval of the PVM's and of the SVM's SYN
ENDS = {4: (("192.0.2.2", 80), ("192.0.2.1", 40000)), 6: (("2001:db8::2", 80), ("2001:db8::1", 40000))}
ETHERTYPE = {4: 0x0800, 6: 0x86DD}
PAYLOAD = bytes(range(200))
versions = pytest.mark.parametrize("version", [4, 6])


def stamps(value: int, echo: int) -> bytes:
    return b"\1\1\x08\x0a" + struct.pack("!II", value, echo)


def connected(version: int) -> Comparator:
    """Both guests have answered a client, each with numbers and clocks of its own."""
    comparator = Comparator()
    vm, client = ENDS[version]
    for say, isn, clock in zip(
        (comparator.primary, comparator.secondary), (PVM_ISN, SVM_ISN), CLOCKS, strict=True
    ):
        answer = tcp(vm, client, seq=isn, ack=501, flags=SYN | ACK, options=stamps(clock, 5))
        say(ethernet(answer, ETHERTYPE[version]), 1)
    comparator.take()
    return comparator


def pieces(version: int, packet: bytes, size: int, *, from_vm: bool) -> list[bytes]:
    cut = fragments(packet, 77, lambda: size)
    assert len(cut) > 2
    return [ethernet(piece, ETHERTYPE[version], from_vm=from_vm) for piece in cut]


def joined(frames: list[bytes]) -> Packet:
    """The segment that the fragments make up, if its checksum is right."""
    reassembly = Reassembly()
    (whole,) = filter(None, [reassembly.add(parse(frame), frame, 0) for frame in frames])
    assert whole.packet.kind == "tcp"
    assert with_tcp(whole.packet.frame) == whole.packet.frame  # which makes the sum anew
    return whole.packet


def said_by_the_svm(version: int, size: int = 64) -> list[bytes]:
    vm, client = ENDS[version]
    options = stamps(CLOCKS[1] + 40, 6)
    packet = tcp(vm, client, seq=SVM_ISN + 1, ack=501, flags=ACK | PSH, options=options, payload=PAYLOAD)
    return pieces(version, packet, size, from_vm=True)


def in_the_pvms_numbers(frames: list[bytes]) -> bool:
    segment = joined(frames)
    clocks = struct.unpack("!II", segment.options[8])
    return (segment.seq, clocks, segment.payload) == (PVM_ISN + 1, (CLOCKS[0] + 40, 6), PAYLOAD)


@versions
def test_what_a_client_says_reaches_the_svm_in_its_numbers(version: int) -> None:
    comparator = connected(version)
    vm, client = ENDS[version]
    packet = tcp(client, vm, seq=501, ack=PVM_ISN + 1, options=stamps(6, CLOCKS[0]), payload=PAYLOAD)
    for frame in pieces(version, packet, 64, from_vm=False):
        comparator.uplink(frame, 2)
    frames = frames_of(comparator)
    as_it_was = joined([frame.data for frame in frames if frame.port is Port.PRIMARY])
    aligned = joined([frame.data for frame in frames if frame.port is Port.SECONDARY])
    assert (as_it_was.ack, aligned.ack) == (PVM_ISN + 1, SVM_ISN + 1)
    assert struct.unpack("!II", aligned.options[8]) == (6, CLOCKS[1])
    assert aligned.payload == PAYLOAD


@versions
def test_what_the_svm_says_after_a_failover(version: int) -> None:
    comparator = connected(version)
    comparator.failover(2)
    for frame in said_by_the_svm(version):
        comparator.secondary(frame, 3)
    assert in_the_pvms_numbers([frame.data for frame in frames_of(comparator)])


@versions
@pytest.mark.parametrize("missing", [0, 1])
def test_what_the_svm_had_said_before(version: int, missing: int) -> None:
    """All fragments had come, or not the last one yet."""
    comparator = connected(version)
    frames = said_by_the_svm(version)
    early, late = frames[: len(frames) - missing], frames[len(frames) - missing :]
    for frame in early:
        comparator.secondary(frame, 2)
    comparator.failover(3)
    for frame in late:
        comparator.secondary(frame, 4)
    assert in_the_pvms_numbers([frame.data for frame in frames_of(comparator)])


@versions
def test_a_header_in_pieces_is_left_alone(version: int) -> None:
    comparator = connected(version)
    frames = said_by_the_svm(version, 16)
    comparator.failover(2)
    for frame in frames:
        comparator.secondary(frame, 3)
    assert [frame.data for frame in frames_of(comparator)] == frames
