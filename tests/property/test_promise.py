"""What the promise's check excuses, and what it does not."""

import pytest
from models.promise import Promise, PromiseBroken
from transcripts.play import Play, split

from colo_proxy.vocabulary import Frame, Port

GUESTS = """
    P S. 0 ack 1
    S S. 0 ack 1
    P . 1:101 ack 1
    S . 1:101 ack 1
"""
KINDS = {"P": "primary", "S": "secondary", "C": "uplink"}


def check(transcript: str) -> None:
    """Each line is told to the promise; `>` is a frame of the PVM that leaves."""
    promise = Promise()
    play = Play(None, p_isn=2**32 - 50, s_isn=7_000_000, c_isn=500_000)
    for line in filter(str.strip, transcript.splitlines()):
        who, *words = split(line)
        if who == ">":
            promise.check(Frame(Port.UPLINK, play.frame("P", 0, words)))
        else:
            promise.event(KINDS[who], play.frame(who, 0, words))


@pytest.mark.parametrize("acknowledged", [51, 101])
def test_what_clients_have_acknowledged_may_be_repeated_with_other_bytes(acknowledged: int) -> None:
    check(f"""{GUESTS}
        > S. 0 ack 1
        > . 1:101 ack 1
        C . 1 ack {acknowledged}
        > . 1:101 ack 1 flip {acknowledged - 1}
    """)


@pytest.mark.parametrize(
    "client",
    [
        "> . 1:101 ack 1",  # nothing is acknowledged
        "C . 1 ack 101",  # what has not left
        "> . 1:101 ack 1\nC . 1 ack 100",  # what lies before
    ],
)
def test_what_they_have_not_may_not(client: str) -> None:
    with pytest.raises(PromiseBroken):
        check(f"""{GUESTS}
            > S. 0 ack 1
            {client}
            > . 1:101 ack 1 flip 100
        """)
