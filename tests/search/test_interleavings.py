"""Orders of events on which such protocols fail, each followed step by step through the real machines."""

from search.bounds import RowsOnly
from search.world import HOSTS, PAIR, PAIRED, Left, Play, World, followed, nothing, solo

from colo_proxy.pair import events as ev
from colo_proxy.pair.actions import Right
from colo_proxy.pair.table import State

DOUBT = ("b: no sign", "b hears 2 pair a p1", "time passes", "b: silence over", "b: cut", "b: silence over")
TAKE = ("b hears 2 pair a p1", "the store applies 3 solo b")
A_CLAIMS = ("a: no sign", "a hears 2 pair a")


class Hasty(Play):
    """An operator who switches a host on again too early."""

    dutiful = False


def follow(world: World, *steps: str) -> World:
    """The world after these moves. None may break what must hold, where the store keeps what it holds."""
    return followed(Hasty(), world, *steps)


def possible(world: World, step: str) -> bool:
    """Whether a move with this beginning is possible."""
    return any(label.startswith(step) for label, _, _ in Play().moves(world))


def states(world: World) -> tuple[State | None, ...]:
    """Where the two hosts stand."""
    return tuple(host.machine.state if host.machine else None for host in world.hosts)


def speaks(world: World) -> list[str]:
    """The hosts that can put frames on the wire."""
    return [HOSTS[h] for h in (0, 1) if Play().sends(world, h)]


def start(**left: int) -> World:
    """A alone, b its spare."""
    return solo(Left(swaps=6)._replace(**left))


def test_01_a_pair_swap_comes_late_and_finds_a_restarted_proxy_that_read_solo() -> None:
    world = follow(start(crashes=1), *PAIR, "a's proxy restarts", "a hears 1 solo a")
    assert states(world)[0] is State.REGAINING
    assert speaks(world) == []
    late = follow(world, "the store applies 2 pair a", "a hears 2 pair a p1")
    assert states(late)[0] is State.REGAINING, "its VM has been in that pairing since: it asks again"
    taken = follow(late, *DOUBT, *TAKE, "a hears 3 solo b")
    assert states(taken)[0] is State.LOST
    first = follow(world, "the store applies 2 solo a", "a hears 2 solo a")
    assert speaks(first) == ["a"]
    assert not possible(first, "the store applies 2 pair a"), "the swap that was won has ended the late one"


def test_02_a_late_refusal_of_a_former_claim_is_dropped() -> None:
    world = follow(start(), *PAIRED, *A_CLAIMS)
    play = Play()
    before = world.hosts[0].machine
    assert before is not None
    assert before.question is not None
    after, out = play.machine.feed(before, ev.Answer("an earlier question", world.store))
    assert (after, out) == (before, [])


def test_03_a_lost_answer_is_known_by_the_nonce_in_the_next() -> None:
    world = follow(start(), *PAIRED, *A_CLAIMS, "the store applies 3 solo a")
    assert speaks(world) == []
    assert speaks(follow(world, "a hears 3 solo a")) == ["a"]


def test_04_both_claim_at_once_and_one_wins() -> None:
    both = follow(start(), *PAIRED, *A_CLAIMS, *DOUBT, "b hears 2 pair a p1")
    assert states(both) == (State.CLAIMING, State.TAKING)
    a = follow(both, "the store applies 3 solo a", "a hears 3 solo a", "b hears 3 solo a")
    assert (speaks(a), states(a)[1]) == (["a"], State.LOST)
    b = follow(both, "the store applies 3 solo b", "b hears 3 solo b", "a hears 3 solo b", "b: noted")
    assert (speaks(b), states(b)[0]) == (["b"], State.LOST)


def test_05_the_svm_is_heard_after_the_cut_and_nothing_leaves_for_it() -> None:
    word = ("a's VM says", "b's VM says", "b acknowledges a heartbeat", "a gets that")
    world = follow(start(), *PAIRED, *word, *DOUBT, "a gets a word of the SVM")
    assert not possible(world, "a sends word"), "the acknowledged heartbeat is too old"
    taken = follow(world, *TAKE, "b hears 3 solo b", "b: noted", "b sends word 1, alone")
    assert speaks(taken) == ["b"]


def test_06_a_secondary_of_an_older_pairing_claims_nothing() -> None:
    again = (*A_CLAIMS, "the store applies 3 solo a", "a hears 3 solo a")
    world = follow(start(pairings=2), *PAIRED, *again, "b: no sign", "b hears 3 solo a")
    assert states(world) == (State.SOLO, State.LOST)


def test_07_the_owner_dies_between_load_and_pair() -> None:
    world = follow(start(crashes=1), *PAIR[:4], "host a dies", "b: no sign", "b hears 1 solo a")
    assert states(world)[1] is State.LOST, "the store never named the pairing"
    back = follow(world, "a boots", "a hears 1 solo a", "the store applies 2 solo a", "a hears 2 solo a")
    assert speaks(back) == ["a"]


def test_08_the_winner_dies_before_its_first_word() -> None:
    world = follow(start(crashes=1), *PAIRED, *A_CLAIMS, *DOUBT, *TAKE, "host b dies", "a hears 3 solo b")
    assert states(world) == (State.LOST, None)
    asks = follow(world, "b boots", "b hears 3 solo b")
    assert states(asks)[1] is State.ASKING, "its disk does not know that it has won"
    cold = follow(asks, "a is told ask", "b is told no-vm", "the store applies 4 solo b", "b hears 4 solo b")
    assert speaks(cold) == ["b"]


def test_09_relinquish_against_a_late_pair() -> None:
    world = follow(start(wishes=1), *PAIR, "b: relinquish", "a is told relinquish")
    assert (speaks(world), states(world)) == (["a"], (State.SETTLING, State.LOST))
    assert not possible(world, "a begins pairing")
    late = follow(world, "the store applies 2 pair a", "a hears 2 pair a p1", "the store applies 3 solo a")
    assert states(follow(late, "a hears 3 solo a"))[0] is State.SOLO


def test_10_a_primary_that_was_paused_sends_nothing_of_its_buffers() -> None:
    word = (
        "a's VM says",
        "b's VM says",
        "a gets a word of the SVM",
        "b acknowledges a heartbeat",
        "a gets that",
    )
    world = follow(start(), *PAIRED, *word, *DOUBT, *TAKE, "b hears 3 solo b", "b: noted")
    assert states(world)[0] is State.PAIRED, "it knows nothing of all that"
    assert speaks(world) == ["b"]
    assert not possible(world, "a sends word")


def test_12_the_store_is_down() -> None:
    pair = follow(start(crashes=1), *PAIRED, "b acknowledges a heartbeat", "a gets that")
    assert speaks(pair) == ["a"], "while the pair is whole, nobody asks the store"
    dead = follow(pair, "host b dies", "a: no sign", "a has no answer", "a's gate is frozen")
    assert (speaks(dead), states(dead)[0]) == ([], State.FROZEN)
    back = follow(dead, "a hears 2 pair a p1", "the store applies 3 solo a", "a hears 3 solo a")
    assert speaks(back) == ["a"]
    hiccup = follow(pair, "a: no sign", "a has no answer", "a hears the peer again")
    assert states(hiccup)[0] is State.PAIRED


def test_12_the_store_comes_back_with_a_late_swap() -> None:
    claimed = follow(start(crashes=1), *PAIRED, *DOUBT, "b hears 2 pair a p1")
    world = follow(claimed, "b's proxy restarts", "b hears 2 pair a p1", "b: VM gone")
    assert states(world)[1] is State.SPARE
    late = follow(world, "the store applies 3 solo b", *("a: no sign", "a hears 3 solo b"))
    assert states(late)[0] is State.LOST
    # `b` finds itself named by a claim that its disk does not know, and asks.
    asks = follow(late, "b hears 3 solo b", "a is told ask", "b is told no-vm")
    cold = follow(asks, "the store applies 4 solo b", "b hears 4 solo b")
    assert speaks(cold) == ["b"]


def test_13_an_operator_forces_and_then_the_other_wakes() -> None:
    frozen = ("host a dies", "b: no sign", "b: force", "b: noted")
    world = follow(start(crashes=1, forces=1), *PAIRED, *frozen)
    assert (speaks(world), states(world)) == (["b"], (None, State.FORCED))
    woken = follow(world, "a boots", "b hears 2 pair a p1", "the store applies 3 solo b", "a hears 3 solo b")
    assert speaks(woken) == ["b"]
    settled = follow(woken, "b hears 3 solo b")
    assert states(settled) == (State.LOST, State.SOLO)


def test_15_a_primary_that_lost_power_boots_with_a_fresh_vm() -> None:
    world = follow(start(crashes=1), *PAIRED, "host a dies", "a boots", "a hears 2 pair a p1")
    assert states(world) == (State.ASKING, State.SECONDARY), "the secondary knows everything"
    assert possible(world, "b is told ask")
    taken = follow(world, *DOUBT, *TAKE, "b hears 3 solo b", "b: noted", "a asks again", "a hears 3 solo b")
    assert (speaks(taken), states(taken)[0]) == (["b"], State.LOST)


def test_16_an_emptied_or_old_store_permits_nothing() -> None:
    for what in ("the store is emptied", "the store is an old copy"):
        world = follow(start(restores=1, crashes=1), *PAIRED, *A_CLAIMS, "the store applies 3 solo a")
        answer = "a hears nothing" if what.endswith("emptied") else "a hears 1 solo a"
        world = followed(RowsOnly(), world, "a hears 3 solo a", what, "a's proxy restarts", answer)
        assert (states(world)[0], speaks(world)) == (State.STALE, [])


def test_init_needs_the_peers_word_or_a_host_that_is_off() -> None:
    off = follow(nothing(Left(inits=1)), "a boots", "a hears nothing", "a: init --switched-off")
    alone = follow(off, "the store applies 1 solo a", "a hears 1 solo a")
    assert speaks(alone) == ["a"]
    both = ("a boots", "a hears nothing", "b boots", "b hears nothing", "a: init")
    asked = follow(nothing(Left(inits=1)), *both)
    assert states(asked)[0] is State.FOUNDING
    made = follow(asked, "b is told ask-init", "a is told consent", "the store applies 1 solo a")
    assert states(follow(made, "b asks again", "b hears 1 solo a", "a hears 1 solo a")) == (
        State.SOLO,
        State.LOST,
    )


def test_a_secondary_takes_over_at_once_when_the_primary_yields() -> None:
    yields = ("a: `switchover`", "a's gate is none", "a: gate applied", "b is told yield")
    world = start(wishes=1)
    world = follow(world, *PAIRED, "a: switchover", *yields[1:], *TAKE, "b hears 3 solo b", "b: noted")
    assert speaks(world) == ["b"]
    assert states(follow(world, "a hears 3 solo b"))[0] is State.LOST


def test_a_store_that_is_silent_lets_no_pairing_begin() -> None:
    world = follow(start(inits=1), "a asks again", "a has no answer")
    host = world.hosts[0]
    assert host.gate is Right.SOLO
    after = follow(world, "a begins pairing")
    assert states(after)[0] is State.SOLO
