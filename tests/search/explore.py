"""Every world that can come of one; what must never be, and whether service always comes back."""

import sys
from array import array
from collections import deque
from typing import NamedTuple

from search.world import Play, Violation, World


class Found(NamedTuple):
    """What a search has found."""

    states: int
    violation: str = ""
    trace: tuple[str, ...] = ()
    stuck: int = 0  # worlds from which no service can come back though nothing more fails
    whole: bool = True  # the search was exhausted


def search(play: Play, start: World, *, limit: int = 3_000_000, service: bool = True) -> Found:
    """Breadth first, so that the trace of a violation is a shortest one."""
    number: dict[World, int] = {start: 0}
    came: list[tuple[int, str]] = [(-1, "")]
    edges_from, edges_to = array("l"), array("l")
    served = bytearray([serves(play, start)])
    queue = deque([start])
    while queue:
        world = queue.popleft()
        at = number[world]
        try:
            play.check(world)
            for label, fault, after in play.moves(world):
                to = number.get(after)
                if to is None:
                    to = number[after] = len(came)
                    came.append((at, label))
                    served.append(serves(play, after))
                    queue.append(after)
                if not fault and service:
                    edges_from.append(at)
                    edges_to.append(to)
        except Violation as violation:
            return Found(len(came), str(violation), path(came, at))
        if len(came) > limit:
            return Found(len(came), whole=False)
    stuck = lost(len(came), edges_from, edges_to, served) if service else []
    trace = path(came, stuck[0]) if stuck else ()
    return Found(len(came), trace=trace, stuck=len(stuck))


def serves(play: Play, world: World) -> bool:
    """Service exists, or the search's bounds end it here."""
    bound = world.left.swaps
    if world.store is not None and world.store.g >= bound - 1:
        return True
    return play.sends(world, 0) or play.sends(world, 1)


def lost(count: int, edges_from: "array[int]", edges_to: "array[int]", served: bytearray) -> list[int]:
    """The worlds from which no fault-free way leads to service."""
    before: list[list[int]] = [[] for _ in range(count)]
    for a, b in zip(edges_from, edges_to, strict=True):
        before[b].append(a)
    good = bytearray(served)
    queue = deque(i for i in range(count) if good[i])
    while queue:
        for i in before[queue.popleft()]:
            if not good[i]:
                good[i] = 1
                queue.append(i)
    return [i for i in range(count) if not good[i]]


def path(came: list[tuple[int, str]], at: int) -> tuple[str, ...]:
    """How the search came to a world."""
    steps = []
    while at > 0:
        at, label = came[at]
        steps.append(label)
    return tuple(reversed(steps))


if __name__ == "__main__":
    sys.exit("run `make search`")
