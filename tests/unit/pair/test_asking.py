"""Who is asked what, when, and which answer decides: with a clock of the test's own."""

import copy
import math
import random
from collections.abc import Iterator

import pytest

from colo_proxy.pair.actions import Read, Swap
from colo_proxy.pair.asking import (
    ABANDON_S,
    DECIDING_S,
    IDLE_S,
    PATIENCE_S,
    RESTART_S,
    Asking,
    Call,
    Output,
    Send,
    Start,
)
from colo_proxy.pair.events import Answer, Unanswered
from colo_proxy.pair.record import Record

HELD = Record(3, "solo", "a", None, "6ba7b810-9dad-41d1-80b4-00c04fd430c8")
FIRST, SECOND = Read("first"), Swap("second", HELD, HELD._replace(g=4))


def running(*lanes: int) -> Asking:
    """Endpoints whose processes run, at the time 0."""
    asking = Asking(list(lanes))
    assert asking.tick(0.0) == [Start(n) for n in range(len(lanes))]
    for n in range(len(lanes)):
        assert asking.started(n, 0.0) == []
    return asking


def sent(out: list[Output]) -> list[tuple[int, int]]:
    """Endpoint and number of what is sent."""
    return [(each.endpoint, each.number) for each in out if isinstance(each, Send)]


def told(out: list[Output]) -> list[Output]:
    """What the machine is told."""
    return [each for each in out if isinstance(each, Answer | Unanswered)]


def test_all_are_asked_at_once_and_the_first_answer_decides() -> None:
    asking = running(8, 8, 8)
    assert asking.ask(FIRST, DECIDING_S, 1.0) == [Send(n, n + 1, FIRST) for n in range(3)]
    assert asking.answered(2, 3, HELD, 1.5) == [
        Call(2, 3, 0.5, ""),
        Answer("first", HELD),
    ]
    assert asking.answered(1, 2, None, 1.75) == [Call(1, 2, 0.75, "")], "the other has decided"
    assert asking.tick(100.0) == [Call(0, 1, 99.0, "no answer; its process is abandoned"), Start(0)]


def test_it_is_repeated_to_all_every_30_ms_until_it_is_answered() -> None:
    asking = running(40, 40)
    out = asking.ask(SECOND, DECIDING_S, 0.0)
    for turn in range(1, 20):
        assert asking.next_tick() == pytest.approx(turn * 0.03)
        out += asking.tick(asking.next_tick())
    assert sent(out) == [(n % 2, n + 1) for n in range(40)]
    assert {each.question for each in out if isinstance(each, Send)} == {SECOND}
    assert told(asking.answered(1, 8, HELD, 0.6)) == [Answer("second", HELD)], "of an early repetition"
    assert sent(asking.tick(0.9)) == []


def test_no_more_than_its_lanes_are_under_way() -> None:
    asking = running(3, 1)
    out = asking.ask(FIRST, DECIDING_S, 0.0)
    for turn in range(1, 9):
        out += asking.tick(turn * 0.03)
    assert sent(out) == [(0, 1), (1, 2), (0, 3), (0, 4)]
    asking.failed(0, 3, "HTTP status 503", 0.3)
    assert sent(asking.tick(0.33)) == [(0, 5)]


def test_an_answer_to_an_earlier_question_is_dropped_and_the_full_endpoint_is_asked_at_once() -> None:
    asking = running(1)
    asking.ask(FIRST, DECIDING_S, 0.0)
    assert asking.ask(SECOND, DECIDING_S, 0.1) == []
    out = asking.answered(0, 1, HELD, 0.11)
    assert out == [Call(0, 1, 0.11, ""), Send(0, 2, SECOND)]
    assert told(asking.answered(0, 2, None, 0.12)) == [Answer("second", None)]


def test_a_second_answer_to_one_request_is_dropped() -> None:
    asking = running(4, 4)
    asking.ask(FIRST, DECIDING_S, 0.0)
    assert told(asking.answered(0, 1, HELD, 0.01)) == [Answer("first", HELD)]
    asking.ask(SECOND, DECIDING_S, 0.02)
    assert asking.answered(0, 1, None, 0.03) == []
    assert asking.answered(1, 99, None, 0.03) == [], "nor does what was never asked"


def test_a_question_that_is_asked_again_goes_on() -> None:
    asking = running(8)
    asking.ask(FIRST, IDLE_S, 0.0)
    assert asking.ask(FIRST, DECIDING_S, 0.5) == []
    assert asking.next_tick() == pytest.approx(0.53), "at the new interval"
    assert told(asking.answered(0, 1, HELD, 0.51)) == [Answer("first", HELD)]
    assert sent(asking.ask(FIRST, IDLE_S, 0.6)) == [(0, 2)], "it had been answered"


def test_a_withdrawn_question_is_not_asked_and_not_answered() -> None:
    asking = running(8)
    asking.ask(FIRST, DECIDING_S, 0.0)
    asking.withdraw()
    assert asking.tick(5.0) == []
    assert told(asking.answered(0, 1, HELD, 5.0)) == []
    assert asking.next_tick() == math.inf


# ---- no answer


def test_it_is_unanswered_when_each_endpoint_has_failed_and_asked_on() -> None:
    asking = running(8, 8)
    asking.ask(FIRST, DECIDING_S, 0.0)
    assert told(asking.failed(0, 1, "refused", 0.001)) == []
    assert told(asking.failed(1, 2, "HTTP status 503", 0.002)) == [Unanswered("first")]
    assert sent(asking.tick(0.03)) == [(0, 3), (1, 4)]
    assert told(asking.failed(0, 3, "refused", 0.031)) == [], "another round"
    assert told(asking.answered(1, 4, HELD, 0.032)) == [Answer("first", HELD)]


def test_one_endpoint_that_fails_often_is_not_all() -> None:
    asking = running(8, 8)
    asking.ask(FIRST, DECIDING_S, 0.0)
    asking.failed(0, 1, "refused", 0.001)
    asking.tick(0.03)
    assert told(asking.failed(0, 3, "refused", 0.031)) == []


def test_it_is_unanswered_when_nothing_has_come_in_time() -> None:
    asking = running(2, 2)
    asking.ask(FIRST, IDLE_S * 60, 0.0)
    assert asking.next_tick() == PATIENCE_S
    assert told(asking.tick(PATIENCE_S)) == [Unanswered("first")]
    assert told(asking.tick(1.5 * PATIENCE_S)) == []
    assert told(asking.tick(2 * PATIENCE_S)) == [Unanswered("first")]


def test_a_failure_of_an_earlier_question_says_nothing_of_this_one() -> None:
    asking = running(8)
    asking.ask(FIRST, DECIDING_S, 0.0)
    asking.ask(SECOND, DECIDING_S, 0.1)
    assert told(asking.failed(0, 1, "timed out", 0.11)) == []
    assert told(asking.failed(0, 2, "timed out", 0.12)) == [Unanswered("second")]


# ---- the processes


def test_a_process_that_does_not_answer_is_abandoned() -> None:
    asking = running(2)
    asking.ask(FIRST, IDLE_S, 0.0)
    asking.withdraw()
    assert asking.next_tick() == ABANDON_S, "though nobody waits for it any more"
    assert asking.tick(ABANDON_S) == [Call(0, 1, ABANDON_S, "no answer; its process is abandoned"), Start(0)]
    asking.ask(SECOND, DECIDING_S, ABANDON_S + 0.1)
    assert asking.answered(0, 1, HELD, ABANDON_S + 0.1) == [], "of the process that was abandoned"
    assert sent(asking.started(0, ABANDON_S + 0.2)) == [(0, 2)]


def test_a_process_that_ends_is_replaced_but_not_at_every_turn() -> None:
    asking = running(2)
    asking.ask(FIRST, DECIDING_S, 5.0)
    assert asking.died(0, "its process has ended", 5.5) == [
        Call(0, 1, 0.5, "its process has ended"),
        Unanswered("first"),
    ]
    assert asking.tick(6.0) == [Start(0)]
    assert sent(asking.started(0, 6.0)) == [(0, 2)]
    asking.died(0, "its process has ended", 6.1)
    assert [each for each in asking.tick(6.2) if isinstance(each, Start)] == []
    assert [each for each in asking.tick(6.0 + RESTART_S) if isinstance(each, Start)] == [Start(0)]


def test_what_is_asked_before_a_process_runs_is_sent_when_it_does() -> None:
    asking = Asking([2, 2])
    assert asking.ask(FIRST, DECIDING_S, 0.0) == [Start(0), Start(1)]
    assert sent(asking.started(1, 0.01)) == [(1, 1)]
    assert asking.died(0, "its process cannot be started", 0.02) == []
    assert told(asking.answered(1, 1, HELD, 0.03)) == [Answer("first", HELD)]


# ---- every order of events, to a depth


class Watch:
    """Drives one `Asking`, and holds what it does against what it was given."""

    def __init__(self, lanes: list[int]) -> None:
        self.asking = Asking(lanes)
        self.lanes = lanes
        self.now = 0.0
        self.tags = 0
        self.standing = ""
        self.up = [False] * len(lanes)
        self.starting = [False] * len(lanes)
        self.under_way: list[dict[int, str]] = [{} for _ in lanes]

    def moves(self) -> Iterator[str]:
        """What may happen next."""
        yield "ask"
        yield "tick"
        if self.standing:
            yield "withdraw"
        for n, _ in enumerate(self.lanes):
            if self.starting[n]:
                yield f"started {n}"
            if self.up[n] or self.starting[n]:
                yield f"died {n}"
            ends = list(self.under_way[n])
            for number in {*ends[:1], *ends[-1:]}:
                yield f"answered {n} {number}"
                yield f"failed {n} {number}"

    def do(self, move: str) -> None:
        """One of them."""
        self.now += 0.001
        word, *rest = move.split()
        n, number = (int(each) for each in [*rest, "0", "0"][:2])
        match word:
            case "ask":
                self.tags += 1
                self.standing = f"t{self.tags}"
                self.take(self.asking.ask(Read(self.standing), DECIDING_S, self.now))
            case "withdraw":
                self.standing = ""
                self.asking.withdraw()
            case "tick":
                self.now = max(self.now, min(self.asking.next_tick(), self.now + 20))
                self.take(self.asking.tick(self.now))
                assert self.asking.next_tick() > self.now, "it would be called again and again"
            case "started":
                self.up[n], self.starting[n] = True, False
                self.take(self.asking.started(n, self.now))
                assert not self.standing or len(self.under_way[n]) == 1
            case "died":
                self.up[n] = self.starting[n] = False
                out = self.asking.died(n, "dead", self.now)
                self.take(out)
                assert self.under_way[n] == {}, "each request has ended"
            case "answered":
                decides = self.under_way[n][number] == self.standing
                out = self.asking.answered(n, number, HELD, self.now)
                assert told(out) == ([Answer(self.standing, HELD)] if decides else [])
                self.take(out)
            case "failed":
                out = self.asking.failed(n, number, "failed", self.now)
                assert isinstance(out[0], Call)
                assert out[0].error == "failed"
                self.take(out)

    def unasked(self) -> list[int]:
        """Endpoints that could be asked what stands, and are not: their next turn must change that."""
        return [
            n
            for n, lanes in enumerate(self.lanes)
            if self.standing
            and self.up[n]
            and len(self.under_way[n]) < lanes
            and self.standing not in self.under_way[n].values()
        ]

    def take(self, out: list[Output]) -> None:
        """Carry it out, and check each."""
        for each in out:
            match each:
                case Send(n, number, question):
                    assert self.up[n]
                    assert question.tag == self.standing, "only what stands is asked"
                    self.under_way[n][number] = question.tag
                    assert len(self.under_way[n]) <= self.lanes[n]
                case Start(n):
                    self.up[n], self.starting[n] = False, True
                    assert self.under_way[n] == {}
                case Call(n, number, seconds, _):
                    assert seconds > 0
                    del self.under_way[n][number]
                case Answer(tag, _):
                    assert tag == self.standing
                    self.standing = ""
                case Unanswered(tag):
                    assert tag == self.standing


def after(moves: list[str]) -> Watch:
    """Two endpoints, after these moves."""
    watch = Watch([1, 2])
    for move in moves:
        watch.do(move)
    return watch


def every_order(before: list[str], depth: int) -> int:
    """Follow each order of so many moves; how many were followed."""
    watch = after(before)
    return sum(every_order([*before, move], depth - 1) for move in watch.moves()) if depth else 1


@pytest.mark.parametrize(
    "before",
    [
        [],
        ["tick", "started 0", "started 1", "ask"],
        ["tick", "started 0", "started 1", "ask", "tick", "ask"],
        ["tick", "started 0", "started 1", "ask", "failed 1 2", "tick"],
        ["tick", "ask", "started 1", "died 0"],
    ],
)
def test_every_order_of_events(before: list[str]) -> None:
    for n, move in enumerate(before):
        assert move in list(after(before[:n]).moves())
    assert every_order(before, 3) > 50


@pytest.mark.parametrize("seed", range(40))
def test_many_orders_of_events(seed: int) -> None:
    chance = random.Random(seed)
    watch = Watch([1, 3, 2])
    for _ in range(400):
        watch.do(chance.choice(list(watch.moves())))
        if watch.unasked():
            turn = copy.deepcopy(watch)
            while turn.asking.next_tick() <= watch.now + DECIDING_S + 0.001:
                turn.do("tick")
            assert turn.unasked() == []
