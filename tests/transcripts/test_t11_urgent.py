"""T11: urgent data leaves when the SVM has announced the same urgent position."""

from transcripts.common import HANDSHAKE, Player


def test_the_same_position_from_other_segments(play: Player) -> None:
    play(f"""{HANDSHAKE}
        P U. 1:101 ack 1 urg 60
        S U. 1:51 ack 1 urg 60
        S U. 51:101 ack 1 urg 10
        > U. 1:101 ack 1
    """)


def test_bytes_alone_do_not_release_it(play: Player) -> None:
    play(f"""{HANDSHAKE}
        P U. 1:101 ack 1 urg 200
        S . 1:101 ack 1
        S U. 101:201 ack 1 urg 100
        > U. 1:101 ack 1
    """)


def test_what_the_svm_announced_before_its_latest_position(play: Player) -> None:
    play(f"""{HANDSHAKE}
        S U. 1:101 ack 1 urg 60
        S U. 101:201 ack 1 urg 90
        P U. 1:31 ack 1 urg 60
        > U. 1:31 ack 1
        P U. 31:131 ack 1 urg 30
        > U. 31:131 ack 1
        P U. 131:201 ack 1 urg 60
        > U. 131:201 ack 1
    """)


def test_said_again_with_another_position(play: Player) -> None:
    play(f"""{HANDSHAKE}
        P U. 1:51 ack 1 urg 20
        S U. 1:51 ack 1 urg 20
        > U. 1:51 ack 1
        P U. 51:101 ack 1 urg 100
        S . 51:101 ack 1
        S U. 51:101 ack 1 urg 100
        > U. 51:101 ack 1
    """)
