"""The promise alone, checked after the fact: nothing was released that the SVM had not made.

Written apart from the oracle, and simpler: it knows nothing of order, timeouts, windows or
divergences. It keeps, for each flow, the set of all that the SVM has *made*: pairs (place in the
stream, byte), the marks SYN, FIN and RST, the highest acknowledgement, and a list of datagrams. A
commit adds all that the PVM had said before its stop. Each released frame must be made of these.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator

from models.datagrams import Reassembly, equal_form
from models.packets import ACK, FIN, RST, SYN, Packet, parse, raw_options, sack_options, with_udp_port
from models.rules import decision

from colo_proxy.core.policy import PolicyRule
from colo_proxy.vocabulary import Frame, Port

Flow = tuple[object, ...]
Number = tuple[int, int]  # which connection of a flow, and which of the ISNs of its SYN/ACKs
DRAWN = 123  # a service outside that generated guests ask, from ports that each of them draws


class PromiseBroken(AssertionError):
    """A client was told something that would be lost with the PVM."""


class Made:
    """What one guest has said on all flows, in one epoch."""

    def __init__(self) -> None:
        # flow -> of its connections, in order, the ISNs: several where a SYN/ACK is repeated with another one
        self.first: dict[Flow, list[list[int]]] = defaultdict(list)
        # What the latest SYN/ACK of a flow acknowledged; None: it had bytes, and no other ISN follows (T10a).
        self.answers: dict[Flow, int | None] = {}
        # flow -> (connection, which of its ISNs), place, byte or mark
        self.marks: dict[Flow, set[tuple[Number, object, object]]] = defaultdict(set)
        self.marked: dict[Flow, set[tuple[Number, object]]] = defaultdict(set)  # the same without what
        self.places: dict[tuple[Flow, Number], list[int]] = defaultdict(list)  # where its segments ended
        self.reach: dict[tuple[Flow, Number], int] = {}
        self.acks: dict[Flow, list[int]] = defaultdict(list)
        self.sacked: dict[Flow, list[tuple[int, int]]] = defaultdict(list)
        self.datagrams: dict[Flow, list[bytes]] = defaultdict(list)
        self.fragments = Reassembly()

    def say(self, frame: bytes, ports: dict[Flow, int]) -> None:
        """A guest says this frame. `ports` maps (flow of the SVM) to the port it has on the PVM."""
        packet = parse(frame)
        if packet.kind == "fragment":
            self.fragments.forget_other(packet)
            whole = self.fragments.add(packet, frame, 0)
            if whole is None:
                return
            packet = whole.packet
        flow = packet.flow(True)
        flow = (*flow[:4], ports.get(flow, flow[4]), *flow[5:])
        if packet.kind != "tcp":
            flow, form = known_by(packet, flow)
            self.datagrams[flow].append(form)
            return
        if packet.flags & (SYN | RST) == SYN:
            self._begin(flow, packet)
        bases = self.first[flow][-1] if self.first[flow] else [0]
        # Which ISN the guest goes on with is known afterwards: until then, any.
        for number, base in [((len(self.first[flow]), at), base) for at, base in enumerate(bases)]:
            found = marks(packet, base)
            self.marks[flow].update((number, *mark) for mark in found)
            self.marked[flow].update((number, place) for place, _ in found)
            if not packet.flags & RST:  # whose number says nothing of that
                self.places[flow, number].append((packet.seq - base + packet.length) % 2**32)
        if packet.flags & ACK:
            self.acks[flow].append(packet.ack)
            self.sacked[flow] += [each for _, its in sack_options(raw_options(packet)) for each in its]

    def _begin(self, flow: Flow, packet: Packet) -> None:
        """A SYN: of another connection, or of the same with another ISN (RFC 4987, section 3.6)."""
        isns = self.first[flow]
        again = packet.flags & ACK and not packet.payload and self.answers.get(flow) == packet.ack
        begins = not isns or (isns[-1][-1] != packet.seq and not again)
        if begins:
            isns.append([packet.seq])
        elif packet.seq not in isns[-1]:
            isns[-1].append(packet.seq)
        if packet.flags & ACK and (begins or self.answers.get(flow) is not None):
            self.answers[flow] = None if packet.payload else packet.ack

    def copy(self) -> "Made":
        """As much again, to go on from."""
        other = Made()
        other.first.update({flow: [list(each) for each in isns] for flow, isns in self.first.items()})
        other.answers.update(self.answers)
        other.marks.update({flow: set(places) for flow, places in self.marks.items()})
        other.marked.update({flow: set(places) for flow, places in self.marked.items()})
        other.places.update({key: list(places) for key, places in self.places.items()})
        other.acks.update({flow: list(acks) for flow, acks in self.acks.items()})
        other.sacked.update({flow: list(each) for flow, each in self.sacked.items()})
        other.datagrams.update({flow: list(each) for flow, each in self.datagrams.items()})
        return other

    def commit(self) -> None:
        """All bytes below the last place that the guest showed are in its state, and go with it to the SVM.

        This holds for those too that the proxy never saw: lost in front of it, or sent before it looked.
        """
        for (flow, number), places in self.places.items():
            away = [(place - places[0] + 2**31) % 2**32 - 2**31 for place in places]
            self.reach[flow, number] = (places[0] + max(away)) % 2**32

    def has(self, flow: Flow, number: Number, place: object, what: object) -> bool:
        """Did the guest say this, or is it known to be in its state?"""
        if (number, place, what) in self.marks[flow]:
            return True
        return (
            (isinstance(what, int) or what == "FIN")
            and self.in_state(flow, number, place)
            and not self.seen(flow, number, place)
        )

    def seen(self, flow: Flow, number: Number, place: object) -> bool:
        """Did the guest say anything at this place? Then it is known what."""
        return (number, place) in self.marked[flow]

    def in_state(self, flow: Flow, number: Number, place: object) -> bool:
        """Was the place below where the guest had got to at a commit? None lies before a SYN."""
        reach = self.reach.get((flow, number))
        if number[0] and isinstance(place, int) and place >= 2**31:
            return False
        return reach is not None and isinstance(place, int) and 0 < (reach - place) % 2**32 < 2**31

    def knows(self, flow: Flow, number: Number, place: object) -> bool:
        """Has the guest this place of the stream, whatever stands there?"""
        return self.seen(flow, number, place) or self.in_state(flow, number, place)


def further(one: int, other: int) -> int:
    """Of two sequence numbers, the later one."""
    return other if 0 < (other - one) % 2**32 < 2**31 else one


def known_by(packet: Packet, flow: Flow) -> tuple[Flow, bytes]:
    """A datagram's flow and bytes; but for the source port where each guest has drawn one."""
    if packet.kind != "udp" or packet.dport != DRAWN:
        return flow, equal_form(packet)
    return (*flow[:4], None, *flow[5:]), equal_form(parse(with_udp_port(packet.frame, 0)))


def marks(packet: Packet, base: int) -> set[tuple[object, object]]:
    """What a segment puts where, places counted from `base`."""
    place = (packet.seq - base) % 2**32
    found: set[tuple[object, object]] = set()
    if packet.flags & RST:
        return {("anywhere", "RST"), *([("text", packet.payload)] if packet.payload else [])}
    if packet.flags & SYN:
        found.add((place, "SYN"))
        place += 1
    found |= {((place + i) % 2**32, byte) for i, byte in enumerate(packet.payload)}
    if packet.flags & FIN:
        found.add(((place + len(packet.payload)) % 2**32, "FIN"))
    return found


class Promise:
    """Fed each event and then what came out of it; raises `PromiseBroken`."""

    def __init__(self) -> None:
        self.pvm, self.svm = Made(), Made()
        self.svm_after_stop: list[bytes] = []  # said in the epoch that the next commit begins
        self.pvm_after_stop: list[bytes] = []
        self.pieces = Reassembly()  # fragments released
        self.released: dict[Flow, list[bytes]] = defaultdict(list)
        self.stopped = {"svm": False, "pvm": False}
        self.passing = self.holding = self.failed_over = False
        self.rules: tuple[PolicyRule, ...] = ()
        self.unverified = False  # a retransmission was let through in part: its bytes may be others
        self.ports: dict[Flow, int] = {}  # for guests that open connections from different ports
        # Of each flow and ISN of the PVM's: the furthest number that has left, and that clients acknowledged.
        self.left: dict[tuple[Flow, int], int] = {}
        self.acknowledged: dict[tuple[Flow, int], int] = {}

    def event(self, kind: str, frame: bytes | None = None) -> None:
        """What the comparator is told."""
        if kind == "primary" and frame is not None:
            if self.stopped["pvm"]:
                self.pvm_after_stop.append(frame)
            else:
                self.pvm.say(frame, {})
        elif kind == "secondary" and frame is not None:
            if self.stopped["svm"]:
                self.svm_after_stop.append(frame)
            elif self.failed_over or not (self.holding or self.passing):
                self.svm.say(frame, self.ports)
        elif kind == "uplink" and frame is not None:
            self._hear_client(parse(frame))
        elif kind in ("svm_stop", "pvm_stop"):
            self.stopped[kind[:3]] = True
            if kind == "svm_stop":
                self.svm_after_stop = []
        elif kind == "commit":
            self._commit()
        elif kind in ("abort", "hold", "unprotect"):
            self._resume()
            self.holding, self.passing = kind != "unprotect", kind == "unprotect"
            self.ports = {}
        elif kind == "failover":
            self.failed_over, self.holding, self.passing = True, False, False

    def set_policies(self, rules: Iterable[PolicyRule]) -> None:
        """What these rules bypass leaves without the SVM."""
        self.rules = tuple(rules)

    def _hear_client(self, packet: Packet) -> None:
        """What a client has acknowledged, of what has left, it does not take again (T14)."""
        if packet.kind != "tcp" or not packet.flags & ACK:
            return
        for (flow, base), left in self.left.items():
            key = (flow, base)
            known = self.acknowledged.get(key, packet.ack)
            if flow == packet.flow(False) and further(left, packet.ack) == left:
                self.acknowledged[key] = further(known, packet.ack)

    def _commit(self) -> None:
        """The SVM has made all that the PVM said before its stop, and what it has said since its own."""
        self.svm, self.ports = self.pvm.copy(), {}
        self.svm.commit()
        for frame in self.svm_after_stop:
            self.svm.say(frame, {})
        self.holding = self.passing = False
        self._resume()

    def _resume(self) -> None:
        self.stopped = {"svm": False, "pvm": False}
        for frame in self.pvm_after_stop:
            self.pvm.say(frame, {})
        self.svm_after_stop, self.pvm_after_stop = [], []

    def check(self, item: object) -> None:
        """Something came out."""
        if not isinstance(item, Frame) or item.port != Port.UPLINK or self.passing:
            return
        packet = parse(item.data)
        if packet.kind == "fragment":
            whole = self.pieces.add(packet, item.data, 0)
            if whole is None:
                return
            packet = whole.packet
        if decision(self.rules, packet.flow(True)) == "bypass":
            return
        if self.holding:
            raise PromiseBroken(f"released while all output is held: {item.data.hex()}")
        if self.failed_over:
            return  # the SVM's own output: what it makes is what clients get
        flow = packet.flow(True)
        if packet.kind == "tcp":
            self._check_segment(packet, flow)
            return
        flow, form = known_by(packet, flow)
        self.released[flow].append(form)
        if self.svm.datagrams[flow].count(form) < self.released[flow].count(form):
            raise PromiseBroken(f"a datagram that the SVM did not send: {item.data.hex()}")

    def readings(self, flow: Flow) -> Iterator[tuple[Flow, Number, int]]:
        """What a PVM's segment may count as: the SVM's flow, which of its incarnations, the PVM's ISN."""
        for number, bases in enumerate([[0], *self.pvm.first[flow]]):  # mid-stream, then each incarnation
            its = self.svm.first[flow][number - 1 : number] if number else []
            for at in range(len(its[0]) if its else 1):
                for base in bases:
                    yield flow, (number, at), base

    def _check_segment(self, packet: Packet, flow: Flow) -> None:
        readings = list(self.readings(flow))

        def taken(base: int, place: object) -> bool:
            """Do clients have this place already?"""
            until = self.acknowledged.get((flow, base))
            return until is not None and isinstance(place, int) and 0 < (until - base - place) % 2**32 < 2**31

        def fits(svm: Flow, number: Number, base: int) -> bool:
            return all(
                self.svm.has(svm, number, place, what)
                or (isinstance(what, int) and taken(base, place) and self.svm.knows(svm, number, place))
                for place, what in marks(packet, base)
            )

        def repeats(svm: Flow, number: Number, base: int) -> bool:
            return all(self.svm.knows(svm, number, place) for place, _ in marks(packet, base))

        # A keep-alive's octet, and what is counted as not verified, need only be a repetition (T14).
        excused = self.unverified or (len(packet.payload) == 1 and not packet.flags & (SYN | FIN | RST))
        fitting = [each for each in readings if fits(*each) or (excused and repeats(*each))]
        if not fitting:
            raise PromiseBroken(f"bytes or flags that the SVM did not make: {packet}")
        if not packet.flags & RST:
            end = (packet.seq + packet.length) % 2**32
            for key in {(flow, base) for _, _, base in fitting}:
                self.left[key] = further(self.left.get(key, end), end)
        acks = [ack for svm in {svm for svm, _, _ in readings} for ack in self.svm.acks[svm]]
        if packet.flags & ACK and not any((ack - packet.ack) % 2**32 < 2**31 for ack in acks):
            raise PromiseBroken(f"an acknowledgement that the SVM did not make: {packet}")
        if packet.flags & ACK and not packet.flags & SYN:
            sacked = [each for svm in {svm for svm, _, _ in readings} for each in self.svm.sacked[svm]]
            for _, blocks in sack_options(raw_options(packet)):
                for left, right in blocks:
                    self._check_block(packet, left, right, acks, sacked)

    @staticmethod
    def _check_block(
        packet: Packet, left: int, right: int, acks: list[int], sacked: list[tuple[int, int]]
    ) -> None:
        """Each position of a SACK block is acknowledged or SACKed by the SVM."""
        while left != right:
            reached = [ack for ack in acks if 0 < (ack - left) % 2**32 < 2**31]
            reached += [
                end for begin, end in sacked if (left - begin) % 2**32 < (end - begin) % 2**32 < 2**31
            ]
            if not reached or (right - left) % 2**32 >= 2**31:
                raise PromiseBroken(f"a SACK block that the SVM did not send: {packet}")
            left = (left + min((right - left) % 2**32, max((to - left) % 2**32 for to in reached))) % 2**32
