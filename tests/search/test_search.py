"""The right to speak, searched: what must never be, is not; and the search would notice if it were."""

from functools import cache
from pathlib import Path

import pytest
from search.bounds import QUICK, ROWS, Bound
from search.explore import Found, search
from search.weakenings import WEAKENINGS
from search.world import Play
from support.documents import rows

from colo_proxy.pair.table import TABLE, Sign, State

PAGE = Path(__file__).parents[2] / "docs" / "pair-protocol.md"


pytestmark = pytest.mark.timeout(600)  # not timed: a busy machine may take as long as it likes


@cache
def searched(bound: Bound, limit: int = 3_000_000) -> tuple[Found, frozenset[tuple[State, Sign]]]:
    """What a search has found, and the rows that fired in it."""
    play: Play = bound.play()
    start = bound.start(bound.left, bound.words)
    found = search(play, start, limit=limit, service=bound.service)
    return found, frozenset(play.fired)


@pytest.mark.parametrize("bound", QUICK.values(), ids=QUICK)
def test_nothing_that_must_not_be_can_come(bound: Bound) -> None:
    found, _ = searched(bound)
    assert found.whole
    assert not found.violation, "\n".join((found.violation, *found.trace))
    assert not found.stuck, "\n".join(("service never comes back:", *found.trace))


def test_every_row_of_the_table_fires() -> None:
    fired = frozenset().union(
        *(searched(bound)[1] for bound in QUICK.values()),
        *(searched(bound, 25_000)[1] for bound in ROWS.values()),
    )
    table = {(state, sign) for state, signs in TABLE.items() for sign in signs}
    assert {f"{state.name} at {sign.name}" for state, sign in table - fired} == set()


@pytest.mark.parametrize("name", WEAKENINGS)
def test_each_weakened_rule_is_noticed(name: str) -> None:
    weak = WEAKENINGS[name]
    found = search(weak.play(), weak.start(weak.left, weak.words), service=False)
    assert found.violation


def test_the_page_lists_every_weakening() -> None:
    listed = rows(PAGE, "## What is proved, and how")
    assert listed == {name: [weak.rule] for name, weak in WEAKENINGS.items()}
