"""What the checkpoint machine does, found by trying it: docs/pictures.py draws it for docs/architecture.md.

Every event is fed in every situation that can be reached from a start; what moves the state is an arrow.
"""

import copy
from collections.abc import Iterator

from colo_proxy.checkpoint.events import (
    Aborted,
    Applied,
    Committed,
    Connected,
    Event,
    Failover,
    PrimaryLost,
    PvmStopped,
    ReplicaLost,
    SvmLoaded,
    SvmStopped,
    Unsure,
    Wanted,
)
from colo_proxy.checkpoint.machine import IllegalWord, Machine, State
from colo_proxy.vocabulary import Divergence, Drop, Exhausted, Reason, Word

_EVENTS: tuple[tuple[str, Event], ...] = (
    ("SvmStopped", SvmStopped()),
    ("SvmLoaded", SvmLoaded()),
    ("PvmStopped", PvmStopped()),
    ("Committed", Committed()),
    ("Aborted", Aborted()),
    ("ReplicaLost", ReplicaLost()),
    ("PrimaryLost", PrimaryLost()),
    ("Unsure", Unsure()),
    ("Connected", Connected("")),
    ("Wanted", Wanted()),
    ("Failover", Failover()),
    ("Divergence", Divergence(0, "", "", Reason.PAYLOAD, 0, 0)),
    ("Exhausted", Exhausted(0, Drop.MEMORY, 0)),
    ("commit applied", Applied(Word.COMMIT)),
)

Move = tuple[State, State]


def moves() -> dict[Move, list[str]]:
    """Which events move the machine from one state to another, by the two states, in order of discovery."""
    found: dict[Move, list[str]] = {}
    new = [Machine(0), Machine(0, state=State.OBSERVING)]
    known = {_situation(machine) for machine in new}
    while new:
        machine = new.pop(0)
        for label, after in _tried(machine):
            if after.state is not machine.state:
                labels = found.setdefault((machine.state, after.state), [])
                if label not in labels:
                    labels.append(label)
            if _situation(after) not in known:
                known.add(_situation(after))
                new.append(after)
    return found


def _tried(machine: Machine) -> Iterator[tuple[str, Machine]]:
    """Each event that is possible now, and the machine after it."""
    events = list(_EVENTS)
    for stop in sorted(machine.unapplied):
        events += [("stop applied", Applied(stop)), ("stop applied late", Applied(stop, late=True))]
    for label, event in events:
        after = copy.deepcopy(machine)
        try:
            after.feed(event, 0)
        except IllegalWord:
            continue
        yield label, after
    deadline = machine.deadline()
    if deadline is not None:
        after = copy.deepcopy(machine)
        after.tick(deadline)
        yield "period over", after


def _situation(machine: Machine) -> tuple[object, ...]:
    """What decides about the next event: time, which is always 0 here, apart."""
    return machine.state, machine.unapplied, machine.replica
