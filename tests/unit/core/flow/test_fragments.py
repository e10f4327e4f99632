"""Reassembly against datagrams that scapy, and a cutter of our own, took to pieces."""

import itertools
from random import Random

import pytest
from frames import ip4, ip6, link
from hypothesis import given, settings
from hypothesis import strategies as st
from scapy.layers.inet import IP, UDP, fragment
from scapy.layers.inet6 import IPv6ExtHdrDestOpt, IPv6ExtHdrFragment, fragment6
from scapy.layers.l2 import Ether
from scapy.packet import Packet, Raw

from colo_proxy.core.flow.fragments import Reassembler
from colo_proxy.core.packet.key import flow_text
from colo_proxy.core.packet.parse import dissect

DATA = bytes(range(256)) * 12
V4 = link() / ip4(id=7) / UDP(sport=53, dport=9) / DATA
V4_OPTIONS = link(vlans=(10,)) / ip4(id=7, options=b"\x94\x04\x00\x00") / UDP(sport=53, dport=9) / DATA
V6 = link(vlans=(10, 20)) / ip6() / UDP(sport=53, dport=9) / DATA
V6_EXTENDED = link() / ip6() / IPv6ExtHdrDestOpt() / UDP(sport=53, dport=9) / DATA


def cut4(packet: Packet, at: list[int]) -> list[bytes]:
    """Cut the datagram at these offsets, in units of 8 bytes."""
    frame = bytes(packet)
    header, data = packet.copy(), frame[dissect(frame)["l4"] - 10 :]
    header[IP].remove_payload()
    marks = [0, *sorted(set(at)), (len(data) + 7) // 8]
    pieces = []
    for begin, end in itertools.pairwise(marks):
        piece = header.copy()
        piece[IP].proto = packet[IP].proto
        piece[IP].frag = begin
        piece[IP].flags = "MF" if end != marks[-1] else 0
        pieces.append(bytes(piece / Raw(data[begin * 8 : end * 8])))
    return pieces


def cut6(packet: Packet, at: list[int], ident: int = 99) -> list[bytes]:
    frame = bytes(packet)
    data = frame[dissect(frame)["l4"] - 10 :]
    header = packet.copy()
    header[UDP].underlayer.remove_payload()
    marks = [0, *sorted(set(at)), (len(data) + 7) // 8]
    return [
        bytes(
            header
            / IPv6ExtHdrFragment(nh=17, offset=begin, m=int(end != marks[-1]), id=ident)
            / Raw(data[begin * 8 : end * 8])
        )
        for begin, end in itertools.pairwise(marks)
    ]


def cut(packet: Packet, at: list[int]) -> list[bytes]:
    return cut4(packet, at) if IP in packet else cut6(packet, at)


def feed(table: Reassembler, pieces: list[bytes]) -> list[tuple[str, list[bytes]]]:
    return [table.add(piece, now) for now, piece in enumerate(pieces)]


WHOLES = [V4, V4_OPTIONS, V6, V6_EXTENDED]


@given(
    st.sampled_from(WHOLES),
    st.lists(st.integers(1, 383), min_size=1, max_size=30),
    st.randoms(use_true_random=False),
    st.lists(st.integers(0, 30), max_size=3),
)
@settings(max_examples=150, deadline=None)
def test_any_cut_in_any_order_gives_the_datagram(
    packet: Packet, at: list[int], random: Random, again: list[int]
) -> None:
    """Said twice or not. The frame is to the byte the one that was never cut."""
    pieces = cut(packet, at)
    pieces += [pieces[i % len(pieces)] for i in again]
    random.shuffle(pieces)
    last = max(pieces.index(piece) for piece in pieces)
    table = Reassembler()
    results = feed(table, pieces[: last + 1])
    assert all(result == ("kept", []) for result in results[:-1])
    status, (whole, *chain) = results[-1]
    assert status == "done"
    assert whole == bytes(packet)
    assert chain == pieces[: last + 1]
    assert (table.oldest, table.held_bytes, table.take()) == (None, 0, [])


@pytest.mark.parametrize("size", [56, 576, 1480])
def test_scapys_own_fragments(size: int) -> None:
    table = Reassembler()
    results = feed(table, [bytes(piece) for piece in fragment(V4, fragsize=size)])
    assert results[-1][0] == "done"
    assert results[-1][1][0] == bytes(V4)
    pieces = fragment6(link() / ip6() / IPv6ExtHdrFragment(id=5) / UDP(sport=53, dport=9) / DATA, 1280)
    results = feed(table, [bytes(piece) for piece in pieces])
    assert results[-1][0] == "done"
    assert results[-1][1][0] == bytes(link() / ip6() / UDP(sport=53, dport=9) / DATA)


@pytest.mark.parametrize("packet", WHOLES, ids=lambda p: p.summary())
def test_the_datagram_has_its_flow(packet: Packet) -> None:
    whole = feed(Reassembler(), cut(packet, [50, 100]))[-1][1][0]
    assert flow_text(whole).startswith("udp ")
    assert dissect(whole)["kind"] == "udp"


def test_datagrams_are_told_apart() -> None:
    """By addresses, protocol, identification and VLAN; interleaved, each is completed by its own."""

    def wholes() -> list[Packet]:
        return [
            V4,
            link() / ip4(id=8) / UDP(sport=1, dport=9) / DATA,
            link() / ip4(id=7, dst="192.0.2.9") / UDP(sport=2, dport=9) / DATA,
            link() / ip4(id=7, src="192.0.2.9") / UDP(sport=2, dport=9) / DATA,
            link() / ip4(id=7, proto=47) / Raw(DATA),
            link(vlans=(5,)) / ip4(id=7) / UDP(sport=3, dport=9) / DATA,
            V6,
        ]

    table = Reassembler()
    pieces = [cut(packet, [100]) for packet in wholes()]
    assert all(table.add(first, 0) == ("kept", []) for first, _ in pieces)
    for packet, (first, second) in zip(wholes(), pieces, strict=True):
        assert table.add(second, 1) == ("done", [bytes(packet), first, second])


def spoiled(piece: bytes) -> bytes:
    return piece[:-1] + bytes([piece[-1] ^ 1])


HALF, REST = cut(V4, [200])
FIRST, MIDDLE, LAST = cut(V4, [100, 200])


@pytest.mark.parametrize(
    "pieces",
    [
        [HALF, FIRST],  # inside
        [FIRST, HALF],
        [HALF, MIDDLE],
        [MIDDLE, HALF],
        [FIRST, spoiled(FIRST)],  # equal but for a byte
        [LAST, FIRST, spoiled(LAST)],
        [LAST, bytes(link() / ip4(id=7, frag=300, proto=17) / Raw(bytes(8)))],  # two ends
        [LAST, bytes(link() / ip4(id=7, frag=900, flags="MF", proto=17) / Raw(bytes(8)))],  # behind the end
        [bytes(link() / ip4(id=7, frag=900, flags="MF", proto=17) / Raw(bytes(8))), LAST],
        [bytes(link() / ip4(id=7, flags="MF", proto=17) / Raw(bytes(9)))],  # not a multiple of 8
        [bytes(link() / ip4(id=7, flags="MF", proto=17))],  # nothing
        [bytes(link() / ip4(id=7, frag=8191, proto=17) / Raw(bytes(8)))],  # beyond 65,535
    ],
)
def test_contradictions_are_never_a_datagram(pieces: list[bytes]) -> None:
    """F2: they are kept, and so is all that follows, until the entry expires."""
    table = Reassembler()
    said = [*pieces, FIRST, MIDDLE, LAST]
    assert {status for status, _ in feed(table, said)} == {"kept"}
    assert table.expire(0) == [said]
    assert table.held_bytes == 0
    assert [status for status, _ in feed(table, [FIRST, MIDDLE, LAST])] == ["kept", "kept", "done"]


def test_too_long_with_its_header() -> None:
    """65,528 bytes of data fit the offsets, but not a length field that counts 20 more."""
    pieces = [
        bytes(
            link()
            / ip4(id=7, proto=17, flags="MF" if at + 16384 < 65528 else 0, frag=at // 8)
            / Raw(bytes(min(16384, 65528 - at)))
        )
        for at in range(0, 65528, 16384)
    ]
    assert [status for status, _ in feed(Reassembler(), pieces)] == ["kept"] * 4


def test_the_longest_datagram() -> None:
    data = bytes(65515)
    pieces = [
        bytes(
            link()
            / ip4(id=7, proto=47, flags="MF" if at + 16384 < len(data) else 0, frag=at // 8)
            / Raw(data[at : at + 16384])
        )
        for at in range(0, len(data), 16384)
    ]
    status, (whole, *_) = feed(Reassembler(), pieces)[-1]
    assert (status, len(whole)) == ("done", 14 + 65535)
    assert dissect(whole)["kind"] == "ip"


def test_more_than_128_fragments_are_refused() -> None:
    pieces = cut(V4, list(range(1, 129)))
    assert len(pieces) == 129
    results = feed(Reassembler(), pieces)
    assert [status for status, _ in results] == ["kept"] * 128 + ["bad"]
    assert results[-1][1] == pieces[-1:]
    assert feed(Reassembler(), cut(V4, list(range(1, 128))))[-1][0] == "done"


def test_what_is_kept_of_the_bad_is_bounded() -> None:
    table = Reassembler()
    pieces = [FIRST, spoiled(FIRST), MIDDLE, LAST] * 33
    assert {status for status, _ in feed(table, pieces[:128])} == {"kept"}
    assert feed(table, pieces[128:]) == [("bad", [piece]) for piece in pieces[128:]]
    assert table.expire(0) == [pieces[:128]]
    assert table.held_bytes == 0
    feed(table, pieces[:3])
    assert table.take() == pieces[:3]
    assert [status for status, _ in feed(table, [FIRST, MIDDLE, LAST])] == ["kept", "kept", "done"]


def test_expiry_is_by_the_first_fragment() -> None:
    table = Reassembler()
    a, b = cut(V4, [100, 200])[:2]
    c = cut(V6, [100])[1]
    table.add(a, 10)
    table.add(c, 20)
    table.add(b, 30)
    assert table.oldest == 10
    assert table.expire(9) == []
    assert table.expire(10) == [[a, b]]
    assert table.oldest == 20
    assert table.expire(25) == [[c]]
    assert table.oldest is None
    assert table.held_bytes == 0


def test_take_gives_all_in_order_of_arrival() -> None:
    table = Reassembler()
    v4, v6 = cut(V4, [50, 100, 150]), cut(V6, [50, 100, 150])
    said = [v4[1], v6[3], v6[0], v4[0], v6[1], v4[3]]
    feed(table, said)
    assert table.take() == said
    assert (table.oldest, table.take(), table.held_bytes) == (None, [], 0)


def test_the_table_is_bounded() -> None:
    table = Reassembler()
    first = bytearray(FIRST)
    for ident in range(257):
        first[18:20] = ident.to_bytes(2, "big")
        result = table.add(bytes(first), ident)
        assert result == (("kept", []) if ident < 256 else ("full", [bytes(first)]))
    assert len(table.expire(0)) == 1
    assert table.add(bytes(first), 300) == ("kept", [])


def test_a_pool_without_room_for_the_datagram() -> None:
    table = Reassembler(max_bytes=10_000)
    pieces = cut(V4, [100, 200, 300])
    results = feed(table, pieces)
    assert [status for status, _ in results] == ["kept"] * 3 + ["full"]
    assert results[-1][1] == pieces
    assert (table.held_bytes, table.oldest) == (0, None)


def test_ipv4_keeps_dont_fragment_and_has_a_right_header_checksum() -> None:
    pieces = [Ether(piece) for piece in cut(V4, [100])]
    for piece in pieces:
        piece[IP].flags |= "DF"
        piece[IP].delfieldval("chksum")
    whole = Ether(feed(Reassembler(), [bytes(piece) for piece in pieces])[-1][1][0])
    assert str(whole[IP].flags) == "DF"
    again = whole.copy()
    again[IP].delfieldval("chksum")
    assert bytes(again) == bytes(whole)


@given(st.data())
@settings(max_examples=150, deadline=None)
def test_spoiled_fragments_are_survived(data: st.DataObject) -> None:
    """Nothing is lost or made: what went in comes out once."""
    table = Reassembler()
    said: list[bytes] = []
    heard: list[bytes] = []
    pieces = [p for packet in WHOLES for p in cut(packet, [40, 80, 120])]
    for now in range(data.draw(st.integers(1, 20))):
        piece = bytearray(data.draw(st.sampled_from(pieces)))
        for _ in range(data.draw(st.integers(0, 2))):
            piece[data.draw(st.integers(14, 80))] = data.draw(st.integers(0, 255))
        piece = piece[: data.draw(st.integers(60, len(piece)))] if data.draw(st.booleans()) else piece
        if dissect(bytes(piece))["kind"] != "fragment":
            continue
        said.append(bytes(piece))
        status, out = table.add(bytes(piece), now)
        heard += out[1:] if status == "done" else out
    heard += table.take()
    assert sorted(heard) == sorted(said)
    assert table.held_bytes == 0


def test_what_is_no_fragment_is_refused() -> None:
    with pytest.raises(ValueError, match="no IP fragment"):
        Reassembler().add(bytes(V6), 0)
