"""Cases in which the compiled core and the reference once judged differently, each with what was wrong."""

import pytest
from transcripts.common import CHECKPOINT, HANDSHAKE
from transcripts.conftest import comparator
from transcripts.play import Play

CASES = {
    "late copy": (
        "C8: a datagram that differs from those let go is dropped as if it were their late copy",
        """
        P udp "first"
        P gre "aaaa"
        S gre "bbbb"
        +6ms tick
        ! payload 0
        > udp "first"
        > gre "aaaa"
        S udp "second"
        P udp "second"
        > udp "second"
        """,
        {"observe": True, "s_isn": 1_000_000},
    ),
    "second stop": (
        "C2: what the SVM said between two svm_stops counts after the second",
        """
        svm_stop
        S . 1:101 ack 300
        svm_stop
        pvm_stop
        P . 1:101 ack 300
        commit
        """,
        {"s_isn": 1_000_000},
    ),
    "reopened after failover": (
        "C7: a connection opened anew after a failover gets the offset of the one before on its data",
        f"""{HANDSHAKE}
        failover
        S isn 9000000
        S S. 0 ack 1
        > S. 8000000 ack 1
        P isn 9000000
        S . 1:101 ack 1
        > . 1:101 ack 1
        """,
        {},
    ),
    "fin told twice": (
        "M3: observing, a FIN of the SVM alone is missing-primary after the timeout and again at the end",
        f"""{HANDSHAKE}
        S F. 1 ack 1
        +3s tick
        ! missing-primary 0
        finish
        """,
        {"observe": True},
    ),
    "run told in pieces": (
        "C8, M2: observing, one run of SVM bytes is as many divergences as it came in segments",
        f"""{HANDSHAKE}
        S . 1:101 ack 1
        +2ms tick
        S . 101:201 ack 1
        +2999ms tick
        ! missing-primary 0
        +9ms tick
        """,
        {"observe": True},
    ),
    "owed twice": (
        "T6: at a commit an owed acknowledgement leaves though a later segment carries it",
        f"""{HANDSHAKE}
        P . 1:101 ack 5000
        S . 1:101 ack 4000
        > . 1:101 ack 4000
        P . 101 ack 5000
        {CHECKPOINT}
        commit
        > . 101 ack 5000
        """,
        {},
    ),
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
    "said behind a hole": (
        "M2: what the PVM said behind a hole of its own counts as not said",
        f"""{HANDSHAKE}
        S F. 101 ack 1
        +1s tick
        P F. 101 ack 1
        +2s tick
        +1s tick
        ! missing-secondary 100
        """,
        {},
    ),
    "loaded, then aborted": (
        "C2, C5: an abort after svm_loaded brings the offsets of the SVM's former state back",
        f"""{HANDSHAKE}
        svm_stop
        pvm_stop
        svm_loaded
        abort
        failover
        S . 1:101 ack 1
        > . 1:101 ack 1
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
}


@pytest.mark.parametrize("kind", ["oracle", "core"])
@pytest.mark.parametrize("name", CASES)
def test_once_judged_differently(kind: str, name: str) -> None:
    _, transcript, settings = CASES[name]
    settings = {"p_isn": 1_000_000, "s_isn": 7_000_000, "c_isn": 500_000, **settings}
    isns = {key: settings.pop(key) for key in ("p_isn", "s_isn", "c_isn")}
    Play(comparator(kind, **settings), **isns).run(transcript)
