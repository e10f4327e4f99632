"""T2: a byte that differs at the same position is a divergence, at once."""

from transcripts.common import HANDSHAKE, Player


def test_a_flipped_byte(play: Player) -> None:
    play(f"""{HANDSHAKE}
        P . 1:1001 ack 1
        S . 1:1001 ack 1 flip 501
        ! payload 500
        S . 1:1001 ack 1
        +5s tick
    """)


def test_whoever_comes_second_shows_it(play: Player) -> None:
    play(f"""{HANDSHAKE}
        S . 1:1001 ack 1 flip 501
        P . 1:501 ack 1
        > . 1:501 ack 1
        P . 501:1001 ack 1
        ! payload 500
    """)


def test_the_first_byte(play: Player) -> None:
    play(f"""{HANDSHAKE}
        P . 1:2 ack 1
        S . 1:2 ack 1 flip 1
        ! payload 0
    """)


def test_behind_a_hole_too(play: Player) -> None:
    play(f"""{HANDSHAKE}
        P . 2001:3001 ack 1
        S . 2001:3001 ack 1 flip 2500
        ! payload 2499
    """)


def test_one_side_contradicts_itself(play: Player) -> None:
    play(f"""{HANDSHAKE}
        S . 1:101 ack 1
        S . 51:151 ack 1 flip 60
        ! payload 59
    """)
    play(f"""{HANDSHAKE}
        P . 1:101 ack 1
        P . 51:151 ack 1 flip 60
        ! payload 59
        S . 1:151 ack 1
    """)


def test_across_two_to_the_thirty_second(play: Player) -> None:
    play(
        f"""{HANDSHAKE}
        P . 1:1001 ack 1
        S . 1:1001 ack 1 flip 501
        ! payload 500
    """,
        p_isn=2**32 - 200,
        s_isn=2**32 - 900,
    )


def test_beyond_an_agreed_range(play: Player) -> None:
    """What was equal behind the hole has left; a difference behind it is found all the same."""
    play(f"""{HANDSHAKE}
        P . 2001:3001 ack 1
        S . 2001:2501 ack 1
        S . 2301:3001 ack 1 flip 2900
        ! payload 2899
        P . 2001:2501 ack 1
    """)


def test_of_several_differences_the_lowest(play: Player) -> None:
    play("""
        P S 0 mss 1460
        P . 1:3 ack 1
        S S 0:2 mss 1400 flip 1
        ! control 0
    """)


def test_the_lowest_contradiction_whichever_segment_shows_it(play: Player) -> None:
    play(f"""{HANDSHAKE}
        P . 16:21 ack 1 flip 18
        P . 6:11 ack 1 flip 8
        P . 6:21 ack 1
        ! payload 7
    """)


def test_a_contradiction_before_a_difference_from_the_other_guest(play: Player) -> None:
    play(f"""{HANDSHAKE}
        P . 11:21 ack 1 flip 15
        S . 1:11 ack 1 flip 5
        P . 1:21 ack 1
        ! payload 14
    """)


def test_a_difference_below_the_first_byte_seen_comes_last(play: Player) -> None:
    play(
        """
        P . 501:601 ack 1
        S . 501:601 ack 1
        > . 501:601 ack 1
        P . 401:501 ack 1 flip 450
        P . 601:701 ack 1 flip 650
        S . 401:701 ack 1
        ! payload 149
    """,
        s_isn=1_000_000,
    )


def test_nothing_is_agreed_behind_a_syn_that_differs_in_the_same_segment(play: Player) -> None:
    """Its first difference is the SYN: at a failover nothing of the PVM's is released."""
    play("""
        P S 0 mss 1460
        P . 1:3 ack 1
        S S 0:3 mss 1400
        ! control 0
        S . 3 ack 1
        failover
        > S 0:3
    """)
