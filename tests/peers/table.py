"""Make docs/peers.md: each scenario, the right answer, what QEMU's colo-compare did, what the drop-in did.

python -m tests.peers.table            # from the repository's root; needs a QEMU of any version
"""

import sys
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path

from colo_vm.debian import CACHE, say
from colo_vm.qemu import bare

from .drop_in import DropIn
from .outcome import outcome
from .qemu import ColoCompare
from .scenarios import LOSES, Scenario, State, scenarios
from .wire_holes import HOLES, Hole

PAGE = Path(__file__).parents[2] / "docs" / "peers.md"
BEGIN, END = "<!-- scenarios: made by python -m tests.peers.table -->", "<!-- end of scenarios -->"


def right(scenario: Scenario) -> str:
    """The right answer in words."""
    held = [name for name, states in scenario.right.items() if State.LEFT not in states]
    clamped = any(State.CLAMPED in scenario.right[name] for name in held)
    if scenario.group == LOSES:
        what = "all are released, in order"
    elif held:
        names = ", ".join(held) if len(held) < 4 else "all of them"
        what = f"{names}: held" + (", or clamped" if clamped else "")
    else:
        what = "all are released"
    return what + (f"; {scenario.asks} checkpoint" if scenario.asks else "; no checkpoint")


def cell(faults: list[str]) -> str:
    """What a comparator did, in words."""
    return "**" + "; ".join(faults) + "**" if faults else "right"


Found = tuple[Scenario, list[str], list[str]]
HEAD = (
    "| scenario | right answer | QEMU's colo-compare | `colo-proxy colo-compare` |\n| --- | --- | --- | --- |"
)


def rows(found: list[Found], holes: list[tuple[Hole, list[str], list[str]]]) -> Iterator[str]:
    for group, members in groupby(found, key=lambda row: row[0].group):
        yield f"\n## {group}\n\n{HEAD}"
        for scenario, theirs, mine in members:
            yield f"| {scenario.name} | {right(scenario)} | {cell(theirs)} | {cell(mine)} |"
    yield f"\n## Breaks at the sockets\n\n{HEAD}"
    for hole, theirs, mine in holes:
        yield f"| {hole.name} | {hole.right} | {cell(theirs)} | {cell(mine)} |"


def main() -> int:
    """Run all scenarios against both; exit status 1 when ours is wrong anywhere."""
    command, version = bare()
    found: list[Found] = []
    for scenario in scenarios():
        say(scenario.name)
        with ColoCompare(command, CACHE, timeout_ms=scenario.timeout_ms) as qemu:
            theirs = outcome(scenario, *qemu.run(scenario)).faults(scenario)
        with DropIn(timeout_ms=scenario.timeout_ms) as ours:
            found.append((scenario, theirs, outcome(scenario, *ours.run(scenario)).faults(scenario)))
    holes = []
    for hole in HOLES:
        say(hole.name)
        with ColoCompare(command, CACHE, vnet=hole.vnet) as qemu:
            theirs = hole.play(qemu)
        with DropIn(vnet=hole.vnet) as ours:
            holes.append((hole, theirs, hole.play(ours)))
    wrong = [sum(bool(row[side]) for row in (*found, *holes)) for side in (1, 2)]
    count = len(found) + len(holes)
    score = f"{count} scenarios; QEMU {version}: {wrong[0]} wrong; colo-proxy: {wrong[1]} wrong."
    text = (
        f"{score} Wrong answers are in bold.\n"
        "Each comparator runs alone and is fed over its sockets. Both sides' sequence numbers are aligned "
        "already, so QEMU's rewriter is not part of this. QEMU's comparator repeats a request at each scan "
        "until a checkpoint is made, and every request makes one.\n"
    )
    body = "\n".join([BEGIN, text, *rows(found, holes), "", END])
    page = PAGE.read_text() if PAGE.exists() else f"# colo-proxy beside its peers\n\n{BEGIN}{END}\n"
    head, _, rest = page.partition(BEGIN)
    PAGE.write_text(head + body + rest.partition(END)[2])
    print(score)
    return 1 if wrong[1] else 0


if __name__ == "__main__":
    sys.exit(main())
