"""The reference for flows of UDP that the guest begins: docs/comparison.md, the end of section 4.

`Oracle` in oracle.py inherits `Pairing`. A flow is *alone* until one of the other guest is found for it;
those of the PVM are among `datagrams`, those of the SVM are kept apart, since their ports mean nothing yet.
"""

from collections.abc import Iterable

from models.datagrams import DatagramFlow, Entry, equal_form
from models.packets import Packet, leading, parse, with_udp_port
from models.tcp import Held

from colo_proxy.vocabulary import Mode

FORGOTTEN = 60 * 10**9  # ns: so long does it count that a client has opened a flow


class Pairing:
    """Whose flow is whose. State that all protocols share is declared in `Oracle`."""

    now: int
    reorder: int
    mode: Mode
    held: list[Held]
    datagrams: dict[tuple[object, ...], DatagramFlow]
    alone: dict[tuple[object, ...], DatagramFlow]  # of the SVM, by the key with its port
    opened: dict[tuple[object, ...], int]  # flows that clients have opened, and when they last sent
    # What has left while observing, without the SVM's copy (C8): how many of a kind, and when the last.
    expected: dict[tuple[object, ...], tuple[int, int]]

    def _client_sent(self, frame: bytes) -> None:
        packet = leading(parse(frame))
        if packet.kind == "udp" and self.mode is not Mode.PASS and packet.flow(False) not in self.datagrams:
            self.opened[packet.flow(False)] = self.now

    def _begins(self, packet: Packet) -> bool:
        """Is this the guest's own idea?"""
        since = self.opened.get(packet.flow(True))
        return packet.kind == "udp" and (since is None or self.now - since >= FORGOTTEN)

    def _queue_of_pvm(self, packet: Packet, parts: list[Packet]) -> DatagramFlow:
        key = packet.flow(True)
        if key not in self.datagrams:
            queue = self.datagrams[key] = DatagramFlow(key, alone=self._begins(packet), port=packet.sport)
            if key in self.alone and not queue.alone and not self.alone[key].blocked:
                self._join(queue, self.alone[key])
        queue = self.datagrams[key]
        if queue.alone and self.mode is Mode.COMPARE:
            for other in self._alike(queue, self.alone.values()):
                if any(same(entry.packet, part) for entry in other.unmatched for part in parts):
                    self._join(queue, other)
                    break
        return queue

    def _queue_of_svm(self, packet: Packet, parts: list[Packet]) -> DatagramFlow:
        key = packet.flow(True)
        if known := self._mapped_queue(packet):
            return known
        if key not in self.alone and key not in self.datagrams and not self._begins(packet):
            return self.datagrams.setdefault(key, DatagramFlow(key, port=packet.sport))
        lone = self.alone.get(key) or DatagramFlow(key, alone=True)
        for other in self._alike(lone, self.datagrams.values()):
            waiting = [part.packet for held in self._held_of(other) for part in held.parts]
            if any(same(one, part) for one in waiting for part in parts):
                self._join(other, lone)
                return other
        return self.alone.setdefault(key, lone)

    def _mapped_queue(self, packet: Packet) -> DatagramFlow | None:
        """The flow that the SVM's port means, if that is known."""
        for queue in self.datagrams.values():
            if without_port(queue.key) == without_port(packet.flow(True)) and not queue.alone:
                if packet.kind != "udp" or queue.port == packet.sport:
                    return queue
        return None

    def _alike(self, queue: DatagramFlow, others: Iterable[DatagramFlow]) -> list[DatagramFlow]:
        """The other guest's flows that this one may belong to: from the same port first, then the oldest."""
        found = [
            other
            for other in others
            if other.alone
            and not (other.blocked or queue.blocked)
            and without_port(other.key) == without_port(queue.key)
            and self._since(other) is not None
        ]
        return sorted(found, key=lambda other: (other.key != queue.key, self._since(other)))

    def _held_of(self, queue: DatagramFlow) -> list[Held]:
        return [held for held in self.held if held.flow is queue]

    def _since(self, queue: DatagramFlow) -> tuple[int, int] | None:
        """When the first came that waits of a flow that is alone, and as which."""
        waiting: list[Held] | list[Entry] = queue.unmatched or self._held_of(queue)
        return (waiting[0].time, waiting[0].number) if waiting else None

    def _join(self, queue: DatagramFlow, lone: DatagramFlow) -> None:
        """The SVM's flow is the PVM's from now on."""
        self.alone.pop(lone.key, None)
        queue.alone, queue.port = False, int(str(lone.key[4]))
        for entry in lone.unmatched:
            entry.begins += queue.agreed
            self._rename(queue, entry)
        queue.unmatched += lone.unmatched
        lone.unmatched = []

    @staticmethod
    def _rename(queue: DatagramFlow, entry: Entry) -> None:
        """A datagram of the SVM on the PVM's port, and the frames that brought it."""
        entry.packet = mapped(queue, entry.packet)
        entry.frames = [mapped(queue, parse(frame)).frame for frame in entry.frames]

    def _pair_the_overdue(self, before: int) -> None:
        """Both have waited for so long, and nothing is equal: they are taken in order."""
        for same_port in (True, False):
            for lone in sorted(self.alone.values(), key=lambda each: self._since(each) or (0, 0)):
                found = [q for q in self._alike(lone, self.datagrams.values()) if self._waited(q, before)]
                if found and self._waited(lone, before) and (found[0].key == lone.key or not same_port):
                    self._join(found[0], lone)

    def _waited(self, queue: DatagramFlow, before: int) -> bool:
        since = self._since(queue)
        return since is not None and since[0] <= before

    def _expect(self, packet: Packet, before: int) -> None:
        """This leaves, and its counterpart may come late; what left before that time counts no more."""
        count, since = self.expected.get(kind_of(packet), (0, 0))
        self.expected[kind_of(packet)] = (count if since >= before else 0) + 1, self.now

    def _expected_late(self, packet: Packet, before: int) -> bool:
        """Is this the late copy of a datagram that has left, and not longer ago than this?"""
        count, since = self.expected.get(kind_of(packet), (0, 0))
        if count and since >= before:
            self.expected[kind_of(packet)] = count - 1, since
            return True
        self.expected.pop(kind_of(packet), None)
        return False

    def _ports_are_the_pvms(self) -> None:
        """The SVM has the PVM's state, and so its ports."""
        for queue in self.datagrams.values():
            queue.alone, queue.port = False, int(str(queue.key[4]))


def without_port(key: tuple[object, ...]) -> tuple[object, ...]:
    """A flow but for the VM's port, where it has one that a guest draws."""
    return (*key[:4], None, *key[5:]) if key[0] == "udp" else key


def kind_of(packet: Packet) -> tuple[object, ...]:
    """What two copies have in common, whichever source port each guest has drawn."""
    if packet.kind == "udp":
        packet = parse(with_udp_port(packet.frame, 0))
        at = packet.l4 + 6
        packet = parse(packet.frame[:at] + bytes(2) + packet.frame[at + 2 :])
    return without_port(packet.flow(True)), equal_form(packet)


def mapped(queue: DatagramFlow, packet: Packet) -> Packet:
    """The SVM's datagram, or its first fragment, on the PVM's port; other packets as they are."""
    first = leading(packet)
    if first.kind != "udp" or queue.key[4] == first.sport:
        return packet
    return parse(with_udp_port(packet.frame, int(str(queue.key[4]))))


def same(one: Packet, other: Packet) -> bool:
    """Equal (D2) but for the source port."""
    if one.kind != "udp" or other.kind != "udp":
        return False
    return equal_form(one) == equal_form(parse(with_udp_port(other.frame, one.sport)))
