"""T8: a reset leaves when the SVM has reset the connection too."""

import pytest
from transcripts.common import HANDSHAKE, Player


def test_both_reset(play: Player) -> None:
    play(f"""{HANDSHAKE}
        P R. 1 ack 1
        S R. 1 ack 1
        > R. 1 ack 1
    """)
    play(f"""{HANDSHAKE}
        S R 1
        P R 1
        > R 1
    """)


def test_the_acknowledgement_of_a_reset_is_clamped(play: Player) -> None:
    play(f"""{HANDSHAKE}
        P R. 1 ack 900
        S R. 1 ack 500
        > R. 1 ack 500
    """)


def test_against_a_fin(play: Player) -> None:
    play(f"""{HANDSHAKE}
        P R. 1 ack 1
        S F. 1 ack 1
        ! control 0
    """)
    play(f"""{HANDSHAKE}
        P . 1:101 ack 1
        S F. 1:101 ack 1
        > . 1:101 ack 1
        P R. 101 ack 1
        ! control 100
    """)


def test_against_a_syn(play: Player) -> None:
    play("""
        P R. 0 ack 1
        S S. 0 ack 1
        ! control 0
    """)


def test_alone_it_is_missing(play: Player) -> None:
    play(f"""{HANDSHAKE}
        P R. 1 ack 1
        S . 1 ack 1
        +2s tick
        +1s tick
        ! missing-secondary 0
    """)


def test_a_closed_port_on_both(play: Player) -> None:
    play(
        """
        P R. 0 ack 1
        S R. 0 ack 1
        > R. 0 ack 1
    """,
        p_isn=0,
        s_isn=0,
    )


def test_a_port_that_only_the_pvm_refuses_the_second_time(play: Player) -> None:
    """The client comes again from the same port; its new ISN may be the higher or the lower one."""
    refused = """
        C isn 5000000
        P R. 0 ack 1
        S R. 0 ack 1
        > R. 0 ack 1
    """
    for isn in (4000000, 6000000):
        play(
            f"""{refused}
            C isn {isn}
            P R. 0 ack 1
            S isn 77000
            S S. 0 ack 1
            +2s tick
            +1s tick
            ! missing-secondary 0
            ! missing-primary 0
        """,
            p_isn=0,
            s_isn=0,
        )
        play(
            f"""{refused}
            C isn {isn}
            P R. 0 ack 1
            S R. 0 ack 1
            > R. 0 ack 1
        """,
            p_isn=0,
            s_isn=0,
        )


def test_the_same_text_in_both_resets(play: Player) -> None:
    """RFC 9293, 3.5.3: a reset may tell why."""
    for ack in ("", " ack 1"):
        play(f"""{HANDSHAKE}
            P R{"." if ack else ""} 1{ack} "out of memory"
            S R{"." if ack else ""} 1{ack} "out of memory"
            > R{"." if ack else ""} 1:14{ack} "out of memory"
        """)
        play(f"""{HANDSHAKE}
            S R{"." if ack else ""} 1{ack} "why"
            P R{"." if ack else ""} 1{ack} "why"
            > R{"." if ack else ""} 1:4{ack} "why"
        """)


@pytest.mark.parametrize("other", ['"out of memorx"', '"out of memor"', '"out of memory, and luck"', ""])
def test_another_text_in_each_reset(play: Player, other: str) -> None:
    play(f"""{HANDSHAKE}
        P R. 1 ack 1 "out of memory"
        S R. 1 ack 1 {other}
        +2s tick
        +1s tick
        ! missing-secondary 0
    """)


def test_the_text_of_the_latest_reset_counts(play: Player) -> None:
    play(f"""{HANDSHAKE}
        S R. 1 ack 1 "first"
        S R. 1 ack 1 "second"
        P R. 1 ack 1 "second"
        > R. 1:7 ack 1 "second"
        P R. 1 ack 1 "first"
        +3s tick
        ! missing-secondary 0
    """)
    play(f"""{HANDSHAKE}
        P R. 1 ack 1 "first"
        svm_stop
        pvm_stop
        commit
        > R. 1:6 ack 1 "first"
        P R. 1 ack 1 "first"
        > R. 1:6 ack 1 "first"
    """)


def test_text_that_the_svm_has_not_sent_waits_for_a_commit(play: Player) -> None:
    play(f"""{HANDSHAKE}
        P R. 1:7 ack 1
        S R. 1 ack 1
        +2s tick
        +1s tick
        ! missing-secondary 0
        svm_stop
        pvm_stop
        commit
        > R. 1:7 ack 1
    """)


def test_a_reset_with_syn_opens_nothing(play: Player) -> None:
    play(
        """
        P . 1:3 ack 1
        S . 1:3 ack 1
        > . 1:3 ack 1
        P SR 3000
        S SR 3000
        > SR 3000
    """,
        s_isn=1000,
        p_isn=1000,
    )


def test_the_end_of_one_connection_refuses_no_syn_for_the_next(play: Player) -> None:
    """The SVM resets the connection that was over, and the PVM a SYN that came after it."""
    play(f"""{HANDSHAKE}
        P F. 1 ack 2000
        S F. 1 ack 2000
        > F. 1 ack 2000
        S R 2
        P R. 0 ack 5
    """)
