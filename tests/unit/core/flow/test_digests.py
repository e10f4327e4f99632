"""T14 where a transcript cannot show it: the digest itself, its bounds, super-frames, what is counted."""

import random
import struct

import pytest
from frames import ip4, link
from scapy.layers.inet import TCP

from colo_proxy.core.comparator import Comparator
from colo_proxy.core.flow.digests import digest_of
from colo_proxy.vocabulary import Divergence, Frame

CHUNK, PIECES = 504, 25  # bytes of memory, and the digests that they hold
DATA = random.Random(14).randbytes(200_000)
# NEEDS_CSUM, GSO_TCPV4, header length, segment size, where the checksum starts and lies (little-endian host).
SUPER = struct.pack("=BBHHHH", 1, 1, 54, 1448, 34, 16)


def expanded(seed: int) -> list[int]:
    """SplitMix64, as its authors write it."""
    words = []
    for _ in range(66):
        seed = (seed + 0x9E3779B97F4A7C15) % 2**64
        word = (seed ^ seed >> 30) * 0xBF58476D1CE4E5B9 % 2**64
        word = (word ^ word >> 27) * 0x94D049BB133111EB % 2**64
        words.append(word ^ word >> 31)
    words[65] |= 1
    return words


@pytest.mark.parametrize("size", [0, 1, 7, 8, 16, 31, 32, 33, 100, 480, 511, 512])
@pytest.mark.parametrize("seed", [0, 1, 2**64 - 1])
def test_the_digest_is_what_its_definition_says(size: int, seed: int) -> None:
    key, data = expanded(seed), DATA[:size]
    words = [int.from_bytes(data[at : at + 8], "little") for at in range(0, 512, 8)]
    total = 0
    for at in range(0, (size + 31) // 32 * 4, 2):
        total += ((words[at] + key[at]) % 2**64) * ((words[at + 1] + key[at + 1]) % 2**64)
    assert digest_of(data, seed) == (total * (key[64] << 64 | key[65]) % 2**128) >> 64


def test_each_bit_of_a_piece_counts_under_each_key() -> None:
    for seed in range(3):
        known = digest_of(DATA[:512], seed)
        for bit in range(512 * 8):
            other = bytearray(DATA[:512])
            other[bit // 8] ^= 1 << bit % 8
            assert digest_of(bytes(other), seed) != known
    assert len({digest_of(DATA[:512], seed) for seed in range(1000)}) == 1000


def test_a_piece_that_is_too_long_is_refused() -> None:
    with pytest.raises(ValueError, match="512 bytes at most, not 513"):
        digest_of(bytes(513), 0)


def segment(seq: int, data: bytes = b"", flags: str = "A", port: int = 4000) -> bytes:
    return bytes(
        link() / ip4() / TCP(sport=80, dport=port, seq=seq % 2**32, ack=501, flags=flags, window=9000) / data
    )


def answer(port: int, ack: int) -> bytes:
    """A client's acknowledgement."""
    there = ip4()
    there.src, there.dst = there.dst, there.src
    return bytes(link() / there / TCP(sport=port, dport=80, seq=501, ack=ack, flags="A", window=9000))


class Pair:
    """Two guests that send the same, the SVM from its own numbers."""

    def __init__(self, digest_bytes: int = 1 << 20, flows: int = 1) -> None:
        self.comparator = Comparator(digest_bytes=digest_bytes, seed=99)
        self.now = 0
        for port in range(4000, 4000 + flows):
            self.both(0, b"", "SA", port)

    def both(self, at: int, data: bytes, flags: str = "A", port: int = 4000) -> None:
        self.primary(at, data, flags, port)
        self.comparator.secondary(segment(7000 + at, data, flags, port), self.now)

    def primary(
        self, at: int, data: bytes, flags: str = "A", port: int = 4000, vnet: bytes | None = None
    ) -> None:
        self.now += 1000
        self.comparator.primary(segment(1000 + at, data, flags, port), self.now, vnet)

    def told(self) -> list[int]:
        """Stream offsets of the divergences since the last call."""
        return [item.stream_offset for item in self.comparator.take() if isinstance(item, Divergence)]

    def left(self) -> int:
        """How many frames left since the last call."""
        return sum(isinstance(item, Frame) for item in self.comparator.take())

    @property
    def unverified(self) -> int:
        return int(self.comparator.counters["retransmissions_unverified"])


def other(data: bytes, at: int) -> bytes:
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


def test_a_segment_of_a_super_frame_is_verified_whole() -> None:
    pair = Pair()
    pair.primary(1, DATA[:60_000], vnet=SUPER)
    pair.comparator.secondary(segment(7001, DATA[:60_000]), pair.now, SUPER)
    assert pair.left() == 2  # the SYN among them
    for number in (0, 1, 20, 40):
        pair.primary(1 + 1448 * number, DATA[1448 * number : 1448 * (number + 1)])
        assert (pair.left(), pair.unverified) == (1, 0)
    pair.primary(1 + 1448 * 7, other(DATA[1448 * 7 : 1448 * 8], 3))
    assert pair.told() == [1448 * 7]


def test_of_a_segment_that_is_cut_otherwise_the_edges_are_counted() -> None:
    pair = Pair()
    pair.both(1, DATA[:3000])
    pair.primary(1 + 100, DATA[100:2900])
    assert pair.unverified == 1
    assert pair.told() == []
    pair.primary(1 + 100, other(DATA[100:2900], 2000))
    assert pair.told() == [2048]
    assert pair.unverified == 1


def test_where_they_are_trusted_each_is_counted() -> None:
    pair = Pair(digest_bytes=0)
    pair.both(1, DATA[:1000])
    pair.primary(1, DATA[:1000])
    pair.primary(1, other(DATA[:1000], 5))
    assert (pair.told(), pair.unverified) == ([], 2)


def test_at_the_bound_the_oldest_is_forgotten_and_counted() -> None:
    room = 4
    pair = Pair(digest_bytes=room * CHUNK)
    for at in range(0, (room * PIECES + 1) * 512, 512):
        pair.both(1 + at, DATA[at : at + 512])
    pair.told()
    pair.primary(1, other(DATA[:512], 9))  # of the first chunk, which made room
    assert (pair.told(), pair.unverified) == ([], 1)
    pair.primary(1 + PIECES * 512, other(DATA[PIECES * 512 :][:512], 9))
    assert (pair.told(), pair.unverified) == ([PIECES * 512], 1)


def test_at_the_bound_it_is_the_oldest_of_all_flows() -> None:
    pair = Pair(digest_bytes=2 * CHUNK, flows=3)
    for port in (4000, 4001, 4002):
        pair.both(1, DATA[:512], port=port)
    pair.told()
    pair.primary(1, other(DATA[:512], 9), port=4000)
    assert (pair.told(), pair.unverified) == ([], 1)
    for port in (4001, 4002):
        pair.primary(1, other(DATA[:512], 9), port=port)
        assert pair.told() == [0]


def test_what_is_acknowledged_makes_room() -> None:
    pair = Pair(digest_bytes=CHUNK)
    for at in range(0, 100 * 512, 512):
        pair.both(1 + at, DATA[at : at + 512])
        pair.primary(1 + at, other(DATA[at : at + 512], 9) if at == 99 * 512 else DATA[at : at + 512])
        if at < 99 * 512:
            pair.comparator.uplink(answer(4000, 1000 + 1 + at + 512), pair.now)
    assert (pair.told(), pair.unverified) == ([99 * 512], 0)


def test_a_flow_that_is_let_go_gives_its_digests_back() -> None:
    pair = Pair(digest_bytes=CHUNK)
    for number in range(50):
        start = 10_000 * number
        pair.both(start, b"", "SA")
        pair.both(start + 1, DATA[:512])
        pair.both(start + 513, b"", "FA")
    pair.told()
    pair.primary(start + 1, other(DATA[:512], 9))
    assert (pair.told(), pair.unverified) == ([0], 0)


def test_random_cuts_of_the_same_bytes_are_never_a_divergence() -> None:
    for seed in range(20):
        rng, pair, sent = random.Random(seed), Pair(), 0
        while sent < 30_000:
            size = rng.choice((1, 10, 536, 1448, 9000))
            pair.both(1 + sent, DATA[sent : sent + size])
            sent += size
            first = rng.randrange(sent)
            pair.primary(1 + first, DATA[first : first + rng.randrange(1, 3000)][: sent - first])
        assert pair.told() == []


def test_a_whole_repetition_is_verified_whatever_the_cuts_were() -> None:
    for seed in range(20):
        rng, pair, sent = random.Random(seed), Pair(), 0
        while sent < 20_000:
            size = rng.choice((1, 10, 536, 1448, 9000))
            pair.both(1 + sent, DATA[sent : sent + size])
            sent += size
        pair.primary(1, DATA[:sent])
        assert (pair.told(), pair.unverified) == ([], 0)
        pair.primary(1, other(DATA[:sent], rng.randrange(sent)))
        assert len(pair.told()) == 1
