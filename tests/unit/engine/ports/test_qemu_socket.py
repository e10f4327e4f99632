"""QEMU's net stream: any chopping gives the same frames, nothing is misframed, nothing changes its order."""

import errno
import os
import socket
import struct
from typing import Any, Self

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from colo_proxy.engine.messages import PortSpec
from colo_proxy.engine.ports.port import PortIO
from colo_proxy.vocabulary import Drop

PLAIN = bytes(10)
MAX_FRAME = 69632
OUT = 8 << 20  # what a port keeps for a slow peer


def wire(frame: bytes, header: bytes | None = PLAIN) -> bytes:
    """A frame as QEMU writes it; None: without virtio-net headers."""
    if header is None:
        return struct.pack("!I", len(frame)) + frame
    return struct.pack("!II", len(header) + len(frame), len(header)) + header + frame


class Peer:
    """A stream port and the other end of its socket."""

    def __init__(self, **options: Any) -> None:
        self.spec_options = {"vnet": options.pop("vnet", True)}
        self.ours, self.theirs = socket.socketpair()
        self.ours.setblocking(False)
        self.theirs.settimeout(5)
        self.port = PortIO(PortSpec(self.ours.fileno(), "stream", "s", **self.spec_options), **options)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.ours.close()
        self.theirs.close()

    def reconnect(self) -> None:
        self.ours.close()
        self.theirs.close()
        self.ours, self.theirs = socket.socketpair()
        self.ours.setblocking(False)
        self.theirs.settimeout(5)
        self.port.attach(self.ours.fileno())

    def receive(self) -> list[tuple[bytes, bytes, int]]:
        """All that is there to be received; faults are none."""
        frames: list[tuple[bytes, bytes, int]] = []
        while True:
            got, fault = self.port.receive()
            assert fault == 0
            if not got:
                return frames
            frames += got

    def read(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            data += self.theirs.recv(size - len(data))
        return data


frames = st.lists(st.binary(min_size=14, max_size=200) | st.just(bytes(range(250)) * 12), max_size=150)


# Long ones are received where they can stay, each by itself; three are what a socket takes.
long_frames = st.lists(
    st.binary(min_size=14, max_size=100)
    | st.sampled_from([bytes(range(251)) * count for count in (81, 82, 239)]),
    max_size=12,
).filter(lambda frames: sum(map(len, frames)) < 180_000)


@given(frames=frames | long_frames, data=st.data(), vnet=st.sampled_from([None, 0, 10, 12, 20]))
@settings(deadline=None, max_examples=300)
def test_any_chopping_gives_the_same_frames(
    frames: list[bytes], data: st.DataObject, vnet: int | None
) -> None:
    header = (
        None if vnet is None else bytes([1, 0, 3, 4, 5, 6, 7, 8, 9, 10][:vnet]) + bytes(max(vnet - 10, 0))
    )
    stream = b"".join(wire(frame, header) for frame in frames)
    cuts = data.draw(st.lists(st.integers(0, len(stream)), max_size=20).map(sorted))
    got = []
    with Peer(vnet=vnet is not None) as peer:
        for first, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
            peer.theirs.sendall(stream[first:end])
            got += peer.receive()
    assert [frame for _, frame, _ in got] == frames
    assert {head for head, _, _ in got} <= {header[:10] if header else PLAIN}


@given(garbage=st.binary(max_size=4000))
@settings(deadline=None, max_examples=300)
def test_garbage_does_no_harm_and_the_next_peer_starts_clean(garbage: bytes) -> None:
    with Peer() as peer:
        peer.theirs.sendall(garbage)
        while peer.port.fd >= 0:
            got, fault = peer.port.receive()
            assert fault in (0, errno.EMSGSIZE, errno.EPROTO)
            if not got:
                break
        peer.reconnect()
        peer.theirs.sendall(wire(b"x" * 60))
        assert [frame for _, frame, _ in peer.receive()] == [b"x" * 60]


def test_part_of_a_frame_is_forgotten_with_its_peer() -> None:
    with Peer() as peer:
        peer.theirs.sendall(wire(b"a" * 60) + wire(b"b" * 60)[:40])
        assert [frame for _, frame, _ in peer.receive()] == [b"a" * 60]
        peer.reconnect()
        peer.theirs.sendall(wire(b"c" * 60))
        assert [frame for _, frame, _ in peer.receive()] == [b"c" * 60]


@pytest.mark.parametrize(
    ("prefix", "fault", "drop"),
    [
        (struct.pack("!I", MAX_FRAME + 65), errno.EMSGSIZE, Drop.OVERSIZED),
        (struct.pack("!I", 0xFFFFFFFF), errno.EMSGSIZE, Drop.OVERSIZED),
        (struct.pack("!II", 60, 61), errno.EPROTO, Drop.TRUNCATED),
        (struct.pack("!II", 60, 9), errno.EPROTO, Drop.TRUNCATED),
        (struct.pack("!II", 60, 0x0A000000), errno.EPROTO, Drop.TRUNCATED),
    ],
)
def test_a_length_that_cannot_be_ends_the_connection(prefix: bytes, fault: int, drop: Drop) -> None:
    with Peer() as peer:
        peer.theirs.sendall(wire(b"a" * 60) + prefix + bytes(100))
        got, said = peer.port.receive()
        assert ([frame for _, frame, _ in got], said) == ([b"a" * 60], fault)
        assert peer.port.counters["dropped"][drop] == 1
        assert peer.port.fd == -1
        assert peer.theirs.recv(1) == b""  # the peer notices
        peer.reconnect()
        peer.theirs.sendall(wire(b"c" * 60))
        assert [frame for _, frame, _ in peer.receive()] == [b"c" * 60]


def test_longest_and_shortest_frames() -> None:
    with Peer() as peer:
        got = []
        longest = os.urandom(MAX_FRAME)
        for each in (b"", bytes(13), bytes(14), longest, longest + b"x", b"z" * 14):
            peer.theirs.sendall(wire(each))
            got += [frame for _, frame, _ in peer.receive()]
        assert got == [bytes(14), longest, b"z" * 14]
        dropped = peer.port.counters["dropped"]
        assert (dropped[Drop.TRUNCATED], dropped[Drop.OVERSIZED]) == (2, 1)


def test_end_of_file_is_a_fault_after_the_last_frame() -> None:
    with Peer() as peer:
        peer.theirs.sendall(wire(b"a" * 60))
        peer.theirs.close()
        assert [frame for _, frame, _ in peer.port.receive()[0]] == [b"a" * 60]
        assert peer.port.receive() == ([], errno.ENOTCONN)
        assert peer.port.receive() == ([], 0)


@pytest.mark.parametrize("vnet", [True, False])
def test_what_is_sent_reads_as_it_should(vnet: bool) -> None:
    header = bytes([1, 1, 54, 0, 0xA8, 5, 34, 0, 16, 0])
    with Peer(vnet=vnet) as peer:
        sent = [os.urandom(60 + i) for i in range(64)]
        assert peer.port.send([(header, frame) for frame in sent]) == 0
        expected = b"".join(wire(frame, header if vnet else None) for frame in sent)
        assert peer.read(len(expected)) == expected


def test_headers_are_sent_as_long_as_the_peers_are() -> None:
    with Peer() as peer:
        peer.theirs.sendall(wire(b"a" * 60, bytes(12)))
        assert len(peer.receive()) == 1
        peer.port.send([(PLAIN, b"b" * 60)])
        expected = wire(b"b" * 60, bytes(12))
        assert peer.read(len(expected)) == expected


@pytest.mark.parametrize("patient", [True, False])
def test_slow_peer_gets_all_in_order_up_to_the_bound(patient: bool) -> None:
    with Peer(patient=patient) as peer:
        sent = [i.to_bytes(4, "big") * (i % 3000 + 4) for i in range(2000)]
        got = b""
        for first in range(0, 2000, 50):
            assert peer.port.send([(PLAIN, frame) for frame in sent[first : first + 50]]) == 0
            got += peer.theirs.recv(10_000)
        assert peer.port.waits
        expected = b"".join(wire(frame) for frame in sent)
        assert len(expected) < OUT + len(got)
        while len(got) < len(expected):
            assert peer.port.flush() == 0
            got += peer.theirs.recv(1 << 20)
        assert got == expected
        assert not peer.port.waits
        assert peer.port.counters["sent"] == 2000
        assert sum(peer.port.counters["dropped"]) == 0


def test_what_a_stuck_peer_leaves_no_room_for_is_dropped_whole_and_counted() -> None:
    with Peer() as peer:
        frames = [i.to_bytes(4, "big") * 15_000 for i in range(300)]  # 18 MB
        for first in range(0, 300, 50):
            assert peer.port.send([(PLAIN, frame) for frame in frames[first : first + 50]]) == 0
        dropped = peer.port.counters["dropped"][Drop.SEND]
        assert 0 < dropped < 300
        got = b""
        while peer.port.waits:
            peer.port.flush()
            got += peer.theirs.recv(1 << 20)
        assert peer.port.counters["sent"] == 300 - dropped
        size = len(wire(frames[0]))
        peer.theirs.setblocking(False)
        got += peer.theirs.recv(1 << 20) if len(got) < size * (300 - dropped) else b""
        numbers = [int.from_bytes(got[at + 18 : at + 22], "big") for at in range(0, len(got), size)]
        assert numbers == sorted(numbers)
        assert len(numbers) == 300 - dropped


def test_an_absent_peer_of_a_port_that_keeps_misses_nothing() -> None:
    with Peer(keep=True) as peer:
        frames = [os.urandom(60_000) for _ in range(20)]
        assert peer.port.send([(PLAIN, frame) for frame in frames]) == 0  # more than the socket takes
        assert peer.port.waits
        arrived = peer.port.counters["sent"]
        peer.theirs.close()
        assert peer.port.flush() in (errno.EPIPE, errno.ECONNRESET)
        assert peer.port.send([(PLAIN, b"n" * 60)]) == 0
        peer.ours, peer.theirs = socket.socketpair()
        peer.ours.setblocking(False)
        peer.theirs.settimeout(5)
        peer.port.attach(peer.ours.fileno())
        expected = b"".join(wire(frame) for frame in [*frames[arrived:], b"n" * 60])
        got = b""
        while len(got) < len(expected):
            assert peer.port.flush() == 0
            got += peer.theirs.recv(1 << 20)
        assert got == expected  # from the beginning of the frame that had gone in part


def test_an_absent_peer_of_a_port_that_does_not_keep_is_counted() -> None:
    port = PortIO(PortSpec(-1, "stream", "s"))
    assert port.receive() == ([], 0)
    assert port.send([(PLAIN, b"a" * 60)] * 3) == 0
    assert port.counters["dropped"][Drop.SEND] == 3
    assert not port.waits
