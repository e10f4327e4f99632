"""Flows of UDP that the guest begins (docs/comparison.md, section 4): each guest draws a source port.

Past 400 lines: a list of transcripts of one rule, each by itself.
"""

from transcripts.common import Player


def test_the_pvm_first(play: Player) -> None:
    play("""
        P udp "query" sport 5000
        S udp "query" sport 6000
        > udp "query" sport 5000
        +3s tick
    """)


def test_the_svm_first(play: Player) -> None:
    play("""
        S udp "query" sport 6000
        P udp "query" sport 5000
        > udp "query" sport 5000
        +3s tick
    """)


def test_over_ipv6_and_in_a_vlan(play: Player) -> None:
    play("""
        P udp "query" v6 vlan 7 sport 5000
        S udp "query" v6 vlan 8 sport 5000
        S udp "query" v6 vlan 7 sport 6000
        > udp "query" sport 5000
        P udp "query" v6 vlan 8 sport 5001
        > udp "query" sport 5001
        +3s tick
    """)


def test_the_ports_stay_mapped(play: Player) -> None:
    """The SVM's port means the PVM's from then on, and no other."""
    play("""
        P udp "one" sport 5000
        S udp "one" sport 6000
        > udp "one" sport 5000
        S udp "two" sport 6000
        P udp "two" sport 5000
        > udp "two" sport 5000
        P udp "three" sport 5000
        S udp "four" sport 6000
        +5ms tick
        ! payload 6
    """)


def test_many_at_once_to_one_destination(play: Player) -> None:
    """A and AAAA, from a socket each, and the SVM's resolver sends them the other way round."""
    play("""
        P udp "A" sport 5000
        P udp "AAAA" sport 5001
        S udp "AAAA" sport 6000
        > udp "AAAA" sport 5001
        S udp "A" sport 6001
        > udp "A" sport 5000
        S udp "again A" sport 6001
        S udp "again AAAA" sport 6000
        P udp "again AAAA" sport 5001
        > udp "again AAAA" sport 5001
        P udp "again A" sport 5000
        > udp "again A" sport 5000
    """)


def test_many_at_once_from_one_socket(play: Player) -> None:
    play("""
        P udp "A" sport 5000
        P udp "AAAA" sport 5000
        S udp "AAAA" sport 6000
        > udp "AAAA" sport 5000
        +4ms tick
        S udp "A" sport 6000
        > udp "A" sport 5000
    """)
    play("""
        S udp "A" sport 6000
        S udp "AAAA" sport 6000
        P udp "AAAA" sport 5000
        > udp "AAAA" sport 5000
        P udp "A" sport 5000
        > udp "A" sport 5000
    """)


def test_both_guests_swap_the_ports(play: Player) -> None:
    play("""
        P udp "one" sport 5000
        S udp "two" sport 5000
        P udp "two" sport 5001
        > udp "two" sport 5001
        S udp "one" sport 5001
        > udp "one" sport 5000
        P udp "three" sport 5000
        S udp "three" sport 5001
        > udp "three" sport 5000
        S udp "four" sport 5000
        P udp "four" sport 5001
        > udp "four" sport 5001
    """)


def test_the_same_port_comes_first(play: Player) -> None:
    """Two sockets that send the same: which is which is told by their ports, or else by their order."""
    play("""
        P udp "tick" sport 5000
        P udp "tick" sport 5001
        S udp "tick" sport 5001
        > udp "tick" sport 5001
        S udp "tick" sport 5000
        > udp "tick" sport 5000
    """)
    play("""
        P udp "tick" sport 5000
        P udp "tick" sport 5001
        S udp "tick" sport 6001
        > udp "tick" sport 5000
        S udp "tick" sport 6000
        > udp "tick" sport 5001
    """)


def test_a_port_of_the_svm_that_is_another_flows_of_the_pvm(play: Player) -> None:
    play("""
        P udp "one" sport 5000
        S udp "one" sport 6000
        > udp "one" sport 5000
        P udp "two" sport 6000
        S udp "two" sport 7000
        > udp "two" sport 6000
        S udp "three" sport 6000
        P udp "three" sport 5000
        > udp "three" sport 5000
    """)


def test_what_differs_is_told_after_the_reordering_window(play: Player) -> None:
    """Random transaction IDs, say."""
    play("""
        P udp "id 17" sport 5000
        +1ms tick
        S udp "id 99" sport 6000
        +4ms tick
        +1ms tick
        ! payload 3
        commit
        > udp "id 17" sport 5000
    """)
    play("""
        S udp "id 99" sport 6000
        +1s tick
        P udp "id 17" sport 5000
        +4ms tick
        +1ms tick
        ! payload 3
    """)


def test_what_differs_is_taken_in_order(play: Player) -> None:
    """From the same port first."""
    play("""
        P udp "xbc" sport 5000
        P udp "abd" sport 5001
        S udp "abX" sport 5001
        +1ms tick
        S udp "xbX" sport 6000
        +4ms tick
        ! payload 2
        commit
        > udp "xbc" sport 5000
        > udp "abd" sport 5001
    """)
    play("""
        P udp "abc" sport 5000
        P udp "Xbc" sport 5001
        S udp "abX" sport 6000
        +1ms tick
        S udp "abd" sport 6001
        +4ms tick
        ! payload 2
        +1ms tick
        ! payload 0
    """)


def test_only_one_of_them_asks(play: Player) -> None:
    play("""
        P udp "query" sport 5000
        +2s tick
        +1s tick
        ! missing-secondary 0
    """)
    play("""
        S udp "query" sport 6000
        +3s tick
        ! missing-primary 0
    """)


def test_another_destination_is_another_flow(play: Player) -> None:
    play("""
        P udp "query" sport 5000
        S#1 udp "query" sport 6000
        +6ms tick
    """)


def test_what_a_client_has_opened_keeps_its_port(play: Player) -> None:
    """Two services of the VM answer one socket of a client with the same bytes."""
    play("""
        C udp "ping" sport 7
        C udp "ping" sport 9
        P udp "pong" sport 7
        S udp "pong" sport 9
        +6ms tick
        P udp "pong" sport 9
        > udp "pong" sport 9
        S udp "pong" sport 7
        > udp "pong" sport 7
    """)


def test_a_client_that_has_been_silent_for_a_minute_has_opened_nothing(play: Player) -> None:
    play("""
        C udp "ping" sport 5000
        +61s tick
        P udp "query" sport 5000
        S udp "query" sport 6000
        > udp "query" sport 5000
    """)


def test_from_the_commit_on_both_have_the_pvms_ports(play: Player) -> None:
    play("""
        P udp "one" sport 5000
        S udp "one" sport 6000
        > udp "one" sport 5000
        svm_stop
        pvm_stop
        commit
        S udp "two" sport 5000
        P udp "two" sport 5000
        > udp "two" sport 5000
        P udp "three" sport 5001
        S udp "three" sport 6000
        > udp "three" sport 5001
    """)


def test_a_commit_in_between(play: Player) -> None:
    """What the SVM had sent is dropped with its port; what it sends in the new epoch has the PVM's."""
    play("""
        S udp "query" sport 6000
        svm_stop
        P udp "query" sport 5000
        pvm_stop
        S udp "more" sport 5000
        commit
        > udp "query" sport 5000
        P udp "more" sport 5000
        > udp "more" sport 5000
        S udp "other" sport 6000
        P udp "other" sport 5001
        > udp "other" sport 5001
    """)


def test_an_abort_in_between(play: Player) -> None:
    play("""
        P udp "one" sport 5000
        S udp "one" sport 6000
        > udp "one" sport 5000
        S udp "two" sport 6001
        svm_stop
        abort
        P udp "two" sport 5001
        svm_stop
        pvm_stop
        commit
        > udp "two" sport 5001
        P udp "three" sport 5000
        S udp "three" sport 5000
        > udp "three" sport 5000
    """)


def test_a_failover_keeps_the_ports(play: Player) -> None:
    play("""
        P udp "one" sport 5000
        S udp "one" sport 6000
        > udp "one" sport 5000
        S udp "two" sport 6000
        S udp "new" sport 6001
        failover
        > udp "two" sport 5000
        > udp "new" sport 6001
        S udp "three" sport 6000
        > udp "three" sport 5000
        +50s tick
        S udp "four" sport 6000
        > udp "four" sport 5000
        +1000s tick
        S udp "five" sport 6000
        > udp "five" sport 5000
        S udp "six" sport 5000
        > udp "six" sport 5000
    """)


def test_a_failover_to_an_svm_that_has_the_state(play: Player) -> None:
    play("""
        P udp "one" sport 5000
        S udp "one" sport 6000
        > udp "one" sport 5000
        svm_stop
        svm_loaded
        S udp "two" sport 5000
        failover
        > udp "two" sport 5000
        S udp "three" sport 6000
        > udp "three" sport 6000
    """)


def test_at_the_end_of_a_capture(play: Player) -> None:
    play(
        """
        P udp "one" sport 5000
        S udp "two" sport 6000
        P#1 udp "lone" sport 5000
        S#2 udp "lone" sport 6000
        finish
        ! payload 0
        > udp "one" sport 5000
        ! missing-secondary 0
        ! missing-primary 0
    """,
        observe=True,
    )


def test_an_observed_svm_keeps_its_ports(play: Player) -> None:
    """A divergence is followed, and nothing copied: the mapping stays."""
    play(
        """
        P udp "one" sport 5000
        S udp "uno" sport 6000
        +6ms tick
        ! payload 0
        > udp "one" sport 5000
        P udp "two" sport 5000
        S udp "two" sport 6000
        > udp "two" sport 5000
    """,
        observe=True,
    )


def test_what_was_given_up_may_be_paired_later(play: Player) -> None:
    play(
        """
        P udp "one" sport 5000
        +3s tick
        ! missing-secondary 0
        > udp "one" sport 5000
        P udp "two" sport 5000
        S udp "two" sport 6000
        > udp "two" sport 5000
    """,
        observe=True,
    )


def test_a_late_copy_from_another_port_is_no_news(play: Player) -> None:
    """What left while another flow's divergence was followed (C8)."""
    play(
        """
        P udp "query" sport 5000
        P#1 udp "one"
        S#1 udp "two"
        +6ms tick
        ! payload 0
        > udp "query" sport 5000
        >#1 udp "one"
        S udp "query" sport 6000
        +9s tick
    """,
        observe=True,
    )


def test_the_oldest_of_each_guest_are_paired_where_one_waits_already(play: Player) -> None:
    play(
        """
        P udp "first" sport 3001
        +6ms tick
        P udp "other" sport 3002
        S udp "third" sport 3003
        finish
        ! payload 0
        ! missing-secondary 0
        > udp "first" sport 3001
    """,
        observe=True,
    )
