"""T6: a pure acknowledgement is withheld until the SVM has made it; what is new leaves clamped."""

from transcripts.common import HANDSHAKE, Player


def test_it_leaves_when_the_svm_has_acknowledged_as_much(play: Player) -> None:
    play(f"""{HANDSHAKE}
        S . 1 ack 5000
        P . 1 ack 4000
        > . 1 ack 4000
        P . 1 ack 5000
        > . 1 ack 5000
    """)


def test_it_is_withheld_until_then(play: Player) -> None:
    play(f"""{HANDSHAKE}
        P . 1 ack 5000
        S . 1 ack 1 win 9000
        S . 1 ack 5000
        > . 1 ack 5000
    """)


def test_a_clamped_copy_leaves_if_it_says_something_new(play: Player) -> None:
    play(f"""{HANDSHAKE}
        S . 1 ack 4000
        P . 1 ack 5000
        > . 1 ack 4000
        S . 1 ack 5000
        > . 1 ack 5000
    """)


def test_several_withheld_leave_in_order(play: Player) -> None:
    play(f"""{HANDSHAKE}
        P . 1 ack 2000
        P . 1 ack 3000
        P . 1 ack 4000
        S . 1 ack 3500
        > . 1 ack 2000
        > . 1 ack 3000
        > . 1 ack 3500
        S . 1 ack 9000
        > . 1 ack 4000
    """)


def test_data_of_the_svm_acknowledges_too(play: Player) -> None:
    play(f"""{HANDSHAKE}
        P . 1 ack 2000
        S . 1:101 ack 2000
        > . 1 ack 2000
    """)


def test_a_part_of_an_earlier_segment_takes_the_window_back(play: Player) -> None:
    play(f"""{HANDSHAKE}
        P . 1:101 ack 101 win 1
        S . 1:51 ack 1 win 500
        P . 101 ack 2001 win 1
        +200ms tick
        S . 1:51 ack 1 win 500
        > . 1:51 ack 1 win 101
        > . 101 ack 1 win 500
    """)


def test_an_earlier_segment_beyond_a_hole_takes_the_window_back(play: Player) -> None:
    play(f"""{HANDSHAKE}
        S . 1 ack 1 win 500
        P . 101:201 ack 101 win 1
        P . 201 ack 2001 win 1
        S . 101:201 ack 1 win 500
        > . 101:201 ack 1 win 101
        > . 201 ack 1 win 500
    """)
