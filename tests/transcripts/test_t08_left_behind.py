"""T8 and M1: what a connection that is over leaves behind is no divergence."""

import pytest
from transcripts.common import HANDSHAKE, Player

FINISHED = f"""{HANDSHAKE}
    P . 1:101 ack 1
    S . 1:101 ack 1
    > . 1:101 ack 1
    P F. 101 ack 1
    S F. 101 ack 1
    > F. 101 ack 1
    P . 102 ack 2
    S . 102 ack 2
    > . 102 ack 2
"""
QUIET = """
    +2s tick
    +1s tick
    +9s tick
    finish
"""


def test_a_withheld_acknowledgement_of_a_connection_that_was_reset(play: Player) -> None:
    for resets in ("P R 101\nS R 101\n> R 101", "S R 101\nP R 101\n> R 101"):
        play(f"""{HANDSHAKE}
            P . 1:101 ack 1
            S . 1:101 ack 1
            > . 1:101 ack 1
            P . 101 ack 5001
            {resets}
            {QUIET}
        """)


def test_an_acknowledgement_owed_by_a_connection_that_was_reset(play: Player) -> None:
    play(f"""{HANDSHAKE}
        P . 1:101 ack 5001
        S . 1:101 ack 1
        > . 1:101 ack 1
        P R. 101 ack 5001
        S R. 101 ack 1
        > R. 101 ack 1
        {QUIET}
    """)


def test_an_acknowledgement_after_the_reset(play: Player) -> None:
    play(f"""{HANDSHAKE}
        P R 1
        S R 1
        > R 1
        P . 1 ack 4001
        {QUIET}
    """)


def test_bytes_that_the_svm_did_not_say_before_both_reset_are_missing(play: Player) -> None:
    play(f"""{HANDSHAKE}
        P . 1:101 ack 1
        P R 101
        S R 1
        > R 101
        +3s tick
        ! missing-secondary 0
    """)


@pytest.mark.parametrize("who", ["P", "S"])
def test_a_stray_segment_that_one_guest_answers_with_a_reset(play: Player, who: str) -> None:
    """The other is still in TIME-WAIT, or has lost the stray one."""
    play(f"""{FINISHED}
        +1s {who} R 102
        +1ms {who} R 102
        {QUIET}
    """)
    play(f"""{FINISHED}
        +1s {who} R 102
        finish
    """)
    play(f"""{FINISHED}
        +1s {who} R 101      #  the stray segment is from before the client knew of the FIN
        {QUIET}
    """)


def test_both_answer_it_in_the_end(play: Player) -> None:
    play(f"""{FINISHED}
        P R 102
        +2s S R 102
        > R 102
    """)
    play(f"""{FINISHED}
        S R 102
        +3s tick
        P R 102
        > R 102
    """)


@pytest.mark.parametrize("who", ["P", "S"])
def test_one_that_refuses_a_syn_is_missing(play: Player, who: str) -> None:
    reason = "missing-secondary" if who == "P" else "missing-primary"
    play(f"""{FINISHED}
        {who} R. 0 ack 5
        +3s tick
        ! {reason} 101
    """)


@pytest.mark.parametrize("who", ["P", "S"])
def test_one_that_says_more_is_missing(play: Player, who: str) -> None:
    """With text, or beyond the FIN; or its client says more than the other guest has refused."""
    reason = "missing-secondary" if who == "P" else "missing-primary"
    for reset, offset in (('R 102 "so"', 101), ("R 103", 101)):
        play(f"""{FINISHED}
            {who} {reset}
            +3s tick
            ! {reason} {offset}
        """)
    play(f"""{FINISHED}
        {who} R 102
        {"S" if who == "P" else "P"} . 102 ack 900
        +3s tick
        ! missing-secondary 101
    """)


def test_before_both_have_finished_it_is_missing(play: Player) -> None:
    play(f"""{HANDSHAKE}
        P . 1:101 ack 1
        S . 1:101 ack 1
        > . 1:101 ack 1
        P R 101
        +3s tick
        ! missing-secondary 100
    """)


def test_while_nothing_is_compared_a_stray_reset_is_missing_at_the_end(play: Player) -> None:
    """What the SVM has acknowledged is not known then."""
    play(f"""{FINISHED}
        svm_stop
        pvm_stop
        svm_loaded
        abort
        P R 102
        finish
        ! missing-secondary 101
    """)
