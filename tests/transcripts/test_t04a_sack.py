"""T4a: a released segment SACKs no more than the SVM has received too."""

from transcripts.common import HANDSHAKE, Player


def test_what_both_have_sacked_leaves_as_it_is(play: Player) -> None:
    play(f"""{HANDSHAKE}
        S . 1 ack 1 sacks 101-201,301-401
        P . 1 ack 1 sacks 101-201,301-401
        > . 1 ack 1 sacks 101-201,301-401
    """)


def test_a_block_is_cut_to_what_the_svm_has(play: Player) -> None:
    play(f"""{HANDSHAKE}
        S . 1 ack 1 sacks 151-251
        P . 1 ack 1 sacks 101-401
        > . 1 ack 1 sacks 151-251
        S . 1 ack 1 sacks 301-501,151-251
        > . 1 ack 1 sacks 301-401,151-251      #  T7a
        P . 1 ack 1 sacks 101-401
        > . 1 ack 1 sacks 151-251      #  the longest part, the first of equals
        S . 1 ack 1 sacks 251-301
        > . 1 ack 1 sacks 251-301
        P . 1 ack 1 sacks 101-401
        > . 1 ack 1 sacks 151-401
    """)


def test_a_block_that_the_svm_lacks_goes(play: Player) -> None:
    play(f"""{HANDSHAKE}
        S . 1 ack 1
        P . 1 ack 1 sacks 101-201
        > . 1 ack 1
        S . 1 ack 1 sacks 301-401
        P . 1 ack 1 sacks 101-201,301-401
        > . 1 ack 1 sacks 301-401
    """)


def test_what_the_svm_has_acknowledged_counts(play: Player) -> None:
    play(f"""{HANDSHAKE}
        S . 1 ack 151
        P . 1 ack 1 sacks 101-201
        > . 1 ack 1 sacks 101-151
        S . 1 ack 201
        > . 1 ack 1 sacks 101-201
        P . 1 ack 1 sacks 101-201
        > . 1 ack 1 sacks 101-201
    """)


def test_d_sack(play: Player) -> None:
    """RFC 2883: a duplicate below the acknowledgement. Where the SVM has acknowledged less, it is cut."""
    play(f"""{HANDSHAKE}
        S . 1 ack 301
        P . 1 ack 301 sacks 101-201
        > . 1 ack 301 sacks 101-201
        P . 1 ack 501 sacks 401-451
        P . 1:11 ack 501 sacks 401-451
        S . 1:11 ack 301
        > . 1:11 ack 301
    """)


def test_data_carries_no_more_either_and_so_does_what_is_owed(play: Player) -> None:
    play(f"""{HANDSHAKE}
        S . 1:101 ack 1
        P . 1:101 ack 101 sacks 201-301
        > . 1:101 ack 1
        S . 101 ack 101
        > . 101 ack 101
    """)
    play(f"""{HANDSHAKE}
        S . 1:101 ack 1
        P . 1:101 ack 101 sacks 201-301
        > . 1:101 ack 1
        S . 101 ack 101 sacks 201-301
        > . 101 ack 101 sacks 201-301
    """)


def test_after_a_commit_the_svm_has_sacked_what_the_pvm_had(play: Player) -> None:
    play(f"""{HANDSHAKE}
        S . 1 ack 1
        P . 1 ack 1 sacks 101-201
        > . 1 ack 1
        svm_stop
        pvm_stop
        commit
        P . 1 ack 1 sacks 301-401,101-201
        > . 1 ack 1 sacks 101-201
    """)


def test_across_two_to_the_thirty_second(play: Player) -> None:
    play(
        f"""{HANDSHAKE}
        S . 1 ack 1 sacks 101-301
        P . 1 ack 1 sacks 51-401
        > . 1 ack 1 sacks 101-301
    """,
        c_isn=2**32 - 200,
    )
