"""Make docs/peers.md: each scenario, the right answer, what QEMU's colo-compare did, what ours did.

python -m tests.peers.table            # from the repository's root; needs a QEMU of any version
"""

import sys
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path

from colo_vm.debian import CACHE, say
from colo_vm.qemu import bare

from . import ours
from .outcome import Outcome, outcome
from .qemu import ColoCompare
from .scenarios import LOSES, Scenario, State, scenarios

PAGE = Path(__file__).parents[2] / "docs" / "peers.md"
BEGIN, END = "<!-- scenarios: made by python -m tests.peers.table -->", "<!-- end of scenarios -->"


def right(scenario: Scenario) -> str:
    """The right answer in words."""
    held = [name for name, states in scenario.right.items() if State.LEFT not in states]
    clamped = any(State.CLAMPED in scenario.right[name] for name in held)
    if scenario.group == LOSES:
        what = "all leave, in order"
    elif held:
        names = ", ".join(held) if len(held) < 4 else "all of them"
        what = f"{names}: held" + (", or clamped" if clamped else "")
    else:
        what = "all leave"
    return what + (f"; {scenario.asks} checkpoint" if scenario.asks else "; no checkpoint")


def cell(scenario: Scenario, did: Outcome) -> str:
    """What a comparator did, in words."""
    faults = did.faults(scenario)
    return "**" + "; ".join(faults) + "**" if faults else "right"


def rows(found: list[tuple[Scenario, Outcome, Outcome]]) -> Iterator[str]:
    for group, members in groupby(found, key=lambda row: row[0].group):
        yield f"\n## {group}\n"
        yield "| scenario | right answer | QEMU's colo-compare | colo-proxy |\n| --- | --- | --- | --- |"
        for scenario, theirs, mine in members:
            cells = (scenario.name, right(scenario), cell(scenario, theirs), cell(scenario, mine))
            yield "| " + " | ".join(cells) + " |"


def main() -> int:
    """Run all scenarios against both; exit status 1 when ours is wrong anywhere."""
    command, version = bare()
    found = []
    for scenario in scenarios():
        say(scenario.name)
        with ColoCompare(command, CACHE, scenario.timeout_ms) as qemu:
            theirs = outcome(scenario, *qemu.run(scenario))
        mine = outcome(scenario, *ours.run(scenario))
        found.append((scenario, theirs, mine))
    wrong = [sum(bool(row[side].faults(row[0])) for row in found) for side in (1, 2)]
    score = f"{len(found)} scenarios; QEMU {version}: {wrong[0]} wrong; colo-proxy: {wrong[1]} wrong."
    text = (
        f"{score} Bold: what is not as it should be.\n"
        "colo-compare runs alone, fed over its sockets; both sides "
        "are aligned already, so its rewriter has no part in this. It asks again at each scan until a "
        "checkpoint is made, and every request makes one.\n"
    )
    body = "\n".join([BEGIN, text, *rows(found), "", END])
    page = PAGE.read_text() if PAGE.exists() else f"# colo-proxy beside its peers\n\n{BEGIN}{END}\n"
    head, _, rest = page.partition(BEGIN)
    PAGE.write_text(head + body + rest.partition(END)[2])
    print(score)
    return 1 if wrong[1] else 0


if __name__ == "__main__":
    sys.exit(main())
