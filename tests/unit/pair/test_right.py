"""The machine of the right to speak: what holds in every state, and what comes of the events in order."""

from itertools import count

import pytest

from colo_proxy.pair import actions as act
from colo_proxy.pair import events as ev
from colo_proxy.pair.actions import Right
from colo_proxy.pair.machine import Machine, Situation
from colo_proxy.pair.record import Record
from colo_proxy.pair.table import RIGHTS, TABLE, Do, Sign, State

SOLO = Record(4, "solo", "a", None, "won")
PAIR = Record(5, "pair", "a", "p", "paired")


def machine() -> Machine:
    """A machine whose nonces and tags are `x1`, `x2` ..."""
    numbers = count(1)
    return Machine(lambda: f"x{next(numbers)}")


def primary(state: State = State.PAIRED) -> Situation:
    """A primary of pairing `p`."""
    return Situation("a", "b", state, PAIR, pairing="p", vm="p", answered=True, highest=5, won="won")


def secondary(state: State = State.SECONDARY) -> Situation:
    """The secondary of pairing `p`."""
    return Situation("b", "a", state, PAIR, pairing="p", vm="p", answered=True, highest=5)


def of(kind: type, out: list[act.Action]) -> list[act.Action]:
    """The actions of one kind."""
    return [action for action in out if isinstance(action, kind)]


@pytest.mark.parametrize("state", State)
def test_an_answer_to_another_question_changes_nothing(state: State) -> None:
    situation = primary(state)._replace(question=act.Read("now"))
    for event in (ev.Answer("before", None), ev.Answer("before", SOLO), ev.Unanswered("before")):
        assert machine().feed(situation, event) == (situation, [])
        assert machine().feed(situation._replace(question=None), event) == (
            situation._replace(question=None),
            [],
        )


@pytest.mark.parametrize("state", State)
def test_a_word_about_another_pairing_changes_nothing(state: State) -> None:
    for word in ("yield", "please-yield", "relinquish", "no-vm"):
        situation = primary(state)
        assert machine().feed(situation, ev.Said(word, "q")) == (situation, [])


@pytest.mark.parametrize("state", State)
def test_an_unknown_word_changes_nothing(state: State) -> None:
    situation = primary(state)
    assert machine().feed(situation, ev.Said("speak", "p")) == (situation, [])


@pytest.mark.parametrize("state", State)
def test_force_that_names_the_wrong_host_or_generation_is_refused(state: State) -> None:
    situation = primary(state)
    for event, why in ((ev.Force(5, "a"), "not the other host"), (ev.Force(4, "b"), "generation 5")):
        after, out = machine().feed(situation, event)
        assert after == situation
        assert len(out) == 1
        assert isinstance(out[0], act.Refused)
        assert why in out[0].reason


def test_no_row_leads_to_sending_alone_but_for_these() -> None:
    """Each way to SOLO is a swap that was won, or a word that nobody can take back."""
    alone = {state for state, right in RIGHTS.items() if right is Right.SOLO}
    ways = {
        (state, sign)
        for state, signs in TABLE.items()
        for sign, row in signs.items()
        if row.state in alone and state not in alone
    }
    won = {(State.REGAINING, Sign.WON), (State.CLAIMING, Sign.WON), (State.NOTING, Sign.NOTED)}
    unstored = {
        (state, sign)
        for state in (State.ENTERING, State.COMPARING)
        for sign in (Sign.SUSPECTED, Sign.NOT_READY, Sign.VM_DEAD)
    } | {(State.COMPARING, Sign.RELINQUISHED)}
    given = {
        (state, Sign.RELINQUISHED)
        for state in (
            State.PAIRING,
            State.PAIRED,
            State.SUSPECTING,
            State.FROZEN,
            State.DARK,
            State.CLAIMING,
        )
    }
    forced = {
        (State.FORCING, Sign.NOTED),
        (State.STARTING, Sign.UNKNOWN_FORCED),
        (State.STARTING, Sign.FORCEABLE),
    }
    assert ways == won | unstored | given | forced


def test_a_primary_freezes_before_it_claims_and_sees_to_its_vm_after() -> None:
    m = machine()
    doubts, out = m.feed(primary(), ev.Suspected())
    assert out == [act.Read("x1")]
    claims, out = m.feed(doubts, ev.Answer("x1", PAIR))
    new = Record(6, "solo", "a", "p", "x2")
    assert out == [
        act.Gate(Right.FROZEN),
        act.Swap("x3", PAIR, new),
        act.Changed("primary", Right.FROZEN, 5, Sign.MINE.value),
    ]
    alone, out = m.feed(claims, ev.Answer("x3", new))
    assert out == [
        act.Note(6, "x2", 0),
        act.Gate(Right.SOLO),
        act.TakeVm(),
        act.Changed("primary", Right.SOLO, 6, Sign.WON.value),
    ]
    assert (alone.state, alone.pairing) == (State.SOLO, None)


def test_a_secondary_notes_and_sees_to_its_vm_before_it_sends() -> None:
    m = machine()
    granted, out = m.feed(secondary(), ev.Said("yield", "p"))
    assert out == [act.Cut(), act.Read("x1")]
    takes, out = m.feed(granted, ev.Answer("x1", PAIR))
    new = Record(6, "solo", "b", "p", "x2")
    assert out == [act.Swap("x3", PAIR, new)]
    won, out = m.feed(takes, ev.Answer("x3", new))
    assert out == [act.Note(6, "x2", 0)]
    _, out = m.feed(won, ev.Noted())
    assert out == [
        act.TakeVm(),
        act.Gate(Right.SOLO),
        act.Changed("primary", Right.SOLO, 6, Sign.NOTED.value),
    ]


def test_a_claim_is_repeated_with_its_tag_and_nonce() -> None:
    m = machine()
    claims, out = m.feed(primary(State.FROZEN)._replace(question=act.Read("r")), ev.Answer("r", PAIR))
    (swap,) = of(act.Swap, out)
    assert m.feed(claims, ev.Again()) == (claims, [swap])
    assert m.feed(claims, ev.Unanswered("x2"))[1] == [], "nothing is known: ask on"


def test_a_claim_goes_on_with_its_nonce_against_what_is_read() -> None:
    m = machine()
    claims, _ = m.feed(primary(State.FROZEN)._replace(question=act.Read("r")), ev.Answer("r", PAIR))
    newer = PAIR._replace(g=7, nonce="another")
    _, out = m.feed(claims, ev.Answer("x2", newer))
    assert of(act.Swap, out) == [act.Swap("x3", newer, Record(8, "solo", "a", "p", "x1"))]


def test_the_store_is_silent_so_no_pairing_begins() -> None:
    alone = primary(State.SOLO)._replace(record=SOLO, highest=4, pairing=None, answered=False)
    assert machine().feed(alone, ev.Begin("q")) == (alone, [])
    begun, _ = machine().feed(alone._replace(answered=True), ev.Begin("q"))
    assert (begun.state, begun.vm) == (State.ENTERING, "q")


def test_a_dead_vm_claims_nothing() -> None:
    dead, _ = machine().feed(primary(State.CLAIMING)._replace(question=act.Read("r")), ev.VmDead())
    after, out = machine().feed(dead, ev.Answer("r", PAIR))
    assert after.state is State.ASKING
    assert of(act.Swap, out) == []


def test_a_kill_that_hangs_leaves_the_right_at_none_with_an_alarm() -> None:
    lost = primary(State.LOST)._replace(pairing=None)
    after, out = machine().feed(lost, ev.KillHangs())
    assert after == lost
    assert isinstance(out[0], act.Alarm)


def test_a_forced_host_catches_up_with_the_generation_that_it_went_past() -> None:
    m = machine()
    forced = secondary(State.FORCED)._replace(forced=9, highest=9, pairing=None, question=act.Read("r"))
    first, out = m.feed(forced, ev.Answer("r", None))
    assert of(act.Swap, out)[0] == act.Swap("x2", None, Record(1, "solo", "b", None, "x1"))
    again, out = m.feed(first, ev.Answer("x2", Record(1, "solo", "b", None, "x1")))
    assert of(act.Swap, out)[0].new.g == 2  # type: ignore[union-attr]
    assert (again.state, again.forced) == (State.FORCED, 9)


def test_every_doing_and_sign_is_used() -> None:
    used = {do for signs in TABLE.values() for row in signs.values() for do in row.do}
    assert used == set(Do)
    assert {sign for signs in TABLE.values() for sign in signs} == set(Sign)
