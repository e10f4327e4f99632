"""What is searched: in CI, and by `make search`."""

from collections.abc import Callable
from typing import NamedTuple

from search.world import PAIR, PAIRED, Host, Left, Play, World, followed, nothing, paired, put, solo

from colo_proxy.pair.actions import Right
from colo_proxy.pair.record import Record


class RowsOnly(Play):
    """A store that loses what it held: nothing is promised then but that no host goes by an older record."""

    def check(self, world: World) -> None:
        """Nothing is promised."""

    def _permitted(self, world: World, h: int, expect: Record | None, new: Record) -> None:
        pass

    def _gate(self, world: World, h: int, right: Right) -> World:
        host: Host = world.hosts[h]._replace(gate=right)
        return put(world, h, host)


class LyingOperator(RowsOnly):
    """An operator who forces one host while the other runs."""

    dutiful = False


def stale(left: Left, words: int = 0) -> World:
    """Host a lost power as the primary of a pair, and finds the store to be an old copy."""
    restored = ("host a dies", "a boots", "the store is an old copy", "a hears 1 solo a")
    return followed(RowsOnly(), paired(left, words), *restored)


def asking(left: Left, words: int = 0) -> World:
    """Host a lost power as the primary of a pair, and booted with another VM."""
    return followed(Play(), paired(left, words), "host a dies", "a boots", "a hears 2 pair a p1")


def pairing(left: Left, words: int = 0) -> World:
    """The store knows the pair, and host a does not know that."""
    return followed(Play(), solo(left, words), *PAIRED[:-1])


def unaware(left: Left, words: int = 0) -> World:
    """As `pairing`, and host a has lost power."""
    return followed(Play(), pairing(left, words), "host a dies", "a boots")


def settling(left: Left, words: int = 0) -> World:
    """The secondary has relinquished while the swap to `pair` was under way."""
    return followed(Play(), solo(left, words), *PAIR, "b: relinquish", "a is told relinquish")


class Bound(NamedTuple):
    """One search."""

    left: Left
    words: int = 0
    play: type[Play] = Play
    start: Callable[[Left, int], World] = solo
    service: bool = True  # it must always be able to come back without an operator


QUICK = {
    "words": Bound(Left(swaps=3), words=1),
    "wishes": Bound(Left(swaps=4, wishes=1)),
    "crash": Bound(Left(swaps=4, crashes=1)),
    "death": Bound(Left(swaps=4, deaths=1)),
    "break": Bound(Left(swaps=4, breaks=1)),
    "force": Bound(Left(swaps=3, crashes=1, forces=1)),
    "init": Bound(Left(swaps=3, inits=2, crashes=1, pairings=0), start=nothing, service=False),
}
LARGE = {
    "two words": Bound(Left(swaps=5), words=2),
    "words and a crash": Bound(Left(swaps=5, crashes=1), words=1),
    "words and a wish": Bound(Left(swaps=5, wishes=1), words=1),
    "words and a death": Bound(Left(swaps=5, deaths=1), words=1),
    "two crashes": Bound(Left(swaps=5, crashes=2)),
    "two wishes": Bound(Left(swaps=5, wishes=2)),
    "a crash and a wish": Bound(Left(swaps=5, crashes=1, wishes=1)),
    "a crash and a death": Bound(Left(swaps=5, crashes=1, deaths=1)),
    "a break, a crash and a wish": Bound(Left(swaps=5, breaks=1, crashes=1, wishes=1)),
    "two pairings": Bound(Left(swaps=6, pairings=2, crashes=1)),
    "force": Bound(Left(swaps=5, crashes=1, forces=1)),
    "init and a crash": Bound(Left(swaps=4, inits=2, crashes=1), start=nothing, service=False),
}
# For rows that nothing else reaches: what a restored store, or an operator who lies, can bring about. These
# need not be exhausted.
ROWS = {
    "restored": Bound(Left(swaps=4, restores=1), play=RowsOnly, start=paired),
    "restored, pairing": Bound(Left(swaps=4, restores=1), play=RowsOnly, start=pairing),
    "restored, a crash": Bound(Left(swaps=3, restores=1, crashes=1, pairings=0), play=RowsOnly),
    "restored, a crash, forced": Bound(
        Left(swaps=3, restores=1, crashes=1, forces=1, pairings=0), play=LyingOperator
    ),
    "stale": Bound(Left(swaps=4, restores=1, crashes=1), play=RowsOnly, start=stale),
    "settling": Bound(Left(swaps=4, wishes=1, deaths=1, restores=1), play=RowsOnly, start=settling),
    "asking": Bound(Left(swaps=4, crashes=1, forces=1), play=LyingOperator, start=asking),
    "unaware, forced": Bound(Left(swaps=4, crashes=1, forces=1), play=LyingOperator, start=unaware),
    "forced, a wish": Bound(Left(swaps=4, forces=1, wishes=1), play=LyingOperator, start=paired),
    "wishes": Bound(Left(swaps=4, wishes=2), start=paired),
    "a death, a wish": Bound(Left(swaps=4, wishes=1, deaths=1), start=paired),
}
