"""The picture of the checkpoint machine in docs/architecture.md, made by trying the machine itself.

`python -m colo_proxy.checkpoint.diagram docs/architecture.md` brings the page up to date. Every event is fed
in every situation that can be reached from a start; what moves the state is an arrow.
tests/unit/test_docs.py fails when page and machine differ.
"""

import copy
import sys
from collections.abc import Iterator
from pathlib import Path

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
from colo_proxy.words import Divergence, Drop, Exhausted, Reason, Word

BEGIN = "<!-- checkpoint states: made by python -m colo_proxy.checkpoint.diagram -->"
END = "<!-- end of checkpoint states -->"

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


def mermaid() -> str:
    """The diagram, in Mermaid's language."""
    lines = ["stateDiagram-v2", "    [*] --> REQUESTED: start", "    [*] --> OBSERVING: vmm = none"]
    lines += [f"    {old.name} --> {new.name}: {', '.join(why)}" for (old, new), why in moves().items()]
    return "\n".join(lines)


def updated(page: str) -> str:
    """The page with the diagram as it is now. Raises ValueError where the page has no place for it."""
    head, begin, rest = page.partition(BEGIN)
    _, end, tail = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"the page has no lines {BEGIN!r} and {END!r}")
    return f"{head}{BEGIN}\n```mermaid\n{mermaid()}\n```\n{END}{tail}"


if __name__ == "__main__":
    for name in sys.argv[1:]:
        path = Path(name)
        path.write_text(updated(path.read_text()))
