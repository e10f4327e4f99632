"""Frame sequences on which comparators have been seen to go wrong, and the right answer to each.

A scenario is a list of steps: what the PVM and the SVM sent (already aligned: both use the same sequence
numbers), and pauses. The right answer says of each PVM frame whether it may leave, and how many
checkpoints must be asked for.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from scapy.layers.inet import ICMP, IP, TCP, UDP, fragment
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import GRE, Dot1Q, Ether
from scapy.packet import Packet, Raw

TIMEOUT_MS = 500
SCAN_MS = 100

VM, CLIENT = "52:54:00:00:00:02", "52:54:00:00:00:01"
ISN, ACK = 1000, 4000  # the PVM's first byte is ISN + 1


class State(Enum):
    """What became of a PVM frame."""

    LEFT = "released"
    CLAMPED = "released clamped"  # with the acknowledgement that the SVM made too
    HELD = "held"


@dataclass(frozen=True)
class Say:
    """One side sends a frame. `name` is for the PVM's frames, whose fate is looked at."""

    primary: bool
    frame: bytes
    name: str = ""


@dataclass(frozen=True)
class Pause:
    """Nothing happens for this long."""

    ms: int


class Commit:
    """A checkpoint is made: the SVM has the PVM's state."""


Step = Say | Pause | Commit


@dataclass(frozen=True)
class Scenario:
    """`right`: allowed states of the named frames (others must leave); `asks`: how many checkpoints."""

    name: str
    group: str
    steps: list[Step]
    right: dict[str, set[State]] = field(default_factory=dict)
    asks: int = 0
    timeout_ms: int = TIMEOUT_MS
    in_order: bool = True  # what leaves must do so in the order the PVM sent it


def eth(payload: Packet, vlan: int | None = None) -> bytes:
    """A frame from the VM to a client."""
    head = Ether(src=VM, dst=CLIENT)
    return bytes(head / Dot1Q(vlan=vlan) / payload if vlan else head / payload)


def ip(**fields: Any) -> IP:
    return IP(src="192.0.2.2", dst="192.0.2.1", **fields)


def tcp(
    data: bytes = b"", *, seq: int = ISN + 1, ack: int = ACK, flags: str = "PA", ports: int = 40000
) -> bytes:
    return eth(ip(id=7) / TCP(sport=80, dport=ports, seq=seq, ack=ack, flags=flags, window=1000) / Raw(data))


def udp(data: bytes, port: int = 40000) -> bytes:
    return eth(ip(id=7) / UDP(sport=53, dport=port) / Raw(data))


def p(frame: bytes, name: str) -> Say:
    return Say(True, frame, name)


def s(frame: bytes) -> Say:
    return Say(False, frame)


def both(frame: bytes, name: str) -> list[Step]:
    return [p(frame, name), s(frame)]


def opened(isn: int = ISN, ack: int = ACK) -> list[Step]:
    """The guest's half of a handshake, the same from both."""
    return both(tcp(seq=isn, ack=ack, flags="SA"), "syn-ack")


HELD = {State.HELD}
NOT_AS_IS = {State.HELD, State.CLAMPED}

MUST_HOLD = "Releases what must be held"
NO_NEED = "Requests a checkpoint without need"
LOSES = "Loses or reorders"


def _must_be_held(name: str, steps: list[Step], right: dict[str, set[State]], asks: int = 0) -> Scenario:
    # A moment for comparators that let datagrams overtake each other; far from the timeout.
    return Scenario(name, MUST_HOLD, [*steps, Pause(50)], right, asks)


def _must_hold_tcp() -> Iterator[Scenario]:
    yield _must_be_held(
        "a pure ACK of 5,000 where the SVM has acknowledged 4,000",
        [
            *(*opened(), *both(tcp(b"hi"), "hi")),
            *(p(tcp(seq=ISN + 3, ack=5000, flags="A"), "ack"), s(tcp(seq=ISN + 3, flags="A"))),
        ],
        {"ack": NOT_AS_IS},
    )
    yield _must_be_held(
        "the same on equal data",
        [*opened(), p(tcp(b"data", ack=5000), "data"), s(tcp(b"data"))],
        {"data": NOT_AS_IS},
    )
    for flag, name in (("RA", "RST"), ("FA", "FIN")):
        yield _must_be_held(
            f"the PVM's {name} against a plain ACK of the SVM",
            [*opened(), p(tcp(flags=flag), name), s(tcp(flags="A"))],
            {name: HELD},
        )
    yield _must_be_held(
        "the PVM's SYN/ACK against a plain ACK of the SVM",
        [p(tcp(seq=ISN, flags="SA"), "syn-ack"), s(tcp(flags="A"))],
        {"syn-ack": HELD},
    )
    yield _must_be_held(
        "a second connection on the same addresses and ports, its numbers lower, its data different",
        [
            *(*opened(2_000_000_000), *both(tcp(b"first", seq=2_000_000_001), "first")),
            *(*opened(), p(tcp(b"one"), "second"), s(tcp(b"two"))),
        ],
        {"second": HELD},
        asks=1,
    )
    padded = tcp(flags="A").ljust(60, b"\0")
    yield _must_be_held(
        "different data after an ACK that Ethernet padded to 60 bytes",
        [*opened(), p(padded, "ack"), s(padded), p(tcp(b"secret"), "data"), s(tcp(b"public"))],
        {"data": HELD},
        asks=1,
    )
    yield _must_be_held(
        "equal bytes at different sequence numbers",
        [*opened(), p(tcp(b"same"), "data"), s(tcp(b"same", seq=ISN + 101))],
        {"data": HELD},
    )
    yield _must_be_held(
        "acknowledgements on both sides of 2³²: the PVM's 16, the SVM's 2³² − 16",
        [*opened(ack=2**32 - 100), p(tcp(b"data", ack=16), "data"), s(tcp(b"data", ack=2**32 - 16))],
        {"data": NOT_AS_IS},
    )


def _must_hold_datagrams() -> Iterator[Scenario]:
    over6 = [
        eth(IPv6(src="2001:db8::2", dst="2001:db8::1") / UDP(sport=53, dport=4000) / Raw(data))
        for data in (b"one", b"two")
    ]
    yield _must_be_held(
        "UDP over IPv6 that differs", [p(over6[0], "udp"), s(over6[1])], {"udp": HELD}, asks=1
    )
    tagged = [eth(ip(id=7) / UDP(sport=53, dport=4000) / Raw(data), vlan=5) for data in (b"one", b"two")]
    yield _must_be_held(
        "UDP in a VLAN that differs", [p(tagged[0], "udp"), s(tagged[1])], {"udp": HELD}, asks=1
    )
    pieces = [
        [eth(piece) for piece in fragment(ip(id=9) / UDP(sport=53, dport=4000) / Raw(data), 1000)]
        for data in (b"x" * 1200 + b"one", b"x" * 1200 + b"two")
    ]
    yield _must_be_held(
        "a fragmented datagram that differs in its second fragment",
        [p(pieces[0][0], "fragment 1"), p(pieces[0][1], "fragment 2"), *map(s, pieces[1])],
        {"fragment 1": HELD, "fragment 2": HELD},
        asks=1,
    )
    echo = [eth(ip(id=7) / ICMP(type=0, id=1, seq=1) / Raw(data)) for data in (b"one", b"two")]
    yield _must_be_held(
        "echo replies that differ", [p(echo[0], "reply"), s(echo[1])], {"reply": HELD}, asks=1
    )


def _without_need(
    name: str,
    steps: list[Step],
    right: dict[str, set[State]] | None = None,
    asks: int = 0,
    in_order: bool = True,
) -> Scenario:
    settled = [*steps, Pause(2 * TIMEOUT_MS + 2 * SCAN_MS)]
    return Scenario(name, NO_NEED, settled, right or {}, asks, in_order=in_order)


def _no_need() -> Iterator[Scenario]:
    one, two = udp(b"one"), udp(b"two")
    yield _without_need(
        "UDP: the PVM's 1 and 2, then the SVM's 1 and 2", [p(one, "1"), p(two, "2"), s(one), s(two)]
    )
    yield _without_need(
        "UDP: the SVM's 2 before its 1",
        [p(one, "1"), p(two, "2"), s(two), s(one)],
        in_order=False,
    )
    yield _without_need(
        "equal data cut differently, the PVM's acknowledgement ahead for a moment",
        [
            *(*opened(), p(tcp(b"abcdef", ack=5000), "abcdef")),
            *(s(tcp(b"abc")), s(tcp(b"def", seq=ISN + 4)), s(tcp(seq=ISN + 7, ack=5000, flags="A"))),
        ],
        {"abcdef": {State.LEFT, State.CLAMPED}},
    )
    yield _without_need(
        "a retransmission that joins old and new data",
        [*opened(), *both(tcp(b"old"), "old"), p(tcp(b"oldnew"), "old + new"), s(tcp(b"new", seq=ISN + 4))],
    )
    acks = [tcp(ack=ack, flags="A") for ack in (4100, 4200)]
    yield _without_need(
        "the PVM acknowledges twice what the SVM acknowledges once",
        [*opened(), p(acks[0], "4,100"), p(acks[1], "4,200"), s(acks[1])],
        {"4,100": {State.LEFT, State.HELD, State.CLAMPED}},
    )
    yield _without_need(
        "the SVM acknowledges twice what the PVM acknowledges once",
        [*opened(), s(acks[0]), s(acks[1]), p(acks[1], "4,200")],
    )
    yield _without_need(
        "the SVM's copy comes after the checkpoint that it caused",
        [*opened(), p(tcp(b"late"), "late"), Pause(TIMEOUT_MS + 3 * SCAN_MS), Commit(), s(tcp(b"late"))],
        asks=1,
    )
    gre = [eth(IP(src="192.0.2.2", dst="192.0.2.1", proto=47, id=n) / GRE() / Raw(b"same")) for n in (1, 2)]
    yield _without_need("GRE that differs in the IP identification alone", [p(gre[0], "gre"), s(gre[1])])
    last = 2**32 - 10
    yield _without_need(
        "data that ends exactly at 2³²",
        [*opened(last - 1), *both(tcp(b"0123456789", seq=last), "data"), *both(tcp(b"more", seq=0), "more")],
    )
    mismatch = [*opened(), p(tcp(b"A"), "A"), s(tcp(b"B"))]
    ten = [(f"after {n}", tcp(b"n", seq=ISN + 2 + n)) for n in range(10)]
    yield _without_need(
        "ten segments after a mismatch: one checkpoint is enough",
        [*mismatch, *(step for name, frame in ten for step in both(frame, name))],
        {"A": HELD} | {name: HELD for name, _ in ten},
        asks=1,
    )


def _loses() -> Iterator[Scenario]:
    many = [(f"datagram {n}", udp(b"%05d" % n)) for n in range(1200)]
    yield Scenario(
        "1,200 datagrams of the PVM before the SVM's (queue bound 1,024)",
        LOSES,
        [*(p(frame, name) for name, frame in many), *(s(frame) for _, frame in many)],
        timeout_ms=3000,
    )
    flows = [
        (f"flow {n}", eth(ip(id=7) / UDP(sport=n % 60000 + 1, dport=53 + n // 60000) / Raw(b"x")))
        for n in range(16500)
    ]
    yield Scenario(
        "16,500 flows of one datagram each (table bound 16,384)",
        LOSES,
        [*(p(frame, name) for name, frame in flows), *(s(frame) for _, frame in flows)],
        timeout_ms=3000,
    )


def scenarios() -> list[Scenario]:
    """All of them, grouped."""
    return [*_must_hold_tcp(), *_must_hold_datagrams(), *_no_need(), *_loses()]
