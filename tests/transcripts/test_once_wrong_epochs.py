"""The same with checkpoints, failovers and observing: cases once judged differently, and what was wrong.

Past 400 lines: a list of cases, each by itself.
"""

from typing import Any

import pytest
from transcripts.common import CHECKPOINT, HANDSHAKE, Player

CASES: dict[str, tuple[str, str, dict[str, Any]]] = {
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
    "fin forgotten before the first byte": (
        "C8, T8: observing, a FIN of the SVM alone, told of, is a divergence again with a later reset",
        """
        P isn 4000000000
        S isn 4000000000
        S F. 1 ack 1
        +3s tick
        ! missing-primary 0
        P R. 1 ack 1
        """,
        {"observe": True},
    ),
    "agreed before the first byte": (
        "T13: a segment that begins before the first byte seen leaves without that part at a failover",
        f"""
        P . 1010:1020 ack 1
        {CHECKPOINT}
        commit
        > . 1010:1020 ack 1
        P . 1001:1101 ack 1
        failover
        > . 1001:1020 ack 1
        """,
        {},
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
    "owed at its own time": (
        "C4: at a commit an owed acknowledgement leaves before what was held when it arose",
        f"""{HANDSHAKE}
        P . 1:101 ack 5000
        P gre "data"
        S . 1:101 ack 4000
        > . 1:101 ack 4000
        {CHECKPOINT}
        commit
        > gre "data"
        > . 101 ack 5000
        """,
        {},
    ),
    "as far as a reset": (
        "C4: the number of a RST counts as where the PVM had got to, and frees what nobody compared",
        f"""{HANDSHAKE}
        P R. 5001 ack 1
        {CHECKPOINT}
        commit
        > R. 5001 ack 1
        P . 1:101 ack 1
        """,
        {},
    ),
    "half a datagram": (
        "C7: at a failover the SVM's fragments that are not complete yet are lost",
        """
        S frag 7 0 + "0123456701234567"
        failover
        > frag 7 0 + "0123456701234567"
        S frag 7 16 "01234567"
        > frag 7 16 "01234567"
        """,
        {},
    ),
    "gathering on": (
        "C8: an observed divergence of one flow parts the fragments of another",
        """
        P frag 7 0 + "0123456701234567"
        P gre "aaaa"
        S gre "bbbb"
        +6ms tick
        ! payload 0
        > gre "aaaa"
        P frag 7 16 "01234567"
        S frag 7 0 + "0123456701234567"
        S frag 7 16 "01234567"
        > frag 7 0 + "0123456701234567"
        > frag 7 16 "01234567"
        """,
        {"observe": True},
    ),
    "two connections at a failover": (
        "C7: what was held of a former connection leaves with the offset of the latest",
        f"""{HANDSHAKE}
        S F. 101 ack 1
        S isn 90000
        S S. 0 ack 1 mss 1460
        failover
        > F. 101 ack 1
        > S. -910000 ack 1
        """,
        {},
    ),
    "forgotten fin": (
        "C8, T8: a FIN that was missing-primary still stands against a RST",
        f"""{HANDSHAKE}
        S F. 1 ack 1
        +3s tick
        ! missing-primary 0
        P R. 1 ack 1
        +3s tick
        ! missing-secondary 0
        > R. 1 ack 1
        """,
        {"observe": True},
    ),
    "pieces across the wrap": (
        "T13: with numbers just below 2**32 the agreed part leaves without its beginning",
        f"""{HANDSHAKE}
        P . 1:1501 ack 1
        S . 1:1201 ack 1
        failover
        > . 1:1201 ack 1
        S . 1201:1301 ack 1
        > . 1201:1301 ack 1
        """,
        {"p_isn": 2**32 - 1000},
    ),
    "urgent in the past": (
        "T11: what was urgent below a commit is a divergence when it is repeated",
        f"""{HANDSHAKE}
        P . 1001:2001 ack 1
        {CHECKPOINT}
        commit
        > . 1001:2001 ack 1
        P U. 1:101 ack 1 urg 60
        > U. 1:101 ack 1
        """,
        {},
    ),
    "too late a copy": (
        "C8: later observed divergences prolong the time in which a copy may come late",
        """
        P gre "one"
        +1s P gre "two"
        +2s tick
        ! missing-secondary 0
        > gre "one"
        > gre "two"
        +1s P gre "three"
        +1s P gre "four"
        +2s tick
        ! missing-secondary 6
        > gre "three"
        > gre "four"
        +1s S gre "two"
        +3s tick
        ! missing-primary 15
        """,
        {"observe": True},
    ),
    "agreed, and blocked": (
        "C7: at a failover what both have said of a segment is lost where its flow is blocked",
        f"""{HANDSHAKE}
        S . 1:2 ack 1
        S . 3:5 ack 1 "zz"
        P . 1:501 ack 1
        ! payload 2
        failover
        > . 1:2 ack 1
        > . 3:5 ack 1 "zz"
        """,
        {},
    ),
    "said and said again": (
        "C7: at a failover a segment that clients have leaves again if it overlapped another",
        f"""{HANDSHAKE}
        S . 51:61 ack 1
        S . 1:101 ack 1
        P . 1:71 ack 1
        > . 1:71 ack 1
        failover
        > . 1:101 ack 1
        """,
        {},
    ),
    "never heard of": (
        "3.1: stream offsets on a flow of which the PVM has said nothing",
        """
        S . 1:11 ack 1
        +3s tick
        ! missing-primary 0
        S . 101:111 ack 1
        +3s tick
        ! missing-primary 0
        """,
        {"observe": True},
    ),
    "reset late": (
        "C8: the SVM's RST after the PVM's was let go is missing-primary",
        f"""{HANDSHAKE}
        S . 1:101 ack 1
        +1s P R. 51 ack 1
        +2s tick
        ! missing-primary 0
        > R. 51 ack 1
        S R. 101 ack 1
        finish
        """,
        {"observe": True},
    ),
    "scaled by one side": (
        "T5: before the SVM's SYN has come the raw windows are compared, though the scale is known",
        """
        P S. 0 ack 1 mss 1460 ws 7
        +3s tick
        ! missing-secondary 0
        > S. 0 ack 1
        P . 1 ack 1 win 100
        """,
        {"observe": True},
    ),
    "paired too late": (
        "C2: a SYN that the SVM said before its stop is paired with one that the PVM says after it",
        """
        S S 0 mss 1460 sport 4000
        svm_stop
        P S 0 mss 1460 sport 3000
        pvm_stop
        failover
        S isn 7000000
        S . 1 ack 1 sport 4000
        > . 6000001 ack 1 sport 4000
        """,
        {},
    ),
    "owed in vain": (
        "T6: an owed acknowledgement that need not leave at a commit counts as told, its window too",
        f"""{HANDSHAKE}
        P . 1:101 ack 5000 win 30000
        P F. 201:301 ack 5100 win 0
        S . 1:101 ack 4000 win 500
        > . 1:101 ack 4000 win 500
        {CHECKPOINT}
        commit
        > F. 201:301 ack 5100 win 0
        P . 302 ack 5100 win 30000
        S . 302 ack 5100 win 30000
        > . 302 ack 5100 win 30000
        """,
        {},
    ),
    "blocked before it was paired": (
        "C1: a divergence that was told of the SVM's flow is told again when its SYN is paired",
        """
        S S 0 mss 1460 sport 4000 "x"
        +3s tick
        ! missing-primary 0
        P S 0 mss 1460 sport 3000
        +3s tick
        svm_stop
        pvm_stop
        commit
        > S 0 sport 3000
        """,
        {},
    ),
    "a second connection on which one is late": (
        "T10: a connection that the PVM has reset meanwhile is passed over by the SVM's SYN",
        f"""{HANDSHAKE}
        P isn 50000
        P S. 0 ack 101 mss 1460
        P R. 1 ack 101
        +3s tick
        ! missing-secondary 0
        > S. 0 ack 101
        > R. 1 ack 101
        P isn 90000
        P S. 0 ack 201 mss 1460
        S isn 6000
        S S. 0 ack 101 mss 1460
        S isn 7000
        S S. 0 ack 201 mss 1460
        > S. 0 ack 201
        """,
        {"observe": True},
    ),
    "a copy like another": (
        "C8: a datagram is dropped as a late copy though its headers are others",
        """
        P gre "data"
        P udp "one"
        S udp "two"
        +6ms tick
        ! payload 0
        > gre "data"
        > udp "one"
        S gre "data" ttl 9
        +3s tick
        ! missing-primary 4
        """,
        {"observe": True},
    ),
    "opened and reset before the other opens": (
        "T10: the SYN of the SVM is late for a connection that was let go with its RST, and opens another",
        """
        P S 0 mss 1460
        P R. 1 ack 1
        +3s tick
        ! missing-secondary 0
        > S 0
        > R. 1 ack 1
        S S 0 mss 1460
        finish
        """,
        {"observe": True},
    ),
    "urgent before the SVM's numbers are known": (
        "C8: what the PVM announced counts for the SVM at another position when its SYN comes",
        """
        P S 0 mss 1460
        P U. 1:11 ack 1 urg 60
        +3s tick
        ! missing-secondary 0
        > S 0
        > U. 1:11 ack 1
        S S 0 mss 1460
        S . 1:21 ack 1
        P U. 11:21 ack 1 urg 50
        > U. 11:21 ack 1
        """,
        {"observe": True},
    ),
    "a SYN of an SVM that is no more": (
        "3.1: what the PVM says has no place, for a SYN of the SVM's before its state was replaced",
        """
        S S 0 mss 1460
        svm_stop
        pvm_stop
        svm_loaded
        abort
        svm_stop
        P . 501 ack 1
        pvm_stop
        svm_loaded
        commit
        > . 501 ack 1
        S isn 90000
        S S 0 mss 1460
        P . 501 ack 1 win 0
        > . 501 ack 1 win 0
        """,
        {},
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_once_judged_differently(play: Player, name: str) -> None:
    _, transcript, settings = CASES[name]
    play(transcript, **settings)
