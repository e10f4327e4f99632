"""T13: the agreed part of a super-frame leaves when the SVM cannot say the rest without being heard."""

import struct

from scapy.layers.inet import IP, TCP
from scapy.layers.l2 import Ether

from colo_proxy.core.comparator import Comparator
from colo_proxy.vocabulary import Frame

MS = 1_000_000
DATA = bytes(range(256)) * 40
# NEEDS_CSUM, GSO_TCPV4, header length, segment size, where the checksum starts and lies (little-endian host).
SUPER = struct.pack("=BBHHHH", 1, 1, 54, 1000, 34, 16)


def segment(seq: int, data: bytes = b"", flags: str = "A", ack: int = 501, sport: int = 80) -> bytes:
    return bytes(
        Ether(src="52:54:00:00:00:02", dst="02:00:00:00:00:01")
        / IP(src="192.0.2.2", dst="192.0.2.1")
        / TCP(sport=sport, dport=4000, seq=seq, ack=ack, flags=flags, window=9000)
        / data
    )


def opened(isn: int = 1000) -> Comparator:
    comparator = Comparator()
    comparator.primary(segment(isn, flags="SA"), 0)
    comparator.secondary(segment(7000, flags="SA"), 0)
    comparator.take()
    return comparator


def out(comparator: Comparator) -> list[tuple[int, bytes, bytes]]:
    """Sequence number, payload, virtio-net header of what left; plain frames must have a right checksum."""
    found = []
    for item in comparator.take():
        assert isinstance(item, Frame)
        packet = Ether(item.data)
        if not item.vnet[0]:
            again = Ether(item.data)
            del again[TCP].chksum, again[IP].chksum
            assert bytes(again) == item.data
        found.append((packet[TCP].seq, bytes(packet[TCP].payload), item.vnet))
    return found


def test_whole_segments_leave_when_the_rest_does_not_come() -> None:
    comparator = opened()
    comparator.primary(segment(1001, DATA[:5000]), 1 * MS, SUPER)
    comparator.secondary(segment(7001, DATA[:2500]), 2 * MS)
    assert comparator.tick(3 * MS) <= 7 * MS
    assert out(comparator) == []
    comparator.tick(7 * MS)
    [(seq, data, vnet)] = out(comparator)
    assert (seq, data) == (1001, DATA[:2000])
    assert vnet == SUPER  # still a super-frame, of two segments
    comparator.secondary(segment(9501, DATA[2500:3500]), 8 * MS)
    comparator.tick(13 * MS)
    [(seq, data, vnet)] = out(comparator)
    assert (seq, data, vnet) == (3001, DATA[2000:3000], bytes(10))
    comparator.secondary(segment(10501, DATA[3500:5000]), 14 * MS)
    [(seq, data, vnet)] = out(comparator)
    assert (seq, data, vnet) == (1001, DATA[:5000], SUPER)


def test_a_piece_begins_where_its_super_frame_does_across_the_wrap() -> None:
    comparator = opened(0xFFFFFF00)
    comparator.primary(segment(0xFFFFFF01, DATA[:5000]), 1 * MS, SUPER)
    comparator.secondary(segment(7001, DATA[:2500]), 2 * MS)
    comparator.tick(7 * MS)
    [(seq, data, _)] = out(comparator)
    assert (seq, data) == (0xFFFFFF01, DATA[:2000])


def test_less_than_a_segment_waits() -> None:
    comparator = opened()
    comparator.primary(segment(1001, DATA[:5000]), 1 * MS, SUPER)
    comparator.secondary(segment(7001, DATA[:999]), 2 * MS)
    comparator.tick(50 * MS)
    assert out(comparator) == []


def test_plain_segments_are_never_cut() -> None:
    comparator = opened()
    comparator.primary(segment(1001, DATA[:1400]), 1 * MS)
    comparator.secondary(segment(7001, DATA[:1000]), 2 * MS)
    comparator.tick(50 * MS)
    assert out(comparator) == []


def test_at_a_failover_the_agreed_part_leaves() -> None:
    comparator = opened()
    comparator.primary(segment(1001, DATA[:1400], flags="FPA"), 1 * MS)
    comparator.secondary(segment(7001, DATA[:1000]), 2 * MS)
    comparator.failover(3 * MS)
    assert [(seq, data) for seq, data, _ in out(comparator)] == [(1001, DATA[:1000])]


def test_a_flow_that_is_looked_at_soon_tears_no_list_of_waiting_syns() -> None:
    """On the first of the PVM's two connections the SVM answers the client's SYN (RFC 9293, 3.5)."""
    comparator = Comparator()
    comparator.primary(segment(1000, flags="S", ack=0), 0)
    comparator.primary(segment(5000, flags="S", ack=0, sport=81), 0)
    comparator.secondary(segment(7000, flags="SA"), 0)
    comparator.primary(segment(1000, flags="SA"), 0)
    comparator.primary(segment(1001, DATA[:5000]), 1 * MS, SUPER)
    comparator.secondary(segment(7001, DATA[:2500]), 2 * MS)
    comparator.tick(7 * MS)
    assert [seq for seq, _, _ in out(comparator)] == [1000, 1000, 1001]
    comparator.secondary(segment(9000, flags="S", ack=0, sport=82), 8 * MS)  # its half of the second
    assert [seq for seq, _, _ in out(comparator)] == [5000]


def test_what_the_svm_said_before_the_super_frame_came_leaves_too() -> None:
    comparator = opened()
    comparator.secondary(segment(7001, DATA[:2500]), 1 * MS)
    comparator.primary(segment(1001, DATA[:5000]), 2 * MS, SUPER)
    assert comparator.tick(3 * MS) <= 7 * MS
    comparator.tick(7 * MS)
    [(seq, data, vnet)] = out(comparator)
    assert (seq, data, vnet) == (1001, DATA[:2000], SUPER)


def test_a_super_frame_said_again_in_another_cut_leaves_its_agreed_part() -> None:
    comparator = opened()
    comparator.primary(segment(1001, DATA[:1000]), 1 * MS)
    comparator.secondary(segment(7001, DATA[:2500]), 1 * MS)
    comparator.primary(segment(2001, DATA[1000:3000]), 1 * MS)
    assert [seq for seq, _, _ in out(comparator)] == [1001]
    comparator.tick(8 * MS)
    assert out(comparator) == []
    comparator.primary(segment(1001, DATA[:5000]), 9 * MS, SUPER)
    comparator.tick(14 * MS)
    [(seq, data, vnet)] = out(comparator)
    assert (seq, data, vnet) == (1001, DATA[:2000], SUPER)


def test_the_svm_says_again_what_waits_with_a_plain_segment() -> None:
    """Nagle's algorithm (RFC 896): the SVM says the rest when the first part has been acknowledged."""
    comparator = opened()
    comparator.primary(segment(1001, DATA[:1400], flags="PA"), 1 * MS)
    comparator.secondary(segment(7001, DATA[:1000], flags="PA"), 2 * MS)
    comparator.tick(200 * MS)
    assert out(comparator) == []
    comparator.secondary(segment(7001, DATA[:1000], flags="PA"), 202 * MS)
    assert [(seq, data) for seq, data, _ in out(comparator)] == [(1001, DATA[:1000])]
    comparator.secondary(segment(7001, DATA[:1000], flags="PA"), 602 * MS)  # what left was lost
    assert [(seq, data) for seq, data, _ in out(comparator)] == [(1001, DATA[:1000])]
    comparator.secondary(segment(8001, DATA[1000:1400], flags="PA"), 610 * MS)
    assert [(seq, data) for seq, data, _ in out(comparator)] == [(1001, DATA[:1400])]


def test_a_blocked_flow_lets_no_piece_go() -> None:
    comparator = opened()
    comparator.primary(segment(1001, DATA[:1400]), 1 * MS)
    comparator.secondary(segment(7001, DATA[:1000] + b"\xff" * 400), 2 * MS)
    comparator.secondary(segment(7001, DATA[:1000]), 202 * MS)
    assert not any(isinstance(item, Frame) for item in comparator.take())


def test_segments_beyond_a_hole_leave_too_and_once() -> None:
    comparator = opened()
    comparator.primary(segment(1001, DATA[:5500]), 1 * MS, SUPER)
    comparator.secondary(segment(7001, DATA[:1000]), 2 * MS)
    comparator.secondary(segment(8501, DATA[1500:3200]), 2 * MS)  # 1000:1500 was lost
    comparator.tick(7 * MS)
    assert out(comparator) == [(1001, DATA[:1000], bytes(10)), (3001, DATA[2000:3000], bytes(10))]
    comparator.secondary(segment(10201, DATA[3200:5500]), 8 * MS)
    comparator.tick(13 * MS)
    [(seq, data, vnet)] = out(comparator)  # what has left is not sent again; the last, short one is whole
    assert (seq, data, vnet) == (4001, DATA[3000:5500], SUPER)
    comparator.secondary(segment(8001, DATA[1000:1500]), 14 * MS)
    assert out(comparator) == [(1001, DATA[:5500], SUPER)]
    comparator.tick(30 * MS)
    assert out(comparator) == []


def test_at_a_failover_what_is_agreed_beyond_a_hole_leaves() -> None:
    comparator = opened()
    comparator.primary(segment(1001, DATA[:3000]), 1 * MS)
    comparator.secondary(segment(7501, DATA[500:1500]), 2 * MS)
    comparator.secondary(segment(9001, DATA[2000:2500]), 2 * MS)
    assert out(comparator) == []
    comparator.failover(3 * MS)
    assert [each[:2] for each in out(comparator)] == [(1501, DATA[500:1500]), (3001, DATA[2000:2500])]
