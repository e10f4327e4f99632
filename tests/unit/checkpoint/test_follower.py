"""Transcripts of QEMU pairs: QMP events in, events for the machine and orders for the adapter out.

Each line is `milliseconds side event`, as the sockets delivered them, then what must follow.
The times are those of runs of QEMU 11.1.2 where a run is named.
"""

import itertools

import pytest

from colo_proxy.checkpoint.events import Committed, Connected, SvmLoaded
from colo_proxy.checkpoint.follower import Follower, News, Phase, Side, Snapshot

P, S = Side.PRIMARY, Side.SECONDARY
IN_COLO = {P: Snapshot("primary", "none", True), S: Snapshot("secondary", "none", True)}
ALONE = Snapshot("none", "none", True)
TAKEN_OVER = Snapshot("none", "secondary", True)


def play(follower: Follower, transcript: str) -> list[str]:
    """Feed lines of `[ms] side event [reason]`; give the kinds of the news, with stamps in ms."""
    out = []
    for line in transcript.strip().splitlines():
        ms, who, name, *rest = line.split()
        side = P if who == "P" else S
        if name == "gone":
            news = follower.gone(side, "nobody listens")
        elif name == "asked":
            news = follower.asked(side, int(rest[0]))
        elif name == "blind":
            news = follower.blind(side, "the connection ended")
        elif name == "connected":
            news = follower.connected(side, IN_COLO[side])
        else:
            data: dict[str, object] = {"reason": rest[0]} if rest else {}
            news = follower.event(side, name, int(float(ms) * 1e6), data)
        out += said(news)
    return out


def words(news: News) -> str:
    """`SvmStopped 10`, `Ask secondary`, `Unsure`."""
    name, stamp, side = type(news).__name__, getattr(news, "stamp_ns", 0), getattr(news, "side", None)
    if isinstance(side, Side):
        return f"{name} {side.value}"
    return name + (f" {stamp / 1e6:g}" if stamp and name.endswith("Stopped") else "")


def said(news: list[News]) -> list[str]:
    return [words(item) for item in news if not isinstance(item, Connected)]


def in_step() -> Follower:
    follower = Follower()
    assert said(follower.connected(P, IN_COLO[P])) == []
    assert said(follower.connected(S, IN_COLO[S])) == ["Unsure"]
    return follower


CHECKPOINT = """
    10.0 S STOP
    10.2 P STOP
    56.0 S RESUME
    98.0 P RESUME
"""
STOPS = ["SvmStopped 10", "PvmStopped 10.2"]
CHECKPOINT_NEWS = [*STOPS, "SvmLoaded", "Committed"]
TAKES_OVER = ["PrimaryLost"]
GOES_ON_ALONE = ["ReplicaLost", "GoOnAlone"]


def test_checkpoint() -> None:
    assert play(in_step(), CHECKPOINT) == CHECKPOINT_NEWS


def test_both_ends_are_said_with_the_time_at_which_the_vm_ran_again() -> None:
    follower = in_step()
    for line in CHECKPOINT.strip().splitlines()[:-1]:
        ms, who, name = line.split()
        news = follower.event(P if who == "P" else S, name, int(float(ms) * 1e6), {})
    assert news == [SvmLoaded(56_000_000)]
    assert follower.event(P, "RESUME", 98_000_000, {}) == [Committed(98_000_000)]


def interleavings() -> list[str]:
    """Every order in which two sockets can deliver a checkpoint's events, each socket in its own order."""
    lines = CHECKPOINT.strip().splitlines()
    svm, pvm = (lines[0], lines[2]), (lines[1], lines[3])
    orders = []
    for places in itertools.combinations(range(4), 2):
        left, right = iter(svm), iter(pvm)
        orders.append("\n".join(next(left) if place in places else next(right) for place in range(4)))
    return orders


@pytest.mark.parametrize("transcript", interleavings())
def test_checkpoint_in_any_delivery_order(transcript: str) -> None:
    assert play(in_step(), transcript) == CHECKPOINT_NEWS


def test_commit_waits_for_both_to_resume() -> None:
    assert play(in_step(), "10 S STOP\n10.2 P STOP\n56 S RESUME") == [*STOPS, "SvmLoaded"]
    assert play(in_step(), "10 S STOP\n10.2 P STOP\n98 P RESUME") == STOPS


def test_next_checkpoint_read_before_the_end_of_this_one() -> None:
    news = play(
        in_step(),
        """
        10 S STOP
        10.2 P STOP
        18 S RESUME
        30 S STOP
        38 S RESUME
        18.2 P RESUME
        30.1 P STOP
        38.2 P RESUME
        """,
    )
    second = ["SvmStopped 30", "PvmStopped 30.1", "SvmLoaded", "Committed"]
    assert news == [*CHECKPOINT_NEWS, *second]


def test_a_paused_vm_is_no_checkpoint() -> None:
    follower = in_step()
    assert play(follower, "10 P STOP\n500 P RESUME\n900 S STOP\n950 S RESUME") == []
    assert play(follower, "1000 S STOP\n1000.2 P STOP") == ["SvmStopped 1000", "PvmStopped 1000.2"]


# Kills, each a run of QEMU 11.1.2: what was read, and that nothing is ever committed by them.


def test_pvm_killed_while_idle() -> None:
    follower = in_step()
    assert play(follower, "784 P gone") == ["Ask secondary"]
    assert play(follower, "785 S asked 1\n790 S COLO_EXIT error\n1291 S STOP\n1291 S RESUME") == TAKES_OVER


def test_pvm_killed_colo_exit_read_first() -> None:
    assert play(in_step(), "790 S COLO_EXIT error\n790 P gone") == ["Probe", *TAKES_OVER]


def test_pvm_killed_before_its_state_was_sent() -> None:
    transcript = "10 S STOP\n10.2 P STOP\n11.4 P gone\n12 S asked 1\n16 S COLO_EXIT error\n504 S RESUME"
    assert play(in_step(), transcript) == [*STOPS, "Ask secondary", "Ask secondary", *TAKES_OVER]


def test_pvm_killed_while_the_svm_loads_its_state() -> None:
    transcript = """
        10 S STOP
        10.1 P STOP
        30.5 P gone
        31 S asked 1
        38.5 S RESUME
        38.8 S COLO_EXIT error
        535 S STOP
        536 S RESUME
        """
    news = play(in_step(), transcript)
    assert news == [
        "SvmStopped 10",
        "PvmStopped 10.1",
        "Ask secondary",
        "Ask secondary",
        "SvmLoaded",
        *TAKES_OVER,
    ]


def test_pvm_killed_after_the_svm_loaded_its_state() -> None:
    transcript = "10 S STOP\n10.2 P STOP\n28.5 S RESUME\n28.8 S COLO_EXIT error\n28.9 P gone"
    assert play(in_step(), transcript) == [*STOPS, "SvmLoaded", "Probe", *TAKES_OVER]


def test_pvm_killed_and_the_svm_never_says_so() -> None:
    transcript = "10 S STOP\n10.2 P STOP\n11 P gone\n12 S asked 1\n112 S asked 2\n212 S asked 3"
    asks = ["Ask secondary"] * 3
    assert play(in_step(), transcript) == [*STOPS, *asks, *TAKES_OVER]


def test_both_killed() -> None:
    follower = in_step()
    assert play(follower, "10 P gone\n11 S blind\n12 S gone") == ["Ask secondary", "Unsure"]
    assert follower.phase is Phase.BLIND


def test_svm_killed_in_a_checkpoint() -> None:
    transcript = "10 S STOP\n10.2 P STOP\n12 S gone\n35 P COLO_EXIT error\n507 P RESUME"
    assert play(in_step(), transcript) == [*STOPS, *GOES_ON_ALONE]


def test_svm_killed_between_the_two_resumes() -> None:
    transcript = "10 S STOP\n10.2 P STOP\n21 S RESUME\n31 S gone\n55 P RESUME"
    assert play(in_step(), transcript) == [*STOPS, "SvmLoaded", *GOES_ON_ALONE]


def test_resume_made_by_lost_heartbeat_does_not_commit() -> None:
    transcript = "10 S STOP\n10.2 P STOP\n20 S RESUME\n35 P COLO_EXIT error\n507 P RESUME"
    assert play(in_step(), transcript) == [*STOPS, "SvmLoaded", *GOES_ON_ALONE]


def test_colo_exit_of_the_svm_alone_proves_nothing() -> None:
    follower = in_step()
    assert play(follower, "10 S COLO_EXIT error") == ["Probe"]
    assert said(follower.polled(S, IN_COLO[S])) == []  # QEMU still calls it `secondary`
    assert play(follower, "1200 P COLO_EXIT error") == GOES_ON_ALONE


def test_told_from_outside() -> None:
    assert play(in_step(), "10 S COLO_EXIT request") == TAKES_OVER
    assert play(in_step(), "10 P COLO_EXIT request") == GOES_ON_ALONE


# Sight lost.


@pytest.mark.parametrize("side", ["P", "S"])
def test_blind_holds_until_the_connection_is_back(side: str) -> None:
    follower = in_step()
    assert play(follower, f"1 {side} blind") == ["Unsure"]
    assert play(follower, CHECKPOINT) == []
    assert play(follower, f"200 {side} connected") == ["Unsure"]
    assert play(follower, CHECKPOINT) == CHECKPOINT_NEWS


def test_blind_in_a_checkpoint_gives_it_up() -> None:
    follower = in_step()
    assert play(follower, "10 S STOP\n10.2 P STOP\n11 S blind") == [*STOPS, "Unsure"]
    assert play(follower, "56 S RESUME\n98 P RESUME") == []


def test_blind_then_gone() -> None:
    assert play(in_step(), "10 P blind\n20 P gone\n21 S asked 1") == ["Unsure", "Ask secondary", *TAKES_OVER]
    assert play(in_step(), "10 S blind\n20 S gone") == ["Unsure", *GOES_ON_ALONE]


def test_both_out_of_sight_decides_nothing() -> None:
    follower = in_step()
    assert play(follower, "10 S blind\n11 P gone") == ["Unsure"]
    assert follower.phase is Phase.BLIND
    assert play(follower, "500 S connected") == TAKES_OVER


def test_another_qemu_on_the_primarys_socket() -> None:
    follower = in_step()
    follower.blind(P, "the connection ended")
    assert said(follower.connected(P, ALONE)) == TAKES_OVER


def test_guest_that_shuts_down_is_no_failover() -> None:
    follower = in_step()
    follower.event(P, "SHUTDOWN", 1, {"guest": True, "reason": "guest-shutdown"})
    assert said(follower.gone(P, "nobody listens")) == ["Unsure"]


# The start: nothing is lost that was never seen.


def test_start_without_a_replica() -> None:
    follower = Follower()
    assert follower.gone(S, "nobody listens") == []
    assert said(follower.connected(P, ALONE)) == ["ReplicaLost"]
    assert follower.polled(P, ALONE) == []


def test_start_with_a_mistyped_path() -> None:
    for side in Side:
        follower = Follower()
        other = P if side is S else S
        assert follower.gone(side, "nobody listens") == []
        assert said(follower.connected(other, IN_COLO[other])) == []
        assert follower.phase is Phase.WAITING


def test_start_after_a_takeover() -> None:
    follower = Follower()
    assert said(follower.connected(S, TAKEN_OVER)) == TAKES_OVER


def test_protection_comes_later_and_again() -> None:
    follower = Follower()
    follower.connected(P, ALONE)
    assert said(follower.connected(S, Snapshot("none", "none", False))) == []
    assert follower.polled(S, IN_COLO[S]) == []
    assert said(follower.polled(P, IN_COLO[P])) == ["Unsure"]
    assert play(follower, "10 S gone") == GOES_ON_ALONE
    follower.polled(P, Snapshot("none", "primary", True))
    follower.connected(S, IN_COLO[S])
    assert said(follower.polled(P, IN_COLO[P])) == ["Unsure"]


def test_operator() -> None:
    follower = in_step()
    follower.give_up_primary()
    assert play(follower, CHECKPOINT.rstrip() + "\n100 P gone\n101 S gone") == []


@pytest.mark.parametrize("order", [(0, 1, 2, 3), (1, 0, 3, 2), (0, 2, 1, 3), (1, 3, 0, 2)])
def test_both_paused_and_the_primary_resumed_first_is_no_checkpoint(order: tuple[int, ...]) -> None:
    """Nothing was copied, so nothing is committed."""
    paused = ["10 P STOP", "20 S STOP", "500 P RESUME", "550 S RESUME"]
    lines = [paused[at] for at in order]
    follower = in_step()
    came = play(follower, "\n".join(lines))
    assert "Committed" not in came
    assert came[-1] == "Unsure"
    assert play(follower, CHECKPOINT) == CHECKPOINT_NEWS
