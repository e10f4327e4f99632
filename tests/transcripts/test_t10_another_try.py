"""T10: a SYN/ACK repeated with another ISN (SYN cookies), and the client acknowledges either."""

import pytest

FORMER = """
    P S. 0 ack 1 mss 1460
    S S. 0 ack 1 mss 1460
    > S. 0 ack 1
"""
BEHIND = [1_005_000, 2_000_000, 300_000_000]  # the ISN of the latter; that of the former is 1,000,000
AHEAD = [999_000, 500_000, 4_294_000_000]


def latter(isn: int) -> str:
    return f"""
        P isn {isn}
        S isn 9000000
        P S. 0 ack 1 mss 1460
        S S. 0 ack 1 mss 1460
        > S. 0 ack 1
    """


CLIENT_TAKES_THE_FORMER = """
    P isn 1000000
    S isn 7000000
    C . 1 ack 1
    P . 1:101 ack 1
    S . 1:101 ack 1
"""
CHECKPOINT = """
    svm_stop
    pvm_stop
    commit
    > . 1:101 ack 1
"""


@pytest.mark.parametrize("isn", [*BEHIND, *AHEAD, 3_000_000_000])
def test_the_latter_is_taken(play, isn):
    play(f"""{FORMER}{latter(isn)}
        C . 1 ack 1
        P . 1:101 ack 1
        S . 1:101 ack 1
        > . 1:101 ack 1
    """)


@pytest.mark.parametrize("isn", BEHIND)
@pytest.mark.parametrize("digest_bytes", [0, 1 << 20])
def test_no_commit_agrees_what_lies_before_the_syn(play, isn, digest_bytes):
    """What the PVM sends lies behind what the commit found: no retransmission; the SVM must send it too."""
    play(
        f"""{FORMER}{latter(isn)}{CLIENT_TAKES_THE_FORMER}
        +3s tick
        ! missing-secondary 0
        {CHECKPOINT}
        P . 101:201 ack 1
        S . 101:201 ack 1
        > . 101:201 ack 1
        S . 201:301 ack 1
        P . 201:301 ack 1
        > . 201:301 ack 1
        P . 301:401 ack 1
        +3s tick
        ! missing-secondary 0
        """,
        digest_bytes=digest_bytes,
    )
    play(f"""{FORMER}{latter(isn)}{CLIENT_TAKES_THE_FORMER}
        +3s tick
        ! missing-secondary 0
        {CHECKPOINT}
        P . 101:201 ack 1
        S . 101:201 ack 1 flip 150
        ! payload 0
    """)


@pytest.mark.parametrize("isn", [1_200_000_000, 2_000_000_000, 2_300_000_000, 3_000_000_000])
def test_more_than_the_largest_window_apart(play, isn):
    play(f"""{FORMER}{latter(isn)}{CLIENT_TAKES_THE_FORMER}
        svm_stop
        pvm_stop
        commit
        > . 1:101 ack 1
        P . 101:201 ack 1
    """)


@pytest.mark.parametrize("isn", AHEAD)
def test_what_lies_ahead_is_compared_after_one_commit(play, isn):
    ahead = (1_000_000 - isn) % 2**32
    play(f"""{FORMER}{latter(isn)}{CLIENT_TAKES_THE_FORMER}
        +3s tick
        ! missing-secondary {ahead}
        {CHECKPOINT}
        P . 101:201 ack 1
        S . 101:201 ack 1
        > . 101:201 ack 1
        P . 201:301 ack 1
        S . 201:301 ack 1 flip 240
        ! payload {ahead + 239}
    """)


@pytest.mark.parametrize("isn", BEHIND)
@pytest.mark.parametrize("who", ["P", "S"])
def test_one_guest_alone(play, who, isn):
    """It waits for the timeout, and nothing leaves that the SVM has not sent."""
    play(f"""{FORMER}
        {who} isn {isn}
        {who} S. 0 ack 1 mss 1460
        {who} isn {1_000_000 if who == "P" else 7_000_000}
        C . 1 ack 1
        P . 1:101 ack 1
        +3s tick
        ! missing-secondary 0
        {"! missing-primary 0" if who == "S" else ""}
        P . 101:201 ack 1
        +3s tick
    """)


def test_a_commit_between_the_two(play):
    play(f"""{FORMER}
        P isn 2000000
        P S. 0 ack 1 mss 1460
        svm_stop
        pvm_stop
        commit
        > S. 0 ack 1
        P isn 1000000
        P . 1:101 ack 1
        +3s tick
        ! missing-secondary 0
    """)


def test_retransmissions_behind_a_commit_still_leave(play):
    """Down to the SYN, also behind 2**30 bytes."""
    play(f"""{FORMER}
        P . 1:101 ack 1
        +3s tick
        ! missing-secondary 0
        {CHECKPOINT}
        P . 1:51 ack 1
        > . 1:51 ack 1
        P S. 0 ack 1 mss 1460
        > S. 0 ack 1
        P . -1:1 ack 1
    """)
