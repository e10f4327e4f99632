"""C10: what both guests have sent since the policies changed stays what both have sent."""

import pytest
from transcripts.common import Player

COMPARED_AGAIN = """
    policy bypass
    P . 1 ack 1
    > . 1 ack 1
    policy compare
"""


@pytest.mark.parametrize("reset", ["R 1", "R. 1 ack 1", 'R 1:4 "why"'])
def test_a_reset_that_both_have_sent_is_no_copy(play: Player, reset: str) -> None:
    """After the timeout it still counts, whichever guest was first."""
    play(
        f"""{COMPARED_AGAIN}
        S . 1 ack 1
        P {reset}
        S {reset}
        > {reset}
        +4s tick
        +1s P {reset}
        > {reset}
    """,
        s_isn=1_000_000,
    )
    play(
        f"""{COMPARED_AGAIN}
        S . 1 ack 1
        S {reset}
        P {reset}
        > {reset}
        +4s tick
        +1s P {reset}
        > {reset}
    """,
        s_isn=1_000_000,
    )


def test_a_reset_of_the_svm_alone_may_be_a_copy(play: Player) -> None:
    """The PVM may have sent its own while nothing was compared; one that comes later needs a new one."""
    play(
        f"""{COMPARED_AGAIN}
        S R 1
        +3s tick
        P R 1
        +10ms S R 1
        > R 1
    """,
        s_isn=1_000_000,
    )


def test_bytes_that_both_have_sent_are_no_copies(play: Player) -> None:
    play(
        f"""{COMPARED_AGAIN}
        S . 1:201 ack 1
        P . 1:101 ack 1
        > . 1:101 ack 1
        +4s tick
        P . 1:101 ack 1
        > . 1:101 ack 1
        P . 101:201 ack 1
        S F. 101:201 ack 1
        > . 101:201 ack 1
        P F. 201 ack 1
        > F. 201 ack 1
        +4s tick
        P F. 101:201 ack 1
        > F. 101:201 ack 1
    """,
        s_isn=1_000_000,
    )
