"""The reference comparator: docs/comparison.md in plain Python, slow and meant to be obviously right.

It has the interface of `colo_proxy.datapath.comparator.Comparator`, and answers with the same
words. It models what reaches the uplink and which divergences are found; what is mirrored to the
guests is the business of other tests. It keeps everything it might need in dictionaries and lists,
and looks at all of it each time. Memory bounds and policies are not modelled.
"""

from ipaddress import ip_address

from colo_proxy.words import Divergence, Frame, Mode, Port, Reason
from models.datagrams import DatagramFlow, Reassembly, describe_difference, equal_form, payload_of
from models.packets import ACK, RST, SYN, Packet, parse, with_tcp, with_timestamp
from models.tcp import Connection, Held, copy_with

MILLISECOND = 1_000_000
REASONS = {
    "payload": Reason.PAYLOAD,
    "control": Reason.CONTROL,
    "missing-secondary": Reason.MISSING_SECONDARY,
    "missing-primary": Reason.MISSING_PRIMARY,
}


class TcpFlow:
    """All incarnations of one 5-tuple; each side is in one of them (T10)."""

    def __init__(self, key: tuple[object, ...]) -> None:
        self.key = key
        self.connections = [Connection()]
        self.current = {"p": 0, "s": 0}
        self.blocked = False
        self.reported = False
        self.replaced = False  # the SVM's state was replaced: its offsets are zero
        self.secondary_port: int | None = None  # where the SVM chose another source port

    def incarnation(self, who: str, segment: Packet) -> Connection:
        """The connection a segment of this side belongs to; a SYN with a new ISN begins the next one."""
        connection = self.connections[self.current[who]]
        side = getattr(connection, who)
        only_reset = (
            who == "s" and connection.p.reset and (connection.p.end, connection.s.base) == (None, None)
        )
        if segment.flags & SYN and side.base != segment.seq and not only_reset:
            used = side.base is not None or (connection.midstream and connection.low is not None)
            if used or (connection.midstream and (connection.p.base, connection.s.base) != (None, None)):
                self.current[who] += 1
                if self.current[who] == len(self.connections):
                    self.connections.append(Connection())
        return self.connections[self.current[who]]


class Oracle:
    """See the module's text. Times in nanoseconds; frames begin at the Ethernet header."""

    def __init__(
        self,
        *,
        nic: int = 0,
        timeout_ms: int = 3000,
        reorder_ms: int = 5,
        observe: bool = False,
        mode: Mode = Mode.COMPARE,
        **unused: object,
    ) -> None:
        self.nic, self.observe, self.mode = nic, observe, mode
        self.timeout, self.reorder = timeout_ms * MILLISECOND, reorder_ms * MILLISECOND
        self.now = 0
        self.number = 0
        self.out: list[Frame | Divergence] = []
        self.tcp: dict[tuple[object, ...], TcpFlow] = {}
        self.datagrams: dict[tuple[object, ...], DatagramFlow] = {}
        self.held: list[Held] = []  # in the order in which the PVM sent
        self.waiting: list[tuple[int, TcpFlow, Connection, Packet, int]] = []  # SVM segments not agreed
        self.pieces = {"p": Reassembly(), "s": Reassembly()}
        self.svm_stopped = self.pvm_stopped = False
        self.later: list[tuple[str, bytes]] = []  # what was said in the new epoch
        self.lone_syns: list[Packet] = []  # SYNs of the SVM with no counterpart yet

    # ------------------------------------------------------------------ events

    def uplink(self, frame: bytes, now: int, vnet: bytes | None = None) -> None:
        """A frame from the clients goes to the guests; nothing leaves for it."""
        self.now = max(self.now, now)

    def primary(self, frame: bytes, now: int, vnet: bytes | None = None) -> None:
        """A frame the PVM sent."""
        self.now = max(self.now, now)
        if self.mode is Mode.FAILED_OVER:
            return
        if self.pvm_stopped:
            self.later.append(("p", frame))
            return
        self.number += 1
        packet = parse(frame)
        if self.mode is Mode.PASS:
            self._emit(frame)
            if packet.kind == "tcp":
                self._track(packet)
        elif packet.kind == "house" and self.mode is Mode.COMPARE:
            self._emit(frame)
        elif packet.kind == "house":
            self.held.append(Held(self.number, frame, self.now, None, "house"))
        elif packet.kind == "tcp":
            self._primary_tcp(packet, frame)
        elif packet.kind == "fragment":
            self._primary_fragment(packet, frame)
        else:
            self._primary_datagram(packet, [frame], self.now)

    def secondary(self, frame: bytes, now: int, vnet: bytes | None = None) -> None:
        """A frame the SVM sent."""
        self.now = max(self.now, now)
        packet = parse(frame)
        if self.mode is Mode.FAILED_OVER:
            self._emit(self._aligned(packet))
        elif self.svm_stopped:
            self.later.append(("s", frame))
        elif self.mode is not Mode.COMPARE or packet.kind == "house":
            return
        elif packet.kind == "tcp":
            self._secondary_tcp(packet)
        elif packet.kind == "fragment":
            whole = self.pieces["s"].add(packet, frame, self.now)
            if whole is not None and whole.packet.kind == "tcp":
                self._secondary_tcp(whole.packet)
            elif whole is not None:
                self._secondary_datagram(whole.packet, whole.frames)
        else:
            self._secondary_datagram(packet, [frame])

    def tick(self, now: int) -> int:
        """Time has passed: what was missing for too long is a divergence."""
        self.now = max(self.now, now)
        if self.mode is Mode.COMPARE and not self.svm_stopped and not self.pvm_stopped:
            for kind, key in [*(("tcp", k) for k in self.tcp), *(("udp", k) for k in self.datagrams)]:
                if kind == "tcp":
                    self._tick_tcp(self.tcp[key])
                else:
                    self._tick_datagrams(self.datagrams[key])
            self._tick_fragments()
        return self.now + MILLISECOND

    def finish(self, now: int) -> None:
        """The captures end: what has no counterpart is a divergence, and nothing leaves for it."""
        self.now = max(self.now, now)
        for flow in self.tcp.values():
            self._finish_tcp(flow)
        for queue in self.datagrams.values():
            mine = [held for held in self.held if held.flow is queue]
            if queue.blocked or queue.reported:
                continue
            if mine and queue.unmatched:
                offset = queue.matched + describe_difference(mine[0].segment, queue.unmatched[0].packet)
                self._report(queue, "payload", offset)
            elif mine or queue.unmatched:
                self._report(queue, "missing-secondary" if mine else "missing-primary", queue.matched)

    def take(self) -> list[Frame | Divergence]:
        """What came out since the last take, in order."""
        out, self.out = self.out, []
        return out

    # ------------------------------------------------------------------ TCP

    def _primary_tcp(self, segment: Packet, frame: bytes, frames: list[bytes] | None = None) -> None:
        flow = self._flow(segment.flow(True))
        connection = flow.incarnation("p", segment)
        ack = connection.ack_of(segment)
        found = connection.hear(connection.p, segment, self.now)
        if segment.flags & SYN and not segment.flags & ACK:
            self._pair(segment)
        held = Held(self.number, frame, self.now, flow, "data", segment, connection)
        held.position, held.frames = connection.place(connection.p, segment), frames or []
        held.ack = ack
        if segment.flags & RST:
            held.kind = "rst"
        elif not segment.length:
            held.kind = "ack"
        if ack is not None:
            held.duplicate = held.kind == "ack" and connection.last == (ack, segment.window)
            connection.last = (ack, segment.window)
            connection.acks.append((self.number, ack))
            self.held = [
                h
                for h in self.held
                if not (
                    h.kind == "owed" and h.connection is connection and h.ack is not None and ack >= h.ack
                )
            ]
        self.held.append(held)
        if self.mode is Mode.HOLD:
            return
        if found is not None:
            self._diverge(flow, found[0], self._offset(connection, found[1]))
        elif flow.blocked:
            return
        elif connection.may_leave(held):
            self._release(held)
        elif (
            held.kind == "ack" and ack is not None and connection.s.ack is not None and connection.s.ack < ack
        ):
            if connection.told is None or connection.s.ack > connection.told:
                self._clamped(held)

    def _secondary_tcp(self, segment: Packet) -> None:
        segment = self._mapped(segment)
        if segment is None:
            return
        flow = self._flow(segment.flow(True))
        connection = flow.incarnation("s", segment)
        found = connection.hear(connection.s, segment, self.now)
        position = connection.place(connection.s, segment)
        if position is not None and segment.length:
            self.waiting.append((self.number, flow, connection, segment, position))
        if flow.blocked:
            return
        if found is not None:
            self._diverge(flow, found[0], self._offset(connection, found[1]))
            return
        self._let_go(flow)

    def _let_go(self, flow: TcpFlow) -> None:
        """Release what may leave now, in the order in which the PVM sent it."""
        for held in list(self.held):
            if held.flow is flow and held.connection is not None and held.connection.may_leave(held):
                self._release(held)

    def _release(self, held: Held) -> None:
        connection, segment = held.connection, held.segment
        assert connection is not None
        assert segment is not None
        at = self.held.index(held)
        del self.held[at]
        ack = connection.ack_of(segment)
        if held.kind == "owed" and connection.told is not None and ack is not None and ack <= connection.told:
            return  # clients have learned it meanwhile
        self._clamped(held)
        clamped, _ = connection.clamp(segment)
        if held.kind == "data" and ack is not None and clamped is not None and clamped < ack:
            if not any(number > held.number and other >= ack for number, other in connection.acks):
                owed = Held(held.number, held.frame, self.now, held.flow, "owed", segment, connection)
                owed.ack = ack
                self.held.insert(at, owed)

    def _clamped(self, held: Held) -> None:
        assert held.connection is not None
        assert held.segment is not None
        ack, window = held.connection.clamp(held.segment)
        if held.frames:
            self._emit_held(held)
        else:
            self._emit(copy_with(held, ack, window))
        held.connection.tell(held.segment, ack, window)

    def _tick_tcp(self, flow: TcpFlow) -> None:
        for held in list(self.held):
            if held.flow is flow and not flow.blocked and not flow.reported and held.connection is not None:
                if self.now - held.time >= self.timeout and held in self.held:
                    at = held.connection.first_open(held)
                    self._diverge(flow, "missing-secondary", self._offset(held.connection, at))
        for connection in flow.connections:
            late = [at for at in self._beyond(connection) if self.now - connection.s.when[at] >= self.timeout]
            if late and not flow.reported:
                self._diverge(flow, "missing-primary", self._offset(connection, min(late)))
                if self.observe:
                    connection.s.said.clear()
                    connection.s.when.clear()

    @staticmethod
    def _beyond(connection: Connection) -> list[int]:
        """SVM positions that the PVM has not produced (below a mid-stream start none are expected)."""
        if connection.low is None:
            return sorted(connection.s.said)
        return sorted(
            at for at in connection.s.said if at >= connection.matched and at not in connection.p.said
        )

    def _finish_tcp(self, flow: TcpFlow) -> None:
        if flow.reported:
            return
        for connection in flow.connections:
            open_ = sorted(at for at in connection.p.said if not connection.agreed(at))
            resets = [h for h in self.held if h.kind == "rst" and h.connection is connection]
            if open_ or resets:
                at = open_[0] if open_ else connection.matched
                self._report(flow, "missing-secondary", self._offset(connection, at))
            beyond = self._beyond(connection)
            if beyond:
                self._report(flow, "missing-primary", self._offset(connection, beyond[0]))

    @staticmethod
    def _offset(connection: Connection, position: int) -> int:
        start = connection.low if connection.midstream and connection.low is not None else 1
        return max(position - start, 0)

    def _flow(self, key: tuple[object, ...]) -> TcpFlow:
        return self.tcp.setdefault(key, TcpFlow(key))

    def _track(self, segment: Packet) -> None:
        """Unprotected: the PVM's output passes, and is remembered for the next commit."""
        flow = self._flow(segment.flow(True))
        connection = flow.incarnation("p", segment)
        connection.hear(connection.p, segment, self.now)
        ack = connection.ack_of(segment)
        connection.tell(segment, ack, segment.window)
        if ack is not None:
            connection.last = (ack, segment.window)

    # ------------------------------------------------------------------ connections the guest opens

    def _pair(self, syn: Packet) -> None:
        """A SYN of the PVM takes the SVM's SYN to the same destination: same port, else the oldest."""
        there = (syn.vlans, syn.source, syn.target, syn.dport)
        flow = self._flow(syn.flow(True))
        if flow.secondary_port is not None or flow.connections[flow.current["p"]].s.base is not None:
            return
        alike = [s for s in self.lone_syns if (s.vlans, s.source, s.target, s.dport) == there]
        alike.sort(key=lambda s: s.sport != syn.sport)
        if alike:
            lone = alike[0]
            self.lone_syns = [s for s in self.lone_syns if s.sport != lone.sport or s.dport != lone.dport]
            flow.secondary_port = lone.sport
            self._secondary_tcp(lone)

    def _mapped(self, segment: Packet) -> Packet | None:
        """The SVM's segment on the PVM's port; None while a SYN of the SVM has no counterpart."""
        for flow in self.tcp.values():
            kind, protocol, vlans, local, lport, remote, rport = flow.key
            if (vlans, local, remote, rport) == (
                segment.vlans,
                segment.source,
                segment.target,
                segment.dport,
            ):
                if flow.secondary_port == segment.sport:
                    return parse(with_tcp(segment.frame, sport=lport)) if lport != segment.sport else segment
        if not segment.flags & SYN or segment.flags & ACK:
            return segment
        wanted = None
        for flow in self.tcp.values():  # in the order in which the PVM opened them
            kind, protocol, vlans, local, lport, remote, rport = flow.key
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
            return None
        wanted.secondary_port = segment.sport
        return self._mapped(segment)

    # ------------------------------------------------------------------ datagrams and fragments

    def _primary_datagram(self, packet: Packet, frames: list[bytes], since: int) -> None:
        queue = self.datagrams.setdefault(packet.flow(True), DatagramFlow(packet.flow(True)))
        if self.mode is Mode.COMPARE and not queue.blocked and queue.take(packet):
            for frame in frames:
                self._emit(frame)
            queue.matched += len(payload_of(packet))
            return
        kind = "datagram" if len(frames) == 1 else "fragments"
        held = Held(self.number, b"", since, queue, kind, packet)
        held.frames = frames
        self.held.append(held)

    def _secondary_datagram(self, packet: Packet, frames: list[bytes]) -> None:
        queue = self.datagrams.setdefault(packet.flow(True), DatagramFlow(packet.flow(True)))
        if queue.expected_late(packet):
            return
        for held in self.held:
            if held.flow is queue and not queue.blocked and equal_form(held.segment) == equal_form(packet):
                self.held.remove(held)
                self._emit_held(held)
                queue.matched += len(payload_of(packet))
                return
        queue.keep(packet, frames, self.now, self.number)

    def _tick_datagrams(self, queue: DatagramFlow) -> None:
        mine = [held for held in self.held if held.flow is queue]
        if queue.reported:
            return
        if mine and queue.unmatched:
            if self.now - max(mine[0].time, queue.unmatched[0].time) >= self.reorder:
                offset = queue.matched + describe_difference(mine[0].segment, queue.unmatched[0].packet)
                self._diverge(queue, "payload", offset)
        elif mine and self.now - mine[0].time >= self.timeout:
            self._diverge(queue, "missing-secondary", queue.matched)
        elif queue.unmatched and self.now - queue.unmatched[0].time >= self.timeout:
            self._diverge(queue, "missing-primary", queue.matched)

    def _primary_fragment(self, packet: Packet, frame: bytes) -> None:
        whole = self.pieces["p"].add(packet, frame, self.now, self.number)
        if whole is None:
            return
        if whole.packet.kind == "tcp":
            self._primary_tcp(whole.packet, whole.packet.frame, whole.frames)
        elif whole.packet.kind == "house" and self.mode is Mode.COMPARE:
            for piece in whole.frames:
                self._emit(piece)
        else:
            self._primary_datagram(whole.packet, whole.frames, self.now)

    def _tick_fragments(self) -> None:
        for since, key in self.pieces["p"].stale(self.now - self.timeout):
            queue = self.datagrams.setdefault(key, DatagramFlow(key))
            held = Held(self.number, b"", since, queue, "fragments")
            held.frames = self.pieces["p"].remove(key)
            self.held.append(held)
            if not queue.reported:
                self._diverge(queue, "missing-secondary", 0)
        self.pieces["s"].drop(self.now - self.timeout)

    # ------------------------------------------------------------------ divergences

    def _diverge(self, flow: TcpFlow | DatagramFlow, reason: str, offset: int) -> None:
        if not flow.reported:
            self._report(flow, reason, offset)
        if reason != "missing-primary":
            flow.blocked = True
        if not self.observe:
            return
        self._release_all()  # section 6, C8: as if a checkpoint had been made
        for each in self.tcp.values():
            each.blocked = each.reported = False
            for connection in each.connections:
                connection.commit(observe=True)
        for queue in self.datagrams.values():
            queue.blocked = queue.reported = False
        if isinstance(flow, DatagramFlow):
            flow.unmatched.clear()

    def _report(self, flow: TcpFlow | DatagramFlow, reason: str, offset: int) -> None:
        flow.reported = True
        self.out.append(
            Divergence(self.nic, name(flow.key), protocol(flow.key), REASONS[reason], offset, self.now)
        )

    def _emit(self, frame: bytes) -> None:
        self.out.append(Frame(Port.UPLINK, frame))

    def _emit_held(self, held: Held) -> None:
        for frame in held.frames or [held.frame]:
            self._emit(frame)

    def _release_all(self) -> None:
        """Everything that the PVM has held leaves, in order, as it is."""
        for number, frame in self.pieces["p"].remove_all():
            self.held.append(Held(number, frame, self.now, None, "piece"))
        for held in sorted(self.held, key=lambda each: each.number):
            connection, segment = held.connection, held.segment
            if connection is not None and segment is not None:
                ack = connection.ack_of(segment)
                if held.kind == "owed":
                    if connection.told is None or (ack is not None and ack > connection.told):
                        self._emit(copy_with(held, ack, segment.window))
                else:
                    self._emit_held(held)
                connection.tell(segment, ack, segment.window)
            else:
                self._emit_held(held)
                if isinstance(held.flow, DatagramFlow) and held.segment is not None:
                    held.flow.expected.append(equal_form(held.segment))
                    held.flow.matched += len(payload_of(held.segment))
        self.held.clear()

    # ------------------------------------------------------------------ checkpoint words

    def svm_stop(self, now: int) -> None:
        """What the SVM said before is dropped; what it says from now on belongs to the new epoch."""
        self.now = max(self.now, now)
        self.later = [entry for entry in self.later if entry[0] == "p"]
        self.svm_stopped = True
        self._forget_secondary()

    def _forget_secondary(self) -> None:
        for flow in self.tcp.values():
            flow.replaced = True
            for connection in flow.connections:
                connection.forget_secondary()
        for queue in self.datagrams.values():
            queue.unmatched.clear()
            queue.expected.clear()
        self.pieces["s"] = Reassembly()
        self.waiting.clear()
        self.lone_syns.clear()

    def pvm_stop(self, now: int) -> None:
        """What the PVM said before leaves on commit; what it says from now on belongs to the new epoch."""
        self.now = max(self.now, now)
        self.pvm_stopped = True

    def commit(self, now: int) -> None:
        """The SVM has the PVM's state."""
        self.now = max(self.now, now)
        if not self.svm_stopped:
            self._forget_secondary()
        self._release_all()
        for key, flow in list(self.tcp.items()):
            connection = flow.connections[flow.current["p"]]
            if connection.p.base is None:
                del self.tcp[key]
                continue
            connection.commit()
            flow.connections, flow.current = [connection], {"p": 0, "s": 0}
            flow.blocked = flow.reported = flow.replaced = False
            flow.secondary_port = None
        for queue in self.datagrams.values():
            queue.blocked = queue.reported = False
            queue.expected.clear()
        self.mode, self.svm_stopped, self.pvm_stopped = Mode.COMPARE, False, False
        later, self.later = self.later, []
        for who, frame in later:
            (self.primary if who == "p" else self.secondary)(frame, self.now)

    def abort(self, now: int) -> None:
        """The checkpoint failed: nothing leaves until a commit."""
        self.now = max(self.now, now)
        later, self.later = self.later, []
        self.mode, self.svm_stopped, self.pvm_stopped = Mode.HOLD, False, False
        self._forget_secondary()
        for who, frame in later:
            if who == "p":
                self.primary(frame, self.now)

    hold = abort

    def unprotect(self, now: int) -> None:
        """There is no SVM: the PVM's output passes."""
        self.now = max(self.now, now)
        self._release_all()
        later, self.later = self.later, []
        self.mode, self.svm_stopped, self.pvm_stopped = Mode.PASS, False, False
        self._forget_secondary()
        for who, frame in later:
            if who == "p":
                self.primary(frame, self.now)

    def failover(self, now: int) -> None:
        """The SVM is the service: the PVM's held output is dropped, the SVM's leaves, aligned."""
        self.now = max(self.now, now)
        self.held.clear()
        kept: list[tuple[int, bytes]] = []
        if self.mode is Mode.COMPARE:
            for number, flow, connection, segment, position in self.waiting:
                if not all(connection.agreed(at) for at, _ in connection.values(segment, position)):
                    kept.append((number, self._aligned(segment)))
            for queue in self.datagrams.values():
                kept += [(entry.number, frame) for entry in queue.unmatched for frame in entry.frames]
        for _, frame in sorted(kept, key=lambda entry: entry[0]):
            self._emit(frame)
        later, self.later = self.later, []
        self.mode = Mode.FAILED_OVER
        for who, frame in later:
            if who == "s":
                self.secondary(frame, self.now)

    def _aligned(self, packet: Packet) -> bytes:
        """A frame of the SVM in the numbers that clients know (C7)."""
        if packet.kind != "tcp":
            return packet.frame
        mapped = self._mapped(packet) or packet
        flow = self._flow(mapped.flow(True))
        connection = flow.incarnation("s", mapped)
        connection.place(connection.s, mapped)
        p, s = connection.p, connection.s
        if flow.replaced or p.base is None or s.base is None:
            return mapped.frame
        frame = with_tcp(mapped.frame, seq=(mapped.seq - s.base + p.base) % 2**32)
        if p.timestamp is not None and s.timestamp is not None and not mapped.flags & RST:
            frame = with_timestamp(frame, p.timestamp - s.timestamp)
        return frame


def name(key: tuple[object, ...]) -> str:
    """The flow as divergences name it: `tcp 192.0.2.2:80 > 192.0.2.1:40000`, the VM first."""
    kind, _, _, local, lport, remote, rport = key[:7]
    if kind in ("tcp", "udp") and isinstance(local, bytes) and isinstance(remote, bytes):
        form = "{}:{}" if len(local) == 4 else "[{}]:{}"
        ends = form.format(ip_address(local), lport), form.format(ip_address(remote), rport)
        return f"{kind} {ends[0]} > {ends[1]}"
    return str(kind)


def protocol(key: tuple[object, ...]) -> str:
    """The protocol of a flow in one word."""
    return str(key[0])
