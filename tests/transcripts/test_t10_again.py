"""T10: the same 4-tuple, used again."""

from transcripts.common import HANDSHAKE, Player


def test_the_next_connection_is_judged_afresh(play: Player) -> None:
    play(f"""{HANDSHAKE}
        P F. 1:101 ack 1
        S F. 1:101 ack 1
        > F. 1:101 ack 1
        P isn 400000
        S isn 90000
        P S. 0 ack 1 mss 1460
        S S. 0 ack 1 mss 1460
        > S. 0 ack 1
        P . 1:101 ack 1
        S . 1:51 ack 1
        S . 51:101 ack 1
        > . 1:101 ack 1
    """)


def test_lower_numbers_are_not_already_compared(play: Player) -> None:
    play(f"""{HANDSHAKE}
        P . 1:5001 ack 1
        S . 1:5001 ack 1
        > . 1:5001 ack 1
        P isn 998000
        P S. 0 ack 1 mss 1460
        P . 1:101 ack 1
        S isn 20
        S S. 0 ack 1 mss 1460
        > S. 0 ack 1
        S . 1:101 ack 1 flip 5
        ! payload 4
    """)


def test_a_repeated_syn_is_a_retransmission(play: Player) -> None:
    play(f"""{HANDSHAKE}
        P S. 0 ack 1 mss 1460
        > S. 0 ack 1
        S S. 0 ack 1 mss 1460
        P . 1:101 ack 1
        S . 1:101 ack 1
        > . 1:101 ack 1
    """)


def test_the_svm_may_be_one_connection_ahead(play: Player) -> None:
    play(f"""{HANDSHAKE}
        S F. 1:101 ack 1
        S isn 90000
        S S. 0 ack 1 mss 1460
        P F. 1:101 ack 1
        > F. 1:101 ack 1
        P isn 500
        P S. 0 ack 1 mss 1460
        > S. 0 ack 1
    """)


def test_a_guest_that_takes_the_same_isn_again(play: Player) -> None:
    """The SYN/ACK of the next connection is told by what it acknowledges, or by the end of the one before."""
    again = """
        P . 1:101 ack 1
        S . 1:101 ack 1
        > . 1:101 ack 1
        C isn 3000
        P S. 0 ack 1 mss 1460
        P . 1:101 ack 1
        S S. 0 ack 1 mss 1460
        > S. 0 ack 1
        S . 1:101 ack 1 flip 7
        ! payload 6
    """
    play(HANDSHAKE + again)
    over = """
        P F. 1 ack 1
        S F. 1 ack 1
        > F. 1 ack 1
        P S. 0 ack 1 mss 1460
        +2s tick
        +1s tick
        ! missing-secondary 0
    """
    play(HANDSHAKE + over)
