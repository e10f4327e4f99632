"""T16: nothing leaves with a TSval older than one that has left; a client would drop it (RFC 7323, 5.3).

Nor with one older than a retransmission: its guest would take that for needless (RFC 3522).
"""

from transcripts.common import HANDSHAKE, Player


def test_what_was_held_while_something_newer_left(play: Player) -> None:
    """The PVM's segment 1:101 is lost before it gets here, the SVM's 101:201."""
    play(f"""{HANDSHAKE}
        P . 101:201 ack 1 ts 10
        S . 1:101 ack 1 ts 10
        P . 1:101 ack 1 ts 300
        > . 1:101 ack 1 ts 300
        S . 101:201 ack 1 ts 300
        > . 101:201 ack 1 ts 300
        P . 201:301 ack 1 ts 299
        S . 201:301 ack 1 ts 299
        > . 201:301 ack 1 ts 300
        P . 301:401 ack 1 ts 301
        S . 301:401 ack 1 ts 301
        > . 301:401 ack 1 ts 301
    """)


def test_a_part_of_what_was_held(play: Player) -> None:
    """T13's piece is made of the PVM's first transmission, because the SVM retransmits."""
    play(f"""{HANDSHAKE}
        P . 101:301 ack 1 ts 10
        S . 1:101 ack 1 ts 10
        P . 1:101 ack 1 ts 300
        > . 1:101 ack 1 ts 300
        S . 101:201 ack 1 ts 300
        +150ms S . 101:201 ack 1 ts 450
        > . 101:201 ack 1 ts 450
    """)


def test_what_a_commit_lets_go(play: Player) -> None:
    play(f"""{HANDSHAKE}
        P . 101:201 ack 1 ts 10
        S . 1:101 ack 1 ts 10
        P . 1:101 ack 1 ts 300
        > . 1:101 ack 1 ts 300
        svm_stop
        pvm_stop
        commit
        > . 101:201 ack 1 ts 300
    """)


def test_an_acknowledgement(play: Player) -> None:
    """It would be dropped too, and what it acknowledges be sent again."""
    play(f"""{HANDSHAKE}
        P . 1 ack 101 ts 10
        P . 1:101 ack 1 ts 20
        S . 1:101 ack 1 ts 20
        > . 1:101 ack 1 ts 20
        S . 101 ack 101 ts 20
        > . 1 ack 101 ts 20
    """)


def test_modulo_2_to_the_32(play: Player) -> None:
    play(f"""{HANDSHAKE}
        P . 101:201 ack 1 ts 4294967290
        S . 1:101 ack 1
        P . 1:101 ack 1 ts 5
        > . 1:101 ack 1 ts 5
        S . 101:201 ack 1
        > . 101:201 ack 1 ts 5
    """)


def test_what_the_pvm_has_sent_again_meanwhile(play: Player) -> None:
    """Its first copy leaves. With TSval 10 its acknowledgement would show that nothing was lost."""
    play(f"""{HANDSHAKE}
        P . 1:101 ack 1 ts 10
        P . 1:101 ack 1 ts 250
        S . 1:101 ack 1 ts 10
        > . 1:101 ack 1 ts 250
        > . 1:101 ack 1 ts 250
        P . 101:201 ack 1 ts 249
        S . 101:201 ack 1 ts 249
        > . 101:201 ack 1 ts 250
        P . 201:301 ack 1 ts 260
        S . 201:301 ack 1 ts 260
        > . 201:301 ack 1 ts 260
    """)


def test_what_the_svm_has_sent_again(play: Player) -> None:
    """The SVM's first 1:101 is lost. Its clock is 5000 ahead of the PVM's."""
    play("""
        P S. 0 ack 1 mss 1460 ts 1000
        S S. 0 ack 1 mss 1460 ts 6000
        > S. 0 ack 1 ts 1000
        P . 1:101 ack 1 ts 1010
        S . 101:201 ack 1 ts 6010
        S . 1:101 ack 1 ts 6250
        > . 1:101 ack 1 ts 1250
        P . 101:201 ack 1 ts 1011
        > . 101:201 ack 1 ts 1250
        P . 201:301 ack 1 ts 1300
        S . 201:301 ack 1 ts 6290
        > . 201:301 ack 1 ts 1300
    """)


def test_what_is_no_retransmission_of_bytes(play: Player) -> None:
    """A repeated SYN/ACK, and what overtakes."""
    play("""
        P S. 0 ack 1 mss 1460 ts 1000
        S S. 0 ack 1 mss 1460 ts 6000
        > S. 0 ack 1 ts 1000
        P S. 0 ack 1 mss 1460 ts 1500
        > S. 0 ack 1 ts 1500
        S S. 0 ack 1 mss 1460 ts 7000
        P . 101:201 ack 1 ts 1510
        S . 101:201 ack 1 ts 7010
        > . 101:201 ack 1 ts 1510
    """)
