"""C1 to C8: divergence, checkpoint, failover. `svm_stop` gives the SVM the PVM's numbers.

Past 400 lines: transcripts of one rule's group are kept together.
"""

import pytest
from transcripts.common import CHECKPOINT, HANDSHAKE, TWO_FROM_OTHER_PORTS, Player

DIVERGED = f"""{HANDSHAKE}
    P . 1:101 ack 200
    S . 1:101 ack 100 flip 50
    ! payload 49
"""


def test_c1_a_divergence_blocks_its_flow_and_no_other(play: Player) -> None:
    play(f"""{DIVERGED}
        P . 1:50 ack 1
        S . 1:101 ack 200
        P S. 0 ack 1 mss 1460
        P#1 S. 0 ack 1
        S#1 S. 0 ack 1
        >#1 S. 0 ack 1
        +9s tick
    """)


def test_c4_commit_releases_as_it_is(play: Player) -> None:
    play(f"""{DIVERGED}
        {CHECKPOINT}
        commit
        > . 1:101 ack 200
        P . 101:201 ack 200
        S . 101:201 ack 200
        > . 101:201 ack 200
    """)


def test_c2_what_the_svm_said_before_its_stop_is_dropped(play: Player) -> None:
    play(f"""{HANDSHAKE}
        S . 1:101 ack 1
        {CHECKPOINT}
        commit
        P . 1:101 ack 1
        S . 1:101 ack 1
        > . 1:101 ack 1
    """)


def test_c2_what_it_says_after_it_counts(play: Player) -> None:
    play(f"""{DIVERGED}
        {CHECKPOINT}
        S . 101:201 ack 200
        commit
        > . 1:101 ack 200
        P . 101:201 ack 200
        > . 101:201 ack 200
    """)


def test_c2_a_late_copy_of_the_old_epoch(play: Player) -> None:
    play(f"""{DIVERGED}
        {CHECKPOINT}
        commit
        > . 1:101 ack 200
        S . 1:101 ack 200 flip 60
        P . 101:201 ack 200
        S . 101:201 ack 200
        > . 101:201 ack 200
    """)


def test_c3_what_the_pvm_says_after_its_stop_is_compared(play: Player) -> None:
    play(f"""{HANDSHAKE}
        P . 1:101 ack 1
        {CHECKPOINT}
        P . 101:201 ack 1
        commit
        > . 1:101 ack 1
        S . 101:201 ack 1 flip 150
        ! payload 149
    """)


def test_c3_between_the_stops_the_pvm_is_in_the_old_epoch(play: Player) -> None:
    play(f"""{HANDSHAKE}
        svm_stop
        P . 1:101 ack 1
        pvm_stop
        commit
        > . 1:101 ack 1
    """)


def test_c4_datagrams_too_in_the_order_of_all(play: Player) -> None:
    play(f"""{HANDSHAKE}
        P udp "one"
        P . 1:101 ack 1
        P icmp "two"
        {CHECKPOINT}
        commit
        > udp "one"
        > . 1:101 ack 1
        > icmp "two"
        S udp "one"
        P udp "one"
        > udp "one"
    """)


def test_c4_withheld_acknowledgements_leave(play: Player) -> None:
    play(f"""{HANDSHAKE}
        P . 1 ack 900
        {CHECKPOINT}
        commit
        > . 1 ack 900
        P . 1:101 ack 900
        S . 1:101 ack 1
        > . 1:101 ack 900
    """)


def test_c4_in_mid_handshake(play: Player) -> None:
    play(f"""
        P S. 0 ack 1 mss 1460
        {CHECKPOINT}
        commit
        > S. 0 ack 1
        P . 1:101 ack 1
        S . 1:101 ack 1
        > . 1:101 ack 1
    """)


def test_c4_an_acknowledgement_of_the_old_svm_is_forgotten(play: Player) -> None:
    play(f"""{HANDSHAKE}
        S . 1 ack 5000
        {CHECKPOINT}
        commit
        P . 1 ack 5000
        S . 1 ack 5000
        > . 1 ack 5000
    """)


def test_c5_an_aborted_checkpoint_releases_nothing(play: Player) -> None:
    play(f"""{DIVERGED}
        {CHECKPOINT}
        P . 101:201 ack 200
        abort
        P . 201:301 ack 200
        S . 1:301 ack 200
        +9s tick
        {CHECKPOINT}
        commit
        > . 1:101 ack 200
        > . 101:201 ack 200
        > . 201:301 ack 200
    """)


def test_c5_a_restart_holds(play: Player) -> None:
    play(f"""
        hold
        P S. 0 ack 1 mss 1460
        S S. 0 ack 1 mss 1460
        P udp "one"
        S udp "one"
        {CHECKPOINT}
        commit
        > S. 0 ack 1
        > udp "one"
    """)


def test_c6_unprotected_output_passes(play: Player) -> None:
    play(f"""{DIVERGED}
        unprotect
        > . 1:101 ack 200
        P . 101:201 ack 300 win 5
        > . 101:201 ack 300 win 5
        P udp "one"
        > udp "one"
        {CHECKPOINT}
        commit
        P . 201:301 ack 300
        S . 201:301 ack 300
        > . 201:301 ack 300
    """)


def test_c7_at_a_failover_the_svms_output_leaves_in_the_pvms_numbers(play: Player) -> None:
    play(f"""{HANDSHAKE}
        P . 1:101 ack 1
        P udp "lost"
        S . 1:51 ack 1
        S . 51:151 ack 1
        > . 1:101 ack 1
        S udp "kept"
        failover
        > . 51:151 ack 1
        > udp "kept"
        S . 151:251 ack 9
        > . 151:251 ack 9
        P . 151:251 ack 9
    """)


def test_c7_another_source_port(play: Player) -> None:
    play("""
        P S 0 mss 1460 sport 3000
        S S 0 mss 1460 sport 4000
        > S 0 sport 3000
        P . 1:101 ack 1 sport 3000
        S . 1:101 ack 1 sport 4000
        > . 1:101 ack 1 sport 3000
        failover
        S . 101:201 ack 1 sport 4000
        > . 101:201 ack 1 sport 3000
    """)


def test_c7_before_the_svm_has_loaded_it_has_its_own_numbers(play: Player) -> None:
    play(f"""{HANDSHAKE}
        P . 1:101 ack 1
        {CHECKPOINT}
        S isn 7000000
        failover
        S . 1:101 ack 1
        > . 1:101 ack 1
    """)


def test_c7_after_the_svm_has_loaded_offsets_are_zero(play: Player) -> None:
    play(f"""{HANDSHAKE}
        P . 1:101 ack 1
        {CHECKPOINT}
        svm_loaded
        S . 1:101 ack 1
        svm_loaded
        failover
        > . 1:101 ack 1
        S . 101:201 ack 1
        > . 101:201 ack 1
    """)


def test_c8_observing_goes_on(play: Player) -> None:
    play(
        f"""{HANDSHAKE}
        P . 1:101 ack 1
        P udp "one"
        S . 1:101 ack 1 flip 50
        ! payload 49
        > . 1:101 ack 1
        > udp "one"
        S udp "one"
        P . 101:201 ack 1
        S . 101:201 ack 1
        > . 101:201 ack 1
        P . 201:301 ack 1
        S . 201:301 ack 1 flip 250
        ! payload 249
        > . 201:301 ack 1
        +9s tick
    """,
        observe=True,
    )


WINDOWS = f"""{HANDSHAKE}
    P . 1 ack 100 win 200
    S . 1 ack 100 win 200
    > . 1 ack 100 win 200
    P . 1 ack 100 win 434
    P . 1 ack 100 win 0
    > . 1 ack 100 win 0
"""
ANOTHER_DIFFERS = """
    P#1 S. 0 ack 1 mss 1460
    S#1 S. 0 ack 1 mss 1460
    >#1 S. 0 ack 1
    P#1 . 1:101 ack 1
    S#1 . 1:101 ack 1 flip 50
    ! payload 49
"""


def test_c8_a_window_of_another_flow_leaves_the_svms_as_it_is(play: Player) -> None:
    play(
        f"""{WINDOWS}
        {ANOTHER_DIFFERS}
        > . 1 ack 100 win 434
        >#1 . 1:101 ack 1
        P . 1 ack 100 win 353
        > . 1 ack 100 win 200
        +9s tick
        P . 1:11 ack 100 win 353
        S . 1:11 ack 100 win 300
        > . 1:11 ack 100 win 300
        finish
    """,
        observe=True,
    )


def test_c8_so_it_does_across_2_32_and_on_several_flows(play: Player) -> None:
    play(
        f"""{WINDOWS}
        P#2 S. 0 ack 1 mss 1460 ws 7
        S#2 S. 0 ack 1 mss 1460 ws 7
        >#2 S. 0 ack 1
        P#2 . 1 ack 2 win 20
        S#2 . 1 ack 2 win 12
        >#2 . 1 ack 2 win 12
        P#2 . 1:11 ack 2 win 20
        S#2 . 1:6 ack 2 win 12
        {ANOTHER_DIFFERS}
        > . 1 ack 100 win 434
        >#2 . 1:11 ack 2 win 20
        >#1 . 1:101 ack 1
        P . 1 ack 100 win 500
        > . 1 ack 100 win 200
        P#2 . 1 ack 3 win 20
        S#2 . 1 ack 3 win 20
        >#2 . 1 ack 3 win 20
        finish
    """,
        observe=True,
        c_isn=2**32 - 100,
    )


def test_c8_an_acknowledgement_that_the_svm_has_not_made_brings_it_up_to_the_pvm(play: Player) -> None:
    play(
        f"""{HANDSHAKE}
        P . 1 ack 500 win 300
        S . 1 ack 100 win 10000
        > . 1 ack 100 win 700
        {ANOTHER_DIFFERS}
        > . 1 ack 500 win 300
        >#1 . 1:101 ack 1
        P . 1:11 ack 500 win 300
        S . 1:11 ack 400 win 200
        > . 1:11 ack 500 win 300
        finish
    """,
        observe=True,
    )


def test_c8_the_svm_keeps_the_wider_window_on_the_flow_that_differs(play: Player) -> None:
    play(
        f"""{HANDSHAKE}
        P . 1 ack 100 win 0
        S . 1 ack 100 win 200
        > . 1 ack 100 win 0
        P . 1:101 ack 100 win 0
        S . 1:101 ack 100 win 200 flip 50
        ! payload 49
        > . 1:101 ack 100 win 0
        P . 101 ack 100 win 353
        > . 101 ack 100 win 200
        finish
    """,
        observe=True,
    )


def test_c8_a_window_that_was_waited_for_brings_the_svm_up_to_it(play: Player) -> None:
    """Or each update of a closed window would be missed anew."""
    play(
        f"""{HANDSHAKE}
        P . 1 ack 100 win 0
        S . 1 ack 100 win 0
        > . 1 ack 100 win 0
        P . 1 ack 100 win 434
        +3s tick
        ! missing-secondary 0
        > . 1 ack 100 win 434
        P . 1 ack 100 win 0
        > . 1 ack 100 win 0
        P . 1 ack 100 win 300
        > . 1 ack 100 win 300
        +9s tick
    """,
        observe=True,
    )


@pytest.mark.parametrize("c_isn", [5000, 2**32 - 100])
@pytest.mark.parametrize("reset", ["R", "R."])
def test_c8_a_reset_behind_what_differs_stays(play: Player, reset: str, c_isn: int) -> None:
    """In either order it is one difference."""
    ack = " ack 1" if reset == "R." else ""
    play(
        f"""{HANDSHAKE}
        S . 1:11 ack 1 flip 4
        S {reset} 11{ack}
        P . 1:11 ack 1
        ! payload 3
        > . 1:11 ack 1
        P {reset} 11{ack}
        > {reset} 11{ack}
        finish
    """,
        observe=True,
        c_isn=c_isn,
    )


def test_c8_a_reset_that_stays_is_missed_if_the_pvm_does_not_reset(play: Player) -> None:
    play(
        f"""{HANDSHAKE}
        S . 1:11 ack 1 flip 4
        S R. 11 ack 1
        P . 1:11 ack 1
        ! payload 3
        > . 1:11 ack 1
        +3s tick
        ! missing-primary 10
        +9s tick
    """,
        observe=True,
    )


def test_guests_that_open_connections_are_paired_in_order(play: Player) -> None:
    play("""
        P#7 S 0 mss 1460 sport 3000
        P#7 S 0 mss 1460 sport 3001
        S#7 S 0 mss 1460 sport 4000
        >#7 S 0 sport 3000
        S#7 S 0 mss 1460 sport 4001
        >#7 S 0 sport 3001
        P#7 . 1:101 ack 1 sport 3001
        S#7 . 1:101 ack 1 sport 4001
        >#7 . 1:101 ack 1 sport 3001
    """)


def test_c4_the_svms_ports_are_the_pvms_from_then_on(play: Player) -> None:
    """What it says from 5001 is no more of the connection that it had from there."""
    committed = f"""{TWO_FROM_OTHER_PORTS}
        {CHECKPOINT}
        svm_loaded
        commit
    """
    play(f"""{committed}
        P . 1:101 ack 1 sport 5001
        S . 1:101 ack 1 sport 5001
        > . 1:101 ack 1 sport 5001
    """)
    play(f"""{committed}
        P . 1 ack 5001 sport 5000
        S . 1 ack 9001 sport 5001
    """)
    play(f"""{committed}
        P R 1 sport 5000
        S R 1 sport 5001
    """)


def test_a_port_of_the_svm_gets_its_own_meaning_again(play: Player) -> None:
    play("""
        P S 0 mss 1460 sport 5000
        S S 0 mss 1460 sport 5001
        > S 0 sport 5000
        P R 1 sport 5000
        S R 1 sport 5001
        > R 1 sport 5000
        P isn 2000000
        S isn 8000000
        P S 0 mss 1460 sport 5001
        S S 0 mss 1460 sport 5001
        > S 0 sport 5001
        P . 1:101 ack 1 sport 5001
        S . 1:101 ack 1 sport 5001
        > . 1:101 ack 1 sport 5001
        +4s tick
    """)


def test_c7_nothing_leaves_of_a_pvm_that_contradicts_itself(play: Player) -> None:
    """What leaves is the SVM's."""
    play(f"""{HANDSHAKE}
        P . 51:151 ack 1 flip 60
        P . 1:101 ack 1
        ! payload 59
        S . 1:101 ack 9
        failover
        > . 1:101 ack 9
    """)


def test_housekeeping_leaves_while_output_is_held(play: Player) -> None:
    """Or nobody could reach the VM until the first checkpoint."""
    play("""
        hold
        P arp
        > arp
        P udp "data"
    """)


def test_a_fin_that_was_lost_before_the_commit_is_repeated(play: Player) -> None:
    """Nobody has seen what stands at the last position that the PVM's empty segment shows."""
    lost = f"""{HANDSHAKE}
        P . 1:101 ack 1
        S . 1:101 ack 1
        > . 1:101 ack 1
        P . 102 ack 2
        S . 102 ack 2
        > . 102 ack 2
        svm_stop
        pvm_stop
        commit
    """
    play(f"""{lost}
        P F. 101 ack 2
        > F. 101 ack 2
        P F. 101 ack 2
        > F. 101 ack 2
        P . 101:102 ack 2
        > . 101:102 ack 2
    """)
    play(f"""{lost}
        P . 101:102 ack 2
        > . 101:102 ack 2
        P F. 101 ack 2
        ! control 100
    """)
    play(f"""{lost}
        P F. 100 ack 2
        ! control 99
    """)
