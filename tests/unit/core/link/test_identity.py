"""What the VM has claimed is announced at a failover, in rounds, and nothing that it has given up."""

import pytest
from frames import CLIENT_MAC, VM_MAC, link
from scapy.layers.inet6 import (
    ICMPv6ND_NA,
    ICMPv6ND_NS,
    ICMPv6ND_RA,
    ICMPv6NDOptDstLLAddr,
    ICMPv6NDOptSrcLLAddr,
    IPv6,
)
from scapy.layers.l2 import ARP, Ether

from colo_proxy.core.comparator import Comparator
from colo_proxy.vocabulary import Frame

SECOND = 1_000_000_000
VM, VM6 = "192.0.2.2", "2001:db8::2"
ROUTER_MAC = "00:00:5e:00:01:07"  # a claim may be for another MAC than the frame's


def arp(address: str = VM, mac: str = VM_MAC, op: int = 2, vlans: tuple[int, ...] = ()) -> bytes:
    return bytes(link(vlans=vlans) / ARP(op=op, hwsrc=mac, psrc=address, hwdst=CLIENT_MAC, pdst="192.0.2.1"))


def advertised(router: int = 0, override: int = 1, vlans: tuple[int, ...] = ()) -> bytes:
    nd = ICMPv6ND_NA(tgt=VM6, R=router, S=1, O=override) / ICMPv6NDOptDstLLAddr(lladdr=VM_MAC)
    return bytes(link(vlans=vlans) / IPv6(src="fe80::2", dst="2001:db8::1", hlim=255) / nd)


def announced(comparator: Comparator) -> list[bytes]:
    frames = [item for item in comparator.take() if isinstance(item, Frame)]
    assert {frame.port.name for frame in frames} <= {"UPLINK"}
    assert all(not any(frame.vnet) for frame in frames)
    return [frame.data for frame in frames]


def after_failover(*said: bytes) -> list[bytes]:
    comparator = Comparator()
    for frame in said:
        comparator.secondary(frame, 0)
    comparator.take()
    comparator.failover(1)
    return announced(comparator)


def gratuitous(address: str = VM, mac: str = VM_MAC, vlans: tuple[int, ...] = ()) -> bytes:
    frame = link(vlans=vlans) / ARP(op=1, hwsrc=mac, psrc=address, hwdst="00:00:00:00:00:00", pdst=address)
    frame[Ether].src, frame[Ether].dst = mac, "ff:ff:ff:ff:ff:ff"
    return bytes(frame)


def unsolicited(router: int = 0, vlans: tuple[int, ...] = ()) -> bytes:
    nd = ICMPv6ND_NA(tgt=VM6, R=router, S=0, O=1) / ICMPv6NDOptDstLLAddr(lladdr=VM_MAC)
    frame = link(vlans=vlans) / IPv6(src=VM6, dst="ff02::1", hlim=255) / nd
    frame[Ether].dst = "33:33:00:00:00:01"
    return bytes(frame)


@pytest.mark.parametrize("vlans", [(), (10,), (10, 20)])
def test_addresses_are_announced(vlans: tuple[int, ...]) -> None:
    frames = after_failover(arp(vlans=vlans), advertised(vlans=vlans))
    assert frames == [gratuitous(vlans=vlans), unsolicited(vlans=vlans)]  # scapy's checksum too


def test_in_three_rounds_a_second_apart() -> None:
    comparator = Comparator()
    comparator.primary(arp(op=1), 0)
    comparator.take()
    comparator.failover(5)
    rounds = [announced(comparator)]
    now = comparator.tick(6)
    while rounds[-1] and len(rounds) < 10:
        assert now == 5 + len(rounds) * SECOND or len(rounds) == 3
        comparator.tick(now - 1)
        assert announced(comparator) == []
        now = comparator.tick(5 + len(rounds) * SECOND)
        rounds.append(announced(comparator))
    assert rounds == [[gratuitous()]] * 3 + [[]]


def test_nothing_is_announced_without_a_failover() -> None:
    comparator = Comparator()
    comparator.secondary(arp(), 0)
    comparator.tick(1)
    comparator.svm_stop(2)
    comparator.pvm_stop(2)
    comparator.commit(3)
    comparator.tick(4)
    assert comparator.take() == []


def test_the_last_word_counts() -> None:
    assert after_failover(arp(), arp(mac=ROUTER_MAC)) == [gratuitous(mac=ROUTER_MAC)]


def test_what_another_has_claimed_since_is_not_taken_back() -> None:
    comparator = Comparator()
    comparator.primary(arp(), 0)
    comparator.primary(arp("192.0.2.3"), 0)
    comparator.uplink(arp("192.0.2.3"), 1)  # its own frame, heard again
    comparator.uplink(arp(mac=CLIENT_MAC), 1)
    comparator.take()
    comparator.failover(2)
    assert announced(comparator) == [gratuitous("192.0.2.3")]
    comparator.uplink(arp("192.0.2.3", mac=CLIENT_MAC), 3)
    comparator.take()
    comparator.tick(2 * SECOND)
    assert announced(comparator) == []


@pytest.mark.parametrize(
    "said",
    [
        arp("0.0.0.0"),  # RFC 5227: a probe
        arp(mac="00:00:00:00:00:00"),
        arp(mac="01:00:5e:00:00:01"),
        arp()[:41],
        advertised(override=0),  # for an anycast group, or another's
        bytes(link() / IPv6(src="::", dst="ff02::1:ff00:2", hlim=255) / ICMPv6ND_NS(tgt=VM6)),
        # Only a solicitation: not known to be no router, and to say so wrongly would cost hosts their route.
        bytes(
            link()
            / IPv6(src=VM6, dst="ff02::1:ff00:1", hlim=255)
            / ICMPv6ND_NS(tgt="2001:db8::1")
            / ICMPv6NDOptSrcLLAddr(lladdr=VM_MAC)
        ),
    ],
)
def test_what_claims_nothing(said: bytes) -> None:
    assert after_failover(said) == []


def test_a_router_stays_one() -> None:
    asked = (
        link()
        / IPv6(src=VM6, dst="ff02::1:ff00:1", hlim=255)
        / ICMPv6ND_NS(tgt="2001:db8::1")
        / ICMPv6NDOptSrcLLAddr(lladdr=VM_MAC)
    )
    assert after_failover(advertised(router=1), bytes(asked)) == [unsolicited(router=1)]
    offered = (
        link() / IPv6(src=VM6, dst="ff02::1", hlim=255) / ICMPv6ND_RA() / ICMPv6NDOptSrcLLAddr(lladdr=VM_MAC)
    )
    assert after_failover(bytes(offered)) == [unsolicited(router=1)]


def test_the_last_64_are_kept() -> None:
    """A guest that claims more and more costs neither memory nor more than that many frames."""
    frames = after_failover(*(arp(f"192.0.2.{number}") for number in range(1, 201)))
    assert sorted(frames) == sorted(gratuitous(f"192.0.2.{number}") for number in range(137, 201))
