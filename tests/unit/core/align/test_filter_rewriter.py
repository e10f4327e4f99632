"""The SVM's output as QEMU's filter-rewriter leaves it: the SYN/ACK in its numbers, the rest in the PVM's."""

import pytest
from transcripts.common import HANDSHAKE
from transcripts.play import Play

from colo_proxy.core.comparator import Comparator

PVM, SVM = 1_000_000, 7_000_000


def play(transcript: str, p_isn: int = PVM, s_isn: int = SVM, *, compare_only: bool = True) -> None:
    """`S isn`, behind the handshake, is where the rewriter begins."""
    Play(Comparator(compare_only=compare_only), p_isn=p_isn, s_isn=s_isn, c_isn=500).run(
        HANDSHAKE + transcript
    )


def test_who_does_not_know_of_it_finds_nothing_equal() -> None:
    play(
        f"""
        S isn {PVM}
        P . 1:101 ack 1
        S . 1:101 ack 1
        """,
        compare_only=False,
    )


# The second pair puts the SVM's numbers within a window's reach of the PVM's, across 2³².
@pytest.mark.parametrize(("p_isn", "s_isn"), [(PVM, SVM), (2**32 - 700, 200), (PVM, PVM)])
def test_bytes_ends_and_differences_are_found_in_the_pvms_numbers(p_isn: int, s_isn: int) -> None:
    play(
        f"""
        S isn {p_isn}
        P . 1:1001 ack 1
        S . 1:501 ack 1
        S . 501:1001 ack 1
        > . 1:1001 ack 1
        S . 1001:1101 ack 1 flip 1050
        P . 1001:1101 ack 1
        ! payload 1049
        """,
        p_isn,
        s_isn,
    )


def test_the_syn_ack_again_is_the_same_connections() -> None:
    play(f"""
        S isn {PVM}
        S . 1:101 ack 1
        S isn {SVM}
        S S. 0 ack 1 mss 1460
        S isn {PVM}
        P . 1:201 ack 1
        S . 101:201 ack 1
        > . 1:201 ack 1
    """)


def test_a_fin_and_its_acknowledgement() -> None:
    play(f"""
        S isn {PVM}
        P F. 1:11 ack 1
        S F. 1:11 ack 1
        > F. 1:11 ack 1
        P . 12:12 ack 2
        S . 12:12 ack 2
        > . 12 ack 2
    """)


def test_nothing_was_rewritten() -> None:
    """A connection of the guests' own, or no rewriter at all: the SVM goes on behind its SYN."""
    play("""
        P . 1:1001 ack 1
        S . 1:501 ack 1
        S . 501:1001 ack 1
        > . 1:1001 ack 1
    """)


def test_after_a_checkpoint_nothing_is_taken_off() -> None:
    play(f"""
        S isn {PVM}
        P . 1:101 ack 1
        svm_stop
        pvm_stop
        commit
        > . 1:101 ack 1
        P . 101:201 ack 1
        S . 101:201 ack 1
        > . 101:201 ack 1
    """)
