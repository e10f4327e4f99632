"""After a restart the proxy learns neighbours from IP packets, and asks for others as the PVM would."""

import pytest
from frames import CLIENT_MAC, VM_MAC, link
from scapy.layers.inet import IP, UDP
from scapy.layers.inet6 import ICMPv6ND_NA, ICMPv6ND_NS, ICMPv6NDOptDstLLAddr, ICMPv6NDOptSrcLLAddr, IPv6
from scapy.layers.l2 import ARP, Ether

from colo_proxy.core.comparator import Comparator
from colo_proxy.vocabulary import Frame, Port

SECOND = 1_000_000_000
CLIENT, VM, CLIENT6, VM6 = "192.0.2.1", "192.0.2.2", "2001:db8::1", "2001:db8::2"
GROUP = "ff02::1:ff00:1"  # of CLIENT6
OTHER_MAC = "02:00:00:00:00:77"
BROADCAST = "ff:ff:ff:ff:ff:ff"
TAGS = [(), (5,), (5, 6)]


def arp(target: str = CLIENT, sender: str = VM, op: int = 1, vlans: tuple[int, ...] = ()) -> bytes:
    frame = link(vlans=vlans) / ARP(op=op, hwsrc=VM_MAC, psrc=sender, hwdst="00:00:00:00:00:00", pdst=target)
    frame[Ether].dst = BROADCAST
    return bytes(frame)


def solicit(target: str = CLIENT6, sender: str = VM6, vlans: tuple[int, ...] = ()) -> bytes:
    source = [ICMPv6NDOptSrcLLAddr(lladdr=VM_MAC)] if sender != "::" else []
    nd = ICMPv6ND_NS(tgt=target)
    for option in source:
        nd = nd / option
    frame = link(vlans=vlans) / IPv6(src=sender, dst=GROUP, hlim=255) / nd
    frame[Ether].dst = "33:33:ff:00:00:01"
    return bytes(frame)


def datagram(source: str = CLIENT, mac: str = CLIENT_MAC, vlans: tuple[int, ...] = ()) -> bytes:
    ip = IPv6(src=source, dst=VM6) if ":" in source else IP(src=source, dst=VM)
    frame = link(to_vm=True, vlans=vlans) / ip / UDP(sport=5000, dport=53) / b"x"
    frame[Ether].src = mac
    return bytes(frame)


def came(comparator: Comparator) -> list[tuple[Port, bytes]]:
    return [(each.port, each.data) for each in comparator.take() if isinstance(each, Frame)]


def asked(comparator: Comparator, question: bytes, now: int = 0) -> list[tuple[Port, bytes]]:
    comparator.take()
    comparator.secondary(question, now)
    return came(comparator)


def claimed(*claims: bytes) -> Comparator:
    """The PVM has said these."""
    comparator = Comparator()
    for claim in claims:
        comparator.primary(claim, 0)
    return comparator


@pytest.mark.parametrize("vlans", TAGS)
def test_an_unanswered_question_is_asked_as_the_pvm_would(vlans: tuple[int, ...]) -> None:
    comparator = claimed(arp("192.0.2.9", vlans=vlans), solicit("2001:db8::9", vlans=vlans))
    assert asked(comparator, arp(vlans=vlans)) == [(Port.UPLINK, arp(vlans=vlans))]
    assert asked(comparator, solicit(vlans=vlans)) == [(Port.UPLINK, solicit(vlans=vlans))]
    assert comparator.counters["asked"] == 2


def test_the_answer_reaches_both_guests_and_is_known_from_then_on() -> None:
    comparator = claimed(arp("192.0.2.9"), solicit("2001:db8::9"))
    asked(comparator, arp())
    asked(comparator, solicit())
    told = ARP(op=2, hwsrc=CLIENT_MAC, psrc=CLIENT, hwdst=VM_MAC, pdst=VM)
    nd = ICMPv6ND_NA(tgt=CLIENT6, R=0, S=1, O=1) / ICMPv6NDOptDstLLAddr(lladdr=CLIENT_MAC)
    for payload, question in ((told, arp()), (IPv6(src=CLIENT6, dst=VM6, hlim=255) / nd, solicit())):
        answer = bytes(link(to_vm=True) / payload)
        comparator.uplink(answer, 0)
        assert came(comparator) == [(Port.PRIMARY, answer), (Port.SECONDARY, answer)]
        ((port, _),) = asked(comparator, question, 5 * SECOND)
        assert port is Port.SECONDARY
    assert comparator.counters["asked"] == 2


def test_at_most_once_a_second_a_target() -> None:
    comparator = claimed(arp("192.0.2.9"))
    times = [0, SECOND // 2, SECOND - 1, SECOND, SECOND + 1, 3 * SECOND]
    assert [len(asked(comparator, arp(), now)) for now in times] == [1, 0, 0, 1, 0, 1]
    assert len(asked(comparator, arp("192.0.2.3"), 3 * SECOND)) == 1


def test_a_flood_of_questions_is_bounded() -> None:
    comparator = claimed(arp("192.0.2.9"))
    flood = [arp(f"198.51.{high}.{low}") for high in range(4) for low in range(1, 251)]
    assert 16 < sum(len(asked(comparator, each)) for each in flood) <= 64


@pytest.mark.parametrize(
    "question",
    [
        arp(sender="0.0.0.0"),  # a probe (RFC 5227)
        arp(target=VM),  # an announcement
        arp(op=2),
        arp(target="224.0.0.1"),
        arp(target="255.255.255.255"),
        arp(target="0.0.0.0"),
        arp(sender="192.0.2.3"),  # which the PVM has not claimed
        solicit(sender="::"),  # duplicate address detection (RFC 4862)
        solicit(target=VM6),
        solicit(target="ff02::1"),
        solicit(target="::"),
        solicit(sender="2001:db8::3"),
        arp(vlans=(7,)),
        solicit(vlans=(7,)),
    ],
)
def test_what_is_never_asked(question: bytes) -> None:
    comparator = claimed(
        arp("192.0.2.9"), solicit("2001:db8::9"), arp(sender="0.0.0.0"), solicit(sender="::")
    )
    assert asked(comparator, question) == []


def test_what_only_the_svm_has_claimed_is_not_used() -> None:
    comparator = Comparator()
    assert asked(comparator, arp()) == asked(comparator, arp(), 2 * SECOND) == []
    assert asked(comparator, solicit()) == asked(comparator, solicit(), 2 * SECOND) == []
    comparator.primary(arp("192.0.2.9"), 3 * SECOND)
    assert len(asked(comparator, arp(), 3 * SECOND)) == 1  # and the SVM's claim does not undo the PVM's
    assert len(asked(comparator, arp(), 5 * SECOND)) == 1


def test_an_ipv4_neighbour_is_known_from_its_packets() -> None:
    comparator = Comparator()
    comparator.uplink(datagram(), 0)
    ((port, answer),) = asked(comparator, arp())
    found = Ether(answer)[ARP]
    assert (port, found.op, found.psrc, found.hwsrc) == (Port.SECONDARY, 2, CLIENT, CLIENT_MAC)


def test_of_an_ipv6_neighbour_packets_do_not_tell_whether_it_is_a_router() -> None:
    comparator = claimed(solicit("2001:db8::9"))
    comparator.uplink(datagram(CLIENT6), 0)
    assert asked(comparator, solicit()) == [(Port.UPLINK, solicit())]


def test_what_a_neighbour_says_of_itself_wins_over_its_packets() -> None:
    comparator = Comparator()
    comparator.uplink(datagram(mac=OTHER_MAC), 0)
    comparator.uplink(bytes(link(to_vm=True) / ARP(op=2, hwsrc=CLIENT_MAC, psrc=CLIENT, pdst=VM)), 0)
    comparator.uplink(datagram(mac=OTHER_MAC), 0)
    ((_, answer),) = asked(comparator, arp())
    assert Ether(answer)[ARP].hwsrc == CLIENT_MAC
    comparator.uplink(datagram("192.0.2.3", mac=OTHER_MAC), 0)
    comparator.uplink(datagram("192.0.2.3", mac=CLIENT_MAC), 0)  # which finds the place taken
    ((_, answer),) = asked(comparator, arp("192.0.2.3"))
    assert Ether(answer)[ARP].hwsrc == OTHER_MAC


@pytest.mark.parametrize(
    "frame",
    [datagram("0.0.0.0"), datagram("224.0.0.5"), datagram(mac="01:00:5e:00:00:01"), datagram(vlans=(7,))],
)
def test_packets_that_name_no_neighbour_here(frame: bytes) -> None:
    comparator = Comparator()
    comparator.uplink(frame, 0)
    assert [asked(comparator, arp(target)) for target in (CLIENT, "0.0.0.0", "224.0.0.5")] == [[], [], []]
