"""T7: true duplicates leave as often as they were sent, once their value is committed."""

from transcripts.common import HANDSHAKE, Player


def test_duplicates_leave_as_often_as_sent(play: Player) -> None:
    play(f"""{HANDSHAKE}
        S . 1 ack 2000
        P . 1 ack 2000
        > . 1 ack 2000
        P . 1 ack 2000
        > . 1 ack 2000
        P . 1 ack 2000
        > . 1 ack 2000
    """)


def test_duplicates_wait_for_their_value(play: Player) -> None:
    play(f"""{HANDSHAKE}
        P . 1 ack 2000
        P . 1 ack 2000
        P . 1 ack 2000
        S . 1 ack 2000
        > . 1 ack 2000
        > . 1 ack 2000
        > . 1 ack 2000
    """)


def test_clamping_makes_no_duplicates(play: Player) -> None:
    play(f"""{HANDSHAKE}
        S . 1 ack 1000
        P . 1 ack 2000
        > . 1 ack 1000
        P . 1 ack 3000
        P . 1 ack 4000
        S . 1 ack 4000
        > . 1 ack 2000
        > . 1 ack 3000
        > . 1 ack 4000
    """)


def test_a_window_update_that_says_nothing_new_is_withheld(play: Player) -> None:
    play(f"""{HANDSHAKE}
        S . 1 ack 2000 win 8001
        P . 1 ack 2000 win 8001
        > . 1 ack 2000 win 8001
        P . 1 ack 2000 win 9000
        S . 1 ack 2000 win 9000
        > . 1 ack 2000 win 9000
    """)
