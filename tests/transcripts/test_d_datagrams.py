"""D1 to D4: datagrams."""

from transcripts.common import Player


def test_d1_whoever_comes_first(play: Player) -> None:
    play("""
        P udp "one"
        S udp "one"
        > udp "one"
        S udp "two"
        P udp "two"
        > udp "two"
    """)


def test_d1_each_of_the_svms_is_used_once(play: Player) -> None:
    play("""
        S udp "one"
        P udp "one"
        > udp "one"
        P udp "one"
        S udp "one"
        > udp "one"
    """)


def test_d1_per_flow(play: Player) -> None:
    play("""
        P udp "one"
        S#1 udp "one"
        S udp "one"
        > udp "one"
    """)


def test_d2_the_ipv4_id_is_free(play: Player) -> None:
    play("""
        P udp "one" id 7
        S udp "one" id 900
        > udp "one" id 7
        P gre "tunnel" id 8
        S gre "tunnel" id 901
        > gre "tunnel" id 8
        P icmp "echo" id 9 pad 12
        S icmp "echo" id 902
        > icmp "echo" id 9
    """)


def test_d2_the_ipv6_flow_label_is_free(play: Player) -> None:
    """Linux draws one at random for each connected UDP socket."""
    play("""
        P udp "one" v6 id 7
        S udp "one" v6 id 900
        > udp "one"
        S gre "tunnel" v6 id 70000
        P gre "tunnel" v6 id 8
        > gre "tunnel"
        P udp "two" v6 ttl 64
        S udp "two" v6 ttl 63
        +5ms tick
        ! payload 3
    """)


def test_d2_other_ethertypes(play: Player) -> None:
    play("""
        P ether "frame"
        S ether "frame"
        > ether "frame"
    """)


def test_d3_order_is_free_within_the_window(play: Player) -> None:
    play("""
        P udp "one"
        P udp "two"
        S udp "two"
        > udp "two"
        +4ms tick
        S udp "one"
        > udp "one"
    """)


def test_d3_after_it_the_oldest_two_differ(play: Player) -> None:
    play("""
        P udp "good"
        S udp "good"
        > udp "good"
        P udp "abcdef"
        +1s tick
        S udp "abcXef"
        +4ms tick
        +1ms tick
        ! payload 7
    """)


def test_d3_a_header_that_differs(play: Player) -> None:
    play("""
        P udp "good"
        S udp "good"
        > udp "good"
        P udp "same" ttl 64
        S udp "same" ttl 63
        +5ms tick
        ! payload 4
    """)


def test_d3_a_longer_one(play: Player) -> None:
    play("""
        P udp "abc"
        S udp "abcd"
        +5ms tick
        ! payload 3
    """)


def test_d3_icmp_tells_the_byte_and_not_the_checksum(play: Player) -> None:
    """A checksum differs wherever a byte does."""
    play("""
        P icmp "tcXYdata"
        S icmp "tcAAdaTa"
        +6ms tick
        ! payload 6
        commit
        > icmp "tcXYdata"
        P icmp "tcXYdata"
        S icmp "tcAAdata"
        +6ms tick
        ! payload 10
    """)


def test_d3_the_offset_counts_what_was_said_before_and_nothing_behind(play: Player) -> None:
    play("""
        P udp "one"
        S udp "one"
        > udp "one"
        P udp "tree"
        P udp "four"
        S udp "free"
        S udp "four"
        > udp "four"
        +6ms tick
        ! payload 3
    """)


def test_d4_what_has_been_overtaken_waits_no_longer_than_the_window(play: Player) -> None:
    """The SVM has said what comes after it: it is late, or it was lost."""
    play("""
        P udp "one"
        P udp "two"
        P udp "three"
        S udp "one"
        > udp "one"
        S udp "three"
        > udp "three"
        +4ms tick
        +1ms tick
        ! missing-secondary 3
    """)
    play("""
        P udp "a"
        S udp "b"
        P udp "b"
        > udp "b"
        +5ms tick
        ! missing-secondary 0
    """)


def test_d4_the_pvms_may_come_late(play: Player) -> None:
    """They wait for nobody."""
    play("""
        S udp "one"
        S udp "two"
        P udp "two"
        > udp "two"
        +2s tick
        P udp "one"
        > udp "one"
    """)


def test_d4_the_svms_place_is_that_in_what_both_have_said(play: Player) -> None:
    play("""
        S udp "one"
        P udp "one"
        > udp "one"
        S udp "extra"
        S udp "two"
        P udp "two"
        > udp "two"
        +3s tick
        ! missing-primary 3
    """)


def test_d4_missing(play: Player) -> None:
    play("""
        P udp "one"
        +3s tick
        ! missing-secondary 0
    """)
    play("""
        S udp "one"
        P udp "one"
        > udp "one"
        S udp "two"
        +3s tick
        ! missing-primary 3
    """)


def test_d4_at_the_end(play: Player) -> None:
    play(
        """
        P udp "one"
        S udp "two"
        P#1 udp "lone"
        S#2 udp "lone"
        finish
        ! payload 0
        > udp "one"
        ! missing-secondary 0
        ! missing-primary 0
    """,
        observe=True,
    )


def test_d3_the_offset_counts_what_left_by_a_commit_too(play: Player) -> None:
    play(
        """
        P udp "same"
        S udp "same"
        > udp "same"
        P udp "one"
        S udp "two"
        +6ms tick
        ! payload 4
        > udp "one"
        P udp "three"
        S udp "threw"
        +6ms tick
        ! payload 11
        > udp "three"
    """,
        observe=True,
    )


def test_housekeeping_leaves_uncompared(play: Player) -> None:
    play("""
        P arp
        > arp
        S arp
        +9s tick
    """)
