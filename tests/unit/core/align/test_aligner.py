"""The aligner: each number moved, and each checksum as scapy computes it from scratch."""

from typing import Any

import pytest
from frames import PARTIAL, ip4, ip6, link, with_right_checksum
from hypothesis import given, settings
from hypothesis import strategies as st
from scapy.layers.inet import ICMP, IP, TCP, UDP, ICMPerror, IPerror, TCPerror
from scapy.layers.inet6 import (
    ICMPv6DestUnreach,
    ICMPv6EchoRequest,
    ICMPv6PacketTooBig,
    ICMPv6ParamProblem,
    ICMPv6TimeExceeded,
    IPv6,
    IPv6ExtHdrDestOpt,
    IPv6ExtHdrFragment,
)
from scapy.layers.l2 import Ether
from scapy.packet import Packet, Raw

from colo_proxy.core.align.aligner import from_svm, quoted_flow, quoted_from_svm, quoted_to_svm, to_svm
from colo_proxy.core.packet.key import flow_key
from colo_proxy.core.packet.parse import dissect

M32 = 1 << 32
PORTS: dict[str, Any] = {"svm_port": 50001, "pvm_port": 50000}
numbers = st.integers(0, M32 - 1)
edges = st.sampled_from([0, 1, 0xFFFF, 0x10000, 0x7FFFFFFF, 0x80000000, M32 - 1])


def segment(nops: int = 0, flags: str = "A", sport: int = 50000, dport: int = 80) -> Packet:
    options = [("NOP", None)] * nops + [("Timestamp", (100, 200)), ("SAck", (1000, 2000, 3000, 4000))]
    return TCP(sport=sport, dport=dport, flags=flags, seq=10, ack=20, window=512, options=options)


def options_of(frame: bytes) -> dict[str, Any]:
    return dict(Ether(frame)[TCP].options)


@given(
    st.sampled_from([ip4(to_vm=True), ip6(to_vm=True)]),
    st.integers(0, 3),
    numbers | edges,
    numbers | edges,
    st.binary(max_size=5),
)
@settings(max_examples=200, deadline=None)
def test_to_svm(header: Packet, nops: int, seq: int, ts: int, payload: bytes) -> None:
    frame = bytes(link(to_vm=True) / header / segment(nops, sport=80, dport=50000) / payload)
    moved = to_svm(frame, seq=seq, ts=ts, **PORTS)
    tcp = Ether(moved)[TCP]
    assert (tcp.sport, tcp.dport) == (80, 50001)
    assert (tcp.seq, tcp.ack) == (10, (20 + seq) % M32)
    assert options_of(moved)["Timestamp"] == (100, (200 + ts) % M32)
    assert options_of(moved)["SAck"] == tuple((edge + seq) % M32 for edge in (1000, 2000, 3000, 4000))
    assert moved == with_right_checksum(moved)


@given(
    st.sampled_from([ip4(), ip6()]),
    st.integers(0, 3),
    numbers | edges,
    numbers | edges,
    st.binary(max_size=5),
)
@settings(max_examples=200, deadline=None)
def test_from_svm(header: Packet, nops: int, seq: int, ts: int, payload: bytes) -> None:
    frame = bytes(link() / header / segment(nops, sport=50001) / payload)
    moved = from_svm(frame, seq=seq, ts=ts, **PORTS)
    tcp = Ether(moved)[TCP]
    assert (tcp.sport, tcp.dport) == (50000, 80)
    assert (tcp.seq, tcp.ack) == ((10 - seq) % M32, 20)
    assert options_of(moved)["Timestamp"] == ((100 - ts) % M32, 200)
    assert options_of(moved)["SAck"] == (1000, 2000, 3000, 4000)
    assert moved == with_right_checksum(moved)


def test_what_a_client_said_comes_back_the_same() -> None:
    """Aligning is undone by the opposite numbers, to the byte."""
    frame = bytes(link(to_vm=True) / ip4(to_vm=True) / segment(1, sport=80, dport=50000) / b"x")
    there = to_svm(frame, seq=12345, ts=678, **PORTS)
    assert there != frame
    assert to_svm(there, seq=-12345, ts=-678, svm_port=50000, pvm_port=50001) == frame


def test_without_ack_there_is_no_acknowledgement_to_move() -> None:
    frame = bytes(link(to_vm=True) / ip4(to_vm=True) / segment(flags="S", sport=80, dport=50000))
    moved = to_svm(frame, seq=5, ts=7)
    assert moved == frame


def test_another_port_is_left_alone() -> None:
    frame = bytes(link() / ip4() / segment(sport=50002))
    assert Ether(from_svm(frame, **PORTS))[TCP].sport == 50002


def test_partial_checksum_is_left_alone() -> None:
    frame = bytes(link() / ip4() / segment())
    moved = from_svm(frame, seq=5, ts=7, vnet=PARTIAL)
    assert Ether(moved)[TCP].seq == 5
    assert Ether(moved)[TCP].chksum == Ether(frame)[TCP].chksum


@pytest.mark.parametrize(
    "packet", [ip4(proto=132) / Raw(bytes(40)), ip6() / ICMPv6EchoRequest(data=bytes(40))], ids=repr
)
def test_what_is_neither_tcp_nor_udp_is_left_alone(packet: Packet) -> None:
    frame = bytes(link() / packet)
    for align in (to_svm, from_svm, quoted_to_svm):
        assert align(frame, seq=5, ts=7, **PORTS) == frame


def test_offsets_of_zero_change_nothing() -> None:
    frame = bytes(link() / ip4() / segment(1))
    assert to_svm(frame) == from_svm(frame) == frame


# ICMP errors. A router outside quotes what the VM sent: its addresses, its ports, its numbers.

ERRORS4 = [ICMP(type=kind, code=code) for kind, code in ((3, 4), (4, 0), (5, 1), (11, 0), (12, 0))]
ERRORS6 = [ICMPv6DestUnreach(), ICMPv6PacketTooBig(mtu=1280), ICMPv6TimeExceeded(), ICMPv6ParamProblem()]


def error4(icmp: Packet, quoted: bytes) -> bytes:
    return bytes(link(to_vm=True) / IP(src="198.51.100.1", dst="192.0.2.2") / icmp / Raw(quoted))


def error6(icmp: Packet, quoted: bytes) -> bytes:
    return bytes(link(to_vm=True) / IPv6(src="2001:db8:1::1", dst="2001:db8::2") / icmp / Raw(quoted))


@given(
    st.sampled_from(ERRORS4),
    st.integers(8, 80),
    st.integers(0, 2),
    st.tuples(numbers | edges, numbers | edges),
    st.sampled_from([b"", b"\x94\x04\x00\x00"]),
)
@settings(max_examples=300, deadline=None)
def test_quoted_in_icmp(
    icmp: Packet, length: int, nops: int, offsets: tuple[int, int], options: bytes
) -> None:
    """However much of the segment the router quotes, from 8 bytes on."""
    seq, ts = offsets
    sent = ip4(options=options) / segment(nops) / (b"data" * 3)
    header = len(bytes(ip4(options=options)))
    frame = error4(icmp, bytes(sent)[: header + length])
    moved = quoted_to_svm(frame, seq=seq, ts=ts, **PORTS)
    assert moved == with_right_checksum(moved)
    expected = TCP(bytes(sent)[header:])
    expected.sport = 50001
    expected.seq = (10 + seq) % M32
    whole = expected.dataofs * 4
    if length >= whole:
        expected.options = [
            (name, ((100 + ts) % M32, 200) if name == "Timestamp" else value)
            for name, value in expected.options
        ]
    bare = bytearray(bytes(sent)[header : header + length])
    rebuilt = bytes(expected)
    quoted = moved[-len(bare) :]
    assert quoted[:16] == rebuilt[:16][: len(bare)]
    assert quoted[18:] == rebuilt[18 : len(bare)]
    if length >= whole:
        # The quoted checksum is as if the SVM had sent it.
        svm = ip4(options=options) / TCP(rebuilt)
        svm[TCP].delfieldval("chksum")
        assert quoted[16:18] == bytes(svm)[header + 16 : header + 18]


@given(st.sampled_from(ERRORS6), st.integers(8, 80), numbers | edges, numbers | edges, st.booleans())
@settings(max_examples=200, deadline=None)
def test_quoted_in_icmpv6(icmp: Packet, length: int, seq: int, ts: int, extended: bool) -> None:
    header = ip6() / IPv6ExtHdrDestOpt() / IPv6ExtHdrFragment() if extended else ip6()
    sent = header / segment() / (b"data" * 3)
    at = len(bytes(header))
    frame = error6(icmp, bytes(sent)[: at + length])
    moved = quoted_to_svm(frame, seq=seq, ts=ts, **PORTS)
    assert moved == with_right_checksum(moved)
    quoted = moved[-min(length, len(bytes(sent)) - at) :]
    assert int.from_bytes(quoted[:2], "big") == 50001
    assert int.from_bytes(quoted[4:8], "big") == (10 + seq) % M32


@given(st.booleans(), st.integers(8, 80), st.integers(0, 2), numbers | edges, numbers | edges)
@settings(max_examples=300, deadline=None)
def test_quoted_by_the_svm(six: bool, length: int, nops: int, seq: int, ts: int) -> None:
    """It quotes a client's segment as it came, aligned: what goes out quotes what the client had said."""
    header = ip6(to_vm=True) if six else ip4(to_vm=True)
    sent = bytes(link(to_vm=True) / header / segment(nops, sport=80, dport=50000) / (b"data" * 3))

    def quoting(frame: bytes) -> bytes:
        error = ip6() / ERRORS6[0] if six else ip4() / ERRORS4[0]
        return bytes(link() / error / Raw(frame[14:][: (40 if six else 20) + length]))

    left = quoted_from_svm(quoting(to_svm(sent, seq=seq, ts=ts, **PORTS)), seq=seq, ts=ts, **PORTS)
    assert left == with_right_checksum(left)
    if length >= dissect(sent)["payload"] - dissect(sent)["l4"]:
        assert left == quoting(sent)
    elif length >= 16:  # the flags tell that there is an acknowledgement; what was cut off stays
        assert left[:-length][-8:] == quoting(sent)[:-length][-8:]
        assert left[-length:][:16] == quoting(sent)[-length:][:16]
    ours = link() / (ip6() if six else ip4()) / segment(sport=50000, dport=80)
    assert quoted_flow(left, from_vm=True) == flow_key(bytes(ours))


def test_the_vm_quotes_what_came_to_it() -> None:
    """What quotes another's segment is no word about a connection of the VM."""
    frame = bytes(link() / ip4() / ERRORS4[0] / Raw(bytes(IP(src="192.0.2.1", dst="192.0.2.9") / segment())))
    assert quoted_flow(frame, from_vm=True) is None
    assert quoted_from_svm(frame, seq=5, ts=7, **PORTS) == frame


def test_scapy_reads_the_quote_as_we_wrote_it() -> None:
    frame = error4(ICMP(type=3, code=4, nexthopmtu=1400), bytes(ip4() / segment() / b"data"))
    moved = Ether(quoted_to_svm(frame, seq=1000, ts=1, **PORTS))
    assert moved[ICMPerror if ICMPerror in moved else ICMP].payload is not None
    assert moved[IPerror].src == "192.0.2.2"
    assert (moved[TCPerror].sport, moved[TCPerror].seq) == (50001, 1010)
    assert moved[ICMP].nexthopmtu == 1400


@pytest.mark.parametrize("version", [4, 6])
def test_the_quote_names_the_vms_flow(version: int) -> None:
    sent = (ip4() if version == 4 else ip6()) / segment()
    frame = error4(ERRORS4[0], bytes(sent)) if version == 4 else error6(ERRORS6[0], bytes(sent))
    assert quoted_flow(frame) == flow_key(bytes(link() / sent))


TCP4 = bytes(ip4() / segment())
TCP6 = bytes(ip6() / segment())


@pytest.mark.parametrize(
    "frame",
    [
        error4(ICMP(type=8), TCP4),  # an echo request that happens to carry a packet
        error4(ICMP(type=3), TCP4[:27]),  # 7 bytes of TCP
        error4(ICMP(type=3), bytes(ip4() / UDP() / bytes(20))[:27]),
        error4(ICMP(type=3), bytes(ip4(proto=132) / bytes(20))),  # SCTP
        error4(ICMP(type=3), bytes(IP(src="192.0.2.9", dst="192.0.2.1") / segment())),  # not the VM's
        error4(ICMP(type=3), bytes(ip4(frag=3) / segment())),
        error4(ICMP(type=3), bytes(ip4(ihl=4) / segment())),
        error4(ICMP(type=3), TCP6),
        error4(ICMP(type=3), b""),
        error6(ICMPv6DestUnreach(), TCP6[:47]),
        error6(ICMPv6DestUnreach(), TCP4),
        error6(ICMPv6DestUnreach(), bytes(ip6() / IPv6ExtHdrFragment(offset=3) / segment())),
        error6(ICMPv6DestUnreach(), bytes(IPv6(src="2001:db8::9", dst="2001:db8::1") / segment())),
        bytes(link(to_vm=True) / ip4(to_vm=True) / segment()),
    ],
)
def test_what_quotes_no_segment_of_the_vm_is_left_alone(frame: bytes) -> None:
    assert quoted_flow(frame) is None
    assert quoted_to_svm(frame, seq=5, ts=7, **PORTS) == frame


@given(st.sampled_from([error4(ERRORS4[0], TCP4), error6(ERRORS6[0], TCP6)]), st.data())
@settings(max_examples=300, deadline=None)
def test_spoiled_and_cut_errors_are_survived(frame: bytes, data: st.DataObject) -> None:
    spoiled = bytearray(frame)
    for _ in range(data.draw(st.integers(0, 4))):
        spoiled[data.draw(st.integers(14, len(frame) - 1))] = data.draw(st.integers(0, 255))
    cut = bytes(spoiled[: data.draw(st.integers(0, len(frame)))])
    assert len(quoted_to_svm(cut, seq=5, ts=7, **PORTS)) == len(cut)
    assert len(quoted_from_svm(cut, seq=5, ts=7, **PORTS)) == len(cut)
    quoted_flow(cut)
    quoted_flow(cut, from_vm=True)
