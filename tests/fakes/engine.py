"""A data path without packets: it does each word at once, or when the test lets it."""

import os
import threading
from collections.abc import Sequence

from colo_proxy.core.policy import PolicyRule
from colo_proxy.engine.messages import PROTOCOLS, Done, NicCounters, PortCounters, PortFault
from colo_proxy.vocabulary import Divergence, Drop, Exhausted, FlowInfo, Mode, Port, Reason, Word

FLOW = FlowInfo(1, 0, "tcp 192.0.2.2:80 > 192.0.2.1:40000", "tcp", 2, 3000, 1 << 20, 77, True, 1, 1500)


class FakeEngine:
    """Counts what a test sets; `words` is all it was told, in order."""

    def __init__(self, *, by_hand: bool = False) -> None:
        self.event_fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self.by_hand = by_hand  # answers wait for `answer`
        self.beat = 0
        self.words: list[tuple[Word, int]] = []
        self.rules: list[PolicyRule] = []
        self.hits: dict[int, int] = {}  # by place among the rules
        self.attached: list[tuple[int, Port, int, bool]] = []
        self.counters = [counters()]
        self.flows = [FLOW]
        self.late: set[Word] = set()
        self.fail: Exception | None = None
        self._ticket = 0
        self._waiting: list[Done] = []
        self._reports: list[Divergence | Exhausted | Done | PortFault] = []
        self._stop = threading.Event()

    def run(self) -> None:
        if self.fail:
            raise self.fail
        self._stop.wait()

    def stop(self) -> None:
        self._stop.set()

    def report(self, *reports: Divergence | Exhausted | Done | PortFault) -> None:
        self._reports += reports
        os.eventfd_write(self.event_fd, 1)

    def answer(self) -> None:
        waiting, self._waiting = self._waiting, []
        self.report(*waiting)

    def events(self) -> Sequence[Divergence | Exhausted | Done | PortFault]:
        os.eventfd_read(self.event_fd)
        reports, self._reports = self._reports, []
        return reports

    def command(self, word: Word, stamp_ns: int = 0) -> int:
        self.words.append((word, stamp_ns))
        return self._done(late=word in self.late)

    def attach(self, nic: int, port: Port, fd: int, *, out: bool = False) -> int:
        self.attached.append((nic, port, fd, out))
        return self._done()

    def set_policies(self, rules: Sequence[PolicyRule]) -> int:
        self.rules = list(rules)
        self.hits = {}
        return self._done()

    def policy_frames(self) -> list[tuple[PolicyRule, int]]:
        return [(rule, self.hits.get(at, 0)) for at, rule in enumerate(self.rules)]

    def request_flows(self, after: int = 0, most: int = 1 << 31) -> int:
        return self._done(flows=tuple(flow for flow in self.flows if flow.id > after)[:most])

    def snapshot(self) -> list[NicCounters]:
        return self.counters

    def _done(self, late: bool = False, flows: tuple[FlowInfo, ...] = ()) -> int:
        self._ticket += 1
        self._waiting.append(Done(self._ticket, late, flows))
        if not self.by_hand:
            self.answer()
        return self._ticket


def counters(scale: int = 1) -> NicCounters:
    """Counters that are all different, so that no two can be mixed up unseen."""
    none = dict.fromkeys(Drop, 0)
    ports = tuple(
        PortCounters(
            name, base * scale, base * 100, base + 1, base * 100 + 1, base + 2, {**none, Drop.SEND: 3}, 0
        )
        for name, base in (("up0", 10), ("pvm0", 20), ("svm0", 30))
    )
    return NicCounters(
        ports=ports,  # type: ignore[arg-type]
        released=41,
        released_bytes=4100,
        divergences={(reason, protocol): 0 for reason in Reason for protocol in PROTOCOLS}
        | {(Reason.PAYLOAD, "tcp"): 5, (Reason.MISSING_SECONDARY, "udp"): 6},
        dropped={**none, Drop.MEMORY: 7, Drop.OLD_EPOCH: 8},
        mode=Mode.COMPARE,
        held_frames=9,
        held_bytes=9000,
        flows=11,
        hold_buckets=(1, 2, 4) + (0,) * 28 + (3,),
        hold_sum_ns=2_500_000_000,
        timeout_ns=120_000_000,
        stream_gaps=(13, 14 * scale),
        retransmitted=(15, 16),
        neighbours_asked=17,
        retransmissions_unverified=12,
    )
