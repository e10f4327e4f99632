"""The reference comparator: docs/comparison.md in plain Python, slow and meant to be obviously right.

It has the interface of `colo_proxy.core.comparator.Comparator`, and answers with the same
words. It models what reaches the uplink and which divergences are found; what is mirrored to the
guests is the business of other tests. It keeps everything it might need in dictionaries and lists,
and looks at all of it each time. Memory bounds are not modelled.

Past 400 lines: the rules of one page, in its order.
"""

import sys
from collections.abc import Callable

from models.alone import Pairing, mapped
from models.datagrams import (
    DatagramFlow,
    Part,
    Reassembly,
    describe_difference,
    equal_form,
    parts_of,
)
from models.packets import (
    ACK,
    RST,
    SYN,
    Packet,
    datagrams_of,
    leading,
    parse,
    plain,
    with_tcp,
    with_timestamp,
)
from models.report import name, protocol
from models.rules import Deciding
from models.tcp import Connection, Held, Waiting, copy_with
from models.tcp_flows import TcpFlow, TcpJudge

from colo_proxy.vocabulary import Divergence, Frame, Mode, Port, Reason

MILLISECOND = 1_000_000
FAR = 2**63 - 1
AnyFlow = TcpFlow | DatagramFlow
Judged = Connection | DatagramFlow


def gso_of(vnet: bytes | None) -> int:
    """The size of what a super-frame is cut into, 0: it is none (virtio 1.2, 5.1.6; host's byte order)."""
    return int.from_bytes(vnet[4:6], sys.byteorder) if vnet and vnet[1] else 0


REASONS = {
    "payload": Reason.PAYLOAD,
    "control": Reason.CONTROL,
    "missing-secondary": Reason.MISSING_SECONDARY,
    "missing-primary": Reason.MISSING_PRIMARY,
}


class Oracle(TcpJudge, Pairing, Deciding):
    """See the module's text. Times in nanoseconds; frames begin at the Ethernet header."""

    def __init__(
        self,
        *,
        nic: int = 0,
        timeout_ms: int = 3000,
        reorder_ms: int = 5,
        observe: bool = False,
        mode: Mode = Mode.COMPARE,
        behind_holes: bool = True,
        digest_bytes: int = 0,
        **unused: object,
    ) -> None:
        self.nic, self.observe, self.mode = nic, observe, mode
        self.timeout, self.reorder = timeout_ms * MILLISECOND, reorder_ms * MILLISECOND
        self.behind_holes = behind_holes  # see `Connection`
        self.check = digest_bytes > 0  # retransmissions (T14)
        self.unverified = 0
        self.now = 0
        self.since: int | None = None  # when a frame that was kept for the new epoch came
        self.number = self.heard = 0  # frames of the PVM, of the SVM
        self.out: list[Frame | Divergence] = []
        self.tcp: dict[tuple[object, ...], TcpFlow] = {}
        self.datagrams: dict[tuple[object, ...], DatagramFlow] = {}
        self.alone, self.opened, self.expected = {}, {}, {}
        self.held: list[Held] = []  # in the order in which the PVM sent
        self.waiting: list[Waiting] = []  # SVM segments not agreed
        self.pieces = {"p": Reassembly(), "s": Reassembly()}
        self.svm_stopped = self.pvm_stopped = False
        self.loaded = False  # the SVM's state was replaced, and the commit is still to come
        self.later: list[tuple[str, bytes, int, int]] = []  # what was said in the new epoch, and when
        # Connections that the guest opens: SYNs of the PVM, and of the SVM, that the other has not sent ...
        self.asked: list[tuple[TcpFlow, Connection]] = []
        self.lone: list[tuple[TcpFlow, Connection]] = []
        self.meaning: dict[tuple[object, ...], TcpFlow] = {}  # ... and what a port of the SVM's means
        self.rules, self.former = [], []

    # ------------------------------------------------------------------ events

    def uplink(self, frame: bytes, now: int, vnet: bytes | None = None) -> None:
        """A frame from the clients goes to the guests; nothing leaves for it."""
        self.now = max(self.now, now)
        segment = parse(frame)
        if segment.kind == "tcp" and segment.flags & (SYN | ACK | RST) == SYN | ACK:
            self._answered(segment)
        packet = leading(parse(frame))
        if packet.kind == "tcp" and self.mode is not Mode.PASS:
            self._acknowledged(packet)
        self._client_sent(frame)

    def received(self, frame: bytes, now: int, vnet: bytes | None = None) -> None:
        """A client's frame as the SVM's capture has it."""
        packet = leading(parse(frame))
        if packet.kind == "tcp" and packet.flags & (SYN | ACK | RST) == ACK:
            self._received(packet, max(self.now, now))

    def primary(self, frame: bytes, now: int, vnet: bytes | None = None) -> None:
        """A frame the PVM sent."""
        self.now = max(self.now, now)
        if self.mode is not Mode.FAILED_OVER:
            self._said(frame, gso_of(vnet))

    def _said(self, frame: bytes, gso: int) -> None:
        if self.pvm_stopped:
            self.later.append(("p", frame, self.now, gso))
            return
        self.number += 1
        if self.mode is Mode.PASS:
            self._emit(frame)
            return
        packet = parse(frame)
        if packet.kind != "fragment" and not self._compares(packet.flow(True)):
            self._leave_alone(packet.flow(True), [frame])
            return
        frame = plain(frame)
        packet = parse(frame)
        if packet.kind == "tcp":
            self._primary_tcp(packet, frame, gso=gso)
        elif packet.kind == "fragment":
            self._primary_fragment(packet, frame)
        else:
            self._primary_datagram(packet, [frame], self.came, gso)

    def secondary(self, frame: bytes, now: int, vnet: bytes | None = None) -> None:
        """A frame the SVM sent."""
        self.now = max(self.now, now)
        self._svm_said(frame, gso_of(vnet))

    def _svm_said(self, frame: bytes, gso: int) -> None:
        self.heard += 1
        packet = parse(frame if self.mode is Mode.FAILED_OVER else plain(frame))
        if self.mode is Mode.FAILED_OVER:
            self._emit(self._followed(packet))
        elif self.svm_stopped:
            self.later.append(("s", frame, self.now, gso))
        elif self.mode is not Mode.COMPARE or (
            packet.kind != "fragment" and not self._compares(packet.flow(True))
        ):
            return
        elif packet.kind == "tcp":
            self._secondary_tcp(packet, [])
        elif packet.kind == "fragment":
            whole = self.pieces["s"].add(packet, frame, self.came, self.heard)
            if whole is None or not self._compares(whole.packet.flow(True)):
                return
            if whole.packet.kind == "tcp":
                self._secondary_tcp(whole.packet, whole.frames)
            else:
                self._secondary_datagram(whole.packet, whole.frames)
        else:
            self._secondary_datagram(packet, [frame], gso)

    def tick(self, now: int) -> int:
        """Time has passed: what was missing for too long is a divergence."""
        self.now = max(self.now, now)
        if self.comparing:
            for flow in list(self.tcp.values()):
                self._tick_tcp(flow)
            self._pair_the_overdue(self.now - self.reorder)
            for queue in self._queues():
                self._tick_datagrams(queue)
            self._tick_fragments()
            for flow in list(self.tcp.values()):
                self._tick_pieces(flow)
        return self.deadline()

    @property
    def comparing(self) -> bool:
        """Neither holding nor passing, and no checkpoint under way."""
        return self.mode is Mode.COMPARE and not self.svm_stopped and not self.pvm_stopped

    def deadline(self) -> int:
        """When something may be due next: what waits, its timeout later (or its reordering time)."""
        waits = [held.time for held in self.held] + [parts[0][2] for parts in self.pieces["p"].parts.values()]
        pieces = []
        for flow in self.tcp.values():
            for connection in flow.connections:
                waits += [
                    *{time for times in connection.s.when.values() for time in times},
                    connection.s.reset_time,
                ]
                pieces += [connection.grown] if connection.watched else []
        entries = [entry.time for queue in self._queues() for entry in queue.unmatched]
        pieces += [held.time for held in self.held if isinstance(held.flow, DatagramFlow) and held.flow.alone]
        due = [time + self.timeout for time in waits + entries]
        overtaken = [held.overtaken for held in self.held if held.overtaken is not None]
        due += [time + self.reorder for time in entries + pieces + overtaken]
        return min((time for time in due if time > self.now), default=FAR)

    def finish(self, now: int) -> None:
        """The captures end: what has no counterpart is a divergence, and does not leave for it."""
        self.now = max(self.now, now)
        for flow in self.tcp.values():
            self._finish_tcp(flow)
        self._incomplete(self.now, self._report)
        followed: list[Held] = []
        self._pair_the_overdue(self.now)
        for queue in self._queues():
            mine = [held for held in self.held if held.flow is queue]
            if queue.blocked or queue.reported:
                continue
            if mine and queue.unmatched:
                first = mine[0].parts[0]
                offset = first.begins + describe_difference(first.packet, queue.unmatched[0].packet)
                self._report(queue, queue, "payload", offset)
                followed += mine if self.observe else []  # C8, for this flow alone
            elif mine or queue.unmatched:
                reason = "missing-secondary" if mine else "missing-primary"
                lone = mine[0].parts[0] if mine else queue.unmatched[0]
                self._report(queue, queue, reason, lone.begins)
        for held in sorted(followed, key=lambda each: each.number):
            self.held.remove(held)
            self._emit_held(held)

    def _queues(self) -> list[DatagramFlow]:
        return [*self.datagrams.values(), *self.alone.values()]

    def take(self) -> list[Frame | Divergence]:
        """What came out since the last take, in order."""
        out, self.out = self.out, []
        return out

    # ------------------------------------------------------------------ datagrams and fragments

    def _primary_datagram(self, packet: Packet, frames: list[bytes], since: int, gso: int = 0) -> None:
        cut = datagrams_of(packet, gso)
        queue = self._queue_of_pvm(packet, cut)
        kind = "datagram" if len(frames) == 1 else "fragments"
        held = Held(self.number, b"", since, queue, kind, packet, parts=parts_of(cut, queue.said))
        queue.said, held.frames = held.parts[-1].ends, frames
        for part in list(held.parts):
            equal = [e for e in queue.unmatched if equal_form(e.packet) == equal_form(part.packet)]
            if equal and self.mode is Mode.COMPARE and not queue.blocked:
                queue.unmatched.remove(equal[0])
                self._agree(queue, held, part)
        if held.parts:
            self.held.append(held)
        else:
            self._emit_held(held)

    def _secondary_datagram(self, packet: Packet, frames: list[bytes], gso: int = 0) -> None:
        queue = self._queue_of_svm(packet, datagrams_of(packet, gso))
        packet = mapped(queue, packet)
        frames = [mapped(queue, parse(frame)).frame for frame in frames]
        cut = parts_of(datagrams_of(packet, gso), 0)
        left = [part for part in cut if queue.blocked or not self._answers(queue, part.packet)]
        left = [part for part in left if not self._expected_late(part.packet, self.now - self.timeout)]
        if left:
            queue.keep(left, frames, self.came, self.heard, len(cut))

    def _answers(self, queue: DatagramFlow, packet: Packet) -> bool:
        """Is this the equal of a datagram that the PVM has said?"""
        for held in [each for each in self.held if each.flow is queue]:
            for part in held.parts:
                if equal_form(part.packet) == equal_form(packet):
                    self._agree(queue, held, part)
                    if not held.parts:
                        self.held.remove(held)
                        self._emit_held(held)
                    return True
        return False

    def _agree(self, queue: DatagramFlow, held: Held, part: Part) -> None:
        held.parts.remove(part)
        held.agreed.append(part)
        queue.agreed = max(queue.agreed, part.ends)
        self._overtake(queue, held.number)

    def _overtake(self, queue: DatagramFlow, number: int) -> None:
        """The SVM has said what the PVM said as this number: what came before is late from now on."""
        for held in self.held:
            if held.flow is queue and held.number < number and held.overtaken is None:
                held.overtaken = self.now

    def _tick_datagrams(self, queue: DatagramFlow) -> None:
        mine = [held for held in self.held if held.flow is queue]
        if queue.reported:
            return
        overtaken = mine[0].overtaken if mine else None
        if mine and queue.unmatched and self._late(max(mine[0].time, queue.unmatched[0].time)):
            self._forget_copies(queue)
        if mine and queue.unmatched and self._late(max(mine[0].time, queue.unmatched[0].time)):
            first = mine[0].parts[0]
            offset = first.begins + describe_difference(first.packet, queue.unmatched[0].packet)
            self._diverge(queue, queue, "payload", offset)
        elif mine and overtaken is not None and self._late(overtaken):
            self._diverge(queue, queue, "missing-secondary", mine[0].parts[0].begins)
        elif mine and queue.unmatched:
            return
        elif mine and self.now - mine[0].time >= self.timeout:
            self._diverge(queue, queue, "missing-secondary", mine[0].parts[0].begins)
        elif queue.unmatched and self.now - queue.unmatched[0].time >= self.timeout:
            if self._excused(queue.key, queue.unmatched[0].time):
                self._forget_old_copies(queue)
                return
            self._diverge(queue, queue, "missing-primary", queue.unmatched[0].begins)

    def _late(self, since: int) -> bool:
        return self.now - since >= self.reorder

    def _primary_fragment(self, packet: Packet, frame: bytes) -> None:
        whole = self.pieces["p"].add(packet, frame, self.came, self.number)
        if whole is None:
            return
        if not self._compares(whole.packet.flow(True)):
            self._leave_alone(whole.packet.flow(True), whole.frames)
        elif whole.packet.kind == "tcp":
            self._primary_tcp(whole.packet, whole.packet.frame, whole.frames)
        else:
            self._primary_datagram(whole.packet, whole.frames, self.came)

    def _tick_fragments(self) -> None:
        self._incomplete(self.now - self.timeout, self._diverge)
        self.pieces["s"].drop(self.now - self.timeout)

    def _incomplete(self, before: int, tell: Callable[..., None]) -> None:
        """F3: the PVM's fragments that stay incomplete are a divergence of a flow without ports."""
        for since, key in self.pieces["p"].stale(before):
            flow = ("ip", *key[1:7])
            if not self._compares(flow):
                self._leave_alone(flow, self.pieces["p"].remove(key))
                continue
            queue = self.datagrams.setdefault(flow, DatagramFlow(flow))
            held = Held(self.number, b"", since, queue, "fragments")
            held.frames = self.pieces["p"].remove(key)
            self.held.append(held)
            tell(queue, queue, "missing-secondary", queue.said)

    # ------------------------------------------------------------------ divergences

    def _diverge(self, flow: AnyFlow, judged: Judged, reason: str, offset: int) -> None:
        """`judged` is what the divergence blocks: a datagram flow, or one connection of a TCP flow."""
        self._report(flow, judged, reason, offset)
        judged.blocked = True
        if not self.observe:
            return
        ahead = [h.connection for h in self.held if h.connection is not None and h.connection.is_ahead(h)]
        touched = [judged, *ahead]
        self._release_all()  # section 6, C8: as if a checkpoint had been made
        for each in self.tcp.values():
            for connection in each.connections:
                connection.blocked = connection.reported = False
                if connection in touched:
                    connection.commit(observe=True)
        for queue in self._queues():
            queue.blocked = queue.reported = False
            queue.agreed = queue.said
        if isinstance(flow, DatagramFlow):
            flow.unmatched = [e for e in flow.unmatched if self.now - e.time < self.timeout]

    def _report(self, flow: AnyFlow, judged: Judged, reason: str, offset: int) -> None:
        if judged.reported:
            return
        judged.reported = True
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
        for held in sorted(self.held, key=lambda each: each.number):
            connection, segment = held.connection, held.segment
            self._leaves_unseen(held)
            if connection is not None and segment is not None:
                ack = connection.ack_of(segment)
                if held.kind != "owed":
                    self._emit_stamped(held, held.frame)
                elif connection.still_owed(held):
                    self._emit_stamped(held, copy_with(held, ack, segment.window))
                else:
                    continue
                connection.tell(segment, ack, segment.window, held.part_of or held.number)
            else:
                self._emit_held(held)
                if not isinstance(held.flow, DatagramFlow):
                    continue
                for part in held.parts:
                    del held.flow.unmatched[:1]
                    if self.now - held.time < self.timeout:
                        self._expect(part.packet, self.now - self.timeout)
        self.held.clear()
        for _, frame in () if self.observe else self.pieces["p"].remove_all():
            self._emit(frame)

    # ------------------------------------------------------------------ checkpoint words

    def svm_stop(self, now: int) -> None:
        """What the SVM said before is dropped; what it says from now on belongs to the new epoch."""
        self.now = max(self.now, now)
        self.later = [entry for entry in self.later if entry[0] == "p"]
        self.svm_stopped, self.loaded = True, False
        self._forget_secondary()

    def svm_loaded(self, now: int) -> None:
        """The SVM runs on the PVM's state: from here its numbers are the PVM's."""
        self.now = max(self.now, now)
        self.loaded = True

    def _forget_secondary(self) -> None:
        for flow in self.tcp.values():
            for connection in flow.connections:
                connection.forget_secondary()
        for queue in self.datagrams.values():
            queue.unmatched.clear()
        self.alone.clear()
        self.expected.clear()
        self.pieces["s"] = Reassembly()
        self.waiting.clear()
        for _, connection in self.lone:
            connection.lone = False
        self.lone.clear()

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
            connection = flow.latest
            if connection is None or connection.astray:
                del self.tcp[key]
                continue
            connection.commit()
            flow.connections = [connection]
            connection.blocked = connection.reported = False
            connection.sport, connection.shift, connection.clock, connection.mapped = flow.port, 0, 0, False
        self.former.clear()
        self.asked.clear()
        self.meaning.clear()  # the SVM has the PVM's ports
        for queue in self.datagrams.values():
            queue.blocked = queue.reported = False
            queue.agreed = queue.said
        self.expected.clear()
        self._ports_are_the_pvms()
        self.mode, self.svm_stopped, self.pvm_stopped, self.loaded = Mode.COMPARE, False, False, False
        later, self.later = self.later, []
        for who, frame, since, gso in later:
            self.since = since
            if who == "p":
                self._said(frame, gso)
            else:
                self._svm_said(frame, gso)
        self.since = None

    def abort(self, now: int) -> None:
        """The checkpoint failed: nothing leaves until a commit."""
        self.now = max(self.now, now)
        later, self.later = self.later, []
        if self.loaded:
            self.meaning.clear()  # the SVM has the PVM's numbers and ports from here on
        for flow in self.tcp.values() if self.loaded else ():
            for connection in flow.connections:
                connection.adopt()
                connection.sport = flow.port
                connection.shift, connection.clock, connection.mapped = 0, 0, False
        if self.loaded:
            self._ports_are_the_pvms()
        self.loaded = False
        self.mode, self.svm_stopped, self.pvm_stopped = Mode.HOLD, False, False
        self._forget_secondary()
        for who, frame, _, gso in later:
            if who == "p":
                self._said(frame, gso)

    hold = abort

    def unprotect(self, now: int) -> None:
        """There is no SVM: the PVM's output passes."""
        self.now = max(self.now, now)
        self._release_all()
        later, self.later = self.later, []
        self.mode, self.svm_stopped, self.pvm_stopped = Mode.PASS, False, False
        self._forget_secondary()
        self.asked.clear()
        self.meaning.clear()
        self.tcp.clear()  # what passes is not followed: flows are caught in mid-stream later
        self.datagrams.clear()
        for who, frame, _, gso in later:
            if who == "p":
                self._said(frame, gso)

    def failover(self, now: int) -> None:
        """The SVM is the service: the PVM's held output is dropped, the SVM's leaves, aligned."""
        self.now = max(self.now, now)
        if self.mode is Mode.COMPARE and not self.svm_stopped:
            self._agreed_parts()
        self.held.clear()
        self.asked.clear()
        if self.loaded:
            self.meaning.clear()  # the SVM has the PVM's ports
        for flow in self.tcp.values():
            if not self.loaded:  # what only the PVM said was never paired, nor told to anybody
                flow.connections = [
                    each for each in flow.connections if each.s.base is not None or each.mapped
                ]
            for connection in flow.connections:
                if self.loaded:
                    connection.adopt()
                    connection.sport = flow.port
                    connection.shift, connection.clock, connection.mapped = 0, 0, False
                    # Whichever ISN it goes on with, it is the PVM's.
                    connection.p.tries, connection.s.tries = [], []
                if connection.s.base is None:
                    connection.p.base = None
        if self.loaded:
            self._ports_are_the_pvms()
        kept: list[tuple[int, bytes]] = []
        if self.mode is Mode.COMPARE:
            for each in self.waiting:
                low, matched = each.connection.low, each.connection.matched
                if each.segment.flags & RST:
                    known = each.connection.p.reset
                else:
                    known = low is not None and low <= each.position <= matched - each.segment.length
                    its = range(each.position, each.position + each.segment.length)
                    known = known or all(at in each.connection.ahead for at in its)
                if not known:
                    kept += [(each.number, frame) for frame in self._kept_by_the_svm(each)]
            for queue in self._queues():
                for number in {entry.number for entry in queue.unmatched}:
                    kept += [(number, frame) for frame in queue.frames_of(number)]
        for _, frame in sorted(kept, key=lambda entry: entry[0]):
            self._emit(frame)
        self.mode = Mode.FAILED_OVER
        for _, frame in self.pieces["s"].remove_all():
            self._emit(self._followed(parse(frame)))
        later, self.later = self.later, []
        for who, frame, _, gso in later:
            if who == "s":
                self._svm_said(frame, gso)

    def _agreed_parts(self) -> None:
        """At a failover: what both guests have said of what is held."""
        for held in sorted(self.held, key=lambda each: each.number):
            for part in sorted(held.agreed, key=lambda each: each.begins):  # of a super-frame
                self._emit(part.packet.frame)
            if isinstance(held.flow, TcpFlow):
                self._leave_part(held)
                self._leave_beyond(held)

    def _kept_by_the_svm(self, each: Waiting) -> list[bytes]:
        """A segment that waited for the PVM's, or its fragments: of those the first is aligned."""
        if not each.frames:
            return [self._aligned(each.segment, each.connection)]
        frames = []
        for frame in each.frames:
            first = leading(parse(frame))
            if first.kind == "tcp":
                mapped = parse(with_tcp(frame, sport=each.segment.sport))
                frames.append(self._aligned(leading(mapped), each.connection))
            else:
                frames.append(frame)
        return frames

    def _followed(self, packet: Packet) -> bytes:
        """A frame of the SVM after the failover."""
        packet = leading(packet)
        if packet.kind == "udp":
            queue = self._mapped_queue(packet)
            return mapped(queue, packet).frame if queue else packet.frame
        if packet.kind != "tcp":
            return packet.frame
        flow, connection = self._of_svm(packet)
        segment = self._mapped(packet, flow)
        connection.time = self.came
        connection.place(connection.s, segment)
        return self._aligned(segment, connection)

    def _aligned(self, mapped: Packet, connection: Connection) -> bytes:
        """A segment of the SVM in the numbers that clients know (C7)."""
        p, s = connection.p, connection.s
        shift, clock = connection.numbers
        if (p.base is None or s.base is None) and not connection.mapped:
            return mapped.frame
        number = s.base if mapped.flags & (SYN | ACK) == SYN | ACK and s.tries and s.base else mapped.seq
        frame = with_tcp(mapped.frame, seq=(number - shift) % 2**32)
        return with_timestamp(frame, clock) if clock else frame
