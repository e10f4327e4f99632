"""Super-frames of UDP (USO): the datagrams they are cut into count, not the frames."""

from transcripts.common import CHECKPOINT, Player


def test_cut_otherwise(play: Player) -> None:
    play("""
        P udp "aabbcc" cut 2
        S udp "aabb" cut 2
        S udp "cc"
        > udp "aabbcc"
        S udp "dd"
        S udp "eeff" cut 2
        P udp "ddeeff" cut 2
        > udp "ddeeff"
        P udp "gghh" cut 2
        P udp "iijjk" cut 2
        S udp "gghhiijjk" cut 2
        > udp "gghh"
        > udp "iijjk"
    """)


def test_one_by_one_of_what_the_svm_sent_at_once(play: Player) -> None:
    play("""
        S udp "aabbc" cut 2
        P udp "aa"
        > udp "aa"
        P udp "bb"
        > udp "bb"
        P udp "c"
        > udp "c"
        P udp "dd"
        P udp "ee"
        S udp "ddee" cut 2
        > udp "dd"
        > udp "ee"
    """)


def test_the_size_counts(play: Player) -> None:
    """The same bytes in datagrams of another length are other datagrams."""
    play("""
        P udp "aaaa" cut 2
        S udp "aaaa"
        +5ms tick
        ! payload 2
        P#1 udp "abcd" cut 2
        S#1 udp "abcd" cut 3
        +5ms tick
        ! payload 2
    """)


def test_in_another_order(play: Player) -> None:
    play("""
        P udp "aabbc" cut 2
        S udp "c"
        S udp "bb"
        S udp "aa"
        > udp "aabbc"
    """)


def test_equal_datagrams_count_once_each(play: Player) -> None:
    play("""
        P udp "aaaa" cut 2
        S udp "aa"
        P udp "aa"
        S udp "aa"
        > udp "aaaa"
        S udp "aa"
        > udp "aa"
    """)


def test_a_difference_is_told_at_its_byte(play: Player) -> None:
    play(
        """
        P udp "aabbcc" cut 2
        S udp "aabXcc" cut 2
        +5ms tick
        ! payload 3
        P#1 udp "aabbcc" cut 2
        S#1 udp "aa"
        S#1 udp "Xb"
        +5ms tick
        ! payload 2
        P#2 udp "aa"
        P#2 udp "bb"
        S#2 udp "aabX" cut 2
        > #2 udp "aa"
        +5ms tick
        ! payload 3
    """.replace("> #2", ">#2")
    )


def test_what_the_svm_leaves_out(play: Player) -> None:
    play("""
        P udp "aabbcc" cut 2
        S udp "aa"
        S udp "cc"
        +3s tick
        ! missing-secondary 2
        P#1 udp "aabb" cut 2
        P#1 udp "ccdd" cut 2
        S#1 udp "bbccdd" cut 2
        >#1 udp "ccdd"
        +5ms tick
        ! missing-secondary 0
    """)


def test_what_the_pvm_leaves_out(play: Player) -> None:
    """Told where the SVM's frame has it."""
    play("""
        S udp "aabbcc" cut 2
        P udp "aa"
        > udp "aa"
        P udp "cc"
        > udp "cc"
        +3s tick
        ! missing-primary 2
        P udp "dd"
    """)


def test_a_commit_lets_all_of_it_go(play: Player) -> None:
    play(f"""
        P udp "aabb" cut 2
        S udp "aa"
        {CHECKPOINT}
        P udp "ccdd" cut 2
        S udp "ccdd" cut 2
        svm_loaded
        commit
        > udp "aabb"
        > udp "ccdd"
    """)


def test_a_failover_lets_go_of_what_both_have_sent(play: Player) -> None:
    play("""
        P udp "aabbc" cut 2 id 7
        S udp "bb"
        P#1 udp "dd"
        S#1 udp "ddeef" cut 2 id 30
        >#1 udp "dd"
        S#2 udp "gghh" cut 2
        failover
        > udp "bb" id 8
        >#1 udp "ee" id 31
        >#1 udp "f" id 32
        >#2 udp "gghh"
    """)


def test_over_ipv6(play: Player) -> None:
    play("""
        P udp "aabbc" v6 cut 2
        S udp "aa" v6
        S udp "bbc" v6 cut 2
        > udp "aabbc"
        P udp "ddee" v6 cut 2
        S udp "dd" v6
        failover
        > udp "dd"
    """)


def test_headers_that_differ(play: Player) -> None:
    play("""
        P udp "aabb" cut 2
        S udp "aabb" cut 2 ttl 63
        +5ms tick
        ! payload 0
    """)


def test_from_ports_that_each_guest_draws(play: Player) -> None:
    play("""
        P udp "aabbc" cut 2 sport 5000
        S udp "bb" sport 5001
        S udp "aa" sport 5001
        S udp "c" sport 5001
        > udp "aabbc" sport 5000
        S udp "dd" sport 6001
        S udp "ee" sport 6001
        P udp "ddee" cut 2 sport 6000
        > udp "ddee" sport 6000
    """)


def test_late_copies_after_a_divergence_that_was_followed(play: Player) -> None:
    play(
        """
        P udp "aabbcc" cut 2
        S udp "aa"
        P#1 udp "one"
        S#1 udp "two"
        +5ms tick
        ! payload 0
        > udp "aabbcc"
        >#1 udp "one"
        S udp "bbcc" cut 2
        +3s tick
    """,
        observe=True,
    )


def test_more_than_is_cut(play: Player) -> None:
    """128 datagrams are; of more the whole must be the same."""
    play(f"""
        P udp "{"a" * 128}" cut 1
        S udp "{"a" * 64}" cut 1
        S udp "{"a" * 64}" cut 1
        > udp "{"a" * 128}"
    """)


def test_at_a_failover_what_has_its_equal_is_released_in_the_frames_order(play: Player) -> None:
    play("""
        C udp "open"
        P udp "aabbcc" cut 2
        S udp "bb"
        S udp "aa"
        failover
        > udp "aa"
        > udp "bb" id 1
    """)
