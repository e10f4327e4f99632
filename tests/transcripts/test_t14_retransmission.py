"""T14: a retransmission repeats what both guests have sent, or it is a divergence."""

import pytest
from transcripts.common import CHECKPOINT, HANDSHAKE, Player

CHECK = {"digest_bytes": 1 << 20}
AGREED = f"""{HANDSHAKE}
    P . 1:1461 ack 1
    S . 1:1461 ack 1
    > . 1:1461 ack 1
    P . 1461:2921 ack 1
    S . 1461:2921 ack 1
    > . 1461:2921 ack 1
"""


def test_a_byte_that_differs_is_a_divergence_at_the_pieces_beginning(play: Player) -> None:
    play(
        f"""{AGREED}
        P . 1:1461 ack 1 flip 701
        ! payload 512
        S . 1:1461 ack 1
    """,
        **CHECK,
    )


def test_where_retransmissions_are_trusted_it_leaves(play: Player) -> None:
    play(f"""{HANDSHAKE}
        P . 1:4 ack 1 "abc"
        S . 1:4 ack 1 "abc"
        > . 1:4 ack 1 "abc"
        P . 1:4 ack 1 "abX"
        > . 1:4 ack 1 "abX"
    """)


@pytest.mark.parametrize("cut", [(1, 1461), (1, 2921), (513, 1025), (1461, 2921), (1025, 2921), (700, 1900)])
def test_the_same_bytes_leave_at_once_however_they_are_cut(play: Player, cut: tuple[int, int]) -> None:
    first, last = cut
    play(
        f"""{AGREED}
        P . {first}:{last} ack 1
        > . {first}:{last} ack 1
    """,
        **CHECK,
    )


@pytest.mark.parametrize(
    ("first", "last", "flip", "at"), [(1, 2921, 1462, 1460), (1, 2921, 1, 0), (600, 2000, 1100, 1024)]
)
def test_whole_pieces_are_compared_however_they_are_cut(
    play: Player, first: int, last: int, flip: int, at: int
) -> None:
    play(
        f"""{AGREED}
        P . {first}:{last} ack 1 flip {flip}
        ! payload {at}
    """,
        **CHECK,
    )


def test_the_edges_of_pieces_cannot_be_and_leave(play: Player) -> None:
    play(
        f"""{HANDSHAKE}
        P . 1:7 ack 1 "abcdef"
        S . 1:7 ack 1 "abcdef"
        > . 1:7 ack 1 "abcdef"
        P . 1:5 ack 1 "abcX"
        > . 1:5 ack 1 "abcX"
    """,
        **CHECK,
    )


def test_an_edge_is_compared_with_what_the_pvm_has_waiting(play: Player) -> None:
    play(
        f"""{HANDSHAKE}
        P . 1:3001 ack 1
        S . 1:101 ack 1
        P . 51:91 ack 1 flip 60
        ! payload 59
    """,
        **CHECK,
    )


def test_an_edge_is_compared_with_what_the_svm_has_waiting(play: Player) -> None:
    play(
        f"""{HANDSHAKE}
        S . 1:3001 ack 1
        P . 1:101 ack 1
        > . 1:101 ack 1
        P . 51:91 ack 1
        > . 51:91 ack 1
        P . 51:91 ack 1 flip 60
        ! payload 59
    """,
        **CHECK,
    )


def test_the_repeated_part_of_a_segment_that_goes_further(play: Player) -> None:
    play(
        f"""{AGREED}
        P . 1461:4381 ack 1 flip 2000
        ! payload 1536
        S . 2921:4381 ack 1
    """,
        **CHECK,
    )


def test_across_two_to_the_thirty_second(play: Player) -> None:
    play(
        f"""{AGREED}
        P . 1:2921 ack 1 flip 1500
        ! payload 1460
    """,
        p_isn=2**32 - 700,
        s_isn=2**32 - 20,
        **CHECK,
    )


def test_what_the_client_has_acknowledged_is_not_compared(play: Player) -> None:
    play(
        f"""{HANDSHAKE}
        P . 1:4 ack 1 "abc"
        S . 1:4 ack 1 "abc"
        > . 1:4 ack 1 "abc"
        C . 1 ack 4
        P . 1:4 ack 1 "abX"
        > . 1:4 ack 1 "abX"
    """,
        **CHECK,
    )


@pytest.mark.parametrize("ack", [2, 3, 5, 100, 2**31 - 1, 2**31 + 1, 2**32 - 5])
def test_an_acknowledgement_of_less_or_beyond_what_has_left_ends_nothing(play: Player, ack: int) -> None:
    play(
        f"""{HANDSHAKE}
        P . 1:4 ack 1 "abc"
        S . 1:4 ack 1 "abc"
        > . 1:4 ack 1 "abc"
        C . 1 ack {ack}
        P . 1:4 ack 1 "abX"
        ! payload 0
    """,
        **CHECK,
    )


def test_agreed_bytes_that_have_not_left_are_not_acknowledged(play: Player) -> None:
    play(
        f"""{HANDSHAKE}
        P . 1:7 ack 1 "abcdef"
        S . 1:4 ack 1 "abc"
        C . 1 ack 4
        P . 1:4 ack 1 "abX"
        ! payload 2
    """,
        **CHECK,
    )


def test_digests_outlive_a_commit(play: Player) -> None:
    play(
        f"""{AGREED}
        {CHECKPOINT}
        commit
        P . 1:1461 ack 1 flip 701
        ! payload 512
    """,
        **CHECK,
    )


def test_what_a_commit_released_is_what_clients_know(play: Player) -> None:
    play(
        f"""{HANDSHAKE}
        P . 1:4 ack 1 "abc"
        S . 1:4 ack 1 "abc"
        > . 1:4 ack 1 "abc"
        P . 1:7 ack 1 "abXdef"
        ! payload 0
        {CHECKPOINT}
        commit
        > . 1:7 ack 1 "abXdef"
        P . 1:7 ack 1 "abXdef"
        > . 1:7 ack 1 "abXdef"
        P . 1:7 ack 1 "abXdeY"
        ! payload 0
    """,
        **CHECK,
    )


def test_what_lies_before_the_first_byte_seen_leaves(play: Player) -> None:
    play(
        """
        P . 1001:1101 ack 1
        S . 1001:1101 ack 1
        > . 1001:1101 ack 1
        svm_stop
        pvm_stop
        commit
        P . 501:601 ack 1
        > . 501:601 ack 1
        P . 1001:1101 ack 1 flip 1001
        ! payload 0
    """,
        s_isn=1_000_000,
        **CHECK,
    )


def test_a_keepalive_with_a_garbage_octet(play: Player) -> None:
    play(
        f"""{HANDSHAKE}
        P . 1:4 ack 1 "abc"
        S . 1:4 ack 1 "abc"
        > . 1:4 ack 1 "abc"
        P . 3:4 ack 1 "X"  #  nobody has been heard to acknowledge anything
        > . 3:4 ack 1 "X"
        C . 1 ack 4
        P . 3:4 ack 1 "X"
        > . 3:4 ack 1 "X"
    """,
        **CHECK,
    )


def test_an_octet_that_the_client_is_known_to_lack_is_no_keepalive(play: Player) -> None:
    play(
        f"""{HANDSHAKE}
        P . 1:3 ack 1 "ab"
        S . 1:3 ack 1 "ab"
        > . 1:3 ack 1 "ab"
        P . 3:4 ack 1 "c"
        S . 3:4 ack 1 "c"
        > . 3:4 ack 1 "c"
        C . 1 ack 3
        P . 3:4 ack 1 "c"
        > . 3:4 ack 1 "c"
        P . 3:4 ack 1 "X"
        ! payload 2
    """,
        **CHECK,
    )


@pytest.mark.parametrize("settings", [CHECK, {}])
def test_a_byte_in_the_place_of_the_fin(play: Player, settings: dict[str, int]) -> None:
    play(
        f"""{HANDSHAKE}
        P F. 1:4 ack 1 "abc"
        S F. 1:4 ack 1 "abc"
        > F. 1:4 ack 1 "abc"
        P F. 1:4 ack 1 "abc"
        > F. 1:4 ack 1 "abc"
        P . 1:5 ack 1 "abcX"
        ! control 3
    """,
        **settings,
    )


def test_no_part_of_it_leaves_at_a_failover(play: Player) -> None:
    play(
        f"""{HANDSHAKE}
        P . 1:4 ack 1 "abc"
        S . 1:4 ack 1 "abc"
        > . 1:4 ack 1 "abc"
        P . 1:7 ack 1 "abXdef"
        ! payload 0
        failover
    """,
        **CHECK,
    )


def test_observed_it_is_followed(play: Player) -> None:
    play(
        f"""{HANDSHAKE}
        P . 1:4 ack 1 "abc"
        S . 1:4 ack 1 "abc"
        > . 1:4 ack 1 "abc"
        P . 1:4 ack 1 "abX"
        ! payload 0
        > . 1:4 ack 1 "abX"
        P . 4:7 ack 1 "def"
        C . 1 ack 7
        S . 4:7 ack 1 "def"
        > . 4:7 ack 1 "def"
        P . 4:7 ack 1 "Xef"
        > . 4:7 ack 1 "Xef"
    """,
        observe=True,
        **CHECK,
    )
