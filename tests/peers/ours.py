"""Run a scenario through our comparator: no socket, no clock."""

from colo_proxy.core.comparator import Comparator
from colo_proxy.vocabulary import Divergence, Exhausted, Frame, Mode, Port

from .scenarios import Commit, Pause, Say, Scenario

STEP_NS = 1_000  # between two frames
_MS = 1_000_000


def run(scenario: Scenario) -> tuple[list[bytes], int]:
    """What left to the uplink, and how many checkpoints were asked for (until one is made, one is enough)."""
    comparator = Comparator(timeout_ms=scenario.timeout_ms, mode=Mode.COMPARE)
    now, released, asks, asked = _MS, [], 0, False
    for step in scenario.steps:
        match step:
            case Say(primary=True, frame=frame):
                comparator.primary(frame, now)
            case Say(frame=frame):
                comparator.secondary(frame, now)
            case Pause(ms):
                end = now + ms * _MS
                while now < end:
                    now = min(end, max(now + 1, comparator.tick(now)))
                comparator.tick(now)
            case Commit():
                comparator.svm_stop(now)
                comparator.svm_loaded(now)
                comparator.pvm_stop(now)
                comparator.commit(now)
                asked = False
        now += STEP_NS
        for out in comparator.take():
            match out:
                case Frame(port=Port.UPLINK, data=data):
                    released.append(data)
                case Divergence() | Exhausted():
                    asks, asked = asks + (not asked), True
    return released, asks
