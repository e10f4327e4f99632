"""The TCP half of the oracle: which connection a segment belongs to, and what happens to it there.

`Oracle` in oracle.py inherits `TcpJudge`; the rules for one connection are in tcp.py.
"""

from models.packets import ACK, RST, SYN, URG, Packet, leading, parse, slice_of, with_tcp
from models.tcp import Connection, Held, Waiting, copy_with

from colo_proxy.words import Mode

STUCK = 100_000_000  # ns: a guest repeats what nobody acknowledges no sooner


class TcpFlow:
    """All incarnations of one 5-tuple; each side is in one of them (T10)."""

    def __init__(self, key: tuple[object, ...], behind_holes: bool = True) -> None:
        self.key = key
        self.behind_holes = behind_holes
        self.connections = [Connection(behind_holes)]
        self.current = {"p": 0, "s": 0}
        self.secondary_port: int | None = None  # where the SVM chose another source port

    def incarnation(self, who: str, segment: Packet) -> Connection:
        """The connection a segment of this side belongs to; a SYN with a new ISN begins the next one."""
        connection = self.connections[self.current[who]]
        side = getattr(connection, who)
        opens = segment.flags & (SYN | RST) == SYN
        another = side.irs is not None and segment.flags & ACK and side.irs != segment.ack
        fresh = side.syn is not None and (another or side.base != segment.seq)
        lacking = side.syn is None and not connection.midstream  # only the other side has opened it
        if opens and not lacking and (fresh or connection.caught or connection.over):
            self.current[who] += 1
            if self.current[who] == len(self.connections):
                self.connections.append(Connection(self.behind_holes))
        return self.connections[self.current[who]]

    def left_behind(self, segment: Packet) -> bool:
        """The SVM opens another connection from a port that it had for this one, and the PVM not."""
        side = self.connections[self.current["s"]].s
        again = side.syn is None or side.base == segment.seq
        opens = segment.flags & (SYN | ACK | RST) == SYN
        return opens and not again and self.key[4] != segment.sport


class TcpJudge:
    """What the oracle does with TCP segments. State that all protocols share is declared in `Oracle`."""

    now: int
    came: int
    number: int
    heard: int
    timeout: int
    reorder: int
    observe: bool
    behind_holes: bool
    svm_stopped: bool
    mode: Mode
    held: list[Held]
    tcp: dict[tuple[object, ...], TcpFlow]
    waiting: list[Waiting]
    lone_syns: list[Packet]

    def _primary_tcp(
        self, segment: Packet, frame: bytes, frames: list[bytes] | None = None, gso: int = 0
    ) -> None:
        flow = self._flow(segment.flow(True))
        connection = flow.incarnation("p", segment)
        ack = connection.ack_of(segment)
        again, matched = connection.p.reset, connection.matched
        if segment.flags & SYN and not segment.flags & ACK:
            self._pair(segment)
        found = connection.hear(connection.p, segment, self.came)
        held = Held(self.number, frame, self.came, flow, "data", segment, connection)
        held.position, held.frames = connection.place(connection.p, segment), frames or []
        held.ack, held.gso = ack, gso
        if segment.flags & RST:
            held.kind, held.again = "rst", again
        elif not segment.length:
            held.kind = "ack"
        if ack is not None and (held.kind == "rst" or held.position is not None):
            held.duplicate = held.kind == "ack" and connection.last == (ack, segment.window)
            connection.last = (ack, segment.window)
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
        if self.mode is Mode.HOLD:
            return
        if found is not None and not self.svm_stopped:
            self._diverge(flow, connection, found[0], self._offset(connection, found[1]))
        elif connection.blocked:
            return
        else:
            news = connection.matched > matched or self._lowest(connection) is held
            self._let_go(flow)
            if news:
                self._watch(connection)

    def _secondary_tcp(self, segment: Packet, frames: list[bytes]) -> None:
        segment = self._mapped(segment)
        flow = self._flow(segment.flow(True))
        connection = flow.incarnation("s", segment)
        matched = connection.matched
        found = connection.hear(connection.s, segment, self.came)
        position = connection.place(connection.s, segment)
        if segment.flags & RST or (position is not None and segment.length):
            self.waiting.append(
                Waiting(self.heard, self.came, flow, connection, segment, position or 0, frames)
            )
        if connection.blocked:
            return
        if found is not None:
            self._diverge(flow, connection, found[0], self._offset(connection, found[1]))
            return
        self._let_go(flow)
        if connection.matched > matched:
            self._watch(connection)
        elif position is not None and segment.length and not segment.flags & RST:
            self._said_again(connection, position, position + segment.length)

    # ------------------------------------------------------------------ T13: pieces

    def _lowest(self, connection: Connection) -> Held | None:
        """The lowest of the PVM's segments that are not agreed altogether."""
        waiting = self._waiting(connection)
        placed = [(held.position, held.number, held) for held in waiting if held.position is not None]
        return min(placed)[2] if placed else None

    def _watch(self, connection: Connection) -> None:
        """Something new is agreed, or waits: of the lowest segment, is it a part?"""
        lowest = self._lowest(connection) if connection.s.base is not None else None
        if lowest is not None and lowest.position is not None and lowest.position < connection.matched:
            connection.grown, connection.watched = self.now, True

    def _tick_pieces(self, flow: TcpFlow) -> None:
        for connection in flow.connections:
            if connection.watched and self.now - connection.grown >= self.reorder:
                connection.watched = False
                lowest = self._lowest(connection)
                if lowest is not None and lowest.gso and not connection.blocked:
                    self._leave_part(lowest, lowest.gso)

    def _said_again(self, connection: Connection, first: int, end: int) -> None:
        """The SVM repeats what is agreed: if the PVM's lowest segment has some of it, that leaves."""
        lowest = self._lowest(connection)
        if lowest is None or lowest.position is None or lowest.position >= end or connection.low is None:
            return
        if connection.low <= first and end <= connection.matched and self.now - connection.grown >= STUCK:
            if connection.pieced is not None:
                connection.pieced = min(connection.pieced, first)
            self._leave_part(lowest)

    def _leave_part(self, held: Held, size: int = 1) -> None:
        """What both guests have said of a held segment leaves, in multiples of `size`, as one of its own."""
        connection, segment = held.connection, held.segment
        if held.kind != "data" or held.as_it_came or connection is None or segment is None:
            return
        if segment.flags & (SYN | URG) or not segment.flags & ACK or connection.s.ack is None:
            return
        first = connection.place(connection.p, segment)
        if first is None or connection.low is None or first < connection.low:
            return
        begin = first
        if connection.pieced is not None and first < connection.pieced <= connection.matched:
            begin = connection.pieced
        end = min(first + len(segment.payload), connection.matched)
        end -= (end - begin) % size
        if begin >= end:
            return
        connection.pieced = end
        ack, window = connection.clamp(segment)
        frame = slice_of(segment, begin - first, end - first)
        self._emit(copy_with(Held(0, frame, 0, None, segment=parse(frame)), ack, window))
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

    def _release(self, held: Held) -> None:
        connection, segment = held.connection, held.segment
        assert connection is not None
        assert segment is not None
        self.held.remove(held)
        ack = connection.ack_of(segment)
        self._clamped(held)
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
        if held.frames:
            self._emit_held(held)
        else:
            self._emit(copy_with(held, ack, window))
        held.connection.tell(held.segment, ack, window, held.part_of or held.number)

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
            if granted or (committed and (stale or not connection.closed())):
                self.held.remove(held)  # nobody waits for it
            else:
                reason, at = "missing-secondary", connection.matched
                if held.kind == "data" and connection.lacks(held):
                    reason, at = connection.missing(self._waiting(connection))
                self._diverge(flow, connection, reason, self._offset(connection, at))
        for connection in flow.connections:
            self._forget_early(connection)
            beyond = self._beyond(connection)
            waits = [(connection.s.when[at], beyond[0]) for at in beyond]
            if connection.s.reset and not connection.p.reset:
                waits.append((connection.s.reset_time, connection.matched))
            since, at = min(waits, default=(self.now, 0))
            if self.now - since >= self.timeout and not connection.reported:
                self._diverge(flow, connection, "missing-primary", self._offset(connection, at))
                if self.observe:
                    self.lone_syns = [s for s in self.lone_syns if s.flow(True) != flow.key]
                    connection.s.said.clear()
                    connection.s.when.clear()

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
            if waiting and not connection.reported:
                reason, at = connection.missing(waiting)
                self._report(flow, connection, reason, self._offset(connection, at))
            resets = [held for held in self.held if held.connection is connection and held.kind == "rst"]
            if resets and not connection.reported:
                self._report(
                    flow, connection, "missing-secondary", self._offset(connection, connection.matched)
                )
            beyond = self._beyond(connection)
            reset = connection.s.reset and not connection.p.reset
            if (beyond or reset) and not connection.reported:
                at = beyond[0] if beyond else connection.matched
                self._report(flow, connection, "missing-primary", self._offset(connection, at))

    @staticmethod
    def _offset(connection: Connection, position: int) -> int:
        return 0 if connection.low is None else max(position - connection.start, 0)

    def _flow(self, key: tuple[object, ...]) -> TcpFlow:
        return self.tcp.setdefault(key, TcpFlow(key, self.behind_holes))

    # ------------------------------------------------------------------ connections the guest opens

    def _pair(self, syn: Packet) -> None:
        """A SYN of the PVM takes the SVM's SYN to the same destination: same port, else the oldest."""
        there = (syn.vlans, syn.source, syn.target, syn.dport)
        flow = self._flow(syn.flow(True))
        if flow.secondary_port is not None or flow.connections[flow.current["p"]].s.base is not None:
            self.lone_syns = [s for s in self.lone_syns if s.flow(True) != flow.key]  # it came first
            return
        alike = [s for s in self.lone_syns if (s.vlans, s.source, s.target, s.dport) == there]
        alike.sort(key=lambda s: s.sport != syn.sport)
        if alike:
            lone = alike[0]
            self.lone_syns = [s for s in self.lone_syns if s.sport != lone.sport or s.dport != lone.dport]
            flow.secondary_port = lone.sport
            if lone.sport != syn.sport:
                alone = self.tcp.pop(lone.flow(True))
                connection = flow.connections[flow.current["p"]]
                its = alone.connections[alone.current["s"]]
                connection.s, connection.blocked, connection.reported = its.s, its.blocked, its.reported
                for each in self.waiting:
                    if each.flow is alone:
                        each.flow, each.connection = flow, connection
                        each.segment = self._mapped(each.segment)

    def _mapped(self, segment: Packet) -> Packet:
        """The SVM's segment on the PVM's port."""
        for flow in self.tcp.values():
            _, _, vlans, local, lport, remote, rport = flow.key
            if (vlans, local, remote, rport) == (
                segment.vlans,
                segment.source,
                segment.target,
                segment.dport,
            ):
                if flow.secondary_port == segment.sport and flow.left_behind(segment):
                    flow.secondary_port = None
                elif flow.secondary_port == segment.sport:
                    return (
                        leading(parse(with_tcp(segment.frame, sport=lport)))
                        if lport != segment.sport
                        else segment
                    )
        if not segment.flags & SYN or segment.flags & ACK or self.mode is Mode.FAILED_OVER:
            return segment
        wanted = None
        for flow in self.tcp.values():  # in the order in which the PVM opened them
            _, _, vlans, local, lport, remote, rport = flow.key
            connection = flow.connections[flow.current["p"]]
            if (vlans, local, remote, rport) != (
                segment.vlans,
                segment.source,
                segment.target,
                segment.dport,
            ):
                continue
            if connection.p.syn is None or connection.s.base is not None or flow.secondary_port is not None:
                continue
            if lport == segment.sport:
                wanted = flow
                break
            wanted = wanted or flow
        if wanted is None:
            self.lone_syns.append(segment)
            return segment  # until then it has a flow of its own
        wanted.secondary_port = segment.sport
        return self._mapped(segment)
