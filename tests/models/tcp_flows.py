"""The TCP half of the oracle: which connection a segment belongs to, and what happens to it there.

`Oracle` in oracle.py inherits `TcpJudge`; the rules for one connection are in tcp.py.

Past 400 lines: which connection a segment belongs to depends on all of them.
"""

from collections.abc import Callable

from models.packets import ACK, RST, SYN, URG, Packet, leading, parse, slice_of, with_tcp
from models.sack import new_in
from models.tcp import Connection, Held, Waiting, copy_with, span_of

from colo_proxy.vocabulary import Mode

STUCK = 100_000_000  # ns: a guest repeats what nobody acknowledges no sooner


class TcpFlow:
    """All connections that had one 5-tuple of the PVM's, in the order in which they were opened (T10).

    A SYN of the SVM that waits for the PVM's (`Connection.lone`) is here under the SVM's own 5-tuple.
    """

    def __init__(self, key: tuple[object, ...], behind_holes: bool = True, check: bool = False) -> None:
        self.key = key
        self.check = check
        self.behind_holes = behind_holes
        self.connections: list[Connection] = []

    @property
    def port(self) -> int:
        """The VM's, on the PVM."""
        port = self.key[4]
        assert isinstance(port, int)
        return port

    def begin(self, sport: int) -> Connection:
        """Another connection; `sport` is the port that the SVM has for it, as far as is known."""
        self.connections.append(Connection(self.behind_holes, self.check))
        self.connections[-1].sport = sport
        return self.connections[-1]

    def incarnation(self, who: str, segment: Packet) -> Connection | None:
        """The connection that a segment of this side belongs to; None: it is none of these, or a new one."""
        mine = [each for each in self.connections if self._concerns(each, who, segment)]
        spoken = [each for each in mine if getattr(each, who).base is not None]
        if not mine:
            return None
        connection = spoken[-1] if spoken else mine[0]
        side = getattr(connection, who)
        opens = segment.flags & (SYN | RST) == SYN
        another = side.irs is not None and segment.flags & ACK and side.irs != segment.ack
        fresh = side.syn is not None and (another or side.base != segment.seq)
        fresh = fresh and not connection.tries_again(side, segment)
        lacking = side.syn is None and not connection.midstream  # only the other side has opened it
        if opens and not lacking and (fresh or connection.caught or connection.over):
            later = mine[mine.index(connection) + 1 :]
            return later[0] if later else None
        return connection

    @staticmethod
    def _concerns(connection: Connection, who: str, segment: Packet) -> bool:
        """May a segment of this side be of this connection at all?"""
        if who == "s":
            return connection.s.base is None or connection.sport == segment.sport
        opens = segment.flags & (SYN | ACK | RST) == SYN
        return not opens or not connection.lone or connection.p.base is not None

    @property
    def latest(self) -> Connection | None:
        """The one in which the PVM is."""
        return next((each for each in reversed(self.connections) if each.p.base is not None), None)


class TcpJudge:
    """What the oracle does with TCP segments. State that all protocols share is declared in `Oracle`."""

    now: int
    since: int | None
    number: int
    heard: int
    timeout: int
    reorder: int
    observe: bool
    behind_holes: bool
    check: bool
    unverified: int
    svm_stopped: bool
    mode: Mode
    held: list[Held]
    tcp: dict[tuple[object, ...], TcpFlow]
    waiting: list[Waiting]
    asked: list[tuple[TcpFlow, Connection]]
    lone: list[tuple[TcpFlow, Connection]]
    meaning: dict[tuple[object, ...], TcpFlow]
    _diverge: Callable[[TcpFlow, Connection, str, int], None]
    _report: Callable[[TcpFlow, Connection, str, int], None]
    _emit: Callable[[bytes], None]
    _emit_held: Callable[[Held], None]
    _forget_late_segments: Callable[[TcpFlow, Connection], None]

    @property
    def came(self) -> int:
        """When the frame that is being judged came."""
        return self.now if self.since is None else self.since

    def _primary_tcp(
        self, segment: Packet, frame: bytes, frames: list[bytes] | None = None, gso: int = 0
    ) -> None:
        flow = self._flow(segment.flow(True))
        connection = flow.incarnation("p", segment) or self._opened_by_pvm(flow, segment)
        ack = connection.ack_of(segment)
        again, count = connection.p.reset, connection.count
        if segment.flags & SYN and not segment.flags & ACK and connection.lone:
            connection.lone = False  # the SVM came first, from the same port
            self.lone = [each for each in self.lone if each[1] is not connection]
        found = connection.hear(connection.p, segment, self.came, gso, judged=self._judges)
        self.unverified += connection.unverified
        connection.unverified = 0
        held = Held(self.number, frame, self.came, flow, "data", segment, connection)
        held.position, held.frames = connection.place(connection.p, segment), frames or []
        held.ack, held.gso, held.contrary = ack, gso, connection.contrary
        if segment.flags & RST:
            held.kind, held.again = "rst", again
        elif not segment.length:
            held.kind = "ack"
        if ack is not None and (held.kind == "rst" or held.position is not None):
            held.duplicate = held.kind == "ack" and connection.p.last == (ack, segment.window)
            connection.p.last = (ack, segment.window)
            connection.acks.append((self.number, ack))
            self.held = [
                h
                for h in self.held
                if not (
                    held.kind == "ack"
                    and h.kind == "owed"
                    and h.connection is connection
                    and h.ack is not None
                    and ack >= h.ack
                )
            ]
        self.held.append(held)
        if self.mode is Mode.HOLD or self.svm_stopped:
            return
        if found is not None:
            self._diverge(flow, connection, found[0], self._offset(connection, found[1]))
        elif connection.blocked:
            return
        else:
            news = connection.count > count or self._lowest(connection) is held
            self._let_go(flow)
            if news:
                self._watch(connection)

    def _secondary_tcp(self, segment: Packet, frames: list[bytes]) -> None:
        flow, connection = self._of_svm(segment)
        segment = self._mapped(segment, flow)
        count, again = connection.count, connection.s.reset
        before, sacked = connection.s.ack, list(connection.s.sacked)
        found = connection.hear(connection.s, segment, self.came)
        position = connection.place(connection.s, segment)
        ack = connection.ack_of(segment)
        duplicate = ack is not None and connection.s.last == (ack, segment.window)
        if ack is not None and (segment.flags & RST or position is not None):
            connection.s.last = (ack, segment.window)
        if connection.s.ack != before:
            connection.svm_again = 0
        if segment.flags & RST and again:
            pass  # the first one waits for the PVM's
        elif segment.flags & RST or (
            position is not None and segment.length and not connection.is_strange(position)
        ):
            self.waiting.append(
                Waiting(self.heard, self.came, flow, connection, segment, position or 0, frames)
            )
        if connection.blocked:
            return
        if found is not None:
            self._diverge(flow, connection, found[0], self._offset(connection, found[1]))
            return
        self._let_go(flow)
        if position is not None and not frames and not self.observe and connection.s.ack is not None:
            repeated = connection.s.ack == before
            fresh = new_in(sacked, segment, connection.s.ack)
            if connection.shows_a_loss(segment, duplicate, fresh if repeated else []):
                self._emit(connection.for_both(segment))
            elif connection.completes(segment, before, fresh):
                self._emit(connection.for_both(segment, completed=True))
        if connection.count > count:
            self._watch(connection)
        elif position is not None and segment.length and not segment.flags & RST:
            self._said_again(flow, connection, position, position + segment.length)

    # ------------------------------------------------------------------ T14: retransmissions

    @property
    def _judges(self) -> bool:
        """Is what the PVM says compared now?"""
        return self.mode is Mode.COMPARE and not self.svm_stopped

    def _received(self, segment: Packet, now: int) -> None:
        """A client's segment that the SVM has received."""
        flow = self.tcp.get(segment.flow(False))
        connections = flow.connections if flow is not None else []
        opened = [each for each in connections if each.s.syn is not None and each.sport == segment.dport]
        if opened:
            opened[-1].received(segment.ack, now)

    def _acknowledged(self, segment: Packet) -> None:
        """A client's segment: what has left and is acknowledged need not be known any more."""
        flow = self.tcp.get(segment.flow(False))
        if flow is None or not flow.connections or not segment.flags & ACK:
            return
        known = flow.connections[0]
        for each in flow.connections:
            if each.low is not None and not (each.p.syn is not None and each.matched == 0):
                known = each
        if not segment.flags & (SYN | RST):
            known.acknowledged(segment.ack, self.now)
        if not self.check:
            return
        at = known.position(known.p, segment.ack)
        if at is None or known.low is None:
            return
        left = known.matched
        if self.observe:
            left = known.p.end if known.p.end is not None else left
        else:
            waiting = [held for held in self.held if held.connection is known and held.kind == "data"]
            if waiting and waiting[0].position is not None:
                left = min(left, waiting[0].position)
        if at <= left:
            known.known.acknowledge(at)

    def _leaves_unseen(self, held: Held) -> None:
        """A commit releases this: clients know these bytes from now on."""
        if held.kind == "data" and held.position is not None and held.connection is not None:
            assert held.segment is not None
            held.connection.known.replace(span_of(held.segment, held.position, held.gso))

    # ------------------------------------------------------------------ T13: pieces

    def _lowest(self, connection: Connection) -> Held | None:
        """The lowest of the PVM's segments that are not agreed altogether."""
        waiting = self._waiting(connection)
        placed = [(held.position, held.number, held) for held in waiting if held.position is not None]
        return min(placed)[2] if placed else None

    def _watch(self, connection: Connection) -> None:
        """Something new is agreed, or waits: of the lowest segment, is it a part?"""
        lowest = self._lowest(connection) if connection.s.base is not None else None
        end = max(connection.ahead, default=connection.matched - 1) + 1
        if lowest is not None and lowest.position is not None and lowest.position < end:
            connection.grown, connection.watched = self.now, True

    def _tick_pieces(self, flow: TcpFlow) -> None:
        for connection in flow.connections:
            if connection.watched and self.now - connection.grown >= self.reorder:
                connection.watched = False
                lowest = self._lowest(connection)
                if lowest is not None and lowest.gso and not connection.blocked:
                    self._leave_part(lowest, lowest.gso)
                waiting = [held for held in self._waiting(connection) if held.position is not None]
                for held in sorted(waiting, key=lambda held: (held.position, held.number)):
                    if held.gso and not connection.blocked:
                        self._leave_beyond(held, held.gso)
                self._let_go(flow)  # what waits may offer more than the windows that have just left (T6)

    def _said_again(self, flow: TcpFlow, connection: Connection, first: int, end: int) -> None:
        """The SVM repeats what is agreed: if the PVM's lowest segment has some of it, that leaves."""
        lowest = self._lowest(connection)
        if lowest is None or lowest.position is None or lowest.position >= end or connection.low is None:
            return
        if connection.low <= first and end <= connection.matched and self.now - connection.grown >= STUCK:
            if connection.pieced is not None:
                connection.pieced = min(connection.pieced, first)
            self._leave_part(lowest)
            self._let_go(flow)  # as in `_tick_pieces`

    def _leave_part(self, held: Held, size: int = 1) -> None:
        """What the prefix has of a held segment leaves, in multiples of `size`, as one of its own."""
        connection, segment, first = held.connection, held.segment, self._divisible(held)
        if connection is None or segment is None or first is None:
            return
        begin = first
        if connection.pieced is not None and first < connection.pieced <= connection.matched:
            begin = connection.pieced
        end = min(first + len(segment.payload), connection.matched)
        end -= (end - begin) % size
        if begin < end:
            connection.pieced = end
            self._leave(held, begin - first, end - first)

    def _leave_beyond(self, held: Held, size: int = 1) -> None:
        """What is agreed beyond the prefix of a held segment leaves: each of its own segments, once."""
        connection, segment, first = held.connection, held.segment, self._divisible(held)
        if connection is None or segment is None or first is None:
            return
        length = len(segment.payload)
        wanted: set[int] = set()
        for begin in range(0, length, size):
            its = set(range(begin, min(begin + size, length)))
            if all(first + at in connection.ahead for at in its):
                wanted |= {at for at in its if first + at not in connection.pieced_ahead}
        for begin in sorted(at for at in wanted if at - 1 not in wanted):
            end = begin
            while end in wanted:
                end += 1
            connection.pieced_ahead |= set(range(first + begin, first + end))
            self._leave(held, begin, end)

    def _divisible(self, held: Held) -> int | None:
        """The position of a held segment, if a part of it may leave as a segment of its own."""
        connection, segment = held.connection, held.segment
        if held.position is None:
            return None
        if held.kind != "data" or held.as_it_came or held.contrary or connection is None or segment is None:
            return None
        if segment.flags & (SYN | URG) or not segment.flags & ACK or connection.s.ack is None:
            return None
        first = connection.place(connection.p, segment)
        return first if first is not None and connection.low is not None and first >= connection.low else None

    def _leave(self, held: Held, begin: int, end: int) -> None:
        """Bytes of a held segment's payload leave as a segment of their own."""
        connection, segment = held.connection, held.segment
        assert connection is not None
        assert segment is not None
        ack, window = connection.clamp(segment)
        frame = slice_of(segment, begin, end)
        piece = Held(0, frame, 0, None, segment=parse(frame))
        self._emit(connection.stamped(copy_with(piece, ack, window, connection.options(segment))))
        connection.tell(segment, ack, window, held.number)

    # ------------------------------------------------------------------ release

    def _let_go(self, flow: TcpFlow) -> None:
        """Release what may leave now, in the order in which the PVM sent it."""
        for held in sorted(self.held, key=lambda each: each.kind == "owed"):  # what is owed comes last (T6)
            connection = held.connection
            if held.kind == "owed" and held not in self.held:
                continue  # a segment that has just left carried it
            if held.flow is not flow or connection is None or connection.blocked:
                continue
            if held.kind == "owed" and not connection.still_owed(held):
                self.held.remove(held)
            elif connection.may_leave(held):
                self._release(held)
            elif held.kind in ("ack", "owed") and not held.as_it_came and held.position is not None:
                behind = held.ack is not None and connection.s.ack is not None and connection.s.ack < held.ack
                if (behind or held.kind == "owed") and connection.tells_more(held):
                    self._clamped(held)
                    if held.kind == "owed" and not (
                        connection.still_owed(held) and connection.is_clamped(held)
                    ):
                        self.held.remove(held)
        self.held = [each for each in self.held if each.flow is not flow or not self._left_behind(each)]

    @staticmethod
    def _left_behind(held: Held) -> bool:
        """T8: an acknowledgement that waits on a connection of which clients know that it was reset."""
        connection = held.connection
        if connection is None or not connection.reset_left or connection.blocked:
            return False
        return held.kind in ("ack", "owed")

    def _release(self, held: Held) -> None:
        connection, segment = held.connection, held.segment
        assert connection is not None
        assert segment is not None
        self.held.remove(held)
        connection.reset_left = connection.reset_left or held.kind == "rst"
        ack = connection.ack_of(segment)
        self._clamped(held)
        connection.told_again += held.duplicate and ack == connection.told
        _, room = connection.clamp(segment)
        told = connection.told
        owes = held.kind == "data" and ack is not None and told is not None and told < ack
        if ack is not None and room != segment.window and not segment.flags & SYN:
            owes = owes or (connection.cramped() and connection.told_by <= held.number)
        if owes:
            self.held = [h for h in self.held if h.kind != "owed" or h.connection is not connection]
            scale = (connection.p.scale or 0) if segment.flags & SYN else 0  # of a SYN it is not scaled
            seq, window = (segment.seq + segment.length) % 2**32, segment.window >> scale
            frame = with_tcp(held.frame, cut=1, flags=ACK, seq=seq, urgent=0, window=window)
            owed = Held(self.number, frame, self.now, held.flow, "owed", parse(frame), connection)
            owed.ack, owed.position, owed.part_of = ack, held.position, held.number
            self.held.append(owed)

    def _clamped(self, held: Held) -> None:
        assert held.connection is not None
        assert held.segment is not None
        ack, window = held.connection.clamp(held.segment)
        self._emit_stamped(held, copy_with(held, ack, window, held.connection.options(held.segment)))
        held.connection.tell(held.segment, ack, window, held.part_of or held.number)

    def _emit_stamped(self, held: Held, copy: bytes) -> None:
        """T16: a copy of what was held leaves with a TSval that clients take; not what leaves as it came."""
        assert held.connection is not None
        stamped = held.connection.stamped(copy, fixed=held.as_it_came)
        if held.frames:
            self._emit_held(held)
        else:
            self._emit(stamped)

    def _tick_tcp(self, flow: TcpFlow) -> None:
        for held in list(self.held):
            connection = held.connection
            if held.flow is not flow or connection is None or held not in self.held:
                continue
            if connection.reported or self.now - held.time < self.timeout:
                continue
            ack = connection.s.ack
            committed = held.kind == "ack" and ack is not None and held.ack is not None and ack >= held.ack
            stale = held.ack is not None and connection.out_of_date(held.number, held.ack)
            granted = held.kind == "owed" and not connection.still_owed(held)
            told = held.ack is not None and connection.told is not None and held.ack <= connection.told
            if held.kind == "owed" and not granted and told and not connection.closed():
                continue  # a window of which clients have some
            stray = held.kind == "rst" and connection.stray(connection.p, held.segment)
            if granted or stray or (committed and (stale or not connection.closed())):
                self.held.remove(held)  # nobody waits for it
            else:
                reason, at = "missing-secondary", connection.matched
                if held.kind == "data" and connection.lacks(held):
                    reason, at = connection.missing(self._waiting(connection))
                self._diverge(flow, connection, reason, self._offset(connection, at))
        for connection in flow.connections:
            self._forget_early(connection)
            self._forget_late_segments(flow, connection)
            beyond = self._beyond(connection)
            self._excuse(connection)
            waits = [(min(connection.s.when[at]), beyond[0]) for at in beyond if connection.s.when[at]]
            if self._reset_alone(connection):
                due = self.now - connection.s.reset_time >= self.timeout
                stray = connection.stray(connection.s, connection.s.reset_by)
                if due and stray and not connection.reported:
                    connection.s.reset_by = None  # it is not looked at again
                    self.waiting = [
                        each
                        for each in self.waiting
                        if each.connection is not connection or not each.segment.flags & RST
                    ]
                else:
                    waits.append((connection.s.reset_time, connection.matched))
            since, at = min(waits, default=(self.now, 0))
            if self.now - since >= self.timeout and not connection.reported:
                if self.observe:
                    connection.s.reset_by = None  # it counts as not said
                self._diverge(flow, connection, "missing-primary", self._offset(connection, at))
                if self.observe:
                    self.lone = [each for each in self.lone if each[1] is not connection]
                    connection.lone = False
                    connection.s.said.clear()
                    connection.s.when.clear()
                    connection.s.begun.clear()
                    connection.s.spans.clear()
                    end = connection.s.end
                    if connection.low is None or (end is not None and end >= connection.matched):
                        connection.s.finished = False  # that counts as not said

    def _excuse(self, connection: Connection) -> None:
        """M2: the PVM has yet to receive what the SVM answers. What is due counts when it is said again."""
        p, s = connection.p, connection.s
        if connection.low is not None and p.ack is not None and s.ack is not None and p.ack < s.ack:
            for at in s.when:
                s.when[at] = [time for time in s.when[at] if self.now - time < self.timeout]

    @staticmethod
    def _reset_alone(connection: Connection) -> bool:
        """Has the SVM reset the connection, and the PVM not?"""
        return connection.s.reset and not connection.p.reset and connection.s.reset_by is not None

    def _answered(self, segment: Packet) -> None:
        """A client's SYN/ACK, which answers what it has heard of the guest's SYN (T3)."""
        flow = self.tcp.get(segment.flow(False))
        if flow is None or self.mode is not Mode.COMPARE or self.svm_stopped:
            return
        known = [each for each in flow.connections if each.low is not None and each.matched > 0]
        if known and known[-1].answered() and not known[-1].blocked:
            self._diverge(flow, known[-1], "control", 0)

    def _waiting(self, connection: Connection) -> list[Held]:
        """The PVM's segments that are not agreed."""
        return [
            held
            for held in self.held
            if held.connection is connection and held.kind == "data" and connection.lacks(held)
        ]

    def _forget_early(self, connection: Connection) -> None:
        """M2: what the SVM said before a flow was first seen."""
        low = connection.low
        if low is None or connection.reported:
            return
        mine = [each for each in self.waiting if each.connection is connection]
        early = [
            each
            for each in mine
            if each.segment.length
            and each.position + each.segment.length <= low
            and self.now - each.time >= self.timeout
        ]
        if not early:
            return
        self.waiting = [each for each in self.waiting if each not in early]
        late = [each for each in mine if each not in early]
        left = {at for each in late for at, _ in connection.values(each.segment, each.position)}
        for at in [at for at in connection.s.said if at < low and at not in left]:
            del connection.s.said[at], connection.s.when[at]

    @staticmethod
    def _beyond(connection: Connection) -> list[int]:
        """SVM positions that the PVM has not produced (below a mid-stream start none are expected)."""
        if connection.low is None:
            return sorted(connection.s.said)
        return sorted(
            at
            for at in connection.s.said
            if at >= connection.matched and (connection.p.end is None or at >= connection.p.end)
        )

    def _finish_tcp(self, flow: TcpFlow) -> None:
        for connection in flow.connections:
            waiting = self._waiting(connection)
            forms = [
                held
                for held in self.held
                if held.connection is connection
                and held.kind == "data"
                and not connection.form_agreed(held.segment)
            ]
            if waiting and not connection.reported:
                reason, at = connection.missing(waiting)
                self._report(flow, connection, reason, self._offset(connection, at))
            if connection.ahead and not connection.reported:
                reason, at = connection.hole()
                self._report(flow, connection, reason, self._offset(connection, at))
            if forms and not connection.reported:
                self._report(
                    flow, connection, "missing-secondary", self._offset(connection, connection.matched)
                )
            resets = [
                held
                for held in self.held
                if held.connection is connection
                and held.kind == "rst"
                and not connection.stray(connection.p, held.segment)
            ]
            if resets and not connection.reported:
                self._report(
                    flow, connection, "missing-secondary", self._offset(connection, connection.matched)
                )
            beyond = self._beyond(connection)
            reset = self._reset_alone(connection)
            reset = reset and not connection.stray(connection.s, connection.s.reset_by)
            if (beyond or reset) and not connection.reported:
                at = beyond[0] if beyond else connection.matched
                self._report(flow, connection, "missing-primary", self._offset(connection, at))

    @staticmethod
    def _offset(connection: Connection, position: int) -> int:
        return 0 if connection.low is None else max(position - connection.start, 0)

    def _flow(self, key: tuple[object, ...]) -> TcpFlow:
        return self.tcp.setdefault(key, TcpFlow(key, self.behind_holes, self.check))

    # ------------------------------------------------------------------ connections the guest opens

    def _opened_by_pvm(self, flow: TcpFlow, segment: Packet) -> Connection:
        """The PVM begins a connection. A SYN takes one of the SVM's: by its port, else the oldest (3.1)."""
        port = segment.sport
        if segment.flags & (SYN | ACK | RST) != SYN:
            return flow.begin(port)
        alike = [each for each in self.lone if self._pairs(each, segment)]
        alike.sort(key=lambda each: 0 if each[1].meant == port else 1 if each[1].sport == port else 2)
        if not alike:
            self.asked.append((flow, flow.begin(port)))
            return flow.connections[-1]
        alone, its = alike[0]
        later = alone.connections[alone.connections.index(its) + 1 :]
        if alone is flow and all(each.p.base is None for each in later):
            return its
        self.lone.remove(alike[0])
        alone.connections.remove(its)
        connection = flow.begin(its.sport)
        connection.s, connection.blocked, connection.reported = its.s, its.blocked, its.reported
        for each in self.waiting:
            if each.connection is its:
                each.flow, each.connection = flow, connection
                each.segment = self._mapped(each.segment, flow)
        key = self._svm_key(flow, its.sport)
        if alone is flow:
            self.meaning.pop(key, None)
        elif all(other is not alone for other, _ in self.lone):
            self.meaning[key] = flow
        return connection

    def _of_svm(self, segment: Packet) -> tuple[TcpFlow, Connection]:
        """The connection of a segment of the SVM, which may be the PVM's from another port."""
        key = segment.flow(True)
        opens = segment.flags & (SYN | ACK | RST) == SYN
        flow = self.meaning.get(key) or self._flow(key)
        connection = flow.incarnation("s", segment)
        if connection is None and opens:
            alike = [each for each in self.asked if self._pairs(each, segment)]
            alike.sort(key=lambda each: each[0].key != key)
            flow, connection = alike[0] if alike else (flow, None)
        if connection is None:
            lone = [each for each in flow.connections if each.lone]
            meant = lone[-1].meant if lone and key not in self.meaning else flow.key[4]
            self.meaning.pop(key, None)
            flow = self._flow(key)
            connection = flow.begin(segment.sport)
            connection.meant = meant
            if opens and self.mode is not Mode.FAILED_OVER:
                connection.lone = True
                self.lone.append((flow, connection))
        elif opens and connection.s.syn is None:
            self.asked = [each for each in self.asked if each[1] is not connection]
            connection.sport = segment.sport
            if flow.key == key:
                self.meaning.pop(key, None)
            else:
                self.meaning[key] = flow
        return flow, connection

    @staticmethod
    def _svm_key(flow: TcpFlow, port: int) -> tuple[object, ...]:
        return (*flow.key[:4], port, *flow.key[5:])

    @staticmethod
    def _pairs(each: tuple[TcpFlow, Connection], syn: Packet) -> bool:
        """Is it to the same destination, from the same address, and has only one guest spoken?"""
        flow, connection = each
        both = connection.p.base is not None and connection.s.base is not None
        return not both and flow.key == (*syn.flow(True)[:4], flow.key[4], *syn.flow(True)[5:])

    @staticmethod
    def _mapped(segment: Packet, flow: TcpFlow) -> Packet:
        """The SVM's segment from the PVM's port."""
        port = flow.key[4]
        assert isinstance(port, int)
        return segment if port == segment.sport else leading(parse(with_tcp(segment.frame, sport=port)))
