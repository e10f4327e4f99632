"""T5: the released right edge is no further than the SVM's."""

from transcripts.common import HANDSHAKE, SCALED, Player


def test_the_smaller_window(play: Player) -> None:
    play(f"""{HANDSHAKE}
        P . 1:101 ack 1 win 500
        S . 1:101 ack 1 win 10000
        > . 1:101 ack 1 win 500
    """)


def test_the_svms_edge_bounds_it(play: Player) -> None:
    play("""
        P S. 0 ack 1 mss 1460 win 100
        S S. 0 ack 1 mss 1460 win 80
        > S. 0 ack 1 win 80
        P . 1:101 ack 1 win 500
        S . 1:101 ack 1 win 200
        > . 1:101 ack 1 win 200
    """)


def test_the_edge_counts_from_the_smaller_acknowledgement(play: Player) -> None:
    play(f"""{SCALED}
        S . 1 ack 1001 win 100
        P . 1 ack 1 win 100
        > . 1 ack 1 win 100
        P . 1 ack 1001 win 200
        > . 1 ack 1001 win 100
    """)


def test_the_window_of_a_syn_is_not_scaled(play: Player) -> None:
    play("""
        P S. 0 ack 1 mss 1460 ws 7 win 60000
        S S. 0 ack 1 mss 1460 ws 7 win 50000
        > S. 0 ack 1 win 50000
        P . 1:101 ack 1 win 1000
        S . 1:101 ack 1 win 100
        > . 1:101 ack 1 win 100
    """)


def test_mid_stream_the_scale_is_unknown(play: Player) -> None:
    play(
        """
        P . 1:101 ack 1 win 1000
        S . 1:101 ack 1 win 700
        > . 1:101 ack 1 win 700
    """,
        s_isn=1_000_000,
    )


def test_a_large_window_of_the_syn_is_no_licence(play: Player) -> None:
    play("""
        P S. 0 ack 1 mss 1460 win 65000
        S S. 0 ack 1 mss 1460 win 65000
        > S. 0 ack 1 win 65000
        P . 1:101 ack 1 win 5000
        S . 1:101 ack 1 win 1000
        > . 1:101 ack 1 win 1000
    """)


def test_a_window_that_shrank_opens_again(play: Player) -> None:
    """Nobody should take a window back (RFC 9293, 3.8.6), but a client must hear of it, and of its end."""
    play(f"""{HANDSHAKE}
        P . 1:101 ack 1 win 5000
        S . 1:101 ack 1 win 5000
        > . 1:101 ack 1 win 5000
        S . 101 ack 1 win 300
        P . 101:201 ack 1 win 5000
        S . 101:201 ack 1 win 300
        > . 101:201 ack 1 win 300
        P . 201 ack 1 win 6000
        S . 201 ack 1 win 6000
        > . 201 ack 1 win 6000
    """)


def test_a_window_that_shrank_opens_again_by_less(play: Player) -> None:
    """The latest segment tells clients their window, and not the furthest edge that they ever had."""
    play(f"""{HANDSHAKE}
        P . 1:101 ack 1 win 5000
        S . 1:101 ack 1 win 5000
        > . 1:101 ack 1 win 5000
        S . 101 ack 1 win 0
        P . 101:201 ack 1 win 5000
        S . 101:201 ack 1 win 0
        > . 101:201 ack 1 win 0
        S . 201 ack 1 win 4000
        > . 201 ack 1 win 4000
        P . 201 ack 1 win 6000
        S . 201 ack 1 win 4500
        > . 201 ack 1 win 4500
    """)


def test_a_client_without_room_is_told_when_the_svm_has_some(play: Player) -> None:
    """The PVM has said all it will: what was clamped off is owed (T6)."""
    play(f"""{HANDSHAKE}
        P . 1 ack 5001 win 5000
        S . 1 ack 5001 win 0
        > . 1 ack 5001 win 0
        S . 1 ack 5001 win 1000
        > . 1 ack 5001 win 1000
        S . 1 ack 5001 win 3000
        > . 1 ack 5001 win 3000
        S . 1 ack 5001 win 5000
        +4s tick
    """)
    play(f"""{HANDSHAKE}
        P . 1:101 ack 5001 win 5000
        S . 1:101 ack 5001 win 0
        > . 1:101 ack 5001 win 0
        P udp "more"
        S udp "more"
        > udp "more"
        S . 101 ack 5001 win 6000
        > . 101 ack 5001 win 5000
        +4s tick
    """)


def test_a_client_that_never_gets_room_because_of_the_svm(play: Player) -> None:
    play(f"""{HANDSHAKE}
        P . 1 ack 5001 win 5000
        S . 1 ack 5001 win 0
        > . 1 ack 5001 win 0
        +3s tick
        ! missing-secondary 0
        svm_stop
        pvm_stop
        commit
        > . 1 ack 5001 win 5000
    """)


def test_a_pvm_without_room_owes_nothing(play: Player) -> None:
    play(f"""{HANDSHAKE}
        P . 1 ack 5001 win 0
        S . 1 ack 5001 win 0
        > . 1 ack 5001 win 0
        S . 1 ack 5001 win 9000
        +4s tick
    """)


def test_an_older_segment_does_not_shrink_it(play: Player) -> None:
    play(f"""{HANDSHAKE}
        P . 1:101 ack 501 win 100
        P . 101 ack 501 win 5000
        S . 1 ack 501 win 5000
        > . 101 ack 501 win 5000
        S . 1:101 ack 501 win 5000
        > . 1:101 ack 501 win 100
        P . 101 ack 501 win 6000
        +3s tick
    """)


def test_an_older_acknowledgement_does_not_shrink_it(play: Player) -> None:
    play(f"""{HANDSHAKE}
        P . 1:101 ack 501 win 5000
        S . 1:101 ack 501 win 5000
        > . 1:101 ack 501 win 5000
        P . 101:201 ack 501 win 5000
        S . 101:201 ack 301 win 100
        > . 101:201 ack 501 win 5000
    """)
