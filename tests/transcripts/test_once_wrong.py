"""Cases in which the compiled core and the reference once judged differently, each with what was wrong."""

import pytest
from transcripts.common import HANDSHAKE, Player

CASES = {
    "mapped port again": (
        "T10: with another source port, the next connection's acknowledgement releases one of the former",
        """
        P S 0 mss 1460 sport 3000
        S S 0 mss 1460 sport 4000
        > S 0 sport 3000
        P . 1 ack 100 sport 3000
        S isn 9000000
        S S 0 mss 1460 sport 4000
        S . 1 ack 77000 sport 4000
        """,
        {},
    ),
    "the window of a reset": (
        "T5: a SYN that the SVM had said too leaves with the window of the reset that it sent after",
        """
        S S 0 mss 1460 win 20000
        S R 11 win 0
        P S 0 mss 1460 win 20000
        > S 0 win 20000
        """,
        {},
    ),
    "said behind a hole": (
        "M2: what the PVM said behind a hole of its own counts as not said",
        f"""{HANDSHAKE}
        S F. 101 ack 1
        +1s tick
        P F. 101 ack 1
        > F. 101 ack 1
        +2s tick
        +1s tick
        finish
        ! missing-secondary 100
        """,
        {},
    ),
    "urgent and empty": (
        "T11: a segment with URG and no data leaves though the SVM has announced nothing",
        f"""{HANDSHAKE}
        S . 1 ack 1
        P U. 1 ack 1 urg 300
        """,
        {},
    ),
    "carried by a reset": (
        "T6: a RST that is held takes an owed acknowledgement with it",
        f"""{HANDSHAKE}
        P . 1:101 ack 5000
        S . 1:101 ack 4000
        > . 1:101 ack 4000
        P R. 101 ack 5000
        S . 101 ack 5000
        > . 101 ack 5000
        """,
        {},
    ),
    "reset before data": (
        "3.1: a RST is taken for the place where a stream in mid-course is",
        """
        P R. 5001 ack 1
        P . 9001:9101 ack 1
        S . 9001:9101 ack 1
        > . 9001:9101 ack 1
        """,
        {"s_isn": 1_000_000},
    ),
    "incomplete at the end": (
        "M3, F3: fragments that never became a datagram are no divergence at the end",
        """
        P frag 7 0 + "0123456701234567"
        finish
        ! missing-secondary 0
        """,
        {},
    ),
    "late acknowledgement of the connection before": (
        "T10: what the PVM says before its SYN makes that SYN a connection of its own",
        """
        S S. 0 ack 1 mss 1460
        P . 77 ack 1
        P S. 0 ack 1 mss 1460
        > S. 0 ack 1
        """,
        {},
    ),
    "begun before the flow": (
        "M2: an SVM segment that begins before a flow was first seen counts for nothing, its end too",
        """
        S . 1:1001 ack 1
        P . 501:801 ack 1
        > . 501:801 ack 1
        +3s tick
        ! missing-primary 300
        """,
        {"s_isn": 1_000_000},
    ),
    "below the first byte seen": (
        "M1: what is missing below the first byte seen has a later byte's offset",
        """
        S . 501:601 ack 1
        P . 501:601 ack 1
        > . 501:601 ack 1
        P . 1:101 ack 1
        +3s tick
        ! missing-secondary 0
        """,
        {"s_isn": 1_000_000},
    ),
    "past what waits below": (
        "T9: a segment below the first byte seen holds up what is agreed",
        """
        P . 501:601 ack 1
        S . 501:901 ack 1
        > . 501:601 ack 1
        P . 1:501 ack 1
        P . 601:701 ack 1
        > . 601:701 ack 1
        """,
        {"s_isn": 1_000_000},
    ),
    "spoke before it was paired": (
        "T10: what the SVM says on a port of its own before the PVM's SYN is lost",
        """
        S S 0 mss 1460 sport 4000
        S . 1:101 ack 100 sport 4000
        P S 0 mss 1460 sport 3000
        > S 0 sport 3000
        P . 1:101 ack 100 sport 3000
        > . 1:101 ack 100 sport 3000
        """,
        {},
    ),
    "acknowledged before": (
        "T4: what the SVM acknowledged on the connection before, unseen, counts for the next one",
        """
        P S 0 mss 1460
        S . 77 ack 90000
        S S 0 mss 1460
        > S 0
        P . 1:101 ack 1
        S S. 0 ack 0 mss 1460
        """,
        {"s_isn": 1_000_000},
    ),
    "owed after a SYN": (
        "T5, T6: what is owed of a SYN/ACK's acknowledgement carries the SYN's window as if it were scaled",
        """
        P S. 0 ack 5000 mss 1460 ws 7 win 20000
        S S. 0 ack 4000 mss 1460 ws 7 win 20000
        > S. 0 ack 4000 win 20000
        S . 1 ack 5000 win 20000
        > . 1 ack 5000 win 156
        """,
        {},
    ),
    "left over from the connection before": (
        "T9: a segment that has no place holds up the SYN behind it",
        """
        S S. 0 ack 1 mss 1460
        P P. 3294967296:3294967297 ack 77
        P S. 0 ack 1 mss 1460
        > S. 0 ack 1
        """,
        {},
    ),
    "urgent below the first byte seen": (
        "T11: in mid-stream the SVM counts as having announced what lies below the first byte seen",
        """
        S U. 1:101 ack 1 urg 3
        S . 101:201 ack 1
        P . 101:301 ack 1
        P U. 51:101 ack 1 urg 10
        """,
        {"s_isn": 1_000_000},
    ),
    "pieces above what waits for its urgent position": (
        "T13: a segment below the first byte seen, all agreed, is taken for the lowest one that is not",
        """
        P . 101:301 ack 1
        S . 101:201 ack 1
        P U. 51:101 ack 1 urg 10
        S . 51:101 ack 1
        +200ms tick
        S . 101:201 ack 1
        > . 101:201 ack 1
        """,
        {"s_isn": 1_000_000},
    ),
    "one byte beyond a hole": (
        "T13: of a super-frame that begins with one byte that is agreed beyond a hole, that is not released",
        f"""{HANDSHAKE}
        S . 11:12 ack 1
        P . 11:14 ack 1 cut 1
        +6ms tick
        > . 11:12 ack 1
        """,
        {},
    ),
    "agreed before it was held": (
        "M1: a position that is agreed beyond a hole is reported as missing, of a segment held unjudged",
        f"""{HANDSHAKE}
        S . 1:101 ack 1
        P . 51:61 ack 1
        > . 51:61 ack 1
        hold
        P . 51:81 ack 1
        finish
        ! missing-secondary 60
        """,
        {},
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_once_judged_differently(play: Player, name: str) -> None:
    _, transcript, settings = CASES[name]
    play(transcript, **settings)
