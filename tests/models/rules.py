"""The reference for policies that change: docs/comparison.md, C10. `Oracle` in oracle.py inherits `Deciding`.

Rules match a protocol, or everything.
"""

from collections.abc import Callable, Iterable

from models.datagrams import DatagramFlow
from models.packets import RST
from models.report import protocol
from models.tcp import Connection, Held, Waiting
from models.tcp_flows import TcpFlow

from colo_proxy.core.policy import PolicyRule
from colo_proxy.vocabulary import Mode

Key = tuple[object, ...]
NUMBERS = {"ip-6": "tcp", "ip-17": "udp", "ip-47": "gre"}


class Deciding:
    """What is compared. State that all protocols share is declared in `Oracle`."""

    now: int
    timeout: int
    mode: Mode
    rules: list[PolicyRule]
    former: list[tuple[int, list[PolicyRule]]]  # lists that were in force, and until when; since a commit
    held: list[Held]
    waiting: list[Waiting]
    tcp: dict[Key, TcpFlow]
    datagrams: dict[Key, DatagramFlow]
    alone: dict[Key, DatagramFlow]
    asked: list[tuple[TcpFlow, Connection]]
    lone: list[tuple[TcpFlow, Connection]]
    meaning: dict[Key, TcpFlow]
    behind_holes: bool
    check: bool
    _emit: Callable[[bytes], None]
    _emit_held: Callable[[Held], None]

    def set_policies(self, rules: Iterable[PolicyRule]) -> None:
        """These rules decide from now on, and on what waits."""
        self.former.append((self.now, self.rules))
        self.rules = list(rules)
        if self.mode is Mode.FAILED_OVER:
            return
        for held in sorted(self.held, key=lambda each: each.number):
            key = held.flow.key  # type: ignore[attr-defined]
            if not self._compares(key):
                self.held.remove(held)
                if held.kind != "owed":
                    self._leave_alone(key, held.frames or [held.frame])
        self.waiting = [each for each in self.waiting if self._compares(each.flow.key)]  # type: ignore[attr-defined]
        self.asked = [each for each in self.asked if self._compares(each[0].key)]
        self.lone = [each for each in self.lone if self._compares(each[0].key)]
        for key, flow in list(self.tcp.items()):
            if not self._compares(key):
                self._forget_stream(flow)
        for queue in self.datagrams.values():
            if not self._compares(queue.key):
                queue.unmatched.clear()
                queue.blocked = queue.reported = False
                queue.agreed = queue.said
        self.datagrams = {k: q for k, q in self.datagrams.items() if not q.alone or self._compares(k)}
        self.alone = {k: q for k, q in self.alone.items() if self._compares(k)}

    def _forget_stream(self, flow: TcpFlow) -> None:
        """All that is kept of a connection is how the SVM's numbers and port map to the PVM's."""
        latest = flow.connections[-1] if flow.connections else None
        if latest is None or (latest.numbers == (0, 0) and latest.sport == flow.key[4]):
            del self.tcp[flow.key]
            self.meaning = {key: its for key, its in self.meaning.items() if its is not flow}
            return
        fresh = Connection(self.behind_holes, self.check)
        fresh.sport, fresh.mapped = latest.sport, True
        fresh.shift, fresh.clock = latest.numbers
        flow.connections = [fresh]

    def _compares(self, key: Key) -> bool:
        return decision(self.rules, key) == "compare"

    def _leave_alone(self, key: Key, frames: list[bytes]) -> None:
        """The PVM's, and not compared."""
        for frame in frames if decision(self.rules, key) == "bypass" else ():
            self._emit(frame)

    def _excused(self, key: Key, came: int) -> bool:
        """May what the SVM sent be a copy of what the PVM sent while that was not compared?"""
        return any(
            came - until < self.timeout and decision(rules, key) != "compare"
            for until, rules in self.former[-4:]
        )

    def _forget_copies(self, queue: DatagramFlow) -> None:
        """Of the datagrams of the SVM that wait, the first ones, as long as they may be copies."""
        while queue.unmatched and self._excused(queue.key, queue.unmatched[0].time):
            del queue.unmatched[0]

    def _forget_old_copies(self, queue: DatagramFlow) -> None:
        """The same of those that have waited for the timeout."""
        queue.unmatched = [
            each
            for each in queue.unmatched
            if self.now - each.time < self.timeout or not self._excused(queue.key, each.time)
        ]

    def _forget_late_segments(self, flow: TcpFlow, connection: Connection) -> None:
        """M2 does not hold for what the SVM sent late, and nobody waits for it any more.

        An RST that the PVM has sent too is not missing, so it is not forgotten.
        """
        end = connection.p.end
        gone = [
            each
            for each in self.waiting
            if each.connection is connection
            and self.now - each.time >= self.timeout
            and self._excused(flow.key, each.time)
            and (
                not connection.p.reset
                if each.segment.flags & RST
                else connection.low is None or end is None or each.position + each.segment.length > end
            )
        ]
        if not gone or connection.reported:
            return
        self.waiting = [each for each in self.waiting if each not in gone]
        side = connection.s
        if any(each.segment.flags & RST for each in gone):
            side.reset, side.reset_by = False, None
        left = {
            at
            for each in self.waiting
            if each.connection is connection
            for at, _ in connection.values(each.segment, each.position)
        }
        for each in gone:
            for at, _ in connection.values(each.segment, each.position):
                if at in side.said and at not in left:
                    del side.said[at], side.when[at]
                elif each.time in side.when.get(at, ()):
                    side.when[at].remove(each.time)


def decision(rules: Iterable[PolicyRule], key: Key) -> str:
    """What the first rule says that matches; housekeeping passes by default."""
    word = protocol(key)
    for rule in rules:
        if rule.match.get("protocol") in (None, NUMBERS.get(word, word)):
            return rule.action
    return "bypass" if key[0] == "house" else "compare"
