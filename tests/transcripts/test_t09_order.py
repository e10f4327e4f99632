"""T9: what can leave leaves in order; what must wait holds up nobody who need not."""

from transcripts.common import HANDSHAKE, Player


def test_a_waiting_segment_does_not_hold_up_a_retransmission(play: Player) -> None:
    play(f"""{HANDSHAKE}
        P . 1:101 ack 1
        S . 1:101 ack 1
        > . 1:101 ack 1
        P . 101:201 ack 1
        P . 1:101 ack 1
        > . 1:101 ack 1
        P . 201 ack 1
        > . 201 ack 1
        S . 101:201 ack 1
        > . 101:201 ack 1
    """)


def test_four_hundred_segments_leave_first_in_first_out(play: Player) -> None:
    sent = "\n".join(f"P . {n * 10 + 1}:{n * 10 + 11} ack 1" for n in range(400))
    left = "\n".join(f"> . {n * 10 + 1}:{n * 10 + 11} ack 1" for n in range(400))
    play(f"{HANDSHAKE}\n{sent}\nS . 1:4001 ack 1\n{left}")


def test_out_of_order_is_released_out_of_order(play: Player) -> None:
    play(f"""{HANDSHAKE}
        P . 101:201 ack 1
        P . 1:101 ack 1
        S . 1:201 ack 1
        > . 101:201 ack 1
        > . 1:101 ack 1
    """)


def test_other_connections_go_on(play: Player) -> None:
    play(f"""{HANDSHAKE}
        P#1 S. 0 ack 1 mss 1460
        S#1 S. 0 ack 1 mss 1460
        >#1 S. 0 ack 1
        P . 1:101 ack 1
        P#1 . 1:101 ack 1
        S#1 . 1:101 ack 1
        >#1 . 1:101 ack 1
    """)
