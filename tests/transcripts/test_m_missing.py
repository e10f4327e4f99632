"""M1 to M3: what one side never says."""

from transcripts.common import HANDSHAKE, Player


def test_m1_the_svm_says_nothing(play: Player) -> None:
    play(f"""{HANDSHAKE}
        P . 1:101 ack 1
        +2s tick
        S . 1:51 ack 1
        +1s tick
        ! missing-secondary 50
        +9s tick
    """)


def test_m1_a_withheld_acknowledgement(play: Player) -> None:
    play(f"""{HANDSHAKE}
        P . 1 ack 500
        +3s tick
        ! missing-secondary 0
    """)


def test_m1_what_is_owed_of_a_window_counts_only_while_clients_have_none(play: Player) -> None:
    play(f"""{HANDSHAKE}
        P . 1 ack 100 win 353
        S . 1 ack 100 win 200
        > . 1 ack 100 win 200
        P . 1:11 ack 100 win 353
        S . 1:11 ack 100 win 200
        > . 1:11 ack 100 win 200
        +9s tick
        S . 11 ack 100 win 300
        > . 11 ack 100 win 300
    """)
    play(f"""{HANDSHAKE}
        P . 1:11 ack 100 win 353
        S . 1:11 ack 100 win 0
        > . 1:11 ack 100 win 0
        +3s tick
        ! missing-secondary 10
    """)


def test_m1_counts_from_each_segment(play: Player) -> None:
    play(f"""{HANDSHAKE}
        P . 1:101 ack 1
        +2s tick
        P . 101:201 ack 1
        S . 1:101 ack 1
        > . 1:101 ack 1
        +2s tick
        +1s tick
        ! missing-secondary 100
    """)


def test_m1_a_gap_in_what_the_pvm_said(play: Player) -> None:
    """Nothing of the SVM's is missing, and nothing waits: the PVM sends it again, or at the end has not."""
    play(f"""{HANDSHAKE}
        S . 1:301 ack 1
        P . 1:101 ack 1
        > . 1:101 ack 1
        +1s P . 201:301 ack 1
        > . 201:301 ack 1
        +2s tick
        +1s tick
        finish
        ! missing-primary 100
    """)


def test_m1_gaps_in_both(play: Player) -> None:
    play(f"""{HANDSHAKE}
        P . 101:201 ack 1
        S . 1:151 ack 1
        +3s tick
        ! missing-secondary 150
    """)


def test_m1_the_same_gap_in_both(play: Player) -> None:
    play(f"""{HANDSHAKE}
        P . 101:201 ack 1
        S . 101:201 ack 1
        > . 101:201 ack 1
        +3s tick
        finish
        ! missing-secondary 100
    """)


def test_m1_is_of_the_flow(play: Player) -> None:
    """The segment that has waited longest is not the one that comes first in the stream."""
    play(f"""{HANDSHAKE}
        P . 101:201 ack 1
        +1s P . 1:101 ack 1
        +2s tick
        ! missing-secondary 0
    """)


def test_m2_the_pvm_says_nothing(play: Player) -> None:
    play(f"""{HANDSHAKE}
        S . 1:101 ack 1
        +3s tick
        ! missing-primary 0
    """)


def test_m2_does_not_count_while_the_pvm_lacks_what_the_svm_answers(play: Player) -> None:
    """The client's bytes were lost to the PVM alone; nobody but the client can mend that."""
    play(f"""{HANDSHAKE}
        S . 1:101 ack 201
        +3s tick
        S . 1:101 ack 201
        +1s P . 1 ack 201
        > . 1 ack 201
        +2s tick
        ! missing-primary 0
    """)


def test_m2_is_told_where_the_pvm_ends_though_what_is_beyond_overtook_the_rest(play: Player) -> None:
    play(f"""{HANDSHAKE}
        P . 1:436 ack 1
        S . 1:301 ack 1
        +200ms S . 533:833 ack 1
        S . 301:533 ack 1
        > . 1:436 ack 1
        +2s tick
        S . 833:933 ack 1
        +1s tick
        ! missing-primary 435
    """)
    play(f"""{HANDSHAKE}
        S F. 101 ack 1
        +2s S . 1:51 ack 1
        S . 51:101 ack 1
        P . 1:21 ack 1
        > . 1:21 ack 1
        +1s tick
        ! missing-primary 20
    """)


def test_m2_is_told_at_the_first_byte_that_the_svm_has(play: Player) -> None:
    """Where it lacks some itself, that is what comes first; across 2**32, too."""
    play(
        f"""{HANDSHAKE}
        P . 1:101 ack 1
        S . 1:101 ack 1
        > . 1:101 ack 1
        S . 301:401 ack 1
        +1s S . 151:201 ack 1
        +2s tick
        ! missing-primary 150
    """,
        p_isn=2**32 - 120,
    )


def test_m2_a_reset_that_waits_longest_is_told_at_the_end_of_what_is_agreed(play: Player) -> None:
    play(f"""{HANDSHAKE}
        P . 1:101 ack 1
        S . 1:51 ack 1
        S R. 151 ack 1
        S . 51:151 ack 1
        > . 1:101 ack 1
        +3s tick
        ! missing-primary 100
    """)


def test_m2_holds_nobody_up(play: Player) -> None:
    play(f"""{HANDSHAKE}
        S . 101:201 ack 1
        S . 1:51 ack 1
        P . 1:51 ack 1
        > . 1:51 ack 1
    """)


def test_m3_at_the_end_of_the_captures(play: Player) -> None:
    play(
        f"""{HANDSHAKE}
        P . 1:101 ack 1
        finish
        ! missing-secondary 0
    """,
        observe=True,
    )
    play(
        f"""{HANDSHAKE}
        S . 1:101 ack 1
        P . 1:51 ack 1
        > . 1:51 ack 1
        finish
        ! missing-primary 50
    """,
        observe=True,
    )
    play(
        f"""{HANDSHAKE}
        P . 1 ack 900
        finish
    """,
        observe=True,
    )
    play(
        """
        P S. 0 ack 1 mss 1460
        finish
        ! missing-secondary 0
    """,
        observe=True,
    )


def test_m3_what_was_held_unjudged_counts(play: Player) -> None:
    play(f"""{HANDSHAKE}
        P . 11:21 ack 1
        svm_stop
        abort
        P . 1:7 ack 1
        finish
        ! missing-secondary 0
    """)


def test_m3_every_flow_is_told_of(play: Player) -> None:
    many = range(100)
    play("\n".join(f'P#{flow} udp "x"' for flow in many) + "\nfinish" + "\n! missing-secondary 0" * len(many))
