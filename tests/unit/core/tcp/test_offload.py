"""What a virtio-net header asks to be done with a frame on its way out: it must not change what was compared.

A guest's header is as hostile as the frame behind it. Who sends the frame on completes a checksum wherever
the header points, and cuts a super-frame by the frame's length, whatever the IP header says.
"""

import struct
from typing import Any

import pytest
from models.packets import ACK, RST, SYN, checksum, ethernet, fragments, ip, parse, tcp, udp
from support.taken import frames_of

from colo_proxy.core.comparator import Comparator
from colo_proxy.vocabulary import Divergence, Frame, Port

VM, CLIENT = ("192.0.2.2", 80), ("192.0.2.1", 40000)
NEEDS_CSUM = 1
TCPV4, UDP_FRAGMENTS, UDP_SEGMENTS = 1, 3, 5


def vnet(flags: int = NEEDS_CSUM, gso: int = 0, size: int = 0, start: int = 34, offset: int = 16) -> bytes:
    """A virtio-net header (virtio 1.2, 5.1.6), as a little-endian guest writes it."""
    return struct.pack("<BBHHHH", flags, gso, 54 if gso else 0, size, start, offset)


def segment(payload: bytes, **fields: Any) -> bytes:
    return ethernet(tcp(VM, CLIENT, seq=1000, ack=1, flags=ACK, payload=payload, **fields), 0x0800)


def datagram(payload: bytes, **fields: Any) -> bytes:
    return ethernet(udp(VM, CLIENT, payload, **fields), 0x0800)


def left(frame: bytes, other: bytes, pvm: bytes | None = None, svm: bytes | None = None) -> int:
    """How many frames leave when the PVM says `frame` and the SVM `other`."""
    comparator = Comparator()
    comparator.primary(frame, 1, pvm)
    comparator.secondary(other, 2, svm)
    return sum(isinstance(item, Frame) for item in comparator.take())


def test_checksums_that_are_still_partial() -> None:
    assert left(segment(b"data"), segment(b"data"), vnet())
    assert left(datagram(b"data"), datagram(b"data"), vnet(offset=6), vnet(offset=6))
    assert left(datagram(b"data"), datagram(b"data"), vnet(offset=6))


def test_a_checksum_that_is_wrong_is_not_what_a_partial_one_will_be() -> None:
    """Or the client would get a datagram that it drops, and the SVM's would have reached it."""
    right = datagram(b"data!")
    six = ethernet(udp(("2001:db8::2", 80), ("2001:db8::1", 4), b"data!"), 0x86DD)
    echo = b"\x00\x00\x00\x00\x00\x01\x00\x01data"
    echo = echo[:2] + checksum(echo).to_bytes(2) + echo[4:]
    ping = ethernet(ip(VM[0], CLIENT[0], 1, echo), 0x0800)
    for frame, start, offset in ((right, 34, 6), (six, 54, 6), (ping, 34, 2)):
        partly = vnet(start=start, offset=offset)
        at = start + offset
        assert left(frame, frame, None, partly)
        assert left(frame, frame, partly, None)
        wrong = frame[:at] + bytes([frame[at] ^ 1]) + frame[at + 1 :]
        assert not left(wrong, frame, None, partly)
        assert not left(frame, wrong, partly, None)


@pytest.mark.parametrize(("start", "offset"), [(54, 0), (34, 20), (34, 4), (14, 16), (0, 0), (65535, 65535)])
def test_a_checksum_that_would_be_written_elsewhere(start: int, offset: int) -> None:
    elsewhere = vnet(start=start, offset=offset)
    for say in (segment, datagram):
        assert not left(say(b"data"), say(b"data"), elsewhere)
        assert left(say(b"data"), say(b"data"), elsewhere, elsewhere)  # then the SVM's is written so too


def test_a_checksum_that_would_be_written_into_a_fragment() -> None:
    pieces = [
        ethernet(ip(VM[0], CLIENT[0], 17, datagram(b"d" * 24)[34:][cut], ident=7, fragment=word), 0x0800)
        for cut, word in ((slice(16), 0x2000), (slice(16, None), 2))
    ]
    for header, leave in ((None, 2), (vnet(), 0)):
        comparator = Comparator()
        for piece in pieces:
            comparator.primary(piece, 1, header)
            comparator.secondary(piece, 2)
        assert sum(isinstance(item, Frame) for item in comparator.take()) == leave


def test_a_super_frame_is_as_long_as_it_says() -> None:
    frame = segment(b"d" * 3000)
    assert left(frame, frame, vnet(gso=TCPV4, size=1000))
    assert not left(frame + b"more", frame, vnet(gso=TCPV4, size=1000))
    assert left(frame + b"more", frame)  # Ethernet padding, as whoever sends it will see it too
    six = tcp(("2001:db8::2", 80), ("2001:db8::1", 4), seq=1, payload=b"d" * 3000)
    six = ethernet(six, 0x86DD)
    assert left(six, six, vnet(gso=4, size=1000, start=54))
    assert not left(six + b"more", six, vnet(gso=4, size=1000, start=54))


USO = vnet(gso=UDP_SEGMENTS, size=1000, offset=6)


def parts(payload: bytes, size: int) -> list[bytes]:
    """What a super-frame is cut into."""
    return [datagram(payload[at : at + size]) for at in range(0, len(payload), size)]


def leaves(frame: bytes, header: bytes, others: list[bytes]) -> bool:
    """Does the PVM's super-frame leave when the SVM sends these?"""
    comparator = Comparator()
    comparator.primary(frame, 1, header)
    for other in others:
        comparator.secondary(other, 2)
    return bool(comparator.take())


def test_one_datagram_is_not_many() -> None:
    """UDP segmentation (VIRTIO_NET_HDR_GSO_UDP_L4) cuts one frame into many datagrams; fragments are one."""
    payload = bytes(n % 251 for n in range(3000))
    frame = datagram(payload)
    other = vnet(gso=UDP_SEGMENTS, size=500, offset=6)
    assert not left(frame, frame, USO)
    assert not left(frame, frame, USO, other)
    assert left(frame, frame, USO, USO)
    assert leaves(frame, USO, parts(payload, 1000))
    assert not leaves(frame, USO, parts(payload, 1000)[:2])
    assert not leaves(frame, other, parts(payload, 1000))
    assert left(frame, frame, vnet(gso=UDP_FRAGMENTS, size=1000, offset=6))


UNCUT = {
    "no size": vnet(gso=UDP_SEGMENTS, size=0, offset=6),
    "no checksum": vnet(flags=0, gso=UDP_SEGMENTS, size=1000, offset=6),
    "a checksum elsewhere": vnet(gso=UDP_SEGMENTS, size=1000, offset=4),
    "a checksum behind the header": vnet(gso=UDP_SEGMENTS, size=1000, start=60, offset=6),
    "too many": vnet(gso=UDP_SEGMENTS, size=20, offset=6),
    "congestion": vnet(gso=UDP_SEGMENTS | 0x80, size=1000, offset=6),
    "another kind": vnet(gso=7, size=1000, offset=6),
}


@pytest.mark.parametrize("header", UNCUT.values(), ids=UNCUT)
def test_a_super_frame_that_nobody_can_cut(header: bytes) -> None:
    """It is equal only to one with the same header."""
    payload = bytes(n % 251 for n in range(3000))
    frame = datagram(payload)
    assert not left(frame, frame, header)
    assert not left(frame, frame, USO, header)
    assert not left(frame, frame, header, USO)
    for size in (1000, 20, 3000):
        assert not leaves(frame, header, parts(payload, size))
    assert left(frame, frame, header, header)


def test_a_super_frame_whose_udp_length_is_shorter() -> None:
    """What would be UDP options in one datagram (RFC 9868) is sent as payload once it is cut."""
    payload = bytes(n % 251 for n in range(3000))
    frame = datagram(payload)
    short = frame[:38] + struct.pack("!H", 2008) + frame[40:]
    assert not leaves(short, USO, parts(payload, 1000))
    assert not leaves(short, USO, parts(payload[:2000], 1000))


def test_what_equals_a_part_of_a_super_frame_has_a_right_checksum() -> None:
    payload = bytes(n % 251 for n in range(1500))
    frame, (first, last) = datagram(payload), parts(payload, 1000)
    assert leaves(frame, USO, [first, last])
    for at in (40, 41):  # the checksum
        wrong = last[:at] + bytes([last[at] ^ 1]) + last[at + 1 :]
        assert not leaves(frame, USO, [first, wrong])
    assert not leaves(frame, USO, [first, last[:40] + bytes(2) + last[42:]])  # none
    six = udp(("2001:db8::2", 80), ("2001:db8::1", 4), payload)
    cut = [udp(("2001:db8::2", 80), ("2001:db8::1", 4), part) for part in (payload[:1000], payload[1000:])]
    header = vnet(gso=UDP_SEGMENTS, size=1000, start=54, offset=6)
    assert leaves(ethernet(six, 0x86DD), header, [ethernet(each, 0x86DD) for each in cut])


def test_a_part_of_a_super_frame_may_come_in_fragments() -> None:
    payload = bytes(n % 251 for n in range(3000))
    pieces = fragments(datagram(payload[2000:])[14:], 7, lambda: 504)
    comparator = Comparator()
    comparator.primary(datagram(payload), 1, USO)
    for other in [*parts(payload[:2000], 1000), *(ethernet(piece, 0x0800) for piece in pieces)]:
        assert comparator.take() == []
        comparator.secondary(other, 2)
    assert [item.data for item in frames_of(comparator)] == [datagram(payload)]


def test_super_frames_take_no_more_memory_than_others() -> None:
    """However they are cut; and what is reported is the two datagrams that differ."""
    payload = bytes(128)
    header = vnet(gso=UDP_SEGMENTS, size=1, offset=6)
    comparator = Comparator()
    comparator.secondary(datagram(payload), 1, header)
    assert 0 < comparator.counters["memory"] < 4096
    comparator.primary(datagram(b"\0"), 2)
    assert [item.data for item in frames_of(comparator)] == [datagram(b"\0")]
    comparator.primary(datagram(b"\1"), 3)
    comparator.tick(10**9)
    (divergence,) = comparator.take()
    assert isinstance(divergence, Divergence)
    assert divergence.stream_offset == 1
    assert (divergence.primary, divergence.secondary) != (None, None)
    assert divergence.secondary is not None
    assert parse(divergence.secondary).payload == b"\0"


def in_fragments(frame: bytes) -> list[bytes]:
    """A TCP segment cut in two behind the first eight bytes of its header."""
    data = frame[34:]
    return [
        ethernet(ip(VM[0], CLIENT[0], 6, data[:8], ident=7, fragment=0x2000), 0x0800),
        ethernet(ip(VM[0], CLIENT[0], 6, data[8:], ident=7, fragment=1), 0x0800),
    ]


@pytest.mark.parametrize("flags", [ACK, ACK | RST])
def test_fragments_of_what_would_have_to_be_clamped(flags: int) -> None:
    """They leave as they came, or not yet: a pure acknowledgement, a reset."""
    comparator = Comparator()
    for piece in in_fragments(ethernet(tcp(VM, CLIENT, seq=1, ack=5000, flags=flags), 0x0800)):
        comparator.primary(piece, 1)
    comparator.secondary(ethernet(tcp(VM, CLIENT, seq=1, ack=4000, flags=flags), 0x0800), 2)
    assert comparator.take() == []
    comparator.secondary(ethernet(tcp(VM, CLIENT, seq=1, ack=5000, flags=flags), 0x0800), 3)
    assert [parse(item.data).kind for item in frames_of(comparator)] == ["fragment"] * 2


def test_observing_fragments_leave_once() -> None:
    comparator = Comparator(observe=True, passthrough=True)
    pieces = in_fragments(ethernet(tcp(VM, CLIENT, seq=1, ack=1, flags=ACK, payload=b"data"), 0x0800))
    for piece in pieces:
        comparator.primary(piece, 1)
    for piece in pieces:
        comparator.secondary(piece, 2)
    assert [item.data for item in frames_of(comparator)] == pieces
    assert comparator.counters["memory"] == 0


def greeting(isn: int, option: bytes, *, ack: int = 1) -> bytes:
    options = b"\x02\x04\x05\xb4" + option
    return ethernet(tcp(VM, CLIENT, seq=isn, ack=ack, flags=ACK | SYN, options=options), 0x0800)


def test_options_of_a_syn_that_we_know_nothing_of() -> None:
    """What each guest draws for itself may bind the client."""
    seven, eight = (b"\x4d\x0c\x01\x01" + bytes(7) + bytes([last]) for last in (7, 8))
    padded, padded_too = b"\x01\x01\x4d\x02", b"\x4d\x02\x01\x01"
    for one, other, differ in ((seven, eight, True), (seven, b"", True), (padded, padded_too, False)):
        comparator = Comparator()
        comparator.primary(greeting(1000, one), 1)
        comparator.secondary(greeting(7000, other), 2)
        came = comparator.take()
        assert [isinstance(item, Divergence) for item in came] == [differ]


def test_a_signed_segment_is_not_changed() -> None:
    """TCP's signatures (RFC 2385, RFC 5925) cover the header: what would have to be clamped waits."""
    signed = b"\x01\x01\x13\x12" + bytes(16)
    frame = ethernet(tcp(VM, CLIENT, seq=1, ack=500, flags=ACK, options=signed, payload=b"data"), 0x0800)
    comparator = Comparator()
    comparator.primary(frame, 1)
    less = tcp(VM, CLIENT, seq=1, ack=400, flags=ACK, options=signed, payload=b"data")
    comparator.secondary(ethernet(less, 0x0800), 2)
    assert comparator.take() == []
    comparator.secondary(ethernet(tcp(VM, CLIENT, seq=5, ack=500, flags=ACK, options=signed), 0x0800), 3)
    assert [item.data for item in frames_of(comparator)] == [frame]


def test_after_a_failover_a_client_comes_again_from_the_same_port() -> None:
    """The new connection has no offset; what the client acknowledges reaches the SVM as it is."""
    comparator = Comparator()
    comparator.primary(greeting(1000, b""), 1)
    comparator.secondary(greeting(7000, b""), 2)
    comparator.failover(3)
    comparator.take()
    comparator.secondary(greeting(50_000, b"", ack=901), 4)
    comparator.uplink(ethernet(tcp(CLIENT, VM, seq=901, ack=50_001), 0x0800, from_vm=False), 5)
    up, copy = frames_of(comparator)
    assert (up.port, parse(up.data).seq) == (Port.UPLINK, 50_000)
    assert (copy.port, parse(copy.data).ack) == (Port.SECONDARY, 50_001)
    comparator.secondary(ethernet(tcp(VM, CLIENT, seq=50_001, ack=901), 0x0800), 6)
    assert comparator.counters["flows"] == 1  # and the one before is forgotten
