"""The rules of the right to speak, each weakened in turn: a search that misses one would prove nothing.

A weakening is a subclass of the real machine, or of the world around it, or a table with other rows.
"""

from collections.abc import Callable
from typing import NamedTuple

from search.world import Left, Play, World, nothing, paired, solo

from colo_proxy.pair.machine import Machine, Situation
from colo_proxy.pair.record import Record
from colo_proxy.pair.table import TABLE, Do, Row, Sign, State

Table = dict[State, dict[Sign, Row]]


def rows(*changed: tuple[State, Sign, Row]) -> Table:
    """The table with these rows instead."""
    table = {state: dict(signs) for state, signs in TABLE.items()}
    for state, sign, row in changed:
        table[state][sign] = row
    return table


def with_table(table: Table) -> type[Play]:
    """Worlds whose machines go by this table."""

    class Weak(Machine):
        """The real machine, by another table."""

    Weak.table = table
    return playing(Weak)


def playing(machine: type[Machine]) -> type[Play]:
    """Worlds with these machines."""

    class Weaker(Play):
        """The real world, with other machines."""

        make = machine

    return Weaker


def row(state: State, *do: Do) -> Row:
    """A row."""
    return Row(state, do)


class FreshClaims(Machine):
    """An owner claims whatever VM it has."""

    def sure(self, s: Situation, record: Record) -> bool:
        return True


class AnyPairing(Machine):
    """A secondary claims any pairing of the peer."""

    def reading(self, s: Situation, record: Record | None) -> Sign:
        sign = super().reading(s, record)
        return Sign.HELD if sign is Sign.THEIRS and s.pairing and s.state is not State.YIELDED else sign


class Careless(Play):
    """An operator who forces a host while the other runs."""

    dutiful = False


class AnyOwner(Play):
    """The store compares the owner only."""

    owner_only = True


class NoQuietRule(Play):
    """What both have said leaves however old the acknowledged heartbeat is."""

    quiet_rule = False


class AgeFromArrival(Play):
    """The heartbeat's age is counted from its acknowledgement's arrival."""

    late_acknowledgement = True


class CutUndone(Play):
    """A cut stream acknowledges again when the link is well."""

    cut_undone = True


class MineIsWon(Machine):
    """What an answer says of this host is taken for the success of its claim, whatever it was asked for."""

    def stands(self, s: Situation, tag: str) -> bool:
        return s.question is not None

    def reading(self, s: Situation, record: Record | None) -> Sign:
        sign = super().reading(s, record)
        solo_ = record is not None and not record.paired and s.claim is not None
        return Sign.WON if sign is Sign.OLD and solo_ else Sign.WON if sign is Sign.MINE and solo_ else sign


class AnyAnswer(Play):
    """An answer to an earlier question is taken for one to this."""

    make = MineIsWon
    any_answer = True


class Weakening(NamedTuple):
    """A rule that does not hold any more, and where that is seen."""

    rule: str
    play: Callable[[], Play]
    left: Left
    start: Callable[[Left, int], World] = paired
    words: int = 0


_ALONE = row(State.SOLO, Do.TAKE_VM, Do.LEAVE)
_CALM = Left(swaps=4)
_CRASH = Left(swaps=4, crashes=1)

WEAKENINGS: dict[str, Weakening] = {
    "a fresh VM claims": Weakening("who claims has the pairing's VM", playing(FreshClaims), _CRASH),
    "compare late": Weakening(
        "the swap to `pair` follows the gate",
        with_table(rows((State.ENTERING, Sign.READY, row(State.PAIRING, Do.PAIR)))),
        _CALM,
        solo,
    ),
    "no cut": Weakening(
        "the secondary cuts before it waits for silence and claims",
        with_table(rows((State.READY, Sign.SILENCE, row(State.GRANTED, Do.READ)))),
        _CALM,
    ),
    "silence before the cut": Weakening(
        "the silence is counted to the cut's end",
        with_table(rows((State.READY, Sign.SILENCE, row(State.GRANTED, Do.CUT, Do.READ)))),
        _CALM,
    ),
    "the stream's end suffices": Weakening(
        "the secondary claims after `timeout_ms` + 30 ms",
        with_table(rows((State.CUTTING, Sign.CUT_DONE, row(State.GRANTED, Do.READ)))),
        _CALM,
    ),
    "a cut is undone": Weakening("a cut is never undone", CutUndone, _CALM),
    "claim any pairing": Weakening("a secondary claims its own pairing", playing(AnyPairing), Left(swaps=5)),
    "compare the owner only": Weakening("the record is compared as a whole", AnyOwner, _CALM),
    "unknown goes on": Weakening(
        "no answer gives no right",
        with_table(rows((State.SUSPECTING, Sign.UNKNOWN, _ALONE))),
        _CALM,
    ),
    "unprotected unasked": Weakening(
        "a primary asks before it goes on alone",
        with_table(rows((State.PAIRED, Sign.SUSPECTED, _ALONE))),
        _CALM,
    ),
    "the pairing is given up unasked": Weakening(
        "a primary whose swap to `pair` is under way asks, too",
        with_table(rows((State.PAIRING, Sign.SUSPECTED, _ALONE))),
        _CALM,
        solo,
    ),
    "a read is a permission": Weakening(
        "a process that starts swaps before it speaks",
        with_table(
            rows(
                (State.STARTING, Sign.MINE, row(State.SOLO, Do.GATE, Do.TAKE_VM)),
            )
        ),
        _CRASH,
        solo,
    ),
    "a read suffices to go on alone": Weakening(
        "a primary that is suspicious swaps before it speaks alone",
        with_table(rows((State.SUSPECTING, Sign.MINE, _ALONE))),
        _CALM,
    ),
    "any answer counts": Weakening(
        "an answer to an earlier question is dropped", AnyAnswer, Left(swaps=4), solo
    ),
    "no quiet rule": Weakening("nothing leaves under an old heartbeat", NoQuietRule, _CALM),
    "age from arrival": Weakening("a heartbeat's age counts from its sending", AgeFromArrival, _CALM),
    "yield before the gate": Weakening(
        "the right is NONE before `yield` is told",
        with_table(rows((State.PAIRED, Sign.SWITCHOVER, row(State.YIELDED, Do.YIELD, Do.READ)))),
        Left(swaps=4, wishes=1),
    ),
    "claim back unasked": Weakening(
        "after a yield the right comes back by a claim only",
        with_table(rows((State.YIELDED, Sign.YIELD_OVER, _ALONE))),
        Left(swaps=4, wishes=1),
    ),
    "relinquish and keep": Weakening(
        "the right is given up before `relinquish` is told",
        with_table(rows((State.SECONDARY, Sign.RELINQUISH, row(State.DOUBTING, Do.RELINQUISH, Do.READ)))),
        Left(swaps=4, wishes=1),
    ),
    "relinquish in a claim": Weakening(
        "who has claimed does not relinquish",
        with_table(
            rows(
                (
                    State.TAKING,
                    Sign.RELINQUISH,
                    row(State.LOST, Do.RELINQUISH, Do.CUT, Do.KILL_VM, Do.LEAVE),
                )
            )
        ),
        Left(swaps=4, wishes=1),
    ),
    "no-vm suffices": Weakening(
        "a peer without a VM permits a claim, no more",
        with_table(rows((State.ASKING, Sign.NO_VM, row(State.SOLO, Do.CONSENT, Do.GATE)))),
        Left(swaps=4, crashes=1, deaths=1),
        paired,
    ),
    "the loser waits": Weakening(
        "a host that reads that the other owns gives up for ever",
        with_table(rows((State.CLAIMING, Sign.THEIRS, row(State.CLAIMING, Do.REASK)))),
        _CALM,
    ),
    "take over unnoted": Weakening(
        "a secondary has won before it speaks",
        with_table(rows((State.GRANTED, Sign.HELD, row(State.NOTING)))),
        _CALM,
        solo,
    ),
    "create unasked": Weakening(
        "the record is created by a swap",
        with_table(rows((State.EMPTY, Sign.INIT, row(State.SOLO)))),
        Left(swaps=4, inits=2),
        nothing,
    ),
    "force while the other runs": Weakening(
        "`force` needs the other host switched off, until the store knows",
        Careless,
        Left(swaps=4, forces=1),
    ),
}
