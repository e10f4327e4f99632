"""The parser against scapy, and against every way of cutting and spoiling a frame."""

import struct
from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import pytest
from frames import GSO, PARTIAL, VNET, ip4, ip6, link
from hypothesis import given, settings
from hypothesis import strategies as st
from models import packets as models
from scapy.layers.inet import ICMP, TCP, UDP
from scapy.layers.inet6 import (
    ICMPv6EchoRequest,
    ICMPv6MLQuery,
    ICMPv6MLReport2,
    ICMPv6ND_NA,
    ICMPv6ND_NS,
    ICMPv6ND_RA,
    ICMPv6ND_Redirect,
    ICMPv6ND_RS,
    IPv6ExtHdrDestOpt,
    IPv6ExtHdrFragment,
    IPv6ExtHdrHopByHop,
    IPv6ExtHdrRouting,
)
from scapy.layers.l2 import ARP, GRE, Dot1Q, Ether
from scapy.packet import Packet, Raw

from colo_proxy.core.packet.checksum import rewritten
from colo_proxy.core.packet.parse import dissect

SEGMENT = TCP(
    sport=80,
    dport=40000,
    flags="PA",
    seq=0xFFFFFFFE,
    ack=7,
    window=513,
    urgptr=9,
    options=[("NOP", None), ("Timestamp", (11, 12)), ("SAck", (1, 2, 3, 4))],
)


def samples() -> list[Packet]:
    """At least one frame for each branch of the parser."""
    return [
        link() / ip4() / SEGMENT / b"hello",
        link(vlans=(10,)) / ip4(options=b"\x94\x04\x00\x00") / SEGMENT / b"hello",
        link(vlans=(10, 20)) / ip6() / SEGMENT / b"hello",
        link()
        / ip6()
        / IPv6ExtHdrHopByHop()
        / IPv6ExtHdrRouting()
        / IPv6ExtHdrDestOpt()
        / SEGMENT
        / b"hello",
        link() / ip4() / TCP(flags="S", options=[("MSS", 1460), ("SAckOK", b""), ("WScale", 7)]),
        link() / ip4() / UDP(sport=53, dport=5353) / b"hello",
        link() / ip6() / UDP(sport=53, dport=5353) / b"hello",
        link() / ip4() / ICMP() / b"ping",
        link() / ip6() / ICMPv6EchoRequest(data=b"ping"),
        link() / ip4() / GRE() / b"tunnel",
        link() / ip4(flags="MF", id=77) / Raw(bytes(64)),
        link() / ip6() / IPv6ExtHdrFragment(offset=3, m=1, id=77) / Raw(bytes(64)),
        link() / ip6() / ICMPv6ND_NS(tgt="2001:db8::1"),
        link() / ARP(),
        link() / Raw(b"\x88\xb5 experimental"),
    ]


def check_invariants(frame: bytes, found: Mapping[str, Any]) -> None:
    """No offset leads outside of what it is an offset into."""
    places = [VNET, found["l3"], found["l4"], found["payload"], found["end"], found["size"]]
    if len(frame) >= 14:
        assert places[1] >= VNET + 14
    assert all(a <= b for a, b in pairwise(places)), found
    assert found["size"] == VNET + len(frame)
    if found["timestamps"]:
        assert found["l4"] + 20 < found["timestamps"] <= found["payload"] - 8
    if found["sack_blocks"]:
        assert found["l4"] + 20 < found["sack"] <= found["payload"] - 8 * found["sack_blocks"]
    assert found["frag_data"] <= found["end"]
    assert found["wscale"] in (*range(15), 255)
    if found["kind"] == "tcp":
        ends = (found["flags"] & 1) + (found["flags"] >> 1 & 1)
        assert found["payload"] - found["l4"] >= 20
        assert found["length"] == found["end"] - found["payload"] + ends
    else:
        assert found["length"] == found["timestamps"] == found["sack_blocks"] == found["seq"] == 0
    if found["kind"] == "other":
        assert found["version"] == 0
        assert found["l3"] == found["l4"] == found["payload"]
        assert found["end"] == found["size"] or found["ethertype"] <= 1500


@pytest.mark.parametrize("packet", samples(), ids=lambda p: p.summary())
def test_every_truncation_is_survived(packet: Packet) -> None:
    frame = bytes(packet)
    for length in range(len(frame) + 1):
        cut = frame[:length]
        check_invariants(cut, dissect(cut))
        check_invariants(cut, dissect(cut, GSO))


@given(st.sampled_from([bytes(p) for p in samples()]), st.data())
@settings(max_examples=600, deadline=None)
def test_any_spoiled_byte_is_survived(frame: bytes, data: st.DataObject) -> None:
    spoiled = bytearray(frame)
    for _ in range(data.draw(st.integers(1, 6))):
        spoiled[data.draw(st.integers(12, len(frame) - 1))] = data.draw(st.integers(0, 255))
    length = data.draw(st.integers(0, len(frame)))
    for cut in (bytes(spoiled), bytes(spoiled[:length])):
        check_invariants(cut, dissect(cut, data.draw(st.sampled_from([None, PARTIAL, GSO]))))


@given(
    st.sampled_from(["0800", "86dd", "81000000", "88a80000810000000800", "0806", "1234"]),
    st.binary(max_size=200),
)
@settings(max_examples=400, deadline=None)
def test_random_bytes_are_survived(ethertype: str, data: bytes) -> None:
    frame = bytes(12) + bytes.fromhex(ethertype) + data
    check_invariants(frame, dissect(frame))


@pytest.mark.parametrize("vlans", [(), (10,), (10, 20)])
@pytest.mark.parametrize(
    "header", [ip4(), ip4(options=b"\x94\x04\x00\x00"), ip6(), ip6() / IPv6ExtHdrDestOpt()]
)
@pytest.mark.parametrize("flags", ["A", "PA", "FA", "SA", "R", "SF", "UA"])
def test_tcp_fields_as_scapy_has_them(vlans: tuple[int, ...], header: Packet, flags: str) -> None:
    tcp = SEGMENT.copy()
    tcp.flags = flags
    packet = link(vlans=vlans) / header / tcp / b"hello"
    frame = bytes(packet)
    found = dissect(frame + b"Ethernet padding")
    assert found["kind"] == "tcp"
    assert found["vlan"] >> 16 == (vlans[0] if vlans else 0xFFFF)
    assert found["vlan"] & 0xFFFF == (vlans[1] if len(vlans) == 2 else 0xFFFF)
    assert found["flags"] == int(tcp.flags)
    assert (found["seq"], found["ack"], found["window"], found["urgent"]) == (0xFFFFFFFE, 7, 513, 9)
    assert found["end"] == VNET + len(frame)
    assert frame[found["payload"] - VNET :] == b"hello"
    assert found["length"] == 5 + ("S" in flags) + ("F" in flags)
    at = found["timestamps"] - VNET
    assert struct.unpack("!II", frame[at : at + 8]) == (11, 12)
    at = found["sack"] - VNET
    assert found["sack_blocks"] == 2
    assert struct.unpack("!IIII", frame[at : at + 16]) == (1, 2, 3, 4)


def tcp_with(options: bytes, flags: str = "S") -> Mapping[str, Any]:
    tcp = bytearray(bytes(TCP(flags=flags))) + options
    tcp[12] = len(tcp) // 4 << 4
    return dissect(bytes(link() / ip4(proto=6) / Raw(bytes(tcp))))


def test_options_of_a_syn() -> None:
    found = tcp_with(bytes.fromhex("020405b4 0402 080a0000000100000000 01 030307"))
    assert (found["mss"], found["wscale"], found["sack_permitted"]) == (1460, 7, 1)
    assert found["timestamps"]


def test_options_that_only_a_syn_may_carry_are_ignored_elsewhere() -> None:
    found = tcp_with(bytes.fromhex("020405b4 0402 030307 00 000000"), flags="A")
    assert (found["mss"], found["wscale"], found["sack_permitted"]) == (0, 255, 0)


@pytest.mark.parametrize(
    ("options", "mss"),
    [
        ("00000000 020405b4", 0),  # after the end of the list
        ("fd000000 020405b4", 0),  # a length of 0 would never end
        ("fd010000 020405b4", 0),
        ("fdff0000 020405b4", 0),  # beyond the header
        ("fd040000 020405b4", 1460),  # an unknown option is skipped
        ("02030001 020405b4", 1460),  # of a wrong length: skipped, as Linux does
        ("020405b4 020405b5", 1461),  # of two, the later
        ("01010102", 0),  # a kind without a length
    ],
)
def test_malformed_options(options: str, mss: int) -> None:
    assert tcp_with(bytes.fromhex(options))["mss"] == mss


def test_window_scale_above_14_is_14() -> None:
    assert tcp_with(bytes.fromhex("0303ff00"))["wscale"] == 14  # RFC 7323, 2.3


@pytest.mark.parametrize("length", [3, 9, 11, 17, 35])
def test_sack_of_a_wrong_length_has_no_blocks(length: int) -> None:
    assert tcp_with(bytes([5, length]) + bytes(38), flags="A")["sack_blocks"] == 0


@pytest.mark.parametrize("data_offset", [0, 4, 15])
def test_tcp_with_an_impossible_data_offset_is_a_datagram(data_offset: int) -> None:
    found = dissect(bytes(link() / ip4() / TCP(dataofs=data_offset) / b"x"))
    assert (found["kind"], found["version"], found["proto"]) == ("ip", 4, 6)


@pytest.mark.parametrize(("length", "kind"), [(0, "ip"), (7, "ip"), (8, "udp"), (13, "udp"), (14, "ip")])
def test_udp_length(length: int, kind: str) -> None:
    assert dissect(bytes(link() / ip4() / UDP(len=length) / b"hello"))["kind"] == kind


@pytest.mark.parametrize(
    "header",
    [
        ip4(len=19),
        ip4(len=100),
        ip4(len=0),
        ip4(ihl=4),
        ip4(ihl=15),
        ip4(version=6),
        ip6(plen=100),
        ip6(version=4),
    ],
    ids=repr,
)
def test_ip_headers_that_contradict_the_frame(header: Packet) -> None:
    found = dissect(bytes(link() / header / TCP()))
    assert (found["kind"], found["version"]) == ("other", 0)


@pytest.mark.parametrize("header", [ip4(len=0), ip6(plen=0)], ids=["ipv4", "ipv6"])
def test_super_frame_without_a_length_reaches_to_its_end(header: Packet) -> None:
    frame = bytes(link() / header / TCP(flags="A") / bytes(70000 - 54))
    found = dissect(frame, GSO)
    assert (found["kind"], found["end"]) == ("tcp", VNET + len(frame))
    assert dissect(frame)["kind"] != "tcp"


HOUSEKEEPING = [
    ARP(),
    Raw(b"lldp"),
    ip4(proto=2) / Raw(bytes(8)),
    ip6() / ICMPv6ND_RS(),
    ip6() / ICMPv6ND_RA(),
    ip6() / ICMPv6ND_NS(),
    ip6() / ICMPv6ND_NA(),
    ip6() / ICMPv6ND_Redirect(),
    ip6() / ICMPv6MLQuery(),
    ip6() / IPv6ExtHdrHopByHop() / ICMPv6MLReport2(),
]


@pytest.mark.parametrize("packet", HOUSEKEEPING, ids=lambda p: p.summary())
def test_housekeeping(packet: Packet) -> None:
    frame = Ether(type=0x88CC) / packet if isinstance(packet, Raw) else link() / packet
    assert dissect(bytes(frame))["kind"] == "housekeeping"


@pytest.mark.parametrize(
    ("packet", "kind", "proto"),
    [
        (ip6() / ICMPv6EchoRequest(), "ip", 58),
        (ip4(proto=58) / Raw(b"\x87\x00\x00\x00"), "ip", 58),  # ICMPv6 means nothing over IPv4
        (ip4() / ICMP(), "ip", 1),
        (ip4() / GRE(), "ip", 47),
        (ip6(nh=51) / Raw(b"\x06\x04" + bytes(22)) / TCP(), "ip", 51),  # authenticated: not to be rewritten
        (ip6(nh=59), "ip", 59),
    ],
    ids=repr,
)
def test_other_protocols(packet: Packet, kind: str, proto: int) -> None:
    found = dissect(bytes(link() / packet))
    assert (found["kind"], found["proto"]) == (kind, proto)
    assert found["payload"] == found["l4"]


def test_third_vlan_tag_is_no_vlan() -> None:
    found = dissect(bytes(link(vlans=(1, 2)) / Dot1Q(vlan=3) / ip4() / TCP()))
    assert (found["kind"], found["ethertype"], found["vlan"]) == ("other", 0x8100, 1 << 16 | 2)


def test_ipv4_fragments() -> None:
    for flags, offset in (("MF", 0), ("MF", 3), (0, 3)):
        found = dissect(bytes(link() / ip4(flags=flags, frag=offset, id=77, proto=17) / Raw(bytes(16))))
        assert (found["kind"], found["proto"], found["frag_id"]) == ("fragment", 17, 77)
        assert (found["frag_offset"], found["frag_more"]) == (offset * 8, flags == "MF")
        assert found["end"] - found["frag_data"] == 16
    assert dissect(bytes(link() / ip4(flags="DF") / TCP()))["kind"] == "tcp"


def test_ipv6_fragments() -> None:
    header = ip6() / IPv6ExtHdrDestOpt() / IPv6ExtHdrFragment(offset=3, m=1, id=1 << 31, nh=6)
    found = dissect(bytes(link() / header / Raw(bytes(16))))
    assert (found["kind"], found["proto"], found["frag_id"]) == ("fragment", 6, 1 << 31)
    assert (found["frag_offset"], found["frag_more"]) == (24, 1)
    assert found["end"] - found["frag_data"] == 16


def test_atomic_ipv6_fragment_is_whole() -> None:
    assert dissect(bytes(link() / ip6() / IPv6ExtHdrFragment() / TCP()))["kind"] == "tcp"  # RFC 6946


def test_the_walk_through_extension_headers_ends() -> None:
    packet = link() / ip6()
    for _ in range(16):
        packet /= IPv6ExtHdrDestOpt()
    assert dissect(bytes(packet / TCP()))["kind"] == "tcp"
    assert dissect(bytes(packet / IPv6ExtHdrDestOpt() / TCP()))["kind"] == "other"


@given(
    st.sampled_from([ip4(), ip6()]),
    st.integers(0, 3),
    st.binary(max_size=9),
    st.tuples(st.integers(0, 40), st.sampled_from([2, 4])),
    st.integers(0, 0xFFFFFFFF),
)
@settings(max_examples=300, deadline=None)
def test_rewriting_keeps_the_checksum_right(
    header: Packet, nops: int, payload: bytes, place: tuple[int, int], value: int
) -> None:
    """At every place of the header, odd ones included."""
    at, width = place
    options = [("NOP", None)] * nops + [("Timestamp", (0xFFFFFFFF, 0))]
    frame = bytes(link() / header / TCP(flags="A", ack=0xFFFFFFFF, options=options) / payload)
    found = dissect(frame)
    where = found["l4"] + at
    untouchable = {12, 16, 17}  # data offset, checksum
    if where + width > found["payload"] or untouchable & set(range(at, at + width)):
        return
    value &= (1 << 8 * width) - 1
    changed = rewritten(frame, where, value, width)
    assert int.from_bytes(changed[where - VNET : where - VNET + width], "big") == value
    # Not by scapy: it fails at options that the new value has spoiled.
    packet = models.parse(changed)
    data = changed[packet.l4 : packet.end]
    cover = packet.source + packet.target + len(data).to_bytes(4) + (6).to_bytes(4)
    assert models.checksum(cover + data) == 0


def test_partial_checksum_is_left_alone() -> None:
    """It covers the pseudo-header alone (virtio 1.2, 5.1.6.2), and so no field of TCP."""
    frame = bytes(link() / ip4() / TCP(chksum=0x1234, seq=1))
    at = dissect(frame)["l4"] + 4
    changed = rewritten(frame, at, 99, 4, PARTIAL)
    assert Ether(changed)[TCP].seq == 99
    assert Ether(changed)[TCP].chksum == 0x1234
    assert dissect(frame, PARTIAL)["partial"] == 1


def test_wrong_arguments_are_refused() -> None:
    frame = bytes(link() / ip4() / TCP())
    with pytest.raises(ValueError, match="9 bytes; 10 expected"):
        dissect(frame, bytes(9))
    with pytest.raises(ValueError, match="TCP header"):
        rewritten(frame, 0, 1, 4)
    with pytest.raises(ValueError, match="TCP header"):
        rewritten(bytes(link() / ip4() / UDP()), 44, 1, 2)


@pytest.mark.parametrize("vlans", [b"", b"\x81\x00\x00\x07"])
@pytest.mark.parametrize(
    ("length", "end"), [(0, 0), (3, 3), (46, 46), (47, 46), (1500, 46), (1501, 46), (0x88B5, 46)]
)
def test_a_frame_of_802_3_ends_where_its_length_says(vlans: bytes, length: int, end: int) -> None:
    """Unless it has not so many bytes; from 1,501 on the number is no length (IEEE 802.3, 3.2.6)."""
    fields = dissect(bytes(12) + vlans + length.to_bytes(2) + bytes(46))
    assert fields["kind"] == "other"
    assert fields["end"] - fields["l3"] == end
