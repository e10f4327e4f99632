"""T10: a SYN/ACK repeated with another ISN (SYN cookies: RFC 4987, 3.6), and the client takes any of them."""

import pytest
from transcripts.common import CHECKPOINT, Player

FORMER = """
    P S. 0 ack 1 mss 1460
    S S. 0 ack 1 mss 1460
    > S. 0 ack 1
"""
# The PVM's latter ISN; its former is 1,000,000. Further than the largest window, too.
OTHERS = [1_005_000, 300_000_000, 999_000, 4_294_000_000, 1_200_000_000, 3_000_000_000]


def pvm(isn: int) -> str:
    return f"""
        P isn {isn}
        P S. 0 ack 1 mss 1460
        > S. 0 ack 1
    """


def svm(isn: int) -> str:
    return f"""
        S isn {isn}
        S S. 0 ack 1 mss 1460
    """


STREAM = """
    P . 1:101 ack 1
    S . 1:101 ack 1
    > . 1:101 ack 1
    S . 101:301 ack 1
    P . 101:201 ack 1
    > . 101:201 ack 1
    P . 201:401 ack 1
    S . 301:401 ack 1 flip 350
    ! payload 349
"""
ACKNOWLEDGES = "C . 1 ack 1"


@pytest.mark.parametrize("isn", OTHERS)
@pytest.mark.parametrize("first", [ACKNOWLEDGES, "P . 1 ack 1\n> . 1 ack 1", ""])
@pytest.mark.parametrize("digest_bytes", [0, 1 << 20])
def test_by_the_pvm_alone(play: Player, isn: int, first: str, digest_bytes: int) -> None:
    """The client acknowledges it, or the PVM goes on with it: the former, or the latter."""
    play(f"{FORMER}{pvm(isn)}{first}\n{STREAM}", digest_bytes=digest_bytes)
    play(f"{FORMER}{pvm(isn)}P isn 1000000\n{first}\n{STREAM}", digest_bytes=digest_bytes)


@pytest.mark.parametrize("isn", OTHERS)
@pytest.mark.parametrize("first", [ACKNOWLEDGES, ""])
def test_by_the_svm_alone(play: Player, isn: int, first: str) -> None:
    """What clients say reaches it in the numbers of its latter, but it may go on with the former."""
    play(f"{FORMER}{svm(isn)}{first}\n{STREAM}")
    play(f"{FORMER}{svm(isn)}{first}\nS isn 7000000\n{STREAM}")


@pytest.mark.parametrize("isn", OTHERS)
@pytest.mark.parametrize("first", [ACKNOWLEDGES, ""])
@pytest.mark.parametrize("p_isn", ["", "P isn 1000000"])
@pytest.mark.parametrize("s_isn", ["", "S isn 7000000"])
def test_by_both(play: Player, isn: int, first: str, p_isn: str, s_isn: str) -> None:
    play(f"{FORMER}{pvm(isn)}{svm(9_000_000)}{p_isn}\n{first}\n{s_isn}\n{STREAM}")
    play(f"{FORMER}{svm(isn)}{pvm(4_000_000_000)}{p_isn}\n{first}\n{s_isn}\n{STREAM}")


@pytest.mark.parametrize("isn", OTHERS)
def test_those_that_wait_leave_as_they_came(play: Player, isn: int) -> None:
    for taken in (1_000_000, isn):
        play(f"""
            P S. 0 ack 1 mss 1460
            P isn {isn}
            P S. 0 ack 1 mss 1460
            S S. 0 ack 1 mss 1460
            > S. {(1_000_000 - isn + 2**31) % 2**32 - 2**31} ack 1
            > S. 0 ack 1
            P isn {taken}
            {STREAM}
        """)


def test_before_it_is_known_no_byte_is_agreed(play: Player) -> None:
    """The first segment is lost in front of the proxy, and no client has acknowledged."""
    play(f"""{FORMER}{pvm(1_001_000)}
        P . 101:201 ack 1
        S . 1:201 ack 1
        S . 1:1201 ack 1
        +3s tick
        ! missing-secondary 0
    """)
    play(f"""{FORMER}{svm(7_001_000)}
        S . 101:201 ack 1
        P . 1:101 ack 1
        P . 1101:1201 ack 1
        +3s tick
        ! missing-secondary 0
    """)


def test_acknowledged_the_first_segment_may_be_lost(play: Player) -> None:
    play(f"""{FORMER}{pvm(1_001_000)}
        P isn 1000000
        {ACKNOWLEDGES}
        P . 101:201 ack 1
        S . 1:201 ack 1
        > . 101:201 ack 1
        P . 1:101 ack 1
        > . 1:101 ack 1
    """)


@pytest.mark.parametrize("isn", OTHERS)
@pytest.mark.parametrize("taken", ["former", "latter"])
def test_a_commit_between_the_two(play: Player, isn: int, taken: str) -> None:
    """The SVM has the PVM's ISNs then, with its state: the one that is taken means the same to both."""
    both = "" if taken == "latter" else "P isn 1000000\nS isn 1000000"
    play(f"""{FORMER}{pvm(isn)}
        {CHECKPOINT}
        commit
        {both}
        {ACKNOWLEDGES}
        {STREAM}
    """)


@pytest.mark.parametrize("isn", OTHERS)
def test_after_a_commit_the_guests_may_go_apart(play: Player, isn: int) -> None:
    play(f"""{FORMER}{CHECKPOINT}
        commit
        {pvm(isn)}{svm(9_000_000)}
        P isn 1000000
        S isn 1000000
        {ACKNOWLEDGES}
        {STREAM}
    """)


def test_what_is_acknowledged_first_stays(play: Player) -> None:
    """The client's SYN was on its way twice; clients take no other ISN any more."""
    play(f"""{FORMER}{ACKNOWLEDGES}
        {pvm(1_000_050)}
        P isn 1000000
        C . 1 ack 51
        P . 2:101 ack 1
        S . 1:101 ack 1
        > . 2:101 ack 1
    """)


@pytest.mark.parametrize("isn", OTHERS)
def test_a_late_syn_ack_of_the_svm_crosses_the_acknowledgement(play: Player, isn: int) -> None:
    """The SVM goes on with the one that was acknowledged to it; its first segments may be swapped."""
    for data in ("S . 101:201 ack 1\nS . 1:101 ack 1", "S . 1:101 ack 1\nS . 101:201 ack 1"):
        play(f"""{FORMER}{ACKNOWLEDGES}
            {svm(isn)}
            S isn 7000000
            {data}
            P . 1:201 ack 1
            > . 1:201 ack 1
        """)


@pytest.mark.parametrize(("later", "moves"), [("99999us", False), ("100ms", True)])
def test_when_a_syn_ack_of_the_svm_counts_again(play: Player, later: str, moves: bool) -> None:
    """The acknowledgement was lost on its way to the SVM, which repeats its SYN/ACK."""
    play(f"""{FORMER}
        S isn 3000000000
        {ACKNOWLEDGES}
        +{later} S S. 0 ack 1 mss 1460
        S isn 7000000
        S . 101:201 ack 1
        P . 1:101 ack 1
        S . 1:101 ack 1
        > . 1:101 ack 1
        P . 101:201 ack 1
        {"+3s tick" if moves else "> . 101:201 ack 1"}
        {"! missing-secondary 100" if moves else ""}
    """)
    play(f"""{FORMER}
        S isn 3000000000
        {ACKNOWLEDGES}
        +{later} S S. 0 ack 1 mss 1460
        P . 1:101 ack 1
        S . 1:101 ack 1
        > . 1:101 ack 1
        S . 101:201 ack 1
        P . 101:201 ack 1
        > . 101:201 ack 1
    """)


@pytest.mark.parametrize("isn", OTHERS)
def test_what_the_svm_received_shows_its_isn(play: Player, isn: int) -> None:
    """In captures. Its first segments are swapped, and the client of the PVM's capture says nothing of it."""
    for crossing in ("", svm(4_294_967_295)):
        for first in ("", ACKNOWLEDGES):
            play(f"""{FORMER}{svm(isn)}
                {first}
                S isn 7000000
                R . 1 ack 1
                {crossing}
                {ACKNOWLEDGES}
                S isn 7000000
                S . 101:201 ack 1
                S . 1:101 ack 1
                P . 1:201 ack 1
                > . 1:201 ack 1
            """)


def test_what_is_none_of_its_isns_shows_nothing(play: Player) -> None:
    """What the SVM received acknowledges more than its SYN, or another number."""
    play(f"""{FORMER}{svm(3_000_000_000)}
        {ACKNOWLEDGES}
        R . 1 ack 2
        S isn 7000000
        R . 1 ack 0
        R S 1 ack 1
        R R. 1 ack 1
        S isn 3000000000
        S . 101:201 ack 1
        S . 1:101 ack 1
        P . 1:201 ack 1
        > . 1:201 ack 1
    """)


def test_bytes_at_a_late_isn_are_not_taken_for_the_first(play: Player) -> None:
    """The number that follows the late ISN is that of a later segment, of the ISN acknowledged."""
    play(f"""{FORMER}{ACKNOWLEDGES}
        {svm(7_000_100)}
        S isn 7000000
        S . 101:201 ack 1
        P . 1:101 ack 1
        S . 1:101 ack 1
        > . 1:101 ack 1
        P . 101:201 ack 1
        > . 101:201 ack 1
    """)


def test_the_latest_four_are_known(play: Player) -> None:
    more = [1_000_000 + 100_000 * n for n in range(1, 5)]
    later = "".join(map(pvm, more))
    for isn in more:
        play(f"{FORMER}{later}P isn {isn}\n{STREAM}")
    play(f"""{FORMER}{later}
        P isn 1000000
        {ACKNOWLEDGES}
        P . 1:101 ack 1
        S . 1:101 ack 1
        +3s tick
        ! missing-secondary 0
        {CHECKPOINT}
        commit
        > . 1:101 ack 1
        P . 101:201 ack 1
        S . 101:201 ack 1
        > . 101:201 ack 1
        P . 201:301 ack 1
        S . 201:301 ack 1 flip 250
        ! payload 149
    """)


def test_what_grows_up_to_another_syn_is_not_agreed(play: Player) -> None:
    """The fifth ISN is forgotten, and the stream behind it grows up to that of the latest."""
    later = "".join(pvm(isn) for isn in (3_000_000, 4_000_000, 5_000_000, 1_000_201))
    play(f"""{FORMER}{later}
        P isn 1000000
        P . 1:101 ack 1
        P . 201:202 ack 1
        S . 1:202 ack 1
        +3s tick
        ! missing-secondary 0
        P . 201:301 ack 1
    """)


def test_other_options_begin_a_connection_anew(play: Player) -> None:
    """The k-th of one guest is compared with the k-th of the other."""
    play(f"""{FORMER}
        P isn 3000000
        P S. 0 ack 1 mss 536
        S isn 9000000
        S S. 0 ack 1 mss 536
        > S. 0 ack 1
        {STREAM}
    """)


def test_before_the_syn_there_is_nothing(play: Player) -> None:
    """What the PVM sends there waits, and after the commit the connection is one first seen in mid-stream."""
    play(f"""{FORMER}
        P . 1:101 ack 1
        S . 1:101 ack 1
        > . 1:101 ack 1
        P . -99:1 ack 1
        S . -99:1 ack 1
        P . 101:201 ack 1
        S . 101:201 ack 1
        +3s tick
        ! missing-secondary 100
        {CHECKPOINT}
        commit
        > . -99:1 ack 1
        > . 101:201 ack 1
        P . 1:101 ack 1
        S . 1:101 ack 1
        > . 1:101 ack 1
        P . -99:1 ack 1
        S . -99:1 ack 1
        > . -99:1 ack 1
    """)


@pytest.mark.parametrize("isn", OTHERS)
def test_a_failover(play: Player, isn: int) -> None:
    """What leaves of the SVM is in the numbers that clients have taken, whichever it goes on with."""
    play(f"""{FORMER}{pvm(isn)}P isn 1000000
        {ACKNOWLEDGES}
        failover
        S . 1:101 ack 1
        > . 1:101 ack 1
    """)
    play(f"""{FORMER}{svm(isn)}
        failover
        S S. 0 ack 1 mss 1460
        > S. 0 ack 1
        S isn 7000000
        S . 1:101 ack 1
        > . 1:101 ack 1
    """)
    play(f"""
        S S. 0 ack 1 mss 1460
        {svm(isn)}
        P S. 0 ack 1 mss 536
        ! control 0
        failover
        > S. 0 ack 1
        > S. 0 ack 1
        S . 1:101 ack 1
        > . 1:101 ack 1
    """)


@pytest.mark.parametrize("isn", OTHERS)
def test_a_failover_to_the_state_of_the_pvm(play: Player, isn: int) -> None:
    """The SVM is the PVM, whichever of the PVM's ISNs it goes on with: its numbers are what clients know."""
    play(f"""{FORMER}
        hold
        P isn {isn}
        P S. 0 ack 1 mss 1460
        svm_stop
        pvm_stop
        svm_loaded
        S isn 1000000
        P isn 1000000
        S . 1:101 ack 1
        failover
        > . 1:101 ack 1
        S . 101:201 ack 1
        > . 101:201 ack 1
    """)


def test_retransmissions_behind_a_commit_still_leave(play: Player) -> None:
    """Down to the SYN."""
    play(f"""{FORMER}
        P . 1:101 ack 1
        +3s tick
        ! missing-secondary 0
        {CHECKPOINT}
        commit
        > . 1:101 ack 1
        P . 1:51 ack 1
        > . 1:51 ack 1
        P S. 0 ack 1 mss 1460
        > S. 0 ack 1
        P . -1:1 ack 1
    """)
