"""T8: a reset leaves when the SVM has reset the connection too."""

from transcripts.common import HANDSHAKE


def test_both_reset(play):
    play(f"""{HANDSHAKE}
        P R. 1 ack 1
        S R. 1 ack 1
        > R. 1 ack 1
    """)
    play(f"""{HANDSHAKE}
        S R 1
        P R 1
        > R 1
    """)


def test_the_acknowledgement_of_a_reset_is_clamped(play):
    play(f"""{HANDSHAKE}
        P R. 1 ack 900
        S R. 1 ack 500
        > R. 1 ack 500
    """)


def test_against_a_fin(play):
    play(f"""{HANDSHAKE}
        P R. 1 ack 1
        S F. 1 ack 1
        ! control 0
    """)
    play(f"""{HANDSHAKE}
        P . 1:101 ack 1
        S F. 1:101 ack 1
        > . 1:101 ack 1
        P R. 101 ack 1
        ! control 100
    """)


def test_against_a_syn(play):
    play("""
        P R. 0 ack 1
        S S. 0 ack 1
        ! control 0
    """)


def test_alone_it_is_missing(play):
    play(f"""{HANDSHAKE}
        P R. 1 ack 1
        S . 1 ack 1
        +2s tick
        +1s tick
        ! missing-secondary 0
    """)


def test_a_closed_port_on_both(play):
    play(
        """
        P R. 0 ack 1
        S R. 0 ack 1
        > R. 0 ack 1
    """,
        p_isn=0,
        s_isn=0,
    )
