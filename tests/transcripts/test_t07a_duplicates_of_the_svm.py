"""T7a: what only the SVM has lost, clients learn from the SVM's duplicate acknowledgements."""

from transcripts.common import HANDSHAKE, Player


def test_the_svm_lacks_what_the_pvm_has(play: Player) -> None:
    """The client's 101:201 is lost to the SVM alone."""
    play(f"""{HANDSHAKE}
        P . 1 ack 101
        S . 1 ack 101
        > . 1 ack 101
        P . 1 ack 201
        P . 1 ack 301
        S . 1 ack 101
        > . 1 ack 101
        S . 1 ack 101
        > . 1 ack 101
        S . 1 ack 101
        > . 1 ack 101
        S . 1 ack 301
        > . 1 ack 201
        > . 1 ack 301
    """)


def test_of_one_loss_clients_receive_the_duplicates_of_one_guest(play: Player) -> None:
    """Both have lost 101:201 first; then the SVM alone loses what repeats it."""
    play(f"""{HANDSHAKE}
        P . 1 ack 101
        S . 1 ack 101
        > . 1 ack 101
        P . 1 ack 101
        > . 1 ack 101
        P . 1 ack 101
        > . 1 ack 101
        S . 1 ack 101
        P . 1 ack 401
        S . 1 ack 101
        S . 1 ack 101
        > . 1 ack 101
    """)


def test_the_pvm_s_numbers(play: Player) -> None:
    """The PVM's sequence number and TSval; a window that says nothing new."""
    play(f"""{HANDSHAKE}
        P . 1:51 ack 101 ts 70 win 400
        S . 1:51 ack 101 ts 90 win 300
        > . 1:51 ack 101 ts 70 win 300
        P . 51 ack 301 ts 80 win 500
        S . 51 ack 101 ts 91 win 300
        > . 51 ack 101 ts 70 win 300
    """)


def test_blocks_that_both_have(play: Player) -> None:
    """Clients that SACK count by blocks: each new one leaves once the PVM has received as much."""
    play(f"""{HANDSHAKE}
        P . 1 ack 101
        S . 1 ack 101
        > . 1 ack 101
        P . 1 ack 301 sacks 401-501
        S . 1 ack 101 sacks 201-301
        > . 1 ack 101 sacks 201-301
        S . 1 ack 101 sacks 451-601,201-301
        > . 1 ack 101 sacks 451-501,201-301
    """)


def test_both_lack_the_same_and_the_pvm_s_blocks_were_cut(play: Player) -> None:
    """The PVM is a little earlier: its block came before the SVM's, and left cut."""
    play(f"""{HANDSHAKE}
        P . 1 ack 101
        S . 1 ack 101
        > . 1 ack 101
        P . 1 ack 101 sacks 201-301
        > . 1 ack 101
        S . 1 ack 101 sacks 201-301
        > . 1 ack 101 sacks 201-301
        S . 1 ack 101 sacks 201-301
    """)


def test_the_svm_has_what_the_pvm_has_sacked(play: Player) -> None:
    """The client's 101:201 is lost to the PVM alone. The SVM delays its acknowledgements, having no hole."""
    play(f"""{HANDSHAKE}
        P . 1 ack 101
        S . 1 ack 101
        > . 1 ack 101
        P . 1 ack 101 sacks 201-301
        > . 1 ack 101
        P . 1 ack 101 sacks 201-401
        > . 1 ack 101
        S . 1 ack 351
        > . 1 ack 101 sacks 201-351
        S . 1 ack 401
        > . 1 ack 101 sacks 201-401
        S . 1 ack 501
    """)


def test_the_svm_sacks_what_the_pvm_has_sacked(play: Player) -> None:
    """Each has a hole of its own: the PVM at 101, the SVM at 301."""
    play(f"""{HANDSHAKE}
        P . 1 ack 101
        S . 1 ack 101
        > . 1 ack 101
        S . 1 ack 301
        P . 1 ack 101 sacks 201-501
        > . 1 ack 101 sacks 201-301
        P . 1 ack 101 sacks 601-701,201-501
        > . 1 ack 101 sacks 201-301
        S . 1 ack 301 sacks 401-501
        > . 1 ack 101 sacks 401-501,201-301
        S . 1 ack 301 sacks 601-651,401-501
        > . 1 ack 101 sacks 601-651,401-501,201-301
        S . 1 ack 301 sacks 601-651,401-501
    """)


def test_what_leaves_with_the_acknowledgement_is_not_repeated(play: Player) -> None:
    play(f"""{HANDSHAKE}
        P . 1 ack 101
        S . 1 ack 101
        > . 1 ack 101
        P . 1 ack 201 sacks 301-401
        S . 1 ack 401
        > . 1 ack 201 sacks 301-401
    """)


def test_not_what_the_pvm_lacks(play: Player) -> None:
    """The PVM's own duplicates tell of it, and so they do of what the SVM is the first to report."""
    play(f"""{HANDSHAKE}
        P . 1 ack 101
        S . 1 ack 101
        > . 1 ack 101
        S . 1 ack 301
        S . 1 ack 301
        P . 1 ack 101 sacks 201-301
        > . 1 ack 101 sacks 201-301
        S . 1 ack 301
    """)


def test_not_while_a_divergence_blocks_the_flow(play: Player) -> None:
    play(f"""{HANDSHAKE}
        P . 1 ack 101
        S . 1 ack 101
        > . 1 ack 101
        P . 1:3 ack 201 "ab"
        S . 1:3 ack 101 "ac"
        ! payload 1
        S . 3 ack 101
        S . 3 ack 101
    """)
