"""Packet and TAP ports over real interfaces: what comes out of one end is what went into the other."""

import errno
import os
import socket
import struct
import time
from collections.abc import Iterator
from typing import Any

import pytest
from support.wires import Namespace, namespaces, needs_wires

from colo_proxy.engine.messages import PortSpec
from colo_proxy.engine.ports.port import PortIO
from colo_proxy.vocabulary import Drop

pytestmark = [pytest.mark.lab, needs_wires]

PLAIN = bytes(10)
NEEDS_CSUM, DATA_VALID = 1, 2
GSO_TCPV4 = 1
MACS = bytes.fromhex("525400000001 525400000002")


@pytest.fixture
def ns() -> Iterator[Namespace]:
    with namespaces() as (one,):
        yield one


def port(sock: socket.socket, **options: Any) -> PortIO:
    return PortIO(PortSpec(sock.fileno(), "packet", "port"), **options)


def receive(io: PortIO, count: int, timeout: float = 5) -> list[tuple[bytes, bytes, int]]:
    """Receive `count` frames, or what has come when time is over."""
    frames: list[tuple[bytes, bytes, int]] = []
    deadline = time.monotonic() + timeout
    while len(frames) < count and time.monotonic() < deadline:
        got, fault = io.receive()
        assert fault == 0
        frames += got
    return frames


def pair(ns: Namespace, **options: Any) -> tuple[PortIO, PortIO]:
    ns.veth("a", "b")
    return port(ns.packet("a"), **options), port(ns.packet("b"))


def checksum(data: bytes) -> int:
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data[: len(data) & ~1]))
    if len(data) & 1:
        total += data[-1] << 8
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total


def tcp(payload: bytes, *, tags: bytes = b"", partial: bool = True, seq: int = 1000) -> tuple[bytes, int]:
    """An IPv4 TCP frame and the offset of its TCP header; partial: only the pseudo-header is summed up."""
    ip = struct.pack(
        "!BBHHHBBH4s4s", 0x45, 0, 40 + len(payload), 1, 0x4000, 64, 6, 0,
        socket.inet_aton("192.0.2.1"), socket.inet_aton("192.0.2.2"),
    )  # fmt: skip
    ip = ip[:10] + struct.pack("!H", checksum(ip) ^ 0xFFFF) + ip[12:]
    segment = struct.pack("!HHIIBBHHH", 80, 40000, seq, 5000, 0x50, 0x18, 500, 0, 0) + payload
    pseudo = ip[12:20] + struct.pack("!HH", 6, len(segment))
    total = checksum(pseudo) if partial else checksum(pseudo + segment) ^ 0xFFFF
    segment = segment[:16] + struct.pack("!H", total) + segment[18:]
    head = MACS + tags + b"\x08\x00"
    return head + ip + segment, len(head) + 20


def verify(frame: bytes) -> bytes:
    """Check the TCP checksum of an IPv4 frame without tags; return the payload."""
    ip = frame[14:34]
    length = struct.unpack("!H", ip[2:4])[0]
    segment = frame[34 : 14 + length]
    assert checksum(ip) == 0xFFFF
    assert checksum(ip[12:20] + struct.pack("!HH", 6, len(segment)) + segment) == 0xFFFF
    return segment[20:]


def vnet(  # noqa: PLR0917
    flags: int = 0, gso: int = 0, hdr_len: int = 0, gso_size: int = 0, start: int = 0, offset: int = 0
) -> bytes:
    return struct.pack("=BBHHHH", flags, gso, hdr_len, gso_size, start, offset)


def numbered(number: int, size: int = 100) -> bytes:
    return MACS + b"\x88\xb5" + struct.pack("!I", number) + bytes(size - 18)


def number(frame: bytes) -> int:
    return int.from_bytes(frame[14:18])


def test_frames_cross_whole_in_order_and_stamped(ns: Namespace) -> None:
    a, b = pair(ns)
    before = time.time_ns()
    sent = [numbered(i, 60 + i * 7) for i in range(200)]
    for first in range(0, 200, 64):
        assert a.send([(PLAIN, frame) for frame in sent[first : first + 64]]) == 0
    got = receive(b, 200)
    assert [frame for _, frame, _ in got] == sent
    stamps = [stamp for _, _, stamp in got]
    assert stamps == sorted(stamps)
    assert before <= stamps[0] <= stamps[-1] <= time.time_ns()
    assert a.counters["sent"] == b.counters["received"] == 200
    assert a.counters["sent_bytes"] == b.counters["received_bytes"] == sum(map(len, sent))
    assert a.receive() == ([], 0)  # nothing of its own comes back


@pytest.mark.parametrize(
    "tags",
    ["8100 0064", "8100 e064", "88a8 0c80", "88a8 0c80 8100 0064", "8100 0001 8100 0002 8100 0003"],
)
def test_vlan_tags_are_where_they_were(ns: Namespace, tags: str) -> None:
    a, b = pair(ns)
    frame = MACS + bytes.fromhex(tags) + b"\x88\xb5" + os.urandom(64)
    assert a.send([(PLAIN, frame)]) == 0
    assert [got for _, got, _ in receive(b, 1)] == [frame]


@pytest.mark.parametrize("tags", ["", "8100 0064", "88a8 0c80 8100 0064"])
def test_partial_checksum_stays_partial_and_points_to_tcp(ns: Namespace, tags: str) -> None:
    a, b = pair(ns)
    frame, start = tcp(b"data", tags=bytes.fromhex(tags))
    header = vnet(NEEDS_CSUM | DATA_VALID, start=start, offset=16)
    assert a.send([(header, frame)]) == 0
    [(got_header, got, _)] = receive(b, 1)
    assert got == frame
    assert got_header == vnet(NEEDS_CSUM, start=start, offset=16)


@pytest.mark.parametrize("tags", ["", "8100 0064", "88a8 0c80 8100 0064"])
def test_super_frame_crosses_whole(ns: Namespace, tags: str) -> None:
    a, b = pair(ns)
    frame, start = tcp(os.urandom(60_000), tags=bytes.fromhex(tags))
    header = vnet(NEEDS_CSUM, GSO_TCPV4, start + 20, 1448, start, 16)
    assert a.send([(header, frame)]) == 0
    [(got_header, got, _)] = receive(b, 1)
    assert got == frame
    flags, gso, hdr_len, gso_size, csum_start, csum_offset = struct.unpack("=BBHHHH", got_header)
    assert (flags, gso, gso_size, csum_start, csum_offset) == (NEEDS_CSUM, GSO_TCPV4, 1448, start, 16)
    assert start + 20 <= hdr_len <= len(frame)
    assert a.send([(got_header, got)]) == 0  # what was received can be sent as it is
    assert [frame for _, frame, _ in receive(b, 1)] == [frame]


def test_super_frame_is_segmented_with_right_checksums_where_it_must(ns: Namespace) -> None:
    ns.veth("a", "b")
    ns.no_offloads("a")
    one, two = ns.packet("a"), ns.packet("b")
    a, b = port(one), port(two)
    payload = os.urandom(20_000)
    frame, start = tcp(payload)
    assert a.send([(vnet(NEEDS_CSUM, GSO_TCPV4, start + 20, 1448, start, 16), frame)]) == 0
    segments = receive(b, 14)
    assert all(not header[0] & NEEDS_CSUM and len(frame) <= 1514 for header, frame, _ in segments)
    assert b"".join(verify(frame) for _, frame, _ in segments) == payload


def test_frames_the_kernel_refuses_do_not_stop_the_others(ns: Namespace) -> None:
    a, b = pair(ns)
    frames = [(PLAIN, numbered(i)) for i in range(5)]
    frames[1] = (vnet(NEEDS_CSUM, start=5000, offset=16), numbered(1))  # a checksum beyond the frame
    frames[3] = (PLAIN, numbered(3, 9000))  # longer than the MTU
    assert a.send(frames) == 0
    assert [number(frame) for _, frame, _ in receive(b, 3)] == [0, 2, 4]
    dropped = a.counters["dropped"]
    assert (dropped[Drop.SEND], dropped[Drop.OVERSIZED], a.counters["sent"]) == (1, 1, 3)


def test_frame_longer_than_any_can_be_is_dropped(ns: Namespace) -> None:
    fd = ns.tap("t")
    io = port(ns.packet("t"))
    head, start = tcp(b"")
    header = vnet(NEEDS_CSUM, GSO_TCPV4, start + 20, 1448, start, 16)
    os.write(fd, header + head + bytes(80_000))
    os.write(fd, header + head + bytes(60_000))
    assert [len(frame) for _, frame, _ in receive(io, 1)] == [len(head) + 60_000]
    assert io.counters["dropped"][Drop.OVERSIZED] == 1


def test_link_down_is_a_fault_and_heals(ns: Namespace) -> None:
    a, b = pair(ns)
    ns.up("b", "down")
    assert b.receive() == ([], errno.ENETDOWN)
    assert b.receive() == ([], 0)
    assert b.send([(PLAIN, numbered(0))] * 3) == errno.ENETDOWN
    assert b.counters["dropped"][Drop.SEND] == 3
    ns.up("b")
    ns.wait_for_carrier("a")
    ns.wait_for_carrier("b")
    assert b.send([(PLAIN, numbered(1))]) == 0
    assert [number(frame) for _, frame, _ in receive(a, 1)] == [1]
    assert a.send([(PLAIN, numbered(2))]) == 0
    assert [number(frame) for _, frame, _ in receive(b, 1)] == [2]


def test_interface_removed_is_a_fault_for_good(ns: Namespace) -> None:
    a, _ = pair(ns)
    ns.remove("a")
    faults = {a.receive()[1], a.send([(PLAIN, numbered(0))])}
    assert errno.ENODEV in faults
    assert faults <= {errno.ENODEV, errno.ENETDOWN}


def test_tap_and_packet_are_two_ends(ns: Namespace) -> None:
    fd = ns.tap("t")
    tap = PortIO(PortSpec(fd, "tap", "t"))
    sock = ns.packet("t")
    other = port(sock)
    tagged = MACS + bytes.fromhex("8100 0064 88b5") + os.urandom(64)
    super_frame, start = tcp(os.urandom(50_000))
    header = vnet(NEEDS_CSUM, GSO_TCPV4, start + 20, 1448, start, 16)
    sent = [(PLAIN, numbered(1)), (PLAIN, tagged), (header, super_frame)]
    for one, two in ((tap, other), (other, tap)):
        began = time.time_ns()
        assert one.send(sent) == 0
        got = receive(two, 3)
        assert [frame for _, frame, _ in got] == [frame for _, frame in sent]
        assert got[2][0][:2] == header[:2]
        assert got[2][0][4:] == header[4:]
        # The kernel's time where there is one, else when we had it.
        assert all(began <= stamp <= time.time_ns() for _, _, stamp in got)


@pytest.mark.parametrize(
    ("buffers", "limit"), [(1 << 24, 20_000), (10_000, 10_000_000)], ids=["ENOBUFS", "EAGAIN"]
)
@pytest.mark.parametrize("patient", [True, False])
def test_slow_device_keeps_order_and_what_it_drops_is_counted(
    ns: Namespace, buffers: int, limit: int, patient: bool
) -> None:
    ns.veth("a", "b")
    with ns.netlink() as ipr:
        index = ipr.link_lookup(ifname="a")[0]
        ipr.tc("add", "tbf", index, rate=1_000_000, burst=10_000, limit=limit)  # bytes a second
    a, b = port(ns.packet("a", buffers), patient=patient), port(ns.packet("b"))
    began = time.monotonic()
    for first in range(0, 640, 64):
        assert a.send([(PLAIN, numbered(first + i, 1000)) for i in range(64)]) == 0
    took = time.monotonic() - began
    counted = a.counters
    assert counted["sent"] + counted["dropped"][Drop.SEND] == 640
    assert 0 < counted["sent"] < 640
    numbers = [number(frame) for _, frame, _ in receive(b, counted["sent"])]
    assert len(numbers) == counted["sent"]
    assert numbers == sorted(numbers)
    assert took < 0.5  # all of it would take 0.6 s: patience has an end
    while a.counters["sent"] == counted["sent"]:  # its queue empties at its own pace
        assert a.send([(PLAIN, numbered(9999))]) == 0
    assert [number(frame) for _, frame, _ in receive(b, 1)] == [9999]


def test_overruns_are_counted(ns: Namespace) -> None:
    ns.veth("a", "b")
    one, two = ns.packet("a"), ns.packet("b", buffers=4096)
    a, b = port(one), port(two)
    for _ in range(10):
        a.send([(PLAIN, numbered(0, 1400))] * 64)
    counted = len(receive(b, 640, timeout=0.2))
    assert 0 < counted < 640
    assert b.counters["overruns"] == 640 - counted


def test_descriptors_that_would_misbehave_are_refused(ns: Namespace) -> None:
    ns.veth("a", "b")
    sock = ns.packet("a")
    for option, name in ((8, "PACKET_AUXDATA"), (15, "PACKET_VNET_HDR"), (23, "PACKET_IGNORE_OUTGOING")):
        with ns.inside():
            other = socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_NONBLOCK, 0)
        with other:
            other.setsockopt(socket.SOL_SOCKET, 35, 1)
            for each in {8, 15, 23} - {option}:
                other.setsockopt(263, each, 1)
            with pytest.raises(ValueError, match=name):
                port(other)
    sock.setblocking(True)
    with pytest.raises(ValueError, match="blocking"):
        port(sock)
    sock.setblocking(False)
    with pytest.raises(OSError, match="no TAP"):
        PortIO(PortSpec(sock.fileno(), "tap", "a"))
    with pytest.raises(ValueError, match="no stream"):
        PortIO(PortSpec(sock.fileno(), "stream", "a"))
    with pytest.raises(ValueError, match="without a descriptor"):
        PortIO(PortSpec(-1, "packet", "a"))
