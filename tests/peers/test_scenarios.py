"""Every hole of the peers, closed in ours. `python -m tests.peers.table` shows QEMU's answers beside."""

import pytest

from . import ours
from .outcome import Outcome, outcome
from .scenarios import Scenario, State, scenarios

ALL = scenarios()


@pytest.mark.parametrize("scenario", ALL, ids=[scenario.name for scenario in ALL])
def test_ours_is_right(scenario: Scenario) -> None:
    assert outcome(scenario, *ours.run(scenario)).faults(scenario) == []


@pytest.mark.parametrize("scenario", ALL, ids=[scenario.name for scenario in ALL])
def test_the_judge_sees_a_comparator_that_releases_nothing_and_one_that_releases_all(
    scenario: Scenario,
) -> None:
    names = {step.name for step in scenario.steps if getattr(step, "name", "")}
    everything = Outcome(dict.fromkeys(names, State.LEFT), scenario.asks, in_order=True)
    nothing = Outcome(dict.fromkeys(names, State.HELD), scenario.asks, in_order=True)
    assert everything.faults(scenario) or nothing.faults(scenario)
