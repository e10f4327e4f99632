"""T12: keep-alives and zero-window probes."""

import pytest
from transcripts.common import CHECKPOINT, HANDSHAKE, Player


def test_an_empty_keepalive_is_a_pure_acknowledgement(play: Player) -> None:
    play(f"""{HANDSHAKE}
        P . 1:101 ack 1
        S . 1:101 ack 1
        > . 1:101 ack 1
        P . 100 ack 1
        > . 100 ack 1
    """)


def test_one_with_an_octet_is_a_retransmission(play: Player) -> None:
    play(f"""{HANDSHAKE}
        P . 1:101 ack 1
        S . 1:101 ack 1
        > . 1:101 ack 1
        P . 100:101 ack 1
        > . 100:101 ack 1
    """)


def test_a_probe_of_a_zero_window_carries_the_next_byte(play: Player) -> None:
    play(f"""{HANDSHAKE}
        P . 1:2 ack 1
        P . 1:2 ack 1
        S . 1:2 ack 1
        > . 1:2 ack 1
        > . 1:2 ack 1
    """)


# A connection that is first seen by a keep-alive: both guests have the same numbers.

MIDSTREAM = {"p_isn": 1_000_000, "s_isn": 1_000_000}
WRAPPING = {"p_isn": 2**32 - 100, "s_isn": 2**32 - 100}  # 100 is the number 0
DATA = """
    P . 100:200 ack 1
    S . 100:150 ack 1
    S . 150:200 ack 1
    > . 100:200 ack 1
    P F. 200 ack 1
    S F. 200 ack 1
    > F. 200 ack 1
    +9s tick
    finish
"""
ANSWERED = "S . 99 ack 1 \n P . 99 ack 1 \n > . 99 ack 1 \n C . 1 ack 100 \n P . 100 ack 1 \n > . 100 ack 1"
PROBES = "S . 99 ack 1" + " \n P . 99 ack 1 win 0 \n > . 99 ack 1 win 0" * 2
ONE_HIGHER = [
    "P . 99 ack 1",  # the PVM's alone
    "P . 99 ack 1 \n S . 99 ack 1 \n > . 99 ack 1",  # both
    "S . 99 ack 1 \n P . 99 ack 1 \n > . 99 ack 1",  # the SVM's first
    "S . 100 ack 1 \n P . 99 ack 1 \n > . 99 ack 1 \n P . 99 ack 1 \n > . 99 ack 1",
    ANSWERED,
    PROBES,
]


@pytest.mark.parametrize("first", ONE_HIGHER)
@pytest.mark.parametrize("numbers", [MIDSTREAM, WRAPPING])
def test_a_connection_first_seen_by_a_keepalive_begins_one_higher(
    play: Player, first: str, numbers: dict[str, int]
) -> None:
    data = DATA if "S ." in first else DATA.replace("S . 150:200", "> . 99 ack 1 \n S . 150:200", 1)
    play(first + data, **numbers)


@pytest.mark.parametrize("numbers", [MIDSTREAM, WRAPPING])
def test_what_was_sent_in_another_order_begins_there_too(play: Player, numbers: dict[str, int]) -> None:
    play(
        """
        P . 99 ack 1
        P . 150:200 ack 1
        S . 100:200 ack 1
        > . 99 ack 1
        > . 150:200 ack 1
        P . 100:150 ack 1
        > . 100:150 ack 1
        +9s tick
    """,
        **numbers,
    )
    play(
        """
        S . 1:99 ack 1
        S . 100:200 ack 1
        P . 99 ack 1
        > . 99 ack 1
        P . 100:200 ack 1
        > . 100:200 ack 1
        finish
    """,
        **numbers,
    )


@pytest.mark.parametrize("numbers", [MIDSTREAM, WRAPPING])
def test_a_difference_behind_a_keepalive_is_found(play: Player, numbers: dict[str, int]) -> None:
    play(
        """
        P . 99 ack 1
        P . 100:200 ack 1
        S . 100:200 ack 1 flip 120
        ! payload 20
    """,
        **numbers,
    )
    play(
        """
        P . 99 ack 1
        S . 99 ack 1
        > . 99 ack 1
        P . 100:200 ack 1
        +3s tick
        ! missing-secondary 0
    """,
        **numbers,
    )


@pytest.mark.parametrize("numbers", [MIDSTREAM, WRAPPING])
def test_an_acknowledgement_at_the_next_byte_begins_there(play: Player, numbers: dict[str, int]) -> None:
    """Or a capture that lost its first bytes would be called identical."""
    play(
        """
        P . 100 ack 1
        S . 100:200 ack 1
        > . 100 ack 1
        P . 150:200 ack 1
        > . 150:200 ack 1
        finish
        ! missing-primary 0
    """,
        **numbers,
    )


@pytest.mark.parametrize("numbers", [MIDSTREAM, WRAPPING])
@pytest.mark.parametrize("svm", [["S . 100:101 ack 1", "S . 101:200 ack 1"], ["S . 100:200 ack 1"]])
def test_nor_is_one_lost_byte_taken_for_a_keepalive(
    play: Player, numbers: dict[str, int], svm: list[str]
) -> None:
    """The SVM begins where the PVM's empty segment was, so there is a byte, whichever came first."""
    leaves = "> . 100 ack 1"
    for events in (
        ["P . 100 ack 1", svm[0], leaves, *svm[1:], "P . 101:200 ack 1"],
        [*svm, "P . 100 ack 1", leaves, "P . 101:200 ack 1"],
        ["S . 100 ack 1", "P . 100 ack 1", leaves, "P . 101:200 ack 1", *svm],
    ):
        play("\n".join([*events, "> . 101:200 ack 1", "finish", "! missing-primary 0"]), **numbers)


@pytest.mark.parametrize("numbers", [MIDSTREAM, WRAPPING])
def test_a_keepalive_with_an_octet_is_said_by_both(play: Player, numbers: dict[str, int]) -> None:
    play(
        f"""
        P . 99:100 "x" ack 1
        S . 99:100 "x" ack 1
        > . 99:100 "x" ack 1
        {DATA}
    """,
        **numbers,
    )
    play(
        """
        P . 99:100 "x" ack 1
        S . 100:200 ack 1
        P . 100:200 ack 1
        > . 100:200 ack 1
        +3s tick
        ! missing-secondary 0
    """,
        **numbers,
    )


@pytest.mark.parametrize("numbers", [MIDSTREAM, WRAPPING])
def test_a_commit_leaves_the_end_as_provisional(play: Player, numbers: dict[str, int]) -> None:
    play(
        f"""
        P . 99 ack 1
        {CHECKPOINT}
        commit
        > . 99 ack 1
        {DATA}
    """,
        **numbers,
    )
    play(
        f"""
        hold
        P . 99 ack 1
        {CHECKPOINT}
        commit
        > . 99 ack 1
        {CHECKPOINT}
        commit
        P . 99 ack 1
        > . 99 ack 1
        S . 100:200 ack 1
        P . 100:200 ack 1
        > . 100:200 ack 1
    """,
        **numbers,
    )


@pytest.mark.parametrize("numbers", [MIDSTREAM, WRAPPING])
def test_no_byte_goes_unseen_where_a_commit_came_between(play: Player, numbers: dict[str, int]) -> None:
    """The byte that was taken for none was lost before the proxy: its repetition needs the SVM's too."""
    play(
        f"""
        P . 99 ack 1
        {CHECKPOINT}
        commit
        > . 99 ack 1
        S . 100:200 ack 1
        P . 100:200 ack 1
        > . 100:200 ack 1
        P . 99:100 ack 1
        S . 99:100 ack 1 flip 99
        ! payload 0
    """,
        **numbers,
    )


@pytest.mark.parametrize("numbers", [MIDSTREAM, WRAPPING])
def test_after_bytes_were_seen_no_empty_segment_is_provisional(play: Player, numbers: dict[str, int]) -> None:
    play(
        f"""
        P . 1:100 ack 1
        S . 1:100 ack 1
        > . 1:100 ack 1
        P . 99 ack 1
        > . 99 ack 1
        {CHECKPOINT}
        commit
        P . 101:200 ack 1
        S . 101:200 ack 1
        > . 101:200 ack 1
        +3s tick
        finish
        ! missing-secondary 100
    """,
        **numbers,
    )


@pytest.mark.parametrize("numbers", [MIDSTREAM, WRAPPING])
def test_a_connection_that_was_forgotten_goes_on(play: Player, numbers: dict[str, int]) -> None:
    """The core makes room for the second connection (B2); the reference has no bound."""
    play(
        """
        P . 1:100 ack 1
        S . 1:100 ack 1
        > . 1:100 ack 1
        +75s P#1 . 1:100 ack 1
        S#1 . 1:100 ack 1
        >#1 . 1:100 ack 1
        +75s S . 99 ack 1
        P . 99 ack 1
        > . 99 ack 1
        P . 100:200 ack 1
        S . 100:200 ack 1
        > . 100:200 ack 1
        +9s tick
    """,
        **numbers,
        max_flows=1,
    )
