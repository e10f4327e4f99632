"""T1: a PVM segment leaves when all it occupies is inside the agreed range."""

from transcripts.common import HANDSHAKE, Player


def test_the_same_bytes_leave_when_the_second_guest_says_them(play: Player) -> None:
    play(f"""{HANDSHAKE}
        P . 1:1001 ack 1
        S . 1:1001 ack 1
        > . 1:1001(1000) ack 1
        S . 1001:2001 ack 1
        P . 1001:2001 ack 1
        > . 1001:2001(1000) ack 1
    """)


def test_other_segmentation_is_no_difference(play: Player) -> None:
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


def test_a_segment_waits_for_its_last_byte(play: Player) -> None:
    play(f"""{HANDSHAKE}
        P . 1:1001 ack 1
        S . 1:1000 ack 1
        S . 1000:1001 ack 1
        > . 1:1001 ack 1
    """)


def test_what_both_have_sent_beyond_a_hole_leaves(play: Player) -> None:
    play(f"""{HANDSHAKE}
        P . 1:1001 ack 1
        P . 1001:2001 ack 1
        S . 1001:2001 ack 1           #  the SVM lost its first segment
        > . 1001:2001 ack 1            #  clients SACK it, and the SVM learns of its loss
        S . 1:1001 ack 1
        > . 1:1001 ack 1
        P . 2001:3001 ack 1
        S . 2001:3001 ack 1
        > . 2001:3001 ack 1
    """)


def test_beyond_a_hole_of_the_pvm(play: Player) -> None:
    play(f"""{HANDSHAKE}
        S . 1:3001 ack 1
        P . 1001:2001 ack 1
        > . 1001:2001 ack 1
        P . 2001:3001 ack 1
        > . 2001:3001 ack 1
        P . 1:1001 ack 1
        > . 1:1001 ack 1
    """)


def test_beyond_a_hole_of_each(play: Player) -> None:
    play(f"""{HANDSHAKE}
        P . 1:1001 ack 1
        P . 1001:2001 ack 1
        S . 1:1001 ack 1
        > . 1:1001 ack 1
        S . 2001:4001 ack 1            #  1001:2001 is missing
        P . 3001:4001 ack 1            #  2001:3001 is missing
        > . 3001:4001 ack 1
        S . 1001:2001 ack 1
        > . 1001:2001 ack 1
        P . 2001:3001 ack 1
        > . 2001:3001 ack 1
        P . 4001:4002 ack 1
        S . 4001:4002 ack 1
        > . 4001:4002 ack 1
    """)


def test_a_part_beyond_a_hole_is_not_enough(play: Player) -> None:
    play(f"""{HANDSHAKE}
        P . 1001:3001 ack 1
        S . 1501:2501 ack 1
        P . 1601:2401 ack 1            #  a retransmission of what is agreed
        > . 1601:2401 ack 1
        S . 2501:3001 ack 1
        S . 1001:1501 ack 1
        > . 1001:3001 ack 1
        P . 1:1001 ack 1
        S . 1:1001 ack 1
        > . 1:1001 ack 1
    """)


def test_a_fin_beyond_a_hole(play: Player) -> None:
    play(f"""{HANDSHAKE}
        P . 1:101 ack 1
        P F. 101:201 ack 1
        S F. 101:201 ack 1
        > F. 101:201 ack 1
        P F. 201 ack 1                 #  once more, by itself
        > F. 201 ack 1
        S . 1:101 ack 1
        > . 1:101 ack 1
    """)


def test_across_the_wrap_beyond_a_hole(play: Player) -> None:
    play(
        f"""{HANDSHAKE}
        P . 1:101 ack 1
        P . 101:301 ack 1
        S . 101:301 ack 1
        > . 101:301 ack 1
        S . 1:101 ack 1
        > . 1:101 ack 1
    """,
        p_isn=2**32 - 150,
        s_isn=2**32 - 250,
    )


def test_no_more_ranges_than_there_is_room_for(play: Player) -> None:
    """48 ranges; what finds no room waits, and is looked at again when no more than 24 are left."""
    lines = []
    for n in range(1, 60):
        lines += [f"P . {1 + 20 * n}:{11 + 20 * n} ack 1", f"S . {1 + 20 * n}:{11 + 20 * n} ack 1"]
        lines += [f"> . {1 + 20 * n}:{11 + 20 * n} ack 1"] if n <= 48 else []
    for n in range(24):
        lines += [f"P . {11 + 20 * n}:{21 + 20 * n} ack 1"]
    lines += ["P . 1:11 ack 1", "S . 1:21 ack 1", "> . 11:21 ack 1", "> . 1:11 ack 1"]
    for n in range(1, 24):
        lines += [f"S . {11 + 20 * n}:{21 + 20 * n} ack 1"]
        # The last of these makes room, and what waited for it leaves first: the PVM sent it earlier.
        lines += [f"> . {1 + 20 * m}:{11 + 20 * m} ack 1" for m in range(49, 60)] if n == 23 else []
        lines += [f"> . {11 + 20 * n}:{21 + 20 * n} ack 1"]
    play(HANDSHAKE + "\n".join(lines))


def test_a_retransmission_leaves_at_once(play: Player) -> None:
    play(f"""{HANDSHAKE}
        P . 1:1001 ack 1
        S . 1:1001 ack 1
        > . 1:1001 ack 1
        P . 1:1001 ack 1
        > . 1:1001 ack 1
        P . 501:701 ack 1
        > . 501:701 ack 1
    """)


def test_a_retransmission_that_carries_new_data_waits_for_it(play: Player) -> None:
    play(f"""{HANDSHAKE}
        P . 1:1001 ack 1
        S . 1:1001 ack 1
        > . 1:1001 ack 1
        P . 501:1501 ack 1
        S . 1001:1501 ack 1
        > . 501:1501 ack 1
    """)


def test_padding_is_no_payload(play: Player) -> None:
    play(f"""{HANDSHAKE}
        P . 1:3 ack 1 pad 4
        S . 1:3 ack 1
        > . 1:3 ack 1
        P . 3:7 ack 1
        S . 3:7 ack 1
        > . 3:7 ack 1
    """)


def test_data_on_a_syn(play: Player) -> None:
    play("""
        P S. 0:10 ack 1 mss 1460
        S S. 0 ack 1 mss 1460
        S . 1:11 ack 1
        > S. 0:10 ack 1
    """)


def test_across_two_to_the_thirty_second(play: Player) -> None:
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


def test_a_flow_caught_in_mid_stream_has_no_offset(play: Player) -> None:
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


def test_vlan_and_ipv6(play: Player) -> None:
    play("""
        P S. 0 ack 1 v6 vlan 7
        S S. 0 ack 1 v6 vlan 8
        S S. 0 ack 1 v6 vlan 7
        > S. 0 ack 1
    """)


def test_half_the_space_away_nothing_is_agreed(play: Player) -> None:
    """Bytes that begin just less than 2**31 ahead end on the other side of what is agreed."""
    play(f"""{HANDSHAKE}
        P . 2147483647:2147483657 ack 1
        +2s tick
        +1s tick
        ! missing-secondary 2147483646
    """)
