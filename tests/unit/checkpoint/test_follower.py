"""Transcripts of QEMU pairs: QMP events in, news out.

Each line is `milliseconds side event`, as the sockets delivered them, then the news that must follow.
The times are those of runs of QEMU 11.1.2 where a run is named.
"""

import itertools

import pytest

from colo_proxy.checkpoint.follower import Follower, Kind, News, Phase, Side, Snapshot

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
        elif name == "blind":
            news = follower.blind(side, "the connection ended")
        elif name == "connected":
            news = follower.connected(side, IN_COLO[side])
        else:
            data = {"reason": rest[0]} if rest else {}
            news = follower.event(side, name, int(float(ms) * 1e6), data)
        out += [words(item) for item in news]
    return out


def words(news: News) -> str:
    return news.kind.name + (f" {news.stamp_ns / 1e6:g}" if news.stamp_ns else "")


def in_step() -> Follower:
    follower = Follower()
    assert follower.connected(P, IN_COLO[P]) == []
    assert follower.connected(S, IN_COLO[S]) == [News(Kind.IN_STEP)]
    return follower


CHECKPOINT = """
    10.0 S STOP
    10.2 P STOP
    56.0 S RESUME
    98.0 P RESUME
"""
CHECKPOINT_NEWS = ["SVM_STOPPED 10", "PVM_STOPPED 10.2", "COMMITTED 98"]


def test_checkpoint() -> None:
    assert play(in_step(), CHECKPOINT) == CHECKPOINT_NEWS


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
    follower = in_step()
    assert play(follower, "10 S STOP\n10.2 P STOP\n56 S RESUME") == CHECKPOINT_NEWS[:2]
    follower = in_step()
    assert play(follower, "10 S STOP\n10.2 P STOP\n98 P RESUME") == CHECKPOINT_NEWS[:2]


def test_next_checkpoint_read_before_the_end_of_this_one() -> None:
    follower = in_step()
    news = play(
        follower,
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
    assert news == [
        *("SVM_STOPPED 10", "PVM_STOPPED 10.2", "COMMITTED 18.2"),
        *("SVM_STOPPED 30", "PVM_STOPPED 30.1", "COMMITTED 38.2"),
    ]


def test_a_paused_vm_is_no_checkpoint() -> None:
    follower = in_step()
    assert play(follower, "10 P STOP\n500 P RESUME\n900 S STOP\n950 S RESUME") == []
    assert play(follower, "1000 S STOP\n1000.2 P STOP") == ["SVM_STOPPED 1000", "PVM_STOPPED 1000.2"]


# Kills, each a run of QEMU 11.1.2: what was read, and that nothing is ever committed by them.


def test_pvm_killed_while_idle() -> None:
    assert play(in_step(), "784 P gone\n790 S COLO_EXIT error") == ["PRIMARY_LOST"]


def test_pvm_killed_colo_exit_read_first() -> None:
    assert play(in_step(), "790 S COLO_EXIT error\n790 P gone") == ["BLIND", "PRIMARY_LOST"]


def test_pvm_killed_before_its_state_was_sent() -> None:
    follower = in_step()
    assert play(follower, "10 S STOP\n10.2 P STOP") == CHECKPOINT_NEWS[:2]
    (news,) = follower.gone(P, "nobody listens")
    assert (news.kind, news.replaced) == (Kind.PRIMARY_LOST, False)
    assert play(follower, "16 S COLO_EXIT error\n504 S RESUME") == []


def test_pvm_killed_after_the_svm_loaded_its_state() -> None:
    follower = in_step()
    play(follower, "10 S STOP\n10.1 P STOP\n28.5 S RESUME")
    news = follower.event(S, "COLO_EXIT", 28_800_000, {"reason": "error"})
    news += follower.gone(P, "nobody listens")
    assert [item.kind for item in news] == [Kind.ABORTED, Kind.BLIND, Kind.PRIMARY_LOST]
    assert news[-1].replaced


def test_svm_killed_in_a_checkpoint() -> None:
    transcript = "10 S STOP\n10.2 P STOP\n12 S gone\n35 P COLO_EXIT error\n507 P RESUME"
    assert play(in_step(), transcript) == [*CHECKPOINT_NEWS[:2], "ABORTED", "REPLICA_LOST"]


def test_resume_made_by_lost_heartbeat_does_not_commit() -> None:
    transcript = "10 S STOP\n10.2 P STOP\n20 S RESUME\n35 P COLO_EXIT error\n507 P RESUME"
    news = play(in_step(), transcript)
    assert news == [*CHECKPOINT_NEWS[:2], "ABORTED", "REPLICA_LOST"]


def test_colo_exit_of_the_svm_alone_proves_nothing() -> None:
    follower = in_step()
    assert play(follower, "10 S COLO_EXIT error") == ["BLIND"]
    assert follower.polled(P, IN_COLO[P]) == []
    assert follower.polled(S, IN_COLO[S]) == []  # QEMU still calls it `secondary`
    assert play(follower, "1200 P COLO_EXIT error") == ["REPLICA_LOST"]


def test_told_from_outside() -> None:
    assert play(in_step(), "10 S COLO_EXIT request") == ["PRIMARY_LOST"]
    assert play(in_step(), "10 P COLO_EXIT request") == ["REPLICA_LOST"]


# Sight lost.


@pytest.mark.parametrize("side", ["P", "S"])
def test_blind_holds_until_the_connection_is_back(side: str) -> None:
    follower = in_step()
    assert play(follower, f"1 {side} blind") == ["BLIND"]
    assert play(follower, CHECKPOINT) == []
    assert play(follower, f"200 {side} connected") == ["IN_STEP"]


def test_blind_in_a_checkpoint_aborts_it() -> None:
    follower = in_step()
    assert play(follower, "10 S STOP\n10.2 P STOP\n11 S blind") == [*CHECKPOINT_NEWS[:2], "ABORTED", "BLIND"]
    assert play(follower, "56 S RESUME\n98 P RESUME") == []


def test_blind_then_gone() -> None:
    assert play(in_step(), "10 P blind\n20 P gone") == ["BLIND", "PRIMARY_LOST"]
    assert play(in_step(), "10 S blind\n20 S gone") == ["BLIND", "REPLICA_LOST"]


def test_both_out_of_sight_decides_nothing() -> None:
    follower = in_step()
    assert play(follower, "10 S blind\n11 P gone") == ["BLIND"]
    assert follower.phase is Phase.WAITING
    assert play(follower, "500 S connected") == ["PRIMARY_LOST"]


def test_another_qemu_on_the_primarys_socket() -> None:
    follower = in_step()
    follower.blind(P, "the connection ended")
    assert [item.kind for item in follower.connected(P, ALONE)] == [Kind.PRIMARY_LOST]


def test_guest_that_shuts_down_is_no_failover() -> None:
    follower = in_step()
    follower.event(P, "SHUTDOWN", 1, {"guest": True, "reason": "guest-shutdown"})
    assert [item.kind for item in follower.gone(P, "nobody listens")] == [Kind.BLIND]


# The start: nothing is lost that was never seen.


def test_start_without_a_replica() -> None:
    follower = Follower()
    assert follower.gone(S, "nobody listens") == []
    assert [item.kind for item in follower.connected(P, ALONE)] == [Kind.UNPROTECTED]
    assert follower.polled(P, ALONE) == []


def test_start_with_a_mistyped_path() -> None:
    for side in Side:
        follower = Follower()
        assert follower.gone(side, "nobody listens") == []
        assert follower.connected(side.other, IN_COLO[side.other]) == []
        assert follower.phase is Phase.WAITING


def test_start_after_a_takeover() -> None:
    follower = Follower()
    assert [item.kind for item in follower.connected(S, TAKEN_OVER)] == [Kind.PRIMARY_LOST]


def test_protection_comes_later_and_again() -> None:
    follower = Follower()
    follower.connected(P, ALONE)
    assert follower.connected(S, Snapshot("none", "none", False)) == []
    assert follower.polled(S, IN_COLO[S]) == []
    assert follower.polled(P, IN_COLO[P]) == [News(Kind.IN_STEP)]
    assert play(follower, "10 S gone") == ["REPLICA_LOST"]
    follower.polled(P, Snapshot("none", "primary", True))
    follower.connected(S, IN_COLO[S])
    assert follower.polled(P, IN_COLO[P]) == [News(Kind.IN_STEP)]


def test_operator() -> None:
    follower = in_step()
    assert [item.kind for item in follower.give_up_primary("operator")] == [Kind.PRIMARY_LOST]
    assert follower.give_up_primary("operator") == []
    assert play(follower, CHECKPOINT.rstrip() + "\n100 P gone\n101 S gone") == []
