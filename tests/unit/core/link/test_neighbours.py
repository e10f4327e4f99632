"""The neighbour table: what the uplink teaches, and what the SVM is told."""

import pytest
from frames import CLIENT_MAC, VM_MAC, link
from hypothesis import given, settings
from hypothesis import strategies as st
from scapy.layers.inet6 import (
    ICMPv6ND_NA,
    ICMPv6ND_NS,
    ICMPv6ND_RA,
    ICMPv6ND_RS,
    ICMPv6NDOptDstLLAddr,
    ICMPv6NDOptMTU,
    ICMPv6NDOptSrcLLAddr,
    IPv6,
)
from scapy.layers.l2 import ARP, Dot1Q, Ether
from scapy.packet import Packet, Raw

from colo_proxy.core.link.neighbours import NeighbourTable

OTHER_MAC = "52:54:00:00:00:77"
CLIENT, VM = "192.0.2.1", "192.0.2.2"
CLIENT6, VM6 = "2001:db8::1", "2001:db8::2"


def arp(
    op: int = 2, mac: str = CLIENT_MAC, address: str = CLIENT, to: str = VM, vlans: tuple[int, ...] = ()
) -> bytes:
    return bytes(link(to_vm=True, vlans=vlans) / ARP(op=op, hwsrc=mac, psrc=address, hwdst=VM_MAC, pdst=to))


def who_has(address: str = CLIENT, asker: str = VM, vlans: tuple[int, ...] = ()) -> bytes:
    frame = link(vlans=vlans) / ARP(op=1, hwsrc=VM_MAC, psrc=asker, pdst=address)
    frame[Ether].dst = "ff:ff:ff:ff:ff:ff"
    return bytes(frame)


def outside(nd: Packet, src: str = CLIENT6, hlim: int = 255, vlans: tuple[int, ...] = ()) -> bytes:
    return bytes(link(to_vm=True, vlans=vlans) / IPv6(src=src, dst=VM6, hlim=hlim) / nd)


def advertised(router: int = 0, override: int = 1, mac: str = CLIENT_MAC) -> bytes:
    nd = (
        ICMPv6ND_NA(tgt=CLIENT6, R=router, S=1, O=override)
        / ICMPv6NDOptMTU()
        / ICMPv6NDOptDstLLAddr(lladdr=mac)
    )
    return outside(nd)


def solicit(target: str = CLIENT6, src: str = VM6, vlans: tuple[int, ...] = ()) -> bytes:
    nd = ICMPv6ND_NS(tgt=target) / ICMPv6NDOptSrcLLAddr(lladdr=VM_MAC)
    return bytes(link(vlans=vlans) / IPv6(src=src, dst="ff02::1:ff00:1", hlim=255) / nd)


def answered(table: NeighbourTable, question: bytes) -> Packet:
    answer = table.answer(question)
    assert answer is not None
    return Ether(answer)


@pytest.fixture
def table() -> NeighbourTable:
    return NeighbourTable()


@pytest.mark.parametrize("op", [1, 2])
@pytest.mark.parametrize("vlans", [(), (10,), (10, 20)])
def test_arp(table: NeighbourTable, op: int, vlans: tuple[int, ...]) -> None:
    assert table.answer(who_has(vlans=vlans)) is None
    table.learn(arp(op, vlans=vlans))
    answer = table.answer(who_has(vlans=vlans))
    assert answer is not None
    expected = link(to_vm=True, vlans=vlans) / ARP(op=2, hwsrc=CLIENT_MAC, psrc=CLIENT, hwdst=VM_MAC, pdst=VM)
    assert answer == bytes(expected)
    assert table.answer(who_has(address="192.0.2.9", vlans=vlans)) is None


def test_vlans_are_kept_apart(table: NeighbourTable) -> None:
    table.learn(arp(vlans=(10,)))
    table.learn(outside(ICMPv6ND_NA(tgt=CLIENT6) / ICMPv6NDOptDstLLAddr(lladdr=CLIENT_MAC), vlans=(10,)))
    for vlans in ((), (11,), (10, 10)):
        assert table.answer(who_has(vlans=vlans)) is None
        assert table.answer(solicit(vlans=vlans)) is None
    assert table.answer(who_has(vlans=(10,)))
    assert table.answer(solicit(vlans=(10,)))


def test_a_neighbour_that_moved(table: NeighbourTable) -> None:
    table.learn(arp())
    table.learn(arp(mac=OTHER_MAC))
    assert answered(table, who_has())[ARP].hwsrc == OTHER_MAC


@pytest.mark.parametrize(
    "frame",
    [
        arp(address="0.0.0.0"),  # a probe
        arp(mac="00:00:00:00:00:00"),
        arp(mac="01:00:5e:00:00:01"),
        bytes(link(to_vm=True) / ARP(op=2, hwtype=6, hwsrc=CLIENT_MAC, psrc=CLIENT)),
        bytes(link(to_vm=True) / ARP(op=2, ptype=0x86DD, hwsrc=CLIENT_MAC, psrc=CLIENT)),
        arp()[:41],
        bytes(link(to_vm=True) / Dot1Q(vlan=1) / Dot1Q(vlan=1)) + arp()[12:],
    ],
)
def test_arp_that_teaches_nothing(table: NeighbourTable, frame: bytes) -> None:
    table.learn(frame)
    assert table.answer(who_has()) is None
    assert table.answer(who_has(address="0.0.0.0")) is None


@pytest.mark.parametrize(
    "question",
    [
        who_has(asker="0.0.0.0"),  # RFC 5227: the guest probes, it does not ask
        who_has(asker=CLIENT),  # an announcement
        arp(op=2, address=VM, to=CLIENT),  # an answer
        who_has()[:41],
    ],
)
def test_arp_that_asks_nobody(table: NeighbourTable, question: bytes) -> None:
    table.learn(arp())
    assert table.answer(question) is None


@pytest.mark.parametrize("router", [0, 1])
@pytest.mark.parametrize("vlans", [(), (10, 20)])
def test_neighbour_discovery(table: NeighbourTable, router: int, vlans: tuple[int, ...]) -> None:
    table.learn(
        outside(ICMPv6ND_NA(tgt=CLIENT6, R=router) / ICMPv6NDOptDstLLAddr(lladdr=CLIENT_MAC), vlans=vlans)
    )
    answer = table.answer(solicit(vlans=vlans))
    assert answer is not None
    expected = (
        link(to_vm=True, vlans=vlans)
        / IPv6(src=CLIENT6, dst=VM6, hlim=255)
        / ICMPv6ND_NA(tgt=CLIENT6, R=router, S=1, O=1)
        / ICMPv6NDOptDstLLAddr(lladdr=CLIENT_MAC)
    )
    assert answer == bytes(expected)  # scapy's checksum too


def test_a_router_says_so_itself(table: NeighbourTable) -> None:
    """RFC 4861, 7.2.5: a host told that its router is none any more gives up its default route."""
    nd = ICMPv6ND_RA() / ICMPv6NDOptSrcLLAddr(lladdr=CLIENT_MAC)
    table.learn(outside(nd, src="fe80::1"))
    assert answered(table, solicit("fe80::1"))[ICMPv6ND_NA].R == 1


@pytest.mark.parametrize("nd", [ICMPv6ND_NS(tgt=VM6), ICMPv6ND_RS()], ids=repr)
def test_who_never_said_whether_it_is_a_router_is_not_spoken_for(table: NeighbourTable, nd: Packet) -> None:
    table.learn(outside(nd / ICMPv6NDOptSrcLLAddr(lladdr=CLIENT_MAC)))
    assert table.answer(solicit()) is None
    table.learn(advertised())
    table.learn(outside(nd / ICMPv6NDOptSrcLLAddr(lladdr=OTHER_MAC)))
    answer = answered(table, solicit())
    assert (answer.src, answer[ICMPv6ND_NA].R) == (OTHER_MAC, 0)


def test_override_flag(table: NeighbourTable) -> None:
    table.learn(advertised())
    table.learn(advertised(override=0, mac=OTHER_MAC))
    assert answered(table, solicit()).src == CLIENT_MAC
    table.learn(advertised(override=1, mac=OTHER_MAC))
    assert answered(table, solicit()).src == OTHER_MAC


LEARNED = ICMPv6ND_NA(tgt=CLIENT6) / ICMPv6NDOptDstLLAddr(lladdr=CLIENT_MAC)


@pytest.mark.parametrize(
    "frame",
    [
        outside(LEARNED, hlim=254),  # came through a router
        outside(ICMPv6ND_NA(tgt=CLIENT6)),  # no address
        outside(ICMPv6ND_NA(tgt=CLIENT6) / ICMPv6NDOptSrcLLAddr(lladdr=CLIENT_MAC)),  # the wrong option
        outside(ICMPv6ND_NA(tgt=CLIENT6) / Raw(b"\x0e\x00" + bytes(6)) / Raw(b"\x02\x01" + bytes([2] * 6))),
        outside(ICMPv6ND_NA(tgt=CLIENT6, code=1) / ICMPv6NDOptDstLLAddr(lladdr=CLIENT_MAC)),
        outside(LEARNED)[:-1],
    ],
)
def test_discovery_that_teaches_nothing(table: NeighbourTable, frame: bytes) -> None:
    table.learn(frame)
    assert table.answer(solicit()) is None


def test_duplicate_address_detection_is_not_answered(table: NeighbourTable) -> None:
    table.learn(advertised())
    assert table.answer(solicit(src="::")) is None


def test_the_table_stays_bounded_and_right() -> None:
    """More neighbours than slots: some are forgotten, none is mistaken for another."""
    table = NeighbourTable()
    addresses = [f"10.{i >> 16}.{i >> 8 & 255}.{i & 255}" for i in range(1, 6001)]
    template = bytearray(arp())
    for number, address in enumerate(addresses):
        template[22:28] = (0x020000000000 + number).to_bytes(6, "big")
        template[28:32] = bytes(map(int, address.split(".")))
        table.learn(bytes(template))
    known = 0
    question = bytearray(who_has())
    for number, address in enumerate(addresses):
        question[38:42] = bytes(map(int, address.split(".")))
        answer = table.answer(bytes(question))
        if answer is not None:
            known += 1
            assert int.from_bytes(answer[22:28], "big") == 0x020000000000 + number
    assert 2500 < known <= 4096


@given(st.sampled_from([arp(), advertised(), who_has(), solicit()]), st.data())
@settings(max_examples=300, deadline=None)
def test_spoiled_and_cut_frames_are_survived(frame: bytes, data: st.DataObject) -> None:
    table = NeighbourTable()
    table.learn(arp())
    table.learn(advertised())
    spoiled = bytearray(frame)
    for _ in range(data.draw(st.integers(0, 3))):
        spoiled[data.draw(st.integers(12, len(frame) - 1))] = data.draw(st.integers(0, 255))
    cut = bytes(spoiled[: data.draw(st.integers(0, len(frame)))])
    table.learn(cut)
    answer = table.answer(cut)
    assert answer is None or answer[:6] == cut[6:12]
