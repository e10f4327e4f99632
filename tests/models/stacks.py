"""Conversations of two guests that serve the same streams, each in its own way.

A `Scenario` (scenario.py) is played by a small simulation in which one seeded random generator
decides everything: the PVM and the SVM have the same bytes to say, their own ISNs, timestamp clocks
and IP IDs, cut the stream differently, repeat themselves, acknowledge at their own pace, and what
they send is lost or reordered before it is seen. A checkpoint copies the PVM's state over the SVM's,
as the VMM would. The result is a list of `Event`s in which nothing is left to chance, so that a
failing one can be cut down.

Past 400 lines: one simulation, whose parts share one random generator.
"""

import copy
import random
from dataclasses import dataclass, field
from ipaddress import ip_address

from models.losses import Block, Receiver, lossy_upload
from models.packets import (
    ACK,
    FIN,
    PSH,
    RST,
    SYN,
    URG,
    ethernet,
    fragments,
    ip,
    parse,
    partial,
    tcp,
    udp,
    with_options,
)
from models.promise import DRAWN
from models.scenario import Event, Scenario

from colo_proxy.core.policy import PolicyRule

VM = {False: "192.0.2.2", True: "2001:db8::2"}
CLIENT = {False: "192.0.2.1", True: "2001:db8::1"}
PORTS = range(5000, 5008)  # few, so that what one guest draws is often another socket's of the other guest
WAYS = ("bypass", "bypass", "drop", "compare")
VM_OPENS = ("vm", "vm-other-port", "vm-crossing-ports")


@dataclass
class Line:
    """One guest's end of one TCP connection: what a checkpoint copies."""

    isn: int
    clock: int
    sport: int
    dport: int
    incarnation: int = 0
    isns: list[int] = field(default_factory=list)  # of its SYN/ACKs, where these are repeated with others
    opened: bool = False
    form: int = 0  # how often the SYN has been repeated with fewer options
    answered: bool = False  # a SYN/ACK was sent after a SYN (simultaneous open)
    sent: int = 1  # the next position to send
    acked: int = 1  # what this guest acknowledges, counted from the client's ISN
    window: int = 20000
    closed: bool = False
    lost: list[tuple[int, int]] = field(default_factory=list)
    cuts: list[tuple[int, int]] = field(default_factory=list)  # what was sent last, as it was cut
    sacked: list[tuple[int, int]] = field(default_factory=list)  # blocks, the latest first, as `acked` counts
    fin_lost: bool = False
    difference: str = ""


@dataclass
class Guest:
    """One guest: its connections, how far it is in each datagram flow, and the wire in front of it."""

    lines: list[Line]
    style: str
    said: list[int]
    ident: int
    asked: list[int] = field(default_factory=list)  # how much each socket has sent, of those that draw a port
    ports: dict[int, int] = field(default_factory=dict)  # and the ports they have drawn
    queue: list[tuple[bytes, bytes | None]] = field(default_factory=list)  # with virtio-net headers


class Simulation:
    """Plays one scenario; `events()` gives the list."""

    def __init__(self, scenario: Scenario) -> None:
        self.of = scenario
        self.random = random.Random(scenario.seed)
        self.now = 1_000_000
        self.events: list[Event] = []
        self.client_isn = [self._isn() for _ in range(8)]
        self.client_sent = [1] * 8
        self.length = self.random.choice((0, 1, 10, 500, 3000, 120_000 if scenario.bulk else 1500))
        self.scale = self.random.choice((None, 0, 2, 7))
        self.stamps = self.random.random() < 0.5
        self.differs_at = self.random.randint(1, max(self.length, 1))
        self.altered_at = self.random.choice((self.differs_at, self.length))  # by the PVM, now and then
        marks = self.random.choice(((301,), (3, 301), (40, 41, 390)))
        self.urgent = marks if scenario.urgent and self.length > 400 else ()
        self.vlans = tuple(self.random.randint(1, 4000) for _ in range(scenario.vlans))
        flows = 2 if scenario.datagrams else 0
        self.datagrams = [[self._datagram() for _ in range(12)] for _ in range(flows)]
        self.chance = random.Random(f"drawn {scenario.seed}")  # apart: other scenarios stay what they were
        # Captures, of which the SVM's shows what it has received, know no checkpoint.
        self.copies = bool(scenario.seed & 1) and not (scenario.checkpoints or scenario.failover)
        sockets = self.chance.randint(1, 8) if scenario.drawn else 0
        said = (b"ask", self.chance.randbytes(40), self.chance.randbytes(300))
        self.sockets = [[self._asks(said) for _ in range(self.chance.randint(1, 3))] for _ in range(sockets)]
        self.bursts = random.Random(f"bursts {scenario.seed}")  # likewise
        if scenario.super_frames:
            self.datagrams = [self._in_bursts() for _ in self.datagrams]
            self.sockets = [[data for _, data in self._in_bursts()] for _ in self.sockets]
        lines = [Line(self._isn(), 1000, 80, 40000 + i) for i in range(scenario.connections)]
        if scenario.opening == "vm-crossing-ports":  # to one destination; the SVM is one port ahead
            lines = [Line(self._isn(), 1000, 33000 + i, 443) for i in range(scenario.connections)]
        elif scenario.opening in VM_OPENS:
            lines = [Line(self._isn(), 1000, 33000 + i, 443 + i) for i in range(scenario.connections)]
        styles = ["tiny", "mss", "mixed", "super"] if scenario.bulk else ["mss", "mixed", "mixed"]
        if self.length <= 500:
            styles.append("tiny")
        self.p = Guest(lines, self.random.choice(styles if self.length < 5000 else ["super"]), [0] * flows, 7)
        self.s = Guest(copy.deepcopy(lines), self.random.choice(styles), [0] * flows, 9000)
        self.p.asked, self.s.asked = [0] * sockets, [0] * sockets
        for line in self.s.lines:
            line.difference = scenario.difference
            if scenario.opening != "midstream":
                line.isn, line.clock = self._isn(), 900_000
            if scenario.opening == "vm-other-port":
                line.sport += 1000
            elif scenario.opening == "vm-crossing-ports":
                line.sport += 1
        if scenario.opening == "midstream":
            for line in (*self.p.lines, *self.s.lines):
                line.opened = line.answered = True

    def _isn(self) -> int:
        return self.random.choice((self.random.randrange(2**32), 2**32 - self.random.randrange(3000)))

    def _datagram(self) -> tuple[str, bytes]:
        kind = self.random.choice(("udp", "udp", "icmp", "gre"))
        return kind, self.random.randbytes(self.random.choice((0, 1, 8, 40, 300)))

    def _in_bursts(self) -> list[tuple[str, bytes]]:
        """Datagrams of which some may share a super-frame: equally long, but for the last."""
        found: list[tuple[str, bytes]] = []
        for _ in range(self.bursts.randint(1, 6)):
            size = self.bursts.choice((1, 8, 40, 300))
            sizes = [size] * self.bursts.randint(1, 6)
            sizes[-1] = self.bursts.choice((size, self.bursts.randint(1, size)))
            found += [("udp", self.bursts.randbytes(each)) for each in sizes]
            if self.bursts.random() < 0.3:
                found.append(self.bursts.choice(found))
            if self.bursts.random() < 0.2:
                found.append(("icmp", b"between"))
        return found

    def _burst(self, said: list[bytes]) -> int:
        """How many of what is to be sent next go into one super-frame."""
        count, most = 0, self.bursts.choice((1, 2, 3, 8))
        while count < min(most, len(said)) and 0 < len(said[count]) <= len(said[0]):
            count += 1
            if len(said[count - 1]) < len(said[0]):
                break
        return max(count, 1)

    def _asks(self, said: tuple[bytes, ...]) -> bytes:
        """Mostly something that no other socket asks."""
        return self.chance.choice(said) + (b"" if self.chance.random() < 0.2 else self.chance.randbytes(4))

    # -------------------------------------------------------------- the schedule

    def run(self) -> list[Event]:
        """The whole conversation."""
        if self.of.idle and self.of.opening == "midstream":
            for number in range(self.of.connections):
                self._keep_alive(number)
        for flow in range(len(self.datagrams)):  # which clients have opened
            self._answer(53 + flow, 5000)
        for _ in range(self.of.steps):
            self._pass()
            # Where guests have numbers of their own, those of an opening that was bypassed mean nothing.
            if self.of.changes and self.of.opening == "midstream" and self.chance.random() < 0.07:
                self._change_rules()
            if self.of.stuck and self.of.connections and self.random.random() < 0.08:
                self._stuck(self.random.randrange(self.of.connections))
            if self.of.scattered and self.of.connections and self.random.random() < 0.06:
                self._scatter(self.random.randrange(self.of.connections))
            if self.of.lossy and self.of.connections and self.chance.random() < 0.08:
                self._lossy(self.chance.randrange(self.of.connections))
            if self.of.tries and self.of.opening == "client" and self.of.connections:
                if self.chance.random() < 0.3:
                    self._cross(self.chance.randrange(self.of.connections))
            chosen = self.random.random()
            if chosen < 0.42:
                self._step(self.p, "primary")
            elif chosen < 0.84:
                self._step(self.s, "secondary")
            elif chosen < 0.92:
                self._client()
            elif chosen < 0.96 and self.of.checkpoints and not self.of.observe:
                if self._checkpoint():
                    break
            else:
                self.now += self.random.choice(
                    (300_000,) * 4 + (5_300_001,) * 4 + (1_200_000_003, 3_000_000_007)
                )
                self._event("tick")
        self._deliver(self.p, "primary", everything=True)
        self._deliver(self.s, "secondary", everything=True)
        if self.of.failover and not self.of.observe:
            self._event("failover")
            for _ in range(6):
                self._step(self.s, "secondary")
            self._deliver(self.s, "secondary", everything=True)
        elif self.of.observe or self.random.random() < 0.3:
            self._event("finish")
        return self.events

    def ports(self) -> dict[tuple[object, ...], int]:
        """The flows of the SVM whose source port is another one than on the PVM, and that port."""
        six = self.of.ipv6
        found: dict[tuple[object, ...], int] = {}
        for p, s in zip(self.p.lines, self.s.lines, strict=True):
            local, remote = ip_address(VM[six]).packed, ip_address(CLIENT[six]).packed
            found["tcp", 6, self.vlans, local, s.sport, remote, s.dport] = p.sport
        return found

    def _change_rules(self) -> None:
        """What is compared is another thing from now on."""
        one = PolicyRule({"protocol": self.chance.choice(("tcp", "udp", "gre"))}, self.chance.choice(WAYS))
        rest = PolicyRule({}, "bypass")
        rules = self.chance.choice(((), (), (one,), (one,), (one, rest), (rest,)))
        self.now += 1_001
        self.events.append(Event("set_policies", self.now, rules=rules))

    def _pass(self) -> None:
        self.now += self.random.choice((1_003, 40_009, 220_007))

    def _event(self, kind: str, frame: bytes | None = None, vnet: bytes | None = None) -> None:
        self.now += 1_001
        self.events.append(Event(kind, self.now, frame, vnet))

    def _deliver(self, guest: Guest, side: str, everything: bool = False) -> None:
        """The wire between guest and proxy: in order, or a little out of it."""
        while guest.queue and (everything or len(guest.queue) > 2 or self.random.random() < 0.7):
            at = self.random.randrange(min(3, len(guest.queue))) if self.of.disorder else 0
            self._event(side, *guest.queue.pop(at))

    def _client(self) -> None:
        """Some client sends more."""
        if self.of.connections:
            at = self.random.randrange(self.of.connections)
            self.client_sent[at] += self.random.choice((1, 100, 1400))
            if self.of.acknowledged:
                self._acknowledge(at, self.p.lines[at])

    def _acknowledge(self, number: int, line: Line) -> None:
        """A client acknowledges: what it has, or what it cannot have."""
        reach = self.random.choice(
            (line.sent, line.sent, self.random.randint(0, line.sent), line.sent + 5000)
        )
        self._client_sends("uplink", number, line, reach)
        if self.copies and self.chance.random() < 0.7:
            self._client_sends("received", number, self.s.lines[number], reach)

    def _client_sends(self, kind: str, number: int, line: Line, reach: int) -> None:
        """An acknowledgement to the guest whose line this is."""
        segment = tcp(
            (CLIENT[self.of.ipv6], line.dport),
            (VM[self.of.ipv6], line.sport),
            seq=self.client_isn[number] + line.incarnation * 77_777 + self.client_sent[number],
            ack=line.isn + reach,
            flags=ACK,
            window=20000,
        )
        ethertype = 0x86DD if self.of.ipv6 else 0x0800
        self._event(kind, ethernet(segment, ethertype, vlans=self.vlans, from_vm=False))

    def _stuck(self, number: int) -> None:
        """The SVM says less than the PVM, and that again: it waits to be acknowledged (RFC 9293, 3.7.4)."""
        pvm, svm = self.p.lines[number], self.s.lines[number]
        if not (pvm.opened and svm.opened) or pvm.closed or svm.closed or pvm.incarnation != svm.incarnation:
            return
        begin, size = svm.sent, self.random.choice((2, 100, 1460, 3000, 9000))
        for _ in range(self.random.randint(1, 2)):
            self._send_data(self.p, number, pvm, min(pvm.sent, begin), size)
        self._send_data(self.s, number, svm, begin, self.random.randint(1, size))
        for _ in range(self.random.randint(1, 3)):
            self._deliver(self.p, "primary", everything=True)
            self._deliver(self.s, "secondary", everything=True)
            self.now += self.random.choice((2_000_003, 30_000_001, 220_000_009))
            self._event("tick")
            self._send_data(self.s, number, svm, begin, svm.sent - begin)

    def _keep_alive(self, number: int) -> None:
        """An old connection is first seen by keep-alives (RFC 9293, 3.8.4), or by bare acknowledgements."""
        guests = [(self.p, "primary"), (self.s, "secondary")]
        for guest, side in self.random.choices(guests, k=self.random.randint(1, 4)):
            garbage = b"\0" if self.random.random() < 0.1 else b""
            below = 1 if garbage or self.random.random() < 0.8 else 0
            line = guest.lines[number]
            self._send(guest, number, line, line.sent - below, garbage, ACK)
            self._deliver(guest, side, everything=True)
            if self.of.checkpoints and not self.of.observe and self.random.random() < 0.1:
                for word in ("svm_stop", "pvm_stop", "svm_loaded", "commit"):
                    self._event(word)

    def _scatter(self, number: int) -> None:
        """Both say a lot at once, and each loses some: more holes than anybody remembers."""
        pvm, svm = self.p.lines[number], self.s.lines[number]
        if not (pvm.opened and svm.opened) or pvm.closed or svm.closed or pvm.incarnation != svm.incarnation:
            return
        at, size = min(pvm.sent, svm.sent), self.random.choice((1, 3, 10, 100, 700))
        room = min(self._end(pvm), self._end(svm)) - at
        pieces = [(at + size * n, size) for n in range(min(room // size, self.random.randint(3, 150)))]
        kept = self.random.choice((0.5, 0.8, 0.95))
        for again in range(self.random.randint(1, 3)):
            for guest, line in ((self.p, pvm), (self.s, svm)):
                said = [each for each in pieces if self.random.random() < kept + 0.1 * again]
                if self.of.disorder and self.random.random() < 0.5:
                    self.random.shuffle(said)
                for begin, length in said:
                    self._send_data(guest, number, line, begin, length)
                    line.sent = max(line.sent, begin + length)
                self._deliver(guest, "primary" if guest is self.p else "secondary", everything=True)
            self.now += self.random.choice((1_003, 5_300_001))
            self._event("tick")

    def _lossy(self, number: int) -> None:
        """Clients send, and each guest receives some of it."""
        guests = [(self.p, "primary"), (self.s, "secondary")]
        lines = [guest.lines[number] for guest, _ in guests]
        if (
            any(line.closed or not line.opened for line in lines)
            or lines[0].incarnation != lines[1].incarnation
        ):
            return

        def acknowledge(which: int, receiver: Receiver, blocks: list[Block]) -> None:
            guest, side = guests[which]
            lines[which].acked = receiver.acked
            self._send(guest, number, lines[which], lines[which].sent, b"", ACK, blocks)
            self._deliver(guest, side)

        receivers = [Receiver(line.acked) for line in lines]
        self.client_sent[number] = lossy_upload(self.chance, receivers, self.client_sent[number], acknowledge)

    def _checkpoint(self) -> bool:
        """All that a VMM may do; True if it ended in a failover."""
        if self.random.random() < 0.15:
            self._event(self.random.choice(("hold", "unprotect")))
            for _ in range(self.random.randrange(4)):
                self._step(self.p, "primary")
                self._step(self.s, "secondary")
            for line in self.p.lines:
                line.answered = line.opened
        self._deliver(self.s, "secondary", everything=True)
        self._event("svm_stop")
        for _ in range(self.random.randrange(3)):
            self._step(self.p, "primary")
        self._deliver(self.p, "primary", everything=True)
        self._event("pvm_stop")
        before = copy.deepcopy(self.s)
        if self.random.random() < 0.15:  # it never loads the state
            ending = "failover" if self.of.failover else "abort"
            self._event(ending)
            return ending == "failover"
        self._event("svm_loaded")
        style, ident = self.s.style, self.s.ident
        self.s = copy.deepcopy(self.p)
        self.s.style, self.s.ident, self.s.queue = style, ident, []
        for _ in range(self.random.randrange(4)):
            self._pass()
            self._step(self.s, "secondary")
            if self.random.random() < 0.3:
                self._step(self.p, "primary")
        drawn = self.random.random()
        if drawn < 0.15:
            self._event("abort")
            self.s = before
        elif drawn < 0.2 and self.of.failover:
            self._event("failover")
            for _ in range(4):
                self._step(self.s, "secondary")
            return True
        else:
            self._event("commit")
        return False

    # -------------------------------------------------------------- what a guest says

    def _step(self, guest: Guest, side: str) -> None:
        flows = len(guest.said)
        if guest.asked and (not (guest.lines or flows) or self.chance.random() < 0.3):
            self._ask(guest)
        elif flows and (not guest.lines or self.random.random() < 0.4):
            self._say_datagram(guest, self.random.randrange(flows))
        elif guest.lines:
            at = self.random.randrange(len(guest.lines))
            self._say_segment(guest, at, guest.lines[at])
        self._deliver(guest, side)

    def _answer(self, port: int, remote: int) -> None:
        here, there = VM[self.of.ipv6], CLIENT[self.of.ipv6]
        packet = udp((there, remote), (here, port), b"answer")
        ethertype = 0x86DD if self.of.ipv6 else 0x0800
        self._event("uplink", ethernet(packet, ethertype, vlans=self.vlans, from_vm=False))

    def _ask(self, guest: Guest) -> None:
        """One of the sockets sends its next datagram; before its first it draws a port."""
        open_ = [n for n, sent in enumerate(guest.asked) if sent < len(self.sockets[n])]
        if not open_:
            return
        number = open_[min(self.chance.choice((0, 0, 0, 1)), len(open_) - 1)]
        in_use = [guest.ports[n] for n in open_ if n in guest.ports]
        free = [port for port in PORTS if port not in in_use]
        port = guest.ports.setdefault(number, self.chance.choice(free))
        left = self.sockets[number][guest.asked[number] :]
        count = self._burst(left) if self.of.super_frames else 1
        data = b"".join(left[:count])
        guest.asked[number] += count
        guest.ident = (guest.ident + 1) % 2**16
        if guest is self.s and self.of.difference == "flip" and self.chance.random() < 0.1:
            data = bytes([data[0] ^ 1]) + data[1:]
        if self.chance.random() < 0.1:
            self._answer(port, DRAWN)
        if self.chance.random() > 0.02:  # or lost for good
            packet = udp((VM[self.of.ipv6], port), (CLIENT[self.of.ipv6], DRAWN), data, ident=guest.ident)
            self._hand_over(guest, packet, 0.3, len(left[0]) if count > 1 else 0)

    def _say_datagram(self, guest: Guest, flow: int) -> None:
        at = guest.said[flow]
        if at == len(self.datagrams[flow]):
            return
        guest.ident = (guest.ident + 1) % 2**16
        kind, data = self.datagrams[flow][at]
        count, size = 1, len(data)
        if self.of.super_frames and kind == "udp":
            left = [each if kind == "udp" else b"" for kind, each in self.datagrams[flow][at:]]
            count = self._burst(left)
            data = b"".join(left[:count])
        guest.said[flow] += count
        here, there = VM[self.of.ipv6], CLIENT[self.of.ipv6]
        if self.random.random() < 0.02:
            return  # lost for good
        if guest is self.s and self.of.difference == "flip" and data and self.random.random() < 0.1:
            data = bytes([data[0] ^ 1]) + data[1:]
        if kind == "udp":
            packet = udp((here, 53 + flow), (there, 5000), data, ident=guest.ident)
        elif kind == "icmp":
            packet = ip(here, there, 58 if self.of.ipv6 else 1, b"\x81\0\0\0" + data, ident=guest.ident)
        else:
            packet = ip(here, there, 47, data, ident=guest.ident)
        if self.of.extensions and self.of.ipv6 and at % 3 == 0:
            packet = with_options(packet)
        self._hand_over(guest, packet, 0.5, size if count > 1 else 0)

    def _hand_over(self, guest: Guest, packet: bytes, cut: float, burst: int = 0) -> None:
        """A datagram goes to the wire: whole, in fragments, or with its checksum left to others.

        With `burst` it is a super-frame, of datagrams of that size.
        """
        if burst:
            guest.queue.append(partial(self._ether(packet, padded=False), burst))
        elif self.of.fragments and len(packet) > 60 and self.random.random() < cut:
            least = len(packet) // 960 + 1  # not more than 128 of one datagram (F2)
            most = least + (20 if cut > 0.1 else 100)
            pieces = fragments(packet, guest.ident, lambda: 8 * self.random.randint(least, most))
            if self.of.disorder:
                self.random.shuffle(pieces)
                if self.random.random() < 0.1:  # said again, or otherwise (F2)
                    again = self.random.choice(pieces)
                    change = bytes([again[-1] ^ self.random.randint(0, 1)])
                    pieces.insert(self.random.randint(0, len(pieces)), again[:-1] + change)
            guest.queue += [(self._ether(piece), None) for piece in pieces]
        elif self.of.offload and self.random.random() < 0.7:
            frame = self._ether(packet, padded=False)
            size, whole = self.random.choice((1, 3, 100, 536, 1000)), parse(frame)
            segments = whole.kind == "tcp" and len(whole.payload) > size and not whole.flags & (SYN | RST)
            guest.queue.append(partial(frame, size if segments else 0))
        else:
            guest.queue.append((self._ether(packet), None))

    def _say_segment(self, guest: Guest, number: int, line: Line) -> None:
        if not line.opened:
            self._open(guest, number, line)
            return
        if self._repeats(number, line):
            line.form += self.random.random() < 0.7
            self._send(guest, number, line, 0, b"", SYN)
            self._deliver(guest, "primary" if guest is self.p else "secondary", everything=True)
            return
        if line.isns and line.sent == line.acked == 1 and self.random.random() < 0.2:
            self._try_again(guest, number, line)
            return
        if self._refused(number, line):
            self._again(guest, number, line)
            return
        if self.of.opening in (*VM_OPENS, "simultaneous") and not line.answered:
            line.answered = True
            if self.of.opening == "simultaneous":
                self._send(guest, number, line, 0, b"", SYN | ACK)
                return
        if guest is self.s and not self.p.lines[number].opened:
            return  # no client has seen a SYN that the PVM did not send
        if self.random.random() < 0.5:
            line.acked = min(self.client_sent[number], line.acked + self.random.choice((1, 100, 1400, 9000)))
        if self.random.random() < 0.2:
            line.window = self.random.choice((0, 1, 500, 20000, 65535))
        if line.closed and self.random.random() < 0.05:
            self._send(guest, number, line, line.sent, b"", RST)  # the answer to a stray segment
            return
        chosen = self.random.random()
        end = self._end(line)
        if line.fin_lost and chosen < 0.5:
            line.fin_lost = False
            self._send(guest, number, line, line.sent - 1, b"", FIN | ACK)
        elif line.lost and chosen < 0.4:
            at, length = line.lost.pop(0)
            self._send_data(guest, number, line, at, length)
        elif chosen < 0.15 or (line.closed and chosen < 0.8):
            again = 1 if chosen > 0.05 else self.random.choice((2, 3))
            for _ in range(again):  # an acknowledgement, or duplicates of one
                self._send(guest, number, line, line.sent - (chosen < 0.02), b"", ACK)
        elif self.of.again and chosen < 0.33 and line.cuts:
            self._repeat(guest, number, line)
        elif chosen < 0.22 and line.sent > 1:
            at = self.random.randint(max(1, line.sent - 3000), line.sent)
            self._send_data(guest, number, line, at, self.random.randint(0, 2000))
        elif line.sent < end:
            self._send_data(guest, number, line, line.sent, self._size(guest))
        elif not line.closed and self.random.random() < 0.4:
            self._close(guest, number, line)
        elif line.closed and self._reusable(line):
            self._again(guest, number, line)

    def _reusable(self, line: Line) -> bool:
        return self.of.reuse and line.incarnation < 3 and not self.of.disorder

    def _repeats(self, number: int, line: Line) -> bool:
        """Nobody answers the SYN: it is repeated, each time with fewer options."""
        if not self.of.fewer or self.of.opening not in VM_OPENS or line.answered or self.of.disorder:
            return False
        forms = (self.of.seed // 32 + number + line.incarnation) % 4
        return line.form < forms and self.random.random() < 0.9

    def _refused(self, number: int, line: Line) -> bool:
        """The client refuses the SYN, of which guests say nothing: they try again, as often as each other."""
        unlucky = (self.of.seed // 8 + number + line.incarnation) % 3 == 0
        return unlucky and self.of.opening in VM_OPENS and not line.answered and self._reusable(line)

    def _again(self, guest: Guest, number: int, line: Line) -> None:
        """The next connection on the same ports: the guest has bound its own."""
        fresh = Line(self._isn(), line.clock, line.sport, line.dport, line.incarnation + 1)
        fresh.difference = line.difference
        guest.lines[number] = fresh

    def _even(self, number: int) -> bool:
        """Has each connection but this one been opened by both guests, or by neither?"""
        pairs = [pair for at, pair in enumerate(zip(self.p.lines, self.s.lines, strict=True)) if at != number]
        return all((one.incarnation, one.opened) == (two.incarnation, two.opened) for one, two in pairs)

    def _repeat(self, guest: Guest, number: int, line: Line) -> None:
        """Some of what was sent last, as it was cut then, or joined; or one octet, as in a keep-alive."""
        first = self.random.randrange(len(line.cuts))
        at = line.cuts[first][0]
        _, begin, length = max(
            (sum(cut), *cut) for cut in line.cuts[first : first + self.random.randint(1, 3)]
        )
        if self.random.random() < 0.15:
            self._send_data(guest, number, line, line.sent - 1, 1)
        else:
            self._send_data(guest, number, line, at, min(begin + length - at, 65_000))

    def _open(self, guest: Guest, number: int, line: Line) -> None:
        if self.of.opening == "vm-crossing-ports":
            before = self.p.lines[number - 1].opened or self.p.lines[number - 1].incarnation
            if not self._even(number) or (number and not before):
                return  # which belongs to which is told by their order alone
        self._deliver(guest, "primary" if guest is self.p else "secondary", everything=True)
        flags = SYN if self.of.opening in (*VM_OPENS, "simultaneous") else SYN | ACK
        size = min(self.random.choice((0, 1, 5)), self._end(line) - 1) if self.of.early else 0
        self._send(guest, number, line, 0, self._bytes(line, 1, size), flags)
        line.sent += size
        if self.of.tries and flags & ACK:
            self._try_again(guest, number, line)
        self._deliver(guest, "primary" if guest is self.p else "secondary", everything=True)
        line.opened = True

    def _try_again(self, guest: Guest, number: int, line: Line) -> None:
        """The client's SYN came again, and it takes any of the answers (SYN cookies: RFC 4987, 3.6).

        Either guest alone may have forgotten the former answer, or both.
        """
        line.isns = line.isns or [line.isn]
        if (self.of.seed // 16) % 3 == (1 if guest is self.p else 2):
            return
        for _ in range(self.random.choice((0, 1, 1, 2, 5))):
            near = self.random.choice((-2000, 2000, 700, -(2**28), 2**28))
            line.isn = (line.isn + near + self.random.randrange(500)) % 2**32
            line.isns.append(line.isn)
            self._send(guest, number, line, 0, b"", SYN | ACK)
        if guest is self.p and self.random.random() < 0.7:
            line.isn = self.random.choice(line.isns)
            self._deliver(guest, "primary", everything=True)
            self._acknowledge(number, line)
        elif self.random.random() < 0.5:
            line.isn = self.random.choice(line.isns)

    def _cross(self, number: int) -> None:
        """Clients acknowledge a SYN/ACK while the SVM sends another, and it goes on with either.

        Of its first segments, some are swapped or lost.
        """
        pvm, line, choose = self.p.lines[number], self.s.lines[number], self.chance.choice
        even = pvm.opened and line.opened and pvm.incarnation == line.incarnation
        if not even or line.closed or not line.sent == line.acked == 1:
            return
        self._deliver(self.s, "secondary", everything=True)
        line.isns = line.isns or [line.isn]
        kept = line.isn
        if self.chance.random() < 0.8:
            self._acknowledge(number, pvm)
        for _ in range(choose((0, 1, 1, 2))):
            self.now += choose((1_003, 40_000_000, 98_900_000, 99_998_999, 150_000_007))
            line.isn = (line.isn + choose((-2000, 2000, 700, 536, 2**28)) + choose((0, 0, 300))) % 2**32
            line.isns.append(line.isn)
            self._send(self.s, number, line, 0, b"", SYN | ACK)
            self._deliver(self.s, "secondary", everything=True)
            if self.chance.random() < 0.3:
                self._acknowledge(number, pvm)
        line.isn = choose((kept, kept, line.isn, choose(line.isns)))
        if self.chance.random() < 0.3:
            self._send(self.s, number, line, 1, b"", ACK)
        for _ in range(choose((0, 2, 2, 3))):
            if line.sent < self._end(line):
                self._send_data(self.s, number, line, line.sent, self._size(self.s))
        self.chance.shuffle(self.s.queue)
        if self.s.queue and self.chance.random() < 0.3:
            self.s.queue.pop(0)
            line.lost.append((1, line.sent - 1))
        self._deliver(self.s, "secondary", everything=True)

    def _close(self, guest: Guest, number: int, line: Line) -> None:
        line.closed = True
        kind = (self.of.seed + line.incarnation) % 4
        if line.difference == "rst-for-fin":
            kind = 3 if kind == 0 else 0
        if kind < 3:
            data = self._bytes(line, line.sent - 1, 1) if kind == 2 and line.sent > 1 else b""
            line.fin_lost = self.of.lossy and self.chance.random() < 0.4
            if not line.fin_lost:
                self._send(guest, number, line, line.sent - len(data), data, FIN | ACK)
            line.sent += 1
        else:
            text = b"why" if self.of.seed % 5 == 0 else b""  # RFC 9293, section 3.5.3
            if text and self.random.random() < 0.1:
                text = b"how"
            self._send(guest, number, line, line.sent, text, RST | (ACK if self.of.seed & 1 else 0))

    def _end(self, line: Line) -> int:
        """One past the last byte that this guest has to say."""
        end = self.length + 1
        if line.difference == "tail":
            return min(end, self.differs_at)
        return end + 10 if line.difference == "extra" else end

    def _size(self, guest: Guest) -> int:
        return {
            "tiny": self.random.randint(1, 8),
            "mss": 536,
            "mixed": self.random.choice((1, 100, 536, 1460, 2920)),
            "super": self.random.choice((1460, 30_000, 65_000)),
        }[guest.style]

    def _bytes(self, line: Line, at: int, length: int) -> bytes:
        data = bytearray((n * 7 + n // 251 + line.incarnation) % 251 for n in range(at, at + length))
        if line.difference == "flip" and at <= self.differs_at < at + length:
            data[self.differs_at - at] ^= 0x55
        return bytes(data)

    def _send_data(self, guest: Guest, number: int, line: Line, at: int, length: int) -> None:
        length = max(0, min(length, self._end(line) - at, max(line.sent, at + length) - at))
        if line.closed:
            length = max(0, min(length, line.sent - 1 - at))
        line.sent = max(line.sent, at + length)
        flags = ACK | (PSH if self.random.random() < 0.3 else 0)
        if self.random.random() < 0.08 and length:
            line.lost.append((at, length))
            return
        data = self._bytes(line, at, length)
        if self.of.again and length:
            line.cuts = [*line.cuts[-7:], (at, length)]
            other = self.altered_at - at
            if guest is self.p and 0 <= other < length and self.random.random() < 0.4:
                data = data[:other] + bytes([data[other] ^ 0x77]) + data[other + 1 :]
        self._send(guest, number, line, at, data, flags)

    def _send(
        self,
        guest: Guest,
        number: int,
        line: Line,
        at: int,
        data: bytes,
        flags: int,
        blocks: list[Block] | None = None,
    ) -> None:
        options = b""
        if flags & SYN:
            mss = 1400 if line.difference == "syn-options" else 1460
            options = b"\x02\x04" + mss.to_bytes(2) + (b"" if line.form else b"\x04\x02")
            options += b"" if self.scale is None or line.form > 1 else b"\x03\x03" + bytes([self.scale])
        if self.stamps and not (flags & SYN and line.form > 2):
            options += b"\x08\x0a" + ((line.clock + self.now // 1_000_000) % 2**32).to_bytes(4) + bytes(4)
        if self.of.sacks and not flags & (SYN | RST):
            options += self._sack(number, line, self._beyond(line) if blocks is None else blocks)
        urgent = 0
        marks = [mark for mark in self.urgent if mark > at]
        if marks and not flags & (SYN | RST) and data:
            flags, urgent = flags | URG, marks[0] - at  # URG stays on until it is reached (RFC 6093)
        guest.ident = (guest.ident + 1) % 2**16
        segment = tcp(
            (VM[self.of.ipv6], line.sport),
            (CLIENT[self.of.ipv6], line.dport),
            seq=line.isn + at,
            ack=self.client_isn[number] + line.incarnation * 77_777 + line.acked if flags & ACK else 0,
            flags=flags,
            window=line.window,
            options=options,
            payload=data,
            urgent=urgent,
            ident=guest.ident,
        )
        if self.of.extensions and self.of.ipv6 and self.random.random() < 0.3:
            segment = with_options(segment)
        self._hand_over(guest, segment, 0.03 if flags & SYN == 0 else 0)

    def _beyond(self, line: Line) -> list[Block]:
        """What came beyond a hole; now and then what came twice (RFC 2883)."""
        line.sacked = [each for each in line.sacked if each[1] > line.acked]
        if self.random.random() < 0.4:
            left = line.acked // 100 * 100 + 100 * self.random.choice((-1, 1, 2, 3, 4, 5, 6))
            line.sacked.insert(0, (left, left + 100 * self.random.randint(1, 4)))
        del line.sacked[3:]
        if not line.sacked or self.random.random() < 0.2:
            return []
        return line.sacked

    def _sack(self, number: int, line: Line, blocks: list[Block]) -> bytes:
        """A SACK option (RFC 2018)."""
        if not blocks:
            return b""
        base = self.client_isn[number] + line.incarnation * 77_777
        edges = [(base + edge) % 2**32 for block in blocks for edge in block]
        pad = b"\1" * self.random.randint(0, 2)
        return pad + bytes([5, 2 + 4 * len(edges)]) + b"".join(edge.to_bytes(4) for edge in edges)

    def _ether(self, packet: bytes, padded: bool = True) -> bytes:
        pad = max(0, 46 - len(packet)) if padded and self.random.random() < 0.5 else 0
        return ethernet(packet, 0x86DD if self.of.ipv6 else 0x0800, vlans=self.vlans, pad=pad)
