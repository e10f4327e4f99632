"""T12: keep-alives and zero-window probes."""

from transcripts.common import HANDSHAKE


def test_an_empty_keepalive_is_a_pure_acknowledgement(play):
    play(f"""{HANDSHAKE}
        P . 1:101 ack 1
        S . 1:101 ack 1
        > . 1:101 ack 1
        P . 100 ack 1
        > . 100 ack 1
    """)


def test_one_with_an_octet_is_a_retransmission(play):
    play(f"""{HANDSHAKE}
        P . 1:101 ack 1
        S . 1:101 ack 1
        > . 1:101 ack 1
        P . 100:101 ack 1
        > . 100:101 ack 1
    """)


def test_a_probe_of_a_zero_window_carries_the_next_byte(play):
    play(f"""{HANDSHAKE}
        P . 1:2 ack 1
        P . 1:2 ack 1
        S . 1:2 ack 1
        > . 1:2 ack 1
        > . 1:2 ack 1
    """)
