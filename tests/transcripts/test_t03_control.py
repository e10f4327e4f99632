"""T3: SYN, FIN and the options that bind a connection."""

import pytest
from transcripts.common import HANDSHAKE, Player


@pytest.mark.parametrize(
    "other",
    [
        "mss 1400 ws 7 sack ts 1",
        "mss 1460 ws 6 sack ts 1",
        "mss 1460 sack ts 1",
        "mss 1460 ws 7 ts 1",
        "mss 1460 ws 7 sack",
    ],
)
def test_syn_options_that_bind(play: Player, other: str) -> None:
    play(f"""
        P S. 0 ack 1 mss 1460 ws 7 sack ts 1
        S S. 0 ack 1 {other}
        ! control 0
    """)


def test_timestamp_values_do_not_bind(play: Player) -> None:
    play("""
        P S. 0 ack 1 mss 1460 ws 7 sack ts 1
        S S. 0 ack 1 mss 1460 ws 7 sack ts 99999
        > S. 0 ack 1
    """)


def test_fin_against_a_byte(play: Player) -> None:
    play(f"""{HANDSHAKE}
        P F. 1 ack 1
        S . 1:11 ack 1
        ! control 0
    """)
    play(f"""{HANDSHAKE}
        P . 1:101 ack 1
        S F. 1:51 ack 1
        ! control 50
    """)


def test_fin_is_a_byte_of_the_stream(play: Player) -> None:
    play(f"""{HANDSHAKE}
        P F. 1:101 ack 1
        S . 1:101 ack 1
        S F. 101 ack 1
        > F. 1:101 ack 1
    """)


def test_urgent_data_passed_without_a_pointer(play: Player) -> None:
    play(f"""{HANDSHAKE}
        P U. 1:11 ack 1 urg 5
        S . 1:101 ack 1
        ! control 5
    """)


def test_an_urgent_pointer_that_only_the_svm_has(play: Player) -> None:
    play(f"""{HANDSHAKE}
        S U. 1:11 ack 1 urg 5
        P . 1:101 ack 1
        ! control 5
    """)


def test_another_urgent_pointer(play: Player) -> None:
    play(f"""{HANDSHAKE}
        P U. 1:101 ack 1 urg 50
        S U. 1:101 ack 1 urg 60
        ! control 50
    """)


def test_a_fin_inside_what_is_agreed(play: Player) -> None:
    play(f"""{HANDSHAKE}
        P . 1:101 ack 1
        S . 1:101 ack 1
        > . 1:101 ack 1
        P F. 1:50 ack 1
        ! control 49
    """)
    play(f"""{HANDSHAKE}
        P . 1:101 ack 1
        S . 1:101 ack 1
        > . 1:101 ack 1
        P F. 51:100 ack 1
        ! control 99
    """)


def test_a_fin_said_again_is_none(play: Player) -> None:
    play(f"""{HANDSHAKE}
        P F. 1:101 ack 1
        S F. 1:101 ack 1
        > F. 1:101 ack 1
        P F. 51:101 ack 1
        > F. 51:101 ack 1
        P F. 101 ack 1
        > F. 101 ack 1
        svm_stop
        pvm_stop
        commit
        P F. 101 ack 1
        > F. 101 ack 1
    """)


def test_a_syn_said_again_with_other_options(play: Player) -> None:
    play(f"""{HANDSHAKE}
        P S. 0 ack 1 mss 1400
        ! control 0
    """)


def test_the_cookie_of_fast_open_binds_nobody(play: Player) -> None:
    """RFC 7413: who shows one that the server does not know opens the connection the ordinary way."""
    play("""
        P S. 0 ack 1 mss 1460 cookie 1234
        S S. 0 ack 1 mss 1460 cookie 9876
        > S. 0 ack 1
    """)


def test_multipath_tcp_becomes_plain_tcp(play: Player) -> None:
    """It acknowledges data in options, which nobody compares: clients are offered none."""
    play("""
        P S. 0 ack 1 mss 1460 mptcp 1234 sack
        S S. 0 ack 1 mss 1460 mptcp 9876 sack
        > S. 0 ack 1
        P . 1:101 ack 1
        S . 1:101 ack 1
        > . 1:101 ack 1
    """)
    play("""
        P S 0 mss 1460 mptcp 1234
        P S 0 mss 1460 mptcp 1234
        S S 0 mss 1460 mptcp 9876
        > S 0
        > S 0
    """)


def test_a_fin_inside_a_range_beyond_a_hole(play: Player) -> None:
    play(f"""{HANDSHAKE}
        P . 101:201 ack 1
        S . 101:201 ack 1
        > . 101:201 ack 1
        P F. 101:151 ack 1
        ! control 150
    """)
