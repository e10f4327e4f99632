"""A channel: what goes in at one host comes out at the other, in whatever pieces it crosses."""

import os
import select
import time
from collections.abc import Iterable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from unit.link.test_link_words import words

from colo_proxy.link.channel import Channel
from colo_proxy.link.wire import BadRecord, rules
from colo_proxy.link.words import Dropped, Frame, Heartbeat, Kind, Mark, Source, Word, decode, encode

FRAME = bytes(range(60))


def send(channel: Channel, word: Word) -> bool:
    if isinstance(word, Frame):
        return channel.send_frame(word.nic, word.source, word.data, word.vnet)
    return channel.send_word(*encode(word))


def drain(channel: Channel, pieces: Iterable[int] = ()) -> bytes:
    """All that a channel has to send, taken in pieces of these sizes."""
    sizes, out = iter(pieces), bytearray()
    while (view := channel.outgoing()) is not None:
        taken = min(next(sizes, len(view)), len(view))
        out += view[:taken]
        channel.sent(taken)
    return bytes(out)


def fill(channel: Channel, data: bytes) -> None:
    view = channel.room()
    assert view is not None
    view[: len(data)] = data
    channel.filled(len(data))


def take(channel: Channel) -> list[Word]:
    found = []
    while (record := channel.receive()) is not None:
        found.append(decode(*record))
    return found


def rings(descriptor: int) -> bool:
    return bool(select.select([descriptor], [], [], 0)[0])


def is_urgent(word: Word) -> bool:
    return rules()[encode(word)[0]][2]


@given(st.lists(words, max_size=20), st.lists(st.integers(1, 300)), st.lists(st.integers(1, 300)))
def test_any_pieces_give_the_same_records(said: list[Word], out: list[int], into: list[int]) -> None:
    sender, receiver = Channel(), Channel()
    for word in said:
        assert send(sender, word)
    sender.flush()
    data, heard, sizes = drain(sender, out), [], iter(into)
    while data:
        size = next(sizes, len(data))
        fill(receiver, data[:size])
        data = data[size:]
        heard += take(receiver)
    # Nothing had been sent when all of it was queued: what is urgent comes first.
    assert heard == sorted(said, key=lambda word: not is_urgent(word))


@given(st.data())
@settings(max_examples=50)
def test_lanes_change_at_the_end_of_a_record_only(data: st.DataObject) -> None:
    """Words are queued while others are on their way, and the bytes are taken in any pieces."""
    sender, receiver = Channel(), Channel()
    said: list[Word] = []
    heard: list[Word] = []
    for _ in range(data.draw(st.integers(1, 15))):
        said += (more := data.draw(st.lists(words, max_size=3)))
        for word in more:
            assert send(sender, word)
        sender.flush()
        view = sender.outgoing()
        if view is not None:
            size = data.draw(st.integers(1, len(view)))
            fill(receiver, bytes(view[:size]))
            sender.sent(size)
            heard += take(receiver)
    fill(receiver, drain(sender))
    heard += take(receiver)
    for urgent in (False, True):  # each lane keeps its order, and nothing is lost
        assert [w for w in heard if is_urgent(w) == urgent] == [w for w in said if is_urgent(w) == urgent]


@given(st.binary(min_size=8, max_size=200))
def test_garbage_is_refused_in_a_line_or_waits_for_a_body(data: bytes) -> None:
    channel = Channel()
    fill(channel, data)
    try:
        while channel.receive() is not None:
            pass
    except BadRecord as error:
        why = str(error)
    else:
        assert channel.failure is None
        return
    assert why.startswith("it has sent a record")
    assert channel.failure == why
    assert rings(channel.link_bell)
    with pytest.raises(BadRecord):  # for ever: nothing behind it is looked at
        channel.receive()


@pytest.mark.parametrize("data", [b"GET / HTTP/1.1\r\n", bytes(8), b"\x01\x00\x00\x00\xff\xff\xff\xff"])
def test_a_header_is_judged_before_its_body_comes(data: bytes) -> None:
    channel = Channel()
    fill(channel, data[:7])
    assert channel.receive() is None
    fill(channel, data[7:8])
    with pytest.raises(BadRecord):
        channel.receive()


def test_a_heartbeat_passes_a_full_queue_of_frames() -> None:
    sender, receiver = Channel(bound=300_000), Channel()
    while send(sender, Frame(0, Source.CLIENT, bytes(60_000))):
        pass
    sender.flush()
    view = sender.outgoing()
    assert view is not None
    fill(receiver, bytes(view[:1000]))  # in the middle of the first frame
    sender.sent(1000)
    assert send(sender, Heartbeat(1, 2))
    sender.flush()
    fill(receiver, drain(sender))
    heard = take(receiver)
    assert [type(word) for word in heard] == [Frame, Heartbeat, *[Frame] * 3, Dropped]


def test_what_tls_was_given_is_offered_again() -> None:
    """SSL_write wants the same bytes when it is called again, whatever has become urgent meanwhile."""
    channel = Channel()
    send(channel, Frame(0, Source.CLIENT, FRAME))
    channel.flush()
    view = channel.outgoing()
    assert view is not None
    offered = bytes(view)
    send(channel, Heartbeat(1, 2))
    send(channel, Frame(0, Source.CLIENT, FRAME))
    channel.flush()
    again = channel.outgoing()
    assert again is not None
    assert bytes(again) == offered
    channel.sent(len(again))
    assert drain(channel)[0] == Kind.HEARTBEAT


def test_dropped_frames_are_counted_and_told_in_their_place() -> None:
    sender, receiver = Channel(bound=200), Channel()
    first, second = Frame(0, Source.CLIENT, FRAME), Frame(1, Source.PVM, FRAME[::-1])
    assert send(sender, first)
    assert send(sender, first)
    assert not send(sender, second)
    assert not send(sender, second)
    assert send(sender, Mark(Kind.LOADED, 3))  # a word has room where a frame has none
    sender.flush()
    fill(receiver, drain(sender))
    assert take(receiver) == [first, first, Dropped(2, 120), Mark(Kind.LOADED, 3)]
    assert sender.counters == {"frames": 2, "dropped_frames": 2, "dropped_bytes": 120}
    assert send(sender, second)
    sender.flush()
    fill(receiver, drain(sender))
    assert take(receiver) == [second]


def test_dropped_frames_are_told_although_nothing_follows() -> None:
    sender, receiver = Channel(bound=10), Channel()
    assert not send(sender, Frame(0, Source.CLIENT, FRAME))
    sender.flush()
    fill(receiver, drain(sender))
    assert take(receiver) == [Dropped(1, 60)]


@pytest.mark.parametrize("frame", [b"", bytes(13), bytes(69633), bytes(10**6)])
def test_a_frame_that_no_record_can_carry_is_dropped(frame: bytes) -> None:
    sender = Channel()
    assert not sender.send_frame(0, 0, frame)
    assert sender.counters["dropped_frames"] == 1


@pytest.mark.parametrize("word", [Mark(Kind.LOADED, 1), Heartbeat(1, 1)])
def test_a_word_without_room_ends_the_stream(word: Word) -> None:
    channel = Channel()
    count = 0
    while send(channel, word):
        count += 1
    assert count == (16 * 2**20 // 16 if isinstance(word, Mark) else 65536 // 24)
    assert channel.failure == "it has not read for so long that a word finds no room"
    assert rings(channel.link_bell)


def test_the_rings_go_round_without_a_seam() -> None:
    """More than each ring holds, with records across every end of the memory."""
    sender, receiver = Channel(), Channel()
    for number in range(1, 600):
        frame = Frame(number, Source.SVM, bytes([number % 256]) * (59_999 - number), bytes(10))
        assert send(sender, frame)
        sender.flush()
        fill(receiver, drain(sender))
        assert take(receiver) == [frame]


def test_a_full_ring_stops_the_reading_and_rings_when_it_has_room() -> None:
    channel = Channel()
    record = bytes.fromhex("01 00 0000") + (60_000).to_bytes(4) + bytes(60_000)
    stream = record * (4 * 2**20 // len(record) + 1)
    view = channel.room()
    assert view is not None
    assert len(view) == 4 * 2**20
    fill(channel, stream[: len(view)])
    channel.silence()
    assert channel.room() is None
    with pytest.raises(ValueError, match="room"):
        channel.filled(1)
    assert not rings(channel.link_bell)
    assert channel.receive() is not None
    assert rings(channel.link_bell)
    channel.silence()
    again = channel.room()
    assert again is not None
    assert len(again) == len(record)
    assert channel.receive() is not None
    assert not rings(channel.link_bell), "nobody waits for room"


def test_bells_ring_once_until_they_are_silenced() -> None:
    channel = Channel()
    assert not rings(channel.link_bell)
    for _ in range(3):
        send(channel, Heartbeat(1, 1))
        channel.flush()
    assert os.eventfd_read(channel.link_bell) == 1
    channel.silence()
    channel.flush()
    assert not rings(channel.link_bell), "nothing new"
    assert not rings(channel.data_bell)
    fill(channel, b"\x08")
    assert rings(channel.data_bell)
    channel.hear()
    assert not rings(channel.data_bell)
    channel.end()
    assert rings(channel.data_bell)
    assert channel.ended


def test_bytes_are_signs_of_life() -> None:
    channel = Channel()
    assert channel.heard == 0
    before = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
    fill(channel, b"\x01")  # not even a whole header
    assert before <= channel.heard <= time.clock_gettime_ns(time.CLOCK_BOOTTIME)


def test_a_channel_gives_its_descriptors_and_memory_back() -> None:
    def used() -> tuple[int, int]:
        maps = Path("/proc/self/maps").read_text()
        return len(list(Path("/proc/self/fd").iterdir())), maps.count("memfd:colo-proxy-link")

    before = used()
    held = Channel()
    assert used() == (before[0] + 2, before[1] + 6)
    del held
    assert used() == before
