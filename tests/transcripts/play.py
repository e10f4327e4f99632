"""Transcripts: a comparator's case as a timed list of packets, readable by anyone who knows TCP.

One line is one event, or one thing that must come out of it:

    P S. 0 ack 1 mss 1460          the PVM sends a SYN/ACK
    S S. 0 ack 1 mss 1460          so does the SVM
    > S. 0 ack 1                   it leaves
    P . 1:1001 ack 1 win 500       the PVM sends 1000 bytes; nothing leaves
    S . 1:1001 ack 1 win 400
    > . 1:1001 ack 1 win 400       they leave, the window clamped to the SVM's
    P . 1001:1101 ack 1
    S . 1001:1101 ack 1 flip 1050  the SVM's byte at 1050 is another one
    ! payload 1049                 a divergence: its reason and stream offset
    +3s tick                       time passes
    svm_stop | svm_loaded | pvm_stop | commit | abort | hold | unprotect | failover | finish
    policy bypass                  one rule for all flows from now on: bypass, drop, compare

After each event exactly the `>` and `!` lines below it must come out, each kind in that order, and
nothing else. Sequence numbers count from the sender's own ISN (its SYN is 0), acknowledgements from the
client's. The two guests' real ISNs differ; after `svm_stop` the SVM has the PVM's. Flags are
tcpdump's: S F R P U, `.` for ACK. Payload bytes follow from their position, so both guests say the
same unless `flip`ped; or stand in quotes. Times: each event comes 10 µs after the one before,
unless the line begins with +3s, +5ms, +7us.

    P#2 ...                        another connection (client port 40002)
    P udp "data"                   also: icmp, gre, ether; words: id 7, ttl 9, pad 4
    P udp "aabbc" cut 2            a super-frame of UDP: three datagrams, of two bytes at most
    P frag 7 0 + "0123456701234567"   a fragment: ID, offset, + if more follow
    C . 1:1 ...                    a client's frame, seen from the client (its numbers count from its ISN)
    R . 1:1 ...                    likewise, as the SVM's capture has it (in the SVM's numbers)
    P isn 4000000                  from here the PVM numbers from another ISN
    P . 1 ack 1 sacks 101-201,301-401   SACK blocks, in the client's numbers as acknowledgements are
    sport 50000, urg 5, v6, vlan 7, sack, ws 7, ts 5, mptcp 99 (a key), cookie 99 (of Fast Open)
"""

import re
from typing import Any, Protocol

from models.oracle import Oracle
from models.packets import (
    ACK,
    FIN,
    PSH,
    RST,
    SYN,
    URG,
    Packet,
    checksum,
    ethernet,
    finished,
    ip,
    parse,
    partial,
    raw_options,
    sack_options,
    tcp,
    udp,
)

from colo_proxy.core.policy import PolicyRule
from colo_proxy.vocabulary import Divergence, Frame, Port

FLAGS = {"S": SYN, "F": FIN, "R": RST, "P": PSH, "U": URG, ".": ACK}
UNITS = {"s": 10**9, "ms": 10**6, "us": 10**3}
VM, CLIENT = ("192.0.2.2", "2001:db8::2"), ("192.0.2.1", "2001:db8::1")
PROTOCOLS = {"icmp": 1, "gre": 47}
WORDS = ("svm_stop", "svm_loaded", "pvm_stop", "commit", "abort", "hold", "unprotect", "failover", "finish")


class Judge(Protocol):
    """What a transcript can be played to: the compiled core and the oracle."""

    def take(self) -> list[Any]:
        """What came out since the last take."""


class Play:
    """Plays one transcript to one comparator; without one, makes frames alone."""

    def __init__(self, comparator: Judge | None, *, p_isn: int, s_isn: int, c_isn: int) -> None:
        self.comparator: Any = comparator
        self.isn = {"P": p_isn, "S": s_isn, "C": c_isn}
        self.now = 0

    def run(self, transcript: str) -> None:
        """Play all lines; raises AssertionError naming the line where something else came out."""
        lines = [(n, text.split("#  ")[0].strip()) for n, text in enumerate(transcript.splitlines(), 1)]
        lines = [(n, text) for n, text in lines if text and not text.startswith("//")]
        at = 0
        while at < len(lines):
            number, event = lines[at]
            at += 1
            wanted = []
            while at < len(lines) and lines[at][1][0] in ">!":
                wanted.append(lines[at][1])
                at += 1
            self.happen(event)
            came = [self.describe(item) for item in self.comparator.take() if self.shown(item)]
            came = [c for c in came if c[0] == "!"] + [c for c in came if c[0] == ">"]
            wanted = [w for w in wanted if w[0] == "!"] + [w for w in wanted if w[0] == ">"]
            expected = [self.wanted(line, came[i : i + 1]) for i, line in enumerate(wanted)]
            assert came == expected, f"line {number}: {event}\n  expected: {expected}\n  came:     {came}"

    @staticmethod
    def shown(item: object) -> bool:
        """Only what reaches clients, and divergences, are in a transcript."""
        return isinstance(item, Divergence) or (isinstance(item, Frame) and item.port == Port.UPLINK)

    # -------------------------------------------------------------- events

    def happen(self, line: str) -> None:
        """One event, given to the comparator."""
        words = split(line)
        step = re.fullmatch(r"\+(\d+)(s|ms|us)", words[0])
        self.now += int(step[1]) * UNITS[step[2]] if step else 10_000
        words = words[1:] if step else words
        if words[0] == "tick" or words[0] in WORDS:
            getattr(self.comparator, words[0])(self.now)
            if words[0] == "svm_stop":
                self.isn["S"] = self.isn["P"]
            return
        if words[0] == "policy":
            self.comparator.set_policies([PolicyRule({}, words[1])])
            return
        who, _, flow = words[0].partition("#")
        if words[1] == "isn":
            self.isn[who] = int(words[2])
            return
        method = {"P": "primary", "S": "secondary", "C": "uplink", "R": "received"}[who]
        frame = self.frame(who, int(flow or 0), words[1:])
        if "cut" in words:
            frame, vnet = partial(frame, int(words[words.index("cut") + 1]))
            frame = finished(frame, vnet) if isinstance(self.comparator, Oracle) else frame
            getattr(self.comparator, method)(frame, self.now, vnet)
        else:
            getattr(self.comparator, method)(frame, self.now)

    def frame(self, who: str, flow: int, words: list[str]) -> bytes:
        """The frame that a line describes."""
        said = arguments(words)
        six = "v6" in words
        vm, client = (VM[six], said.get("sport", 80)), (CLIENT[six], 40000 + flow)
        here, there = (client, vm) if who in "CR" else (vm, client)
        layout: dict[str, Any] = {"from_vm": who not in "CR", "pad": said.get("pad", 0)}
        layout["vlans"] = tuple(said[k] for k in ("vlan", "inner") if k in said)
        fields = {"ident": said.get("id", 0), "ttl": said.get("ttl", 64)}
        text = said.get("text", b"")
        ethertype = 0x86DD if six else 0x0800
        if words[0] == "udp":
            return ethernet(udp(here, there, text, **fields), ethertype, **layout)
        if words[0] in PROTOCOLS:
            return ethernet(ip(here[0], there[0], PROTOCOLS[words[0]], text, **fields), ethertype, **layout)
        if words[0] == "ether":
            return ethernet(text, 0x88B5, **layout)
        if words[0] == "arp":
            return ethernet(bytes(28), 0x0806, **layout)
        if words[0] == "frag":
            word = int(words[2]) // 8 | (0x2000 if "+" in words else 0)
            data = ip(here[0], there[0], 17, text, ident=int(words[1]), fragment=word)
            return ethernet(data, ethertype, **layout)
        return ethernet(self.segment(who, words, said, here, there, fields), ethertype, **layout)

    def segment(  # noqa: PLR0917  one line of a transcript, in its parts
        self, who: str, words: list[str], said: dict[str, Any], here: Any, there: Any, fields: dict[str, int]
    ) -> bytes:
        """The TCP segment that a line describes."""
        flags = sum(FLAGS[letter] for letter in words[0])
        first, _, last = re.sub(r"\(.*", "", words[1]).partition(":")
        payload = said.get("text") or stream(int(first) + bool(flags & SYN), int(last or first) - int(first))
        if "flip" in said:
            at = said["flip"] - int(first)
            payload = payload[:at] + bytes([payload[at] ^ 0x20]) + payload[at + 1 :]
        peer = {"C": "P", "R": "S"}.get(who, "C")
        return tcp(
            here,
            there,
            seq=self.isn["C" if who == "R" else who] + int(first),
            ack=self.isn[peer] + said["ack"] if "ack" in said else 0,
            flags=flags,
            window=said.get("win", 10000),
            options=options(words, said, self.isn[peer]),
            payload=payload,
            urgent=said.get("urg", 0),
            **fields,
        )

    # -------------------------------------------------------------- what came out

    def describe(self, item: Any) -> str:
        """A frame or divergence as a transcript's line."""
        if isinstance(item, Divergence):
            return f"! {item.reason.label} {item.stream_offset}"
        packet = parse(item.data)
        if packet.kind == "tcp":
            data = item.data[packet.l4 : packet.end]
            head = pseudo_of(packet, len(data))
            assert checksum(head + data) == 0, "a released frame has a wrong TCP checksum"
            base = self.isn["P"]
            first = (packet.seq - base + 2**31) % 2**32 - 2**31
            letters = "".join(letter for letter, bit in FLAGS.items() if packet.flags & bit)
            ack = f" ack {(packet.ack - self.isn['C']) % 2**32}" if packet.flags & ACK else ""
            start = first + bool(packet.flags & SYN)
            shape = f"{first}:{first + len(packet.payload)}" if packet.payload else f"{first}"
            text = "" if packet.payload == stream(start, len(packet.payload)) else f" {packet.payload!r}"
            where = f"#{packet.dport - 40000}" if packet.dport != 40000 else ""
            for _, blocks in sack_options(raw_options(packet)):
                edges = [[(edge - self.isn["C"]) % 2**32 for edge in block] for block in blocks]
                ack += " sacks " + ",".join(f"{left}-{right}" for left, right in edges)
            sport = f" sport {packet.sport}" if packet.sport != 80 else ""
            stamp = packet.options.get(8, b"")
            stamps = f" ts {int.from_bytes(stamp[:4])}" if len(stamp) == 8 else ""
            return f">{where} {letters} {shape}{ack}{sport}{stamps} win {packet.window}{text}"
        if packet.kind == "fragment":
            more = " +" if packet.more else ""
            data = item.data[packet.l4 : packet.end]
            return f"> frag {packet.fragment_id} {packet.fragment_offset}{more} {data!r}"
        if packet.kind == "house":
            return "> arp"
        if packet.kind == "ether":
            return f"> ether {item.data[packet.l3 :]!r}"
        if packet.kind == "udp" and not (item.vnet and item.vnet[0] & 1):
            head = packet.source + packet.target + (packet.end - packet.l4).to_bytes(4) + (17).to_bytes(4)
            assert checksum(head + item.data[packet.l4 : packet.end]) == 0, "a wrong UDP checksum left"
        word = "udp" if packet.kind == "udp" else {1: "icmp", 47: "gre"}[packet.protocol]
        payload = packet.payload if packet.kind == "udp" else item.data[packet.l4 : packet.end]
        where = f"#{packet.dport - 40000}" if packet.kind == "udp" and packet.dport != 40000 else ""
        ident = int.from_bytes(item.data[packet.l3 + 4 : packet.l3 + 6]) if len(packet.source) == 4 else 0
        sport = f" sport {packet.sport}" if packet.kind == "udp" and packet.sport != 80 else ""
        return f">{where} {word} {payload!r}" + (f" id {ident}" if ident else "") + sport

    def wanted(self, line: str, came: list[str]) -> str:
        """An expectation in the form of `describe`; a window or TSval that it leaves out is what came."""
        words = split(line)
        if words[0] == "!":
            return line
        if words[1] in ("udp", "icmp", "gre", "ether", "arp", "frag"):
            return re.sub(r'"(.*)"', lambda match: repr(match[1].encode()), line)
        said = arguments(words)
        text = f" {said['text']!r}" if "text" in said else ""
        left_out = []
        for word in ("ts", "win"):
            number = re.compile(rf" {word} \d+")
            found = number.search(line) or (number.search(came[0]) if came else None)
            left_out.append(found[0] if found else "")
        line = re.sub(r'\(\d+\)| ts \d+| win \d+| *".*"', "", line)
        return line + "".join(left_out) + text


def pseudo_of(packet: Packet, length: int) -> bytes:
    """The pseudo-header of a parsed TCP segment."""
    return packet.source + packet.target + (0).to_bytes(2) + length.to_bytes(2) + (6).to_bytes(4)


def split(line: str) -> list[str]:
    """Words; what is in quotes stays one word."""
    return re.findall(r'"[^"]*"|\S+', line)


def arguments(words: list[str]) -> dict[str, Any]:
    """Words that take a number, and the quoted text."""
    found: dict[str, Any] = {}
    for at, word in enumerate(words):
        if word.startswith('"'):
            found["text"] = word[1:-1].encode()
        elif word in (
            "ack",
            "win",
            "mss",
            "ws",
            "ts",
            "urg",
            "flip",
            "sport",
            "pad",
            "id",
            "ttl",
            "vlan",
            "inner",
            "mptcp",
            "cookie",
        ):
            found[word] = int(words[at + 1])
    return found


def options(words: list[str], said: dict[str, Any], base: int) -> bytes:
    """TCP options of a line; SACK blocks count from `base`."""
    data = b""
    if "sacks" in words:
        edges = [int(edge) for edge in re.split("[-,]", words[words.index("sacks") + 1])]
        data += bytes([5, 2 + 4 * len(edges)])
        data += b"".join(((base + edge) % 2**32).to_bytes(4) for edge in edges)
    if "mss" in said:
        data += b"\x02\x04" + said["mss"].to_bytes(2)
    if "ws" in said:
        data += b"\x03\x03" + bytes([said["ws"]])
    if "sack" in words:
        data += b"\x04\x02"
    if "mptcp" in said:
        data += b"\x1e\x0c\x01\x81" + said["mptcp"].to_bytes(8)
    if "cookie" in said:
        data += b"\x22\x0a" + said["cookie"].to_bytes(8)
    if "ts" in said:
        data += b"\x08\x0a" + said["ts"].to_bytes(4) + bytes(4)
    return data


def stream(start: int, length: int) -> bytes:
    """The bytes that both guests say at these positions."""
    return bytes((n * 7 + n // 251) % 251 for n in range(start, start + length))
