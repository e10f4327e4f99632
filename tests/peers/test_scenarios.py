"""Every hole of the peers, closed in ours. `python -m tests.peers.table` shows QEMU's answers beside."""

import pytest

from . import ours
from .drop_in import DropIn
from .outcome import Outcome, outcome
from .scenarios import MUST_HOLD, Say, Scenario, State, scenarios
from .wire_holes import HOLES, Hole

ALL = scenarios()
QUICK = [scenario for scenario in ALL if scenario.group == MUST_HOLD]


@pytest.mark.parametrize("scenario", ALL, ids=[scenario.name for scenario in ALL])
def test_ours_is_right(scenario: Scenario) -> None:
    assert outcome(scenario, *ours.run(scenario)).faults(scenario) == []


@pytest.mark.parametrize("scenario", ALL, ids=[scenario.name for scenario in ALL])
def test_the_judge_sees_a_comparator_that_releases_nothing_and_one_that_releases_all(
    scenario: Scenario,
) -> None:
    names = {step.name for step in scenario.steps if isinstance(step, Say) and step.name}
    everything = Outcome(dict.fromkeys(names, State.LEFT), scenario.asks, in_order=True)
    nothing = Outcome(dict.fromkeys(names, State.HELD), scenario.asks, in_order=True)
    assert everything.faults(scenario) or nothing.faults(scenario)


@pytest.mark.parametrize("scenario", QUICK, ids=[scenario.name for scenario in QUICK])
def test_the_drop_in_releases_nothing_that_must_be_held(scenario: Scenario) -> None:
    with DropIn(timeout_ms=scenario.timeout_ms) as drop_in:
        assert outcome(scenario, *drop_in.run(scenario)).faults(scenario) == []


@pytest.mark.parametrize("hole", HOLES, ids=[hole.name for hole in HOLES])
def test_the_drop_in_survives_its_peers(hole: Hole) -> None:
    with DropIn(vnet=hole.vnet) as drop_in:
        assert hole.play(drop_in) == []
