"""The reference for TCP: docs/comparison.md, section 3, one TCP flow at a time.

Each side of a connection is a `Side`: a dictionary from stream position to what stands there (a
byte, the SYN with its options, or the FIN). Position 0 is the side's own SYN, so the two streams
line up without an offset being computed. A connection caught in mid-stream has no SYN: both sides
count from the first sequence number seen.

Past 400 lines: the rules of docs/comparison.md, section 3, in its order.
"""

from dataclasses import dataclass, field

from models.again import Known, Span
from models.datagrams import Part
from models.packets import (
    ACK,
    FIN,
    RST,
    SYN,
    URG,
    Packet,
    bare,
    parse,
    raw_options,
    with_raw_options,
    with_tcp,
    with_timestamp,
)
from models.sack import FAR, Block, cut, near, noted, option_of, option_with, received, shared
from models.tries import Tries, syn_options

FAR_BACK = -(2**62)
FORMS = 6
RANGES = 48  # of positions agreed beyond the prefix
Value = int | str  # a byte, "SYN" or "FIN"


def is_newer(stamp: int, than: int) -> bool:
    """Of two timestamps, modulo 2**32 (RFC 7323, 5.2)."""
    return 0 < (stamp - than) % 2**32 < 2**31


@dataclass
class Side:
    """All that one guest has said on one connection and that is not agreed yet."""

    base: int | None = None  # the sequence number of position 0
    syn: tuple[object, ...] | None = None  # the options that bind
    forms: list[tuple[object, ...]] = field(default_factory=list)  # those of each SYN that had others
    timestamp: int | None = None  # of the SYN
    tries: list[tuple[int, int | None]] = field(default_factory=list)  # ISN and TSval, if there are several
    chosen: bool = False  # with which of them the connection goes on is known
    named: set[int] = field(default_factory=set)  # of the SVM's, those that clients have acknowledged to it
    shown: bool = False  # it has sent a segment behind one of them
    said: dict[int, Value] = field(default_factory=dict)
    when: dict[int, list[int]] = field(default_factory=dict)  # each time that it was said and M2 counts
    end: int | None = None  # one past the last position shown
    unseen: bool = False  # only an empty segment has shown that it got there
    ack: int | None = None  # the highest acknowledgement made
    edge: int | None = None  # the right edge of the window offered
    raw: int = 0  # the window of the latest segment with the highest acknowledgement, as in the header
    urgent: set[int] = field(default_factory=set)
    begun: set[int] = field(default_factory=set)  # where its segments began
    irs: int | None = None  # what the SYN acknowledged
    sacked: list[tuple[int, int]] = field(default_factory=list)  # beyond `ack` (RFC 2018)
    last: tuple[int, int] | None = None  # acknowledgement and window of its previous segment
    refused: int | None = None  # what the latest RST acknowledged, as it stood in the header
    finished: bool = False
    reset: bool = False
    reset_seq: int = 0  # of the last RST
    reset_text: bytes = b""  # likewise (RFC 9293, 3.5.3)
    reset_by: Packet | None = None  # the first RST
    reset_time: int = 0
    spans: list[Span] = field(
        default_factory=list
    )  # segments not agreed altogether, in order of their places

    @property
    def scale(self) -> int | None:
        """The window scale; None if the SYN was not seen, or it had no such option and so 0 is right."""
        return None if self.syn is None else self.syn[2] or 0  # type: ignore[return-value]


@dataclass
class Held:
    """A frame of the PVM that waits (any protocol), or the acknowledgement it still owes (kind `owed`)."""

    number: int  # order of arrival
    frame: bytes
    time: int
    flow: object
    kind: str = "data"  # data, ack, rst, owed; datagram, fragments
    segment: Packet | None = None
    connection: "Connection | None" = None
    position: int | None = None
    ack: int | None = None
    part_of: int | None = None  # owed: the number of the segment that has left
    duplicate: bool = False
    again: bool = False  # a RST where the PVM had reset before
    contrary: bool = False  # it repeats agreed bytes otherwise, and waits for the commit (T14)
    gso: int = 0  # the size of a super-frame's segments
    frames: list[bytes] = field(default_factory=list)  # the fragments, where it came in some
    parts: list[Part] = field(default_factory=list)  # its datagrams that have no equal yet
    agreed: list[Part] = field(default_factory=list)  # and those that have
    overtaken: int | None = None  # when the SVM said a later datagram of the flow

    @property
    def as_it_came(self) -> bool:
        """Must it leave unchanged: in fragments, or signed (TCP MD5, TCP-AO)?"""
        return bool(self.frames) or (self.segment is not None and bool({19, 29} & {*self.segment.options}))


@dataclass
class Waiting:
    """A segment of the SVM that brought something not agreed."""

    number: int  # order of arrival
    time: int
    flow: object
    connection: "Connection"
    segment: Packet
    position: int
    frames: list[bytes]  # the fragments, where it came in some


class Connection(Tries):
    """One incarnation of a flow: the PVM's stream and the SVM's."""

    def __init__(self, behind_holes: bool = True, check: bool = False) -> None:
        self.sport = 0  # the SVM's port
        self.shift = 0  # the SVM's number of a position minus the PVM's, where no SYN shows it (C10)
        self.clock = 0  # likewise, PVM's minus SVM's, of their timestamps
        self.mapped = False  # they are known from when the flow was compared before
        self.lone = False  # the SVM's SYN waits for one of the PVM's to take it
        self.meant: object = None  # which port of the PVM's the SVM's was paired with before
        self.known = Known(check)
        self.unverified = 0  # retransmissions of which not all was compared
        self.contrary = False  # the segment that was heard last says agreed bytes otherwise
        self.behind_holes = behind_holes  # a difference counts before what lies below it was said
        self.p, self.s = Side(), Side()
        self.low: int | None = None  # the agreed range is [low, matched)
        self.matched = 0
        self.fin: int | None = None  # where the agreed range has the FIN
        self.ahead: set[int] = set()  # what is agreed beyond it
        self.runs = 0  # the ranges that these positions make up
        self.ahead_fin: int | None = None  # where they have the FIN
        self.crowded = False  # something found no room there
        self.pieced_ahead: set[int] = set()  # what of it has left as pieces of held segments (T13)
        self.count = 0  # positions that have come to be agreed
        self.blocked = self.reported = False  # a divergence was found: nothing more leaves
        self.contradicted = False  # the PVM has said two things about one position
        self.floor = FAR_BACK  # where the last commit found the PVM
        self.pieced: int | None = None  # up to where agreed parts of held segments have left (T13)
        self.grown = 0  # when the agreed range last grew, or the PVM said a segment that begins in it
        self.watched = False  # and it is to be looked at `reorder` later
        self.start = 1  # the position that stream offsets count from
        self.provisional = False  # the range ends, empty, where an empty segment was: it may begin one higher
        self.raised = False  # and so it does
        self.acks: list[tuple[int, int]] = []  # (order of arrival, acknowledgement) of the PVM's segments
        self.told: int | None = None  # the highest acknowledgement that clients have been told
        self.told_edge: int | None = None
        self.told_by = 0  # the number of the segment that told the edge
        self.reset_left = False  # a RST of both has left
        self.told_stamp: int | None = None  # the newest TSval that has left
        self.told_echo = 0  # and the TSecr that came with it
        self.again_stamp: int | None = None  # the newest TSval of what a guest has sent again, PVM's clock
        self.told_again = 0  # how many duplicates of `told` have left
        self.svm_again = 0  # and how many the SVM has sent of its acknowledgement
        self.time = 0  # when the segment that is heard came
        self.named_at = FAR_BACK  # when the SVM got an acknowledgement last and had sent its SYN alone
        self.from_capture = False  # the SVM's capture shows what clients have acknowledged to it
        self.astray = False  # the PVM has sent bytes that have no place behind its SYN

    def stamped(self, frame: bytes, *, fixed: bool = False) -> bytes:
        """The frame as it leaves: its TSval no older than any that has left (T16), unless it is `fixed`."""
        stamp = parse(frame).options.get(8, b"")
        if len(stamp) != 8:
            return frame
        value = newest = int.from_bytes(stamp[:4])
        if not fixed and self.again_stamp is not None and is_newer(self.again_stamp, value):
            newest = self.again_stamp
        if self.told_stamp is None or not is_newer(self.told_stamp, newest):
            self.told_stamp, self.told_echo = newest, int.from_bytes(stamp[4:])
        elif fixed:
            return frame
        return with_timestamp(frame, (self.told_stamp - value) % 2**32)

    def _note_again(self, side: Side, segment: Packet, position: int) -> None:
        """With which TSval a guest retransmits (T16); the SVM's counts once the PVM has sent something."""
        stamp = segment.options.get(8, b"")
        if len(stamp) != 8 or segment.flags & (SYN | RST) or not segment.length:
            return
        if side.end is None or position >= side.end or self.p.end is None:
            return
        value = (int.from_bytes(stamp[:4]) + (0 if side is self.p else self.numbers[1])) % 2**32
        if self.again_stamp is None or is_newer(value, self.again_stamp):
            self.again_stamp = value

    # -------------------------------------------------------------- places

    @property
    def over(self) -> bool:
        """Both have reset the connection, or finished it."""
        finished = self.p.finished and self.s.finished and self.matched == self.p.end
        return (self.p.reset and self.s.reset) or finished

    def is_strange(self, position: int) -> bool:
        """Does it lie before the PVM's SYN? Nothing of a connection does."""
        return self.p.syn is not None and self.low is not None and position < self.low

    @property
    def midstream(self) -> bool:
        return self.p.syn is None and self.s.syn is None

    @property
    def caught(self) -> bool:
        """Was it first seen in mid-stream?"""
        return self.midstream and (self.mapped or (self.p.base, self.s.base) != (None, None))

    def place(self, side: Side, segment: Packet) -> int | None:
        """The position of the segment's first sequence number; None if the side's numbers are unknown."""
        other = self.s if side is self.p else self.p
        self.take_try(side, segment)
        if side.base is None and not segment.flags & RST:  # a RST says nothing of where a stream is
            if segment.flags & SYN:
                side.base = segment.seq
            elif other.syn is None:
                side.base = segment.seq if other.base is None else self._shifted(side)
        if segment.flags & SYN and segment.seq in dict(side.tries):
            return 0
        astray = False
        if not segment.flags & (SYN | RST):
            astray = bool(side.tries) and not self._goes_on(side, segment)
        position = self.position(side, segment.seq)
        if side is self.p and position is not None and self._goes_astray(segment, position, astray):
            self.astray = astray = True
        return None if astray else position

    def position(self, side: Side, seq: int) -> int | None:
        """Where one of this side's sequence numbers lies in the stream, if that is known."""
        base = side.base
        if base is None and self.midstream:
            base = self._shifted(side)
        return None if base is None else near(seq - base, self.matched)

    def _shifted(self, side: Side) -> int | None:
        """Position 0 in the numbers of a side of which only the other's are known."""
        base = self.p.base if side is self.s else self.s.base
        return None if base is None else base + (self.shift if side is self.s else -self.shift)

    @property
    def numbers(self) -> tuple[int, int]:
        """The SVM's numbers minus the PVM's; the PVM's timestamps minus the SVM's."""
        p, s = self.p, self.s
        shift = self.shift if p.base is None or s.base is None else s.base - p.base
        if p.timestamp is None or s.timestamp is None:
            return shift % 2**32, self.clock
        return shift % 2**32, p.timestamp - s.timestamp

    def ack_of(self, segment: Packet) -> int | None:
        """The acknowledgement as a plain integer that grows across 2**32; None without the ACK flag."""
        if not segment.flags & ACK:
            return None
        known = [ack for ack in (self.p.ack, self.s.ack) if ack is not None]
        return near(segment.ack, known[0]) if known else segment.ack

    @staticmethod
    def values(segment: Packet, position: int) -> list[tuple[int, Value]]:
        """What the segment puts at which position (a RST puts nothing anywhere)."""
        if segment.flags & RST:
            return []
        found: list[tuple[int, Value]] = []
        if segment.flags & SYN:
            found.append((position, "SYN"))
            position += 1
        found += [(position + i, byte) for i, byte in enumerate(segment.payload)]
        if segment.flags & FIN:
            found.append((position + len(segment.payload), "FIN"))
        return found

    # -------------------------------------------------------------- listening

    def hear(
        self, side: Side, segment: Packet, now: int, gso: int = 0, *, judged: bool = True
    ) -> tuple[str, int] | None:
        """Take in a segment; returns (reason, position) if it shows a divergence (where it is judged)."""
        self.contrary, self.time = False, now
        mine = side is self.p
        ack = self.ack_of(segment)
        position = self.place(side, segment)
        if position is None and not segment.flags & RST:
            return None
        if segment.flags & (SYN | RST) == SYN and side.syn is None:
            side.syn = syn_options(segment)
            stamp = segment.options.get(8, b"")
            side.timestamp = int.from_bytes(stamp[:4]) if len(stamp) == 8 else None
            side.raw = segment.window
        unknown = segment.flags & (SYN | RST) == SYN and not self._note_form(side, segment)
        if ack is not None:
            self._hear_acknowledgement(side, segment, ack)
        if segment.flags & FIN and position is not None:
            side.finished = side.finished or position + segment.length >= (side.end or position)
        if segment.flags & RST:
            if not side.reset:
                side.reset_time, side.reset_by = now, segment
            side.reset, side.reset_seq, side.reset_text = True, segment.seq, segment.payload
            return self._form_conflict(segment) or self._reset_conflict()
        assert position is not None
        self._note_again(side, segment, position)
        if mine and (
            self.low is None
            or (self.midstream and self.low == self.matched and position < self.low and segment.length)
        ):
            self._begin_at(position)
            self.provisional, self.raised = self.midstream and not segment.length, False
        elif mine and segment.length and self.provisional and position <= self.matched + 1:
            self.raised = position > self.matched and not self._begun_at_the_end()
            self.provisional = False
            if self.raised:
                self._begin_at(position)
        if not mine and segment.length:
            side.begun.add(position)
            if self.raised and self.low == self.matched == position + 1:
                self.raised = False
                self._begin_at(position)
        if segment.flags & URG:
            side.urgent.add(position + segment.urgent)
        uneven = self._form_conflict(segment)
        if unknown and mine:
            uneven = uneven or ("control", 0)
        found = self._store(side, position, segment, now, gso if judged else None)
        return uneven or found or self._reset_conflict() or self._urgent_conflict()

    @staticmethod
    def _hear_acknowledgement(side: Side, segment: Packet, ack: int) -> None:
        scale = 0 if segment.flags & SYN else side.scale or 0
        if side.ack is None or ack >= side.ack:
            if not segment.flags & RST:  # which offers nothing
                side.raw, side.edge = segment.window, ack + (segment.window << scale)
            elif side.ack is None:
                side.raw, side.edge = 0, ack
            side.ack = ack
        if not segment.flags & (SYN | RST):
            side.sacked = noted(side.sacked, segment, side.ack)
        if segment.flags & RST:
            side.refused = segment.ack
        elif segment.flags & SYN and side.irs is None:
            side.irs = segment.ack

    def _begin_at(self, position: int) -> None:
        """The agreed range starts here, empty."""
        self.low = self.matched = position
        if self.midstream:
            self.start = position
        self.known = Known(self.known.check, self.start)

    def _begun_at_the_end(self) -> bool:
        """Has the SVM a segment that begins where the agreed range ends?"""
        return self.matched in self.s.begun and self.matched in self.s.said

    def _store(
        self, side: Side, position: int, segment: Packet, now: int, gso: int | None
    ) -> tuple[str, int] | None:
        other = self.s if side is self.p else self.p
        conflicts = []  # with what the other says; its SYN in another form is the lowest (T3)
        mine = []  # and with what this side said before
        end = position + segment.length
        if side.end is None or end > side.end:
            side.end, side.unseen = end, not segment.length
        elif segment.length and not segment.flags & FIN and end == side.end:
            side.unseen = False
        if side is self.s and self.is_strange(position):
            return None
        span = span_of(segment, position, gso or 0)
        if side is self.p and gso is not None:
            again = self._again(span, segment)
            self.contrary = again is not None
            if again is not None:
                return again
        self._keep(side, span)
        for at, value in self.values(segment, position):
            if self.low is not None and self.low <= at < self.matched:
                continue  # agreed before: a retransmission
            if at in self.ahead:
                if side is self.p and value == "FIN" and at != self.ahead_fin:
                    mine.append(("control", at))
                continue
            before = side.said.get(at, value)
            if value != before:
                mine.append((difference(before, value), at))
                self.contradicted = self.contradicted or side is self.p
            known = other.said.get(at, value)
            if known != value and self.behind_holes and not self.is_strange(at):
                conflicts.append((difference(known, value), at))
            if value == "SYN" and at in other.said and self._forms_differ():
                conflicts.append(("control", at))
            side.said.setdefault(at, value)
            side.when.setdefault(at, []).append(now)
        conflicts.sort(key=lambda each: self.low is not None and each[1] < self.low)
        self._advance()
        if not mine:
            first = conflicts[0][1] if conflicts else position + segment.length
            self._agree_ahead([at for at, _ in self.values(segment, position) if at < first])
        if mine or conflicts:
            return (mine or conflicts)[0]
        one, two = self.p.said.get(self.matched), self.s.said.get(self.matched)
        if self.low is not None and one is not None and two is not None:
            return difference(one, two), self.matched
        return None

    def _keep(self, side: Side, span: Span) -> None:
        if span.begin < span.end and (self.low is None or span.end > self.matched or span.begin < self.low):
            side.spans = sorted([*side.spans, span], key=lambda each: each.begin)

    def _again(self, span: Span, segment: Packet) -> tuple[str, int] | None:
        """T3 and T14: what the PVM says of the agreed range must be what it said before."""
        fin = span.end - 1
        if self.low is None:
            return None
        if segment.flags & FIN and self.low <= fin < self.matched and fin != self.fin:
            if not self.p.unseen or span.end != self.matched or span.end != self.p.end:
                return "control", fin
            self.p.unseen, self.fin = (
                False,
                fin,
            )  # lost before the commit that counts it as agreed (C4)
        begin, end = max(span.first, self.low), min(span.last, self.matched)
        known = self.known
        alone = segment.length == 1 and not segment.flags & (SYN | FIN) and span.end == self.p.end
        if begin >= end or (alone and known.acknowledged is None):
            return None
        at_fin = self.fin is not None and self.fin == end - 1
        waiting = [
            each
            for each in (*self.p.spans, *self.s.spans)
            if self.low <= each.begin < self.matched < each.end and not each.unverified
        ]
        differs, unverified = known.differs(span, begin, end - at_fin, waiting)
        if differs is not None:
            return "payload", differs
        span.unverified = unverified or not known.check
        self.unverified += span.unverified
        if at_fin and (known.acknowledged is None or known.acknowledged < end):
            return "control", end - 1
        return None

    # -------------------------------------------------------------- the forms of a SYN

    def _note_form(self, side: Side, segment: Packet) -> bool:
        """A SYN, said again with other options perhaps (T3); false: in a form that it may not have."""
        form = syn_options(segment)
        if segment.flags & ACK and side.forms:
            return form[:-1] == side.forms[0][:-1]
        if form not in side.forms:
            if len(side.forms) == FORMS:
                return False
            side.forms.append(form)
            self._settle_forms()
        return True

    def _settle_forms(self) -> None:
        """What binds the connection is the latest form that both have sent."""
        both = min(len(self.p.forms), len(self.s.forms))
        if both and not self._forms_differ():
            self.p.syn = self.s.syn = self.p.forms[both - 1]

    def _forms_differ(self) -> bool:
        return any(one != other for one, other in zip(self.p.forms, self.s.forms, strict=False))

    def _form_conflict(self, segment: Packet) -> tuple[str, int] | None:
        """A form that is another one on the other side, or that the side never sends: it has its answer."""
        sent = [len(self.p.forms), len(self.s.forms)]
        if 0 in sent or sent == [1, 1]:
            return None
        lacks = (self.p.ack is not None and sent[0] < sent[1]) or (
            self.s.ack is not None and sent[1] < sent[0]
        )
        if lacks or (segment.flags & (SYN | RST) == SYN and self._forms_differ()):
            return ("control", 0)
        return None

    def answered(self) -> bool:
        """A client answers the guest's SYN: has only one guest sent a form of it?"""
        sent = {len(self.p.forms), len(self.s.forms)}
        return 0 not in sent and len(sent) > 1

    def form_agreed(self, segment: Packet | None) -> bool:
        """Has the SVM sent this SYN in the same form?"""
        if segment is None or segment.flags & (SYN | ACK | RST) != SYN:
            return True
        form = syn_options(segment)
        return (form, form) in zip(self.p.forms, self.s.forms, strict=False)

    def _advance(self) -> None:
        if self.low is None or self.contradicted:
            return
        begin = until = self.matched
        learned: Span | None = None
        while self.matched in self.ahead or self._both_say(self.matched):
            if self.matched in self.ahead:  # the prefix has reached a range
                self.fin = self.matched if self.matched == self.ahead_fin else None
                self.ahead.remove(self.matched)
                self.runs -= self.matched + 1 not in self.ahead
                self.matched += 1
                self.count += 1
                until = max(until, self.matched)
                continue
            if self.p.said[self.matched] == "SYN" and self._forms_differ():
                break
            if self.matched == until:  # one segment of each guest has what comes next
                self._learn(learned, begin)
                mine, its = self._covering(self.p), self._covering(self.s)
                learned, begin = mine, self.matched
                until = min(mine.end, its.end)
            self.fin = self.matched if self.p.said[self.matched] == "FIN" else None
            self._said_by_both(self.matched)
            self.matched += 1
        self._learn(learned, begin)
        for side in (self.p, self.s):
            side.spans = [each for each in side.spans if each.end > self.matched or each.begin < self.low]

    def _covering(self, side: Side) -> Span:
        """The lowest segment that has the first byte that is not agreed."""
        return next(each for each in side.spans if each.begin <= self.matched < each.end)

    def _learn(self, span: Span | None, begin: int) -> None:
        if span is not None:
            self.known.learn(span, begin, self.matched)

    def _both_say(self, at: int) -> bool:
        return at in self.p.said and self.p.said[at] == self.s.said.get(at)

    def _said_by_both(self, at: int) -> None:
        self.count += 1
        for side in (self.p, self.s):
            del side.said[at], side.when[at]

    def _agree_ahead(self, positions: list[int]) -> None:
        """Take in what both say beyond the prefix: of a segment; where there may be room again, of all."""
        if self.low is None or self.contradicted or self.known.check:
            return
        for at in positions:
            self._take_ahead(at)
        if self.crowded and self.runs <= RANGES // 2:
            self.crowded = False
            for at in sorted(self.p.said):
                self._take_ahead(at)

    def _take_ahead(self, at: int) -> None:
        if at < self.matched or not self._both_say(at) or self.p.said[at] == "SYN":
            return
        if at - 1 not in self.ahead and self.runs == RANGES:
            self.crowded = True
            return
        self.runs += 1 - (at - 1 in self.ahead) - (at + 1 in self.ahead)
        self.ahead.add(at)
        if self.p.said[at] == "FIN":
            self.ahead_fin = at
        self._said_by_both(at)

    def _reset_conflict(self) -> tuple[str, int] | None:
        """T8: a RST of one guest against a FIN at the same place, or a SYN, of the other."""
        if self.p.reset and self.s.reset:
            return None
        for one, other in ((self.p, self.s), (self.s, self.p)):
            if one.reset and one.syn is None and other.syn is not None:
                return ("control", 0)
            at = self.position(one, one.reset_seq) if one.reset else None
            if at is not None and other.said.get(at) == "FIN":
                return ("control", at)
        return None

    def _urgent_conflict(self) -> tuple[str, int] | None:
        """T3: one side's urgent pointer, passed by both, that the other has not announced."""
        for at in sorted(self.p.urgent ^ self.s.urgent):
            if self.low is not None and self.matched > at >= max(self.floor, self.low):
                return ("control", at)
        return None

    # -------------------------------------------------------------- judging

    def agreed(self, position: int) -> bool:
        """Both guests have produced the same at this position."""
        if self.low is None:
            return False
        if position < self.low:
            return position in self.p.said and self.p.said[position] == self.s.said.get(position)
        return position < self.matched or position in self.ahead

    def missing(self, waiting: list[Held]) -> tuple[str, int]:
        """M1: these segments of the PVM wait. For whom, and for which position first?"""
        mine = []
        for held in waiting:
            if held.segment is None or held.position is None:
                return "missing-secondary", self.matched
            if self.low is not None and held.position < self.low:
                return "missing-secondary", held.position
            mine += [at for at, _ in self.values(held.segment, held.position) if not self.agreed(at)]
        alone = [at for at in mine if at not in self.s.said]
        lone = [at for at in self.s.said if at >= self.matched and at not in self.p.said]
        if lone and not alone:
            return "missing-primary", min(lone)
        return "missing-secondary", min(alone or mine)

    def stray(self, side: Side, segment: Packet | None) -> bool:
        """M1: does this RST of one guest alone answer a stray segment of a connection that is over?"""
        if segment is None or segment.flags & (RST | ACK) != RST or segment.payload:
            return False
        finished = self.p.finished and self.s.finished and self.matched == self.p.end
        place = self.position(side, segment.seq)
        old = place is not None and place <= self.matched
        return finished and old and self.p.ack is not None and self.p.ack == self.s.ack

    def hole(self) -> tuple[str, int]:
        """M3: nothing of the PVM's waits, but below what is agreed beyond the prefix something is missing."""
        lone = [at for at in self.s.said if at >= self.matched and at not in self.p.said]
        return ("missing-primary", min(lone)) if lone else ("missing-secondary", min(self.ahead))

    def lacks(self, held: Held) -> bool:
        """Has a held frame something that the SVM has not said? (Acknowledgements do not count.)"""
        if held.kind != "data" or held.position is None or held.segment is None:
            return held.kind in ("data", "rst")
        return not all(self.agreed(at) for at, _ in self.values(held.segment, held.position))

    def is_ahead(self, held: Held) -> bool:
        """C8: would clients learn from it, as it is, more than the window alone that the SVM has not sent?"""
        segment = held.segment
        if held.kind in ("data", "rst") or held.position is None or segment is None or segment.flags & URG:
            return True
        ack = self.ack_of(segment)
        return ack is not None and (self.s.ack is None or self.s.ack < ack)

    def clamp(self, segment: Packet) -> tuple[int | None, int]:
        """The acknowledgement and window that a copy of this segment may carry (T4, T5)."""
        ack = self.ack_of(segment)
        if ack is None or self.s.ack is None:
            return None, min(segment.window, self.s.raw) if segment.flags & SYN else segment.window
        ack = min(ack, self.s.ack)
        if segment.flags & RST:
            return ack, segment.window  # nobody reads it (RFC 9293, section 3.10.7.4)
        scale = 0 if segment.flags & SYN else self.p.scale
        if scale is None:
            return ack, min(segment.window, self.s.raw)
        edge = min(near(segment.ack, ack) + (segment.window << scale), further(self.s.edge, ack) or ack)
        return ack, min((edge - ack) >> scale, 65535)

    def options(self, segment: Packet) -> bytes:
        """The TCP options that a copy of this segment may carry: its SACK blocks are cut (T4a)."""
        if self.s.ack is None:
            return raw_options(segment)
        return cut(segment, self.s.sacked, self.s.ack)

    def news(self, ack: int, window: int, number: int) -> bool:
        """Would this acknowledgement and window tell clients anything that they do not know?"""
        edge = ack + (window << (self.p.scale or 0))
        if self.told is None or ack > self.told or self.told_edge is None:
            return True
        return edge > self.told_edge and not self.out_of_date(number, ack)

    def may_leave(self, held: Held) -> bool:
        """The heart: may this frame (clamped) leave now?"""
        segment = held.segment
        assert segment is not None
        ack = self.ack_of(segment)
        if ack is not None and self.s.ack is None:
            return False
        if held.as_it_came and self.is_clamped(held):
            return False  # not before no clamping is needed
        if held.position is None and held.kind != "rst":
            return False
        if held.kind == "rst":
            unlike = ack is not None and self.s.refused != segment.ack
            finished = self.p.finished and self.s.finished and self.matched == self.p.end
            refusal = held.again or finished or (self.p.syn is None and self.low in {None, self.matched})
            alike = segment.payload in {b"", self.s.reset_text}
            return self.s.reset and alike and not (refusal and unlike)
        if segment.flags & URG and held.kind != "owed" and not self.announced(held):
            return False
        if held.kind == "data" and held.position is not None:
            return (
                not held.contrary
                and self.form_agreed(segment)
                and all(self.agreed(at) for at, _ in self.values(segment, held.position))
            )
        # a pure acknowledgement, or one owed after a data segment
        if ack is None:
            return True
        if self.s.ack is None or self.s.ack < ack:
            return False
        clamped, window = self.clamp(segment)
        assert clamped is not None
        if held.kind == "owed":
            return False  # of which parts leave, until clients wait for no more
        return not self.is_clamped(held) or held.duplicate or self.news(clamped, window, held.number)

    def shows_a_loss(self, segment: Packet, duplicate: bool, fresh: list[Block]) -> bool:
        """T7a: does this acknowledgement of the SVM tell of a loss what the PVM does not?"""
        p, s = self.p, self.s
        if not self._imitable(segment):
            return False
        self.svm_again += duplicate
        if p.ack is None or s.ack is None or not self.told == s.ack == self.ack_of(segment) or p.ack < s.ack:
            return False
        if self._without_clock(segment):
            return False
        alone = p.ack > s.ack and duplicate and self.svm_again > self.told_again
        return alone or received(fresh, p.sacked, p.ack)

    def completes(self, segment: Packet, before: int | None, fresh: list[Block]) -> bool:
        """T7a (c): does this acknowledgement of the SVM complete what the PVM has SACKed?

        `before`: what the SVM had acknowledged; `fresh`: what it SACKs that it had not.
        """
        p, s = self.p, self.s
        if not self._imitable(segment) or self._without_clock(segment):
            return False
        if p.ack is None or s.ack is None or before is None:
            return False
        if not self.told == p.ack <= before or not 0 < s.ack - p.ack <= FAR:
            return False
        if before < s.ack:
            fresh = [*fresh, (before, s.ack)]
        return received(fresh, p.sacked, p.ack)

    def _imitable(self, segment: Packet) -> bool:
        """T7a: may an acknowledgement for both be made from this segment of the SVM?"""
        if segment.length or segment.flags & (SYN | FIN | RST | URG | ACK) != ACK:
            return False
        return not {19, 29} & {*segment.options}

    def _without_clock(self, segment: Packet) -> bool:
        """T7a: would it need a TSval of the PVM, while none has left?"""
        return len(segment.options.get(8, b"")) == 8 and self.told_stamp is None

    def for_both(self, segment: Packet, *, completed: bool = False) -> bytes:
        """T7a: an acknowledgement of the SVM as the PVM would make it; it leaves. `completed`: case (c)."""
        p, s = self.p, self.s
        assert p.ack is not None
        assert s.ack is not None
        assert self.told is not None
        edges = [edge for edge in (self.told_edge, s.edge) if edge is not None]
        room = max(min(edges) - self.told, 0)
        if p.scale is None:
            room = min(room, s.raw)
        window = min(room >> (p.scale or 0), 65535)
        self.told_edge = self.told + (window << (p.scale or 0))
        self.told_again += 1
        stamps = b""
        if len(segment.options.get(8, b"")) == 8:
            assert self.told_stamp is not None
            stamps = b"\1\1\x08\x0a" + self.told_stamp.to_bytes(4) + self.told_echo.to_bytes(4)
        room = 40 - len(stamps)
        if completed:
            options = stamps + option_with(shared(p.sacked, [(self.told, s.ack), *s.sacked]), room)
        else:
            options = stamps + option_of(segment, p.sacked, p.ack, room)
        seq = ((p.base or 0) + (p.end or 0)) % 2**32
        ack = self.told % 2**32
        return with_tcp(bare(segment, options), seq=seq, ack=ack, flags=ACK, window=window, urgent=0)

    def closed(self) -> bool:
        """Do clients know of no window at all?"""
        return self.told is None or self.told_edge is None or self.told_edge <= self.told

    def cramped(self) -> bool:
        """Do clients know of less room than a segment takes? They may wait to be told of more."""
        mss = self.p.syn[1] if self.p.syn is not None else None
        if self.told is None or self.told_edge is None:
            return False
        return self.told_edge - self.told < max(1, mss if isinstance(mss, int) else 0)

    def tells_more(self, held: Held) -> bool:
        """T6: of what this says, has the SVM said more than clients have been told?"""
        segment = held.segment
        assert segment is not None
        ack, window = self.clamp(segment)
        if ack is None:
            return False
        if self.told is None or ack > self.told or self.told_edge is None:
            return True
        if (held.part_of or held.number) < self.told_by:
            return False
        return self.cramped() and ack + (window << (self.p.scale or 0)) > self.told_edge

    def is_clamped(self, held: Held) -> bool:
        """Has the SVM not said all that this says?"""
        segment = held.segment
        assert segment is not None
        if segment.flags & ACK and self.options(segment) != raw_options(segment):
            return True
        return self.clamp(segment) != (self.ack_of(segment), segment.window)

    def still_owed(self, held: Held) -> bool:
        """Do clients wait for what is owed of a segment that has left?"""
        if self.told is None or held.ack is None or held.ack > self.told:
            return True
        return self.cramped() and not self.out_of_date(held.part_of or 0, held.ack)

    def announced(self, held: Held) -> bool:
        """T11: has the SVM announced the same urgent position, or received it with a commit?"""
        if held.segment is None or held.position is None:
            return False
        at = held.position + held.segment.urgent
        return at in self.s.urgent or at < self.floor

    def out_of_date(self, number: int, ack: int) -> bool:
        """Have clients heard of a later window than the one that this segment of the PVM tells?"""
        return self.told is not None and number < self.told_by and ack <= self.told

    def tell(self, segment: Packet, ack: int | None, window: int, number: int) -> None:
        """A frame left, or a part of the PVM's with this number: remember what clients have been told."""
        if ack is None:
            return
        scale = 0 if segment.flags & SYN else self.p.scale or 0
        # As clients take it (RFC 9293, 3.10.7.4): the window is that of the latest segment, and may shrink.
        if self.told is None or number >= self.told_by or ack > self.told:
            self.told_edge, self.told_by = ack + (window << scale), number
        if self.told is None or ack > self.told:
            self.told_again = 0
        self.told = further(self.told, ack)

    # -------------------------------------------------------------- epochs

    def forget_secondary(self) -> None:
        """svm_stop: what the SVM said and was not used yet is dropped."""
        self.s.said.clear()
        self.s.when.clear()
        self.s.begun.clear()
        self.s.spans.clear()
        self.s.urgent.clear()
        self.s.reset = self.s.reset and self.p.reset  # a RST that was used stays
        self.s.ack = self.s.edge = None

    def _reset_is_due(self) -> bool:
        """C8: has the PVM yet to get to where the SVM has reset the connection?"""
        p, s = self.p, self.s
        if not s.reset or s.reset_by is None or p.reset or p.finished or self.low is None:
            return False
        at = self.position(s, s.reset_by.seq)
        return at is not None and at >= self.matched

    def commit(self, observe: bool = False) -> None:
        """The SVM has become the PVM; or (observe) the PVM's bytes count as agreed and the SVM goes on."""
        p, s = self.p, self.s
        self.contradicted = False
        if p.base is not None:
            self.low = FAR_BACK if p.syn is None else 0  # no segment lies before the SYN
            self.provisional = self.provisional and (p.end is None or p.end <= self.matched)
            self.matched = self.floor = max(self.matched, self.matched if p.end is None else p.end)
            self.pieced = self.ahead_fin = None
            self.ahead.clear()
            self.pieced_ahead.clear()
            self.runs, self.crowded = 0, False
            if p.finished and self.matched == p.end:
                self.fin = p.end - 1
        due = observe and self._reset_is_due()
        if not due:
            s.refused, s.reset_text = p.refused, p.reset_text
        if s.syn is not None or not observe:
            s.forms = list(p.forms)
            self._settle_forms()
        for side in (p, s):
            over = side is s and (p.finished or p.reset)  # the PVM says no more
            for at in [at for at in side.said if at < self.matched or over or not observe]:
                del side.said[at], side.when[at]
            side.spans = [each for each in side.spans if each.end > self.matched and not over and observe]
        if observe:
            if p.ack is not None and (s.ack is None or (p.ack, p.edge or 0) > (s.ack, s.edge or 0)):
                s.ack, s.raw, s.edge = p.ack, p.raw, p.edge
            s.urgent |= p.urgent
            s.reset = p.reset or due
        else:
            self.adopt()
            s.end, s.irs = p.end, p.irs
            s.ack, s.edge, s.raw = p.ack, p.edge, p.raw
            s.sacked, s.last, self.svm_again = list(p.sacked), p.last, 0
            s.urgent, s.reset, s.finished = set(p.urgent), p.reset, p.finished


def span_of(segment: Packet, position: int, gso: int = 0) -> Span:
    """Where a segment and its payload lie, from its first position on."""
    first = position + bool(segment.flags & SYN)
    return Span(position, position + segment.length, first, bytes(segment.payload), gso)


def difference(one: Value, other: Value) -> str:
    """The reason for two unequal values at one position."""
    return "payload" if isinstance(one, int) and isinstance(other, int) else "control"


def further(one: int | None, other: int | None) -> int | None:
    """The larger of two numbers that may not be known yet."""
    if one is None or other is None:
        return other if one is None else one
    return max(one, other)


def copy_with(
    held: Held, ack: int | None, window: int, options: bytes | None = None, modulo: int = 2**32
) -> bytes:
    """The held frame with this acknowledgement and window, and other options of the same length."""
    segment = held.segment
    assert segment is not None
    fields: dict[str, int] = {}
    if ack is not None and ack % modulo != segment.ack:
        fields["ack"] = ack % modulo
    if window != segment.window:
        fields["window"] = window
    frame = with_tcp(held.frame, **fields) if fields else held.frame
    if options is None or options == raw_options(segment):
        return frame
    return with_raw_options(frame, options)
