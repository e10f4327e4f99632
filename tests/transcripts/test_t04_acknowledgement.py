"""T4: the released copy acknowledges only what the SVM has acknowledged too."""

from transcripts.common import HANDSHAKE, SCALED, Player


def test_data_leaves_with_the_smaller_acknowledgement(play: Player) -> None:
    play(f"""{HANDSHAKE}
        P . 1:101 ack 5000 win 9000
        S . 1:101 ack 4000 win 10000
        > . 1:101 ack 4000 win 10000
    """)


def test_the_svm_may_be_ahead(play: Player) -> None:
    play(f"""{HANDSHAKE}
        P . 1:101 ack 4000
        S . 1:101 ack 5000
        > . 1:101 ack 4000
    """)


def test_data_waits_for_the_svms_first_acknowledgement(play: Player) -> None:
    play("""
        P S 0 mss 1460
        S S 0 mss 1460
        > S 0
        P . 1:101 ack 1
        S P 1:101
        S . 101 ack 1
        > . 1:101 ack 1
    """)


def test_the_minimum_is_taken_modulo_two_to_the_thirty_second(play: Player) -> None:
    play(
        f"""{SCALED}
        P . 1:101 ack 1001 win 100
        S . 1:101 ack 101 win 100
        > . 1:101 ack 101 win 100
        P . 101:201 ack 1001 win 100
        S . 101:201 ack 2001 win 100
        > . 101:201 ack 1001 win 100
    """,
        c_isn=2**32 - 500,
    )


def test_an_acknowledgement_only_grows(play: Player) -> None:
    play(f"""{HANDSHAKE}
        S . 1 ack 3000
        S . 1 ack 2000
        P . 1 ack 3000
        > . 1 ack 3000
    """)


def test_the_rest_of_a_clamped_acknowledgement_is_owed(play: Player) -> None:
    play(f"""{HANDSHAKE}
        P P. 1:101 ack 5000
        S . 1:101 ack 4000
        > P. 1:101 ack 4000
        S . 101 ack 4500
        > . 101 ack 4500
        S . 101 ack 5000
        > . 101 ack 5000
    """)


def test_unless_a_later_segment_carries_it(play: Player) -> None:
    play(f"""{HANDSHAKE}
        P . 1:101 ack 5000
        S . 1:101 ack 4000
        > . 1:101 ack 4000
        P . 101:201 ack 5000
        S . 101:201 ack 5000
        > . 101:201 ack 5000
    """)
