"""An SVM segment that continues the agreed range is agreed without being held, as if it had been held.

Each conversation is played twice. In the second one the SVM has also sent something far ahead in the stream,
which waits. So each of its segments is held, sorted in and compared with all that waits.
"""

from random import Random

import pytest
from models.packets import ACK, FIN, PSH, SYN, URG, ethernet, tcp

from colo_proxy.core.comparator import Comparator
from colo_proxy.vocabulary import Divergence, Frame, Port, Reason

VM, CLIENT = ("192.0.2.2", 80), ("192.0.2.1", 40000)
MILLISECOND = 1_000_000
FAR = 1 << 20
Event = tuple[str, int, bytes, int, int]  # who sends, position, bytes, flags, acknowledgement


def cut(random: Random, who: str, text: bytes, fin: bool) -> list[Event]:
    """A stream in segments of any length; some are sent twice, with another cut, and some late."""
    segments: list[Event] = []
    at = 0
    while at < len(text) or fin:
        size = random.choice((1, 7, 40, 100, 300))
        last = fin and at + size >= len(text)
        flags = ACK | random.choice((0, PSH)) | (FIN if last and random.random() < 0.8 else 0)
        segments.append((who, at, text[at : at + size], flags, random.randrange(3) * 10))
        if random.random() < 0.15:
            back = max(at - random.choice((0, 1, 30)), 0)
            segments.append((who, back, text[back : at + size + random.choice((0, 20))], ACK, 0))
        if last and not flags & FIN:
            segments.append((who, len(text), b"", ACK | FIN, 0))
        at += size
        fin = fin and not last
    for _ in range(random.choice((0, 0, 0, 1, 3))):
        index = random.randrange(len(segments))
        segments.insert(min(index + random.randrange(4), len(segments) - 1), segments.pop(index))
    return segments


def conversation(random: Random) -> list[Event]:
    """What both guests send of the same text, or nearly the same."""
    text = random.choice((random.randbytes(600), bytes(600)))
    other = bytearray(text)
    if random.random() < 0.3:
        other[random.randrange(len(other))] ^= 1
    if random.random() < 0.2:
        del other[random.randrange(len(other)) :]
    fins = random.choice(((False, False), (True, True), (True, True), (True, False), (False, True)))
    p, s = cut(random, "primary", text, fins[0]), cut(random, "secondary", bytes(other), fins[1])
    events: list[Event] = []
    while p or s:
        mine = p if p and (not s or random.random() < random.choice((0.5, 0.9))) else s
        events.append(mine.pop(0))
        if random.random() < 0.03:
            events.append(("commit", 0, b"", 0, 0))
    return events


class Stream:
    """A comparator that gets one conversation, and everything that came out of it."""

    def __init__(self, random: Random, *, ahead: bool, **settings: object) -> None:
        self.one = Comparator(**settings)  # type: ignore[arg-type]
        self.ahead, self.now = ahead, 0
        self.isn = {"primary": random.randrange(2**32 - 400, 2**32), "secondary": random.randrange(2**32)}
        self.came: list[object] = []

    def send(self, who: str, position: int, data: bytes, flags: int, ack: int) -> None:
        """One segment; its position counts from the byte behind the SYN."""
        number = (self.isn[who] + 1 + position) % 2**32
        urgent = 5 if flags & URG else 0
        segment = tcp(VM, CLIENT, seq=number, ack=1000 + ack, flags=flags, payload=data, urgent=urgent)
        getattr(self.one, who)(ethernet(segment, 0x0800), self.now)

    def wedge(self) -> None:
        """From now on something of the SVM waits, in the conversation in which that is wanted."""
        self.take()
        if self.ahead:
            self.send("secondary", FAR, b"far ahead", ACK, 0)

    def take(self) -> None:
        """Note what came out, and how much is held."""
        for item in self.one.take():
            if isinstance(item, Frame) and item.port == Port.UPLINK:
                self.came.append(item.data)
            elif isinstance(item, Divergence):
                self.came.append((item.reason, item.stream_offset))
        self.came.append((self.one.counters["held_frames"], self.one.counters["retransmissions_unverified"]))

    def play(self, events: list[Event], begin: str, random: Random) -> list[object]:
        """The whole conversation; after a checkpoint the SVM has the PVM's numbers."""
        if begin == "syn":
            self.send("primary", -1, b"", SYN | ACK, 0)
            self.send("secondary", -1, b"", SYN | ACK, 0)
        else:
            self.isn["secondary"] = self.isn["primary"]
            self.send("primary", 0, b"", ACK, 0)
            self.send("secondary", 0, b"", ACK, 0)
        self.wedge()
        for who, *segment in events:
            self.now += random.choice((0, 0, 1, 6, 120)) * MILLISECOND
            self.one.tick(self.now)
            if who == "commit":
                for word in ("svm_stop", "pvm_stop", "svm_loaded", "commit"):
                    getattr(self.one, word)(self.now)
                self.isn["secondary"] = self.isn["primary"]
                self.wedge()
            else:
                self.send(who, *segment)  # type: ignore[arg-type]
            self.take()
        return self.came


@pytest.mark.parametrize("digests", [0, 1 << 16])
@pytest.mark.parametrize("observe", [False, True])
@pytest.mark.parametrize("begin", ["syn", "midstream"])
def test_what_is_agreed_without_being_held(begin: str, observe: bool, digests: int) -> None:
    for seed in range(200):
        events = conversation(Random(seed))
        played = [
            Stream(Random(seed), ahead=ahead, observe=observe, digest_bytes=digests).play(
                events, begin, Random(seed)
            )
            for ahead in (False, True)
        ]
        assert played[0] == played[1], f"seed {seed}"


def opened() -> Stream:
    stream = Stream(Random(0), ahead=False)
    stream.send("primary", -1, b"", SYN | ACK, 0)
    stream.send("secondary", -1, b"", SYN | ACK, 0)
    stream.take()
    stream.came.clear()
    return stream


def test_the_headers_of_the_pvm_are_no_bytes() -> None:
    """The SVM sends what stands before the PVM's payload in memory, at the place before that payload."""
    stream = opened()
    beyond = ethernet(
        tcp(VM, CLIENT, seq=stream.isn["primary"] + 21, ack=1000, flags=ACK, payload=b"x" * 20), 0x0800
    )
    header = beyond[-40:-20]
    stream.send("primary", 20, b"x" * 20, ACK, 0)
    stream.send("secondary", 0, header, ACK, 0)
    stream.send("primary", 0, b"y" * 20, ACK, 0)
    stream.take()
    assert (Reason.PAYLOAD, 0) in stream.came


@pytest.mark.parametrize("flags", [ACK, ACK | FIN])
def test_the_padding_of_the_pvm_is_no_payload(flags: int) -> None:
    """The SVM has the same bytes, and then the PVM's Ethernet padding as payload."""
    stream = opened()
    number = stream.isn["primary"] + 1
    frame = ethernet(tcp(VM, CLIENT, seq=number, ack=1000, flags=flags, payload=b"x" * 10), 0x0800)
    stream.one.primary(frame + b"padded", 0)
    stream.send("secondary", 0, b"x" * 10 + b"padded"[: 1 if flags & FIN else 6], ACK, 0)
    stream.send("primary", 10, b"P", ACK, 0)
    stream.take()
    reason = Reason.CONTROL if flags & FIN else Reason.PAYLOAD
    assert (reason, 10) in stream.came
