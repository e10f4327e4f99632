"""T1: a PVM segment leaves when all it occupies is inside the agreed range."""

from transcripts.common import HANDSHAKE


def test_the_same_bytes_leave_when_the_second_guest_says_them(play):
    play(f"""{HANDSHAKE}
        P . 1:1001 ack 1
        S . 1:1001 ack 1
        > . 1:1001(1000) ack 1
        S . 1001:2001 ack 1
        P . 1001:2001 ack 1
        > . 1001:2001(1000) ack 1
    """)


def test_other_segmentation_is_no_difference(play):
    play(f"""{HANDSHAKE}
        P . 1:1461 ack 1
        P . 1461:2921 ack 1
        S . 1:501 ack 1
        S . 501:1500 ack 1
        > . 1:1461 ack 1
        S . 1500:40000 ack 1
        > . 1461:2921 ack 1
        P . 2921:40000 ack 1
        > . 2921:40000 ack 1
    """)


def test_a_segment_waits_for_its_last_byte(play):
    play(f"""{HANDSHAKE}
        P . 1:1001 ack 1
        S . 1:1000 ack 1
        S . 1000:1001 ack 1
        > . 1:1001 ack 1
    """)


def test_a_hole_is_noticed(play):
    play(f"""{HANDSHAKE}
        P . 1:1001 ack 1
        P . 1001:2001 ack 1
        S . 1001:2001 ack 1
        S . 1:1001 ack 1
        > . 1:1001 ack 1
        > . 1001:2001 ack 1
    """)


def test_a_retransmission_leaves_at_once(play):
    play(f"""{HANDSHAKE}
        P . 1:1001 ack 1
        S . 1:1001 ack 1
        > . 1:1001 ack 1
        P . 1:1001 ack 1
        > . 1:1001 ack 1
        P . 501:701 ack 1
        > . 501:701 ack 1
    """)


def test_a_retransmission_that_carries_new_data_waits_for_it(play):
    play(f"""{HANDSHAKE}
        P . 1:1001 ack 1
        S . 1:1001 ack 1
        > . 1:1001 ack 1
        P . 501:1501 ack 1
        S . 1001:1501 ack 1
        > . 501:1501 ack 1
    """)


def test_padding_is_no_payload(play):
    play(f"""{HANDSHAKE}
        P . 1:3 ack 1 pad 4
        S . 1:3 ack 1
        > . 1:3 ack 1
        P . 3:7 ack 1
        S . 3:7 ack 1
        > . 3:7 ack 1
    """)


def test_data_on_a_syn(play):
    play("""
        P S. 0:10 ack 1 mss 1460
        S S. 0 ack 1 mss 1460
        S . 1:11 ack 1
        > S. 0:10 ack 1
    """)


def test_across_two_to_the_thirty_second(play):
    lines = f"""{HANDSHAKE}
        P . 1:1001 ack 1
        S . 1:1001 ack 1
        > . 1:1001 ack 1
        P . 1001:2001 ack 1
        S . 1001:2001 ack 1
        > . 1001:2001 ack 1
    """
    for p_isn in (2**32 - 1, 2**32 - 2, 2**32 - 500, 2**32 - 1001, 2**32 - 1002):
        play(lines, p_isn=p_isn, s_isn=2**32 - 700)


def test_a_flow_caught_in_mid_stream_has_no_offset(play):
    play(
        """
        P . 500:600 ack 50
        S . 500:600 ack 50
        > . 500:600 ack 50
        S . 600:700 ack 50
        P . 600:700 ack 50
        > . 600:700 ack 50
        P . 700:800 ack 50
        S . 700:800 ack 50 flip 710
        ! payload 210
        """,
        s_isn=1_000_000,
    )


def test_vlan_and_ipv6(play):
    play("""
        P S. 0 ack 1 v6 vlan 7
        S S. 0 ack 1 v6 vlan 8
        S S. 0 ack 1 v6 vlan 7
        > S. 0 ack 1
    """)


def test_half_the_space_away_nothing_is_agreed(play):
    """Bytes that begin just less than 2**31 ahead end on the other side of what is agreed."""
    play(f"""{HANDSHAKE}
        P . 2147483647:2147483657 ack 1
        +2s tick
        +1s tick
        ! missing-secondary 2147483646
    """)
