"""T1 to T3 where an SVM segment continues the agreed range: each case looks ordinary and is not.

The compiled core compares such a segment without holding it, so each transcript ends differently if one of
the conditions for this is left out.
"""

from transcripts.common import HANDSHAKE, Player

CHECKED = {"digest_bytes": 1 << 16}  # nothing is agreed beyond a hole


def test_more_of_the_svm_waits_behind_it(play: Player) -> None:
    play(
        f"""{HANDSHAKE}
        P . 1:201 ack 1
        S . 101:201 ack 1
        S . 1:101 ack 1
        > . 1:201 ack 1
        """,
        **CHECKED,
    )


def test_the_same_bytes_in_another_place(play: Player) -> None:
    """The SVM repeats what is agreed, or is ahead: only its place shows which of the two it is."""
    play(f"""{HANDSHAKE}
        P . 1:5 ack 1 "xxxx"
        S . 1:5 ack 1 "xxxx"
        > . 1:5 ack 1 "xxxx"
        P . 5:9 ack 1 "xxxx"
        S . 1:5 ack 1 "xxxx"
        S . 5:9 ack 1 "xxxx"
        > . 5:9 ack 1 "xxxx"
        P . 9:17 ack 1 "xxxxxxxx"
        S . 13:17 ack 1 "xxxx"
        P . 17:21 ack 1 "xxxx"
        S . 9:13 ack 1 "xxxx"
        > . 9:17 ack 1 "xxxxxxxx"
    """)


def test_it_reaches_what_is_agreed_beyond_the_hole(play: Player) -> None:
    play(f"""{HANDSHAKE}
        P . 201:301 ack 1
        S . 201:301 ack 1
        > . 201:301 ack 1
        P . 1:251 ack 1
        S . 1:201 ack 1
        > . 1:251 ack 1
    """)


def test_the_pvm_has_contradicted_itself(play: Player) -> None:
    """Nothing more is agreed: at a failover the SVM's segment leaves, not the PVM's."""
    play(f"""{HANDSHAKE}
        P . 1:101 ack 1 win 500
        P . 51:151 ack 1 flip 60
        ! payload 59
        S . 1:101 ack 1 win 600
        failover
        > . 1:101 ack 1 win 600
    """)


def test_its_fin_is_not_where_the_pvm_has_one(play: Player) -> None:
    play(f"""{HANDSHAKE}
        P . 1:102 ack 1
        S F. 1:101 ack 1
        ! control 100
    """)
    play(f"""{HANDSHAKE}
        P F. 1:201 ack 1
        S F. 1:101 ack 1
        ! control 100
    """)
    play(f"""{HANDSHAKE}
        P F. 1:101 ack 1
        S . 1:101 ack 1
        S F. 101 ack 1
        > F. 1:101 ack 1
        P F. 1:101 ack 1
        > F. 1:101 ack 1
    """)


def test_both_have_a_syn_with_other_options(play: Player) -> None:
    play("""
        P S. 0 ack 1 mss 1460
        S S. 0 ack 1 mss 1400
        ! control 0
    """)
