"""SACK blocks in what leaves: memory is bounded, signed segments stay as they are, checksums are right."""

import struct

from models.packets import ACK, SYN, ethernet, finished, parse, partial, raw_options, sack_options, tcp

from colo_proxy.core.comparator import Comparator
from colo_proxy.vocabulary import Divergence, Drop, Frame, Port

VM, CLIENT = ("192.0.2.2", 80), ("192.0.2.1", 40000)
SIGNATURE = b"\x01\x01\x13\x12" + bytes(16)  # RFC 2385
RANGES = 48  # that are remembered of each guest
Block = tuple[int, int]


def segment(
    ack: int,
    *blocks: Block,
    flags: int = ACK,
    options: bytes = b"",
    data: bytes = b"",
    at: int = 1,
    port: int = CLIENT[1],
) -> bytes:
    if blocks:
        options += bytes([1, 1, 5, 2 + 8 * len(blocks)])
        options += b"".join(struct.pack("!II", *block) for block in blocks)
    seq = 0 if flags & SYN else at
    return ethernet(
        tcp(VM, (CLIENT[0], port), seq=seq, ack=ack, flags=flags, options=options, payload=data), 0x0800
    )


def opened(options: bytes = b"") -> Comparator:
    """Both guests have acknowledged 100."""
    comparator = Comparator()
    comparator.primary(segment(100, flags=SYN | ACK, options=options), 1)
    comparator.secondary(segment(100, flags=SYN | ACK, options=options), 1)
    comparator.take()
    return comparator


def left(comparator: Comparator) -> list[list[Block]]:
    """The blocks of each frame that has left; its checksum is right."""
    found = []
    for item in comparator.take():
        assert isinstance(item, Frame)
        assert item.port == Port.UPLINK
        whole = finished(item.data, item.vnet)
        packet = parse(whole)
        again = tcp(
            VM,
            (CLIENT[0], packet.dport),
            seq=packet.seq,
            ack=packet.ack,
            flags=packet.flags,
            window=packet.window,
            options=raw_options(packet),
            payload=packet.payload,
        )
        assert whole[packet.l4 : packet.end] == again[20:]
        found.append([block for _, its in sack_options(raw_options(packet)) for block in its])
    return found


def test_of_very_many_ranges_the_first_are_remembered() -> None:
    """What finds no room counts as not received, and the client repeats it."""
    comparator = opened()
    blocks = [(1000 * n, 1000 * n + 500) for n in range(1, RANGES + 10)]
    for block in blocks:
        comparator.secondary(segment(100, block), 2)
    for block in blocks:
        comparator.primary(segment(100, block), 3)
    assert left(comparator) == [[block] for block in blocks[:RANGES]] + [[]] * 9
    comparator.secondary(segment(60_000), 4)
    comparator.primary(segment(60_000, (70_000, 71_000)), 5)
    comparator.take()
    comparator.secondary(segment(60_000, (70_000, 71_000)), 6)
    assert left(comparator) == [[(70_000, 71_000)]], "there is room again"


def test_a_signed_segment_waits_until_the_svm_has_received_as_much() -> None:
    comparator = opened()
    comparator.primary(segment(100, (200, 300), options=SIGNATURE), 2)
    comparator.secondary(segment(100, (200, 250)), 3)
    assert left(comparator) == [[(200, 250)]], "the SVM's own, which is not signed"
    comparator.secondary(segment(100, (200, 300)), 4)
    assert [(200, 300)] in left(comparator)


def test_bytes_that_wait_for_their_acknowledgement_are_not_what_is_missing() -> None:
    """M1: both have sent them, beyond a hole of the PVM."""
    comparator = opened()
    comparator.primary(segment(100, (200, 300), options=SIGNATURE, data=b"e", at=5), 2)
    comparator.secondary(segment(100, data=b"abcdefgh"), 3)
    comparator.tick(4_000_000_000)
    told = [item for item in comparator.take() if isinstance(item, Divergence)]
    assert [(item.reason.label, item.stream_offset) for item in told] == [("missing-secondary", 0)]


def test_nothing_is_made_of_a_signed_acknowledgement() -> None:
    comparator = opened()
    comparator.primary(segment(100, (200, 300)), 2)
    comparator.take()
    comparator.secondary(segment(100, (200, 300), options=SIGNATURE), 3)
    assert left(comparator) == []


def test_a_checksum_that_is_left_to_others_is_right_after_the_cut() -> None:
    comparator = opened()
    frame, vnet = partial(segment(100, (200, 300), data=b"data"), 0)
    comparator.secondary(segment(100, data=b"data"), 2)
    comparator.primary(frame, 3, vnet)
    assert left(comparator) == [[]]


def test_sets_of_ranges_never_fill_the_memory() -> None:
    """No checkpoint frees them, so others would follow without end. Beyond the bound blocks are cut away."""
    comparator = Comparator(max_held_bytes=100_000)
    for port in range(1, 200):
        for tell in (comparator.primary, comparator.secondary):
            for frame in (segment(100, flags=SYN | ACK, port=port), segment(100, (200, 300), port=port)):
                tell(frame, port)
    whole = [blocks == [(200, 300)] for blocks in left(comparator)]
    assert comparator.counters["memory"] <= 25_000
    assert whole.count(True) >= 5
    assert comparator.counters["dropped"][Drop.MEMORY] == 0
    comparator.hold(1000)
    comparator.svm_stop(1000)
    comparator.commit(1000)
    assert comparator.counters["memory"] <= 25_000
