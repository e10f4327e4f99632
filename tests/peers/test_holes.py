"""Where QEMU's colo-compare, filter-rewriter and the kernel proxies go wrong, and we must not.

One test a hole, in the groups of the peers' page: what releases too much, what asks for a
checkpoint without need, what loses or reorders, what the rewriter gets wrong.
"""

import pytest
from models.packets import ACK, FIN, SYN, ethernet, ip, tcp
from transcripts.common import CHECKPOINT, HANDSHAKE, SCALED, Player
from transcripts.conftest import comparator

# ------------------------------------------------------------------ releases what must be held


def test_an_acknowledgement_ahead_of_the_svms_alone(play: Player) -> None:
    play(f"""{HANDSHAKE}
        S . 1 ack 4000
        P . 1 ack 5000
        > . 1 ack 4000
    """)


def test_an_acknowledgement_ahead_of_the_svms_on_equal_data(play: Player) -> None:
    play(f"""{HANDSHAKE}
        P . 1:101 ack 5000
        S . 1:101 ack 4000
        > . 1:101 ack 4000
    """)


def test_a_reset_against_a_plain_acknowledgement(play: Player) -> None:
    play(f"""{HANDSHAKE}
        P R. 1 ack 1
        S . 1 ack 1
        S . 1 ack 1
    """)


def test_a_fin_against_a_plain_acknowledgement(play: Player) -> None:
    play(f"""{HANDSHAKE}
        P F. 1 ack 1
        S . 1 ack 1
        S . 1 ack 1
    """)


def test_a_syn_ack_against_a_plain_acknowledgement(play: Player) -> None:
    play("""
        P S. 0 ack 1 mss 1460
        S . 1 ack 1
        S . 1 ack 1
    """)


def test_a_second_connection_with_lower_numbers(play: Player) -> None:
    play(f"""{HANDSHAKE}
        P . 1:9001 ack 1
        S . 1:9001 ack 1
        > . 1:9001 ack 1
        P isn 900000
        S isn 6900000
        P S. 0 ack 1 mss 1460
        S S. 0 ack 1 mss 1460
        > S. 0 ack 1
        P . 1:101 ack 1
        S . 1:51 ack 1
    """)


def test_padding_counted_as_payload(play: Player) -> None:
    play(f"""{HANDSHAKE}
        P . 1 ack 1 pad 6
        > . 1 ack 1
        S . 1 ack 1 pad 6
        P . 1:7 ack 1
    """)


def test_equal_content_at_different_sequence_numbers(play: Player) -> None:
    play(f"""{HANDSHAKE}
        P . 1:5 ack 1 "abcd"
        S . 101:105 ack 1 "abcd"
    """)


def test_the_minimum_without_wrap(play: Player) -> None:
    play(
        f"""{SCALED}
        S . 1 ack 400
        P . 1 ack 600
        > . 1 ack 400
    """,
        c_isn=2**32 - 500,
    )


@pytest.mark.parametrize("kind", ["oracle", "core"])
def test_truncated_tcp_headers(kind: str) -> None:
    """A header cut short is no TCP: it leaves only when the SVM says the very same frame."""
    for length in range(20):
        data = bytes(range(length))
        judge = comparator(kind)
        frame = ethernet(ip("192.0.2.2", "192.0.2.1", 6, data), 0x0800)
        other = ethernet(ip("192.0.2.2", "192.0.2.1", 6, data[:-1] + b"x"), 0x0800)
        judge.primary(frame, 1)
        judge.secondary(other, 2)
        assert judge.take() == []
        judge.secondary(frame, 3)
        assert [out.data for out in judge.take()] == [frame]


def test_echo_replies_that_differ(play: Player) -> None:
    play("""
        P icmp "\x00\x00\x00\x00\x00\x01\x00\x01payload"
        S icmp "\x00\x00\x00\x00\x00\x01\x00\x02payload"
        S icmp "\x00\x00\x00\x00\x00\x02\x00\x01payload"
        S icmp "\x00\x00\x00\x00\x00\x01\x00\x01pbyload"
    """)


# ------------------------------------------------------------------ asks for a checkpoint without need


def test_the_pvm_two_datagrams_ahead(play: Player) -> None:
    play("""
        P udp "one"
        P udp "two"
        S udp "one"
        > udp "one"
        S udp "two"
        > udp "two"
        +9s tick
    """)


def test_the_svm_in_another_order(play: Player) -> None:
    play("""
        S udp "two"
        S udp "one"
        P udp "one"
        > udp "one"
        P udp "two"
        > udp "two"
        +9s tick
    """)


def test_equal_data_cut_differently_while_the_acknowledgement_is_ahead(play: Player) -> None:
    play(f"""{HANDSHAKE}
        P . 1:101 ack 900
        S . 1:61 ack 500
        S . 61:161 ack 500
        > . 1:101 ack 500
        P . 101:161 ack 900
        > . 101:161 ack 500
        S . 161 ack 900
        > . 161 ack 900
        +9s tick
    """)


def test_a_retransmission_that_coalesces_old_and_new(play: Player) -> None:
    play(f"""{HANDSHAKE}
        P . 1:101 ack 1
        P . 101:201 ack 1
        S . 1:101 ack 1
        > . 1:101 ack 1
        S . 1:201 ack 1
        > . 101:201 ack 1
        +9s tick
    """)


def test_one_extra_acknowledgement(play: Player) -> None:
    play(f"""{HANDSHAKE}
        S . 1 ack 500
        P . 1 ack 500
        > . 1 ack 500
        S . 1 ack 500
        S . 1 ack 600
        +9s tick
        P . 1 ack 600
        > . 1 ack 600
        +9s tick
    """)


def test_a_late_copy_after_a_checkpoint(play: Player) -> None:
    play(f"""{HANDSHAKE}
        P . 1:101 ack 1
        {CHECKPOINT}
        commit
        > . 1:101 ack 1
        S . 1:101 ack 1
        +9s tick
    """)


def test_gre_that_differs_only_in_the_ip_id(play: Player) -> None:
    play("""
        P gre "tunnel" id 1
        S gre "tunnel" id 2
        > gre "tunnel" id 1
        +9s tick
    """)


def test_data_that_ends_exactly_at_two_to_the_thirty_second(play: Player) -> None:
    play(
        f"""{HANDSHAKE}
        P . 1:101 ack 1
        S . 1:101 ack 1
        > . 1:101 ack 1
        P . 101:201 ack 1
        S . 101:201 ack 1
        > . 101:201 ack 1
        +9s tick
    """,
        p_isn=2**32 - 101,
    )


def test_ten_packets_after_a_difference(play: Player) -> None:
    more = "\n".join(f"P . {n}01:{n + 1}01 ack 1\nS . {n}01:{n + 1}01 ack 1 flip {n}50" for n in range(1, 11))
    play(f"""{HANDSHAKE}
        P . 1:101 ack 1
        S . 1:101 ack 1 flip 50
        ! payload 49
        {more}
        +9s tick
    """)


# ------------------------------------------------------------------ loses or reorders


def test_nothing_is_lost_to_a_long_queue(play: Player) -> None:
    sent = "\n".join(f"P . {n + 1}:{n + 2} ack 1" for n in range(3000))
    left = "\n".join(f"> . {n + 1}:{n + 2} ack 1" for n in range(3000))
    play(f"{HANDSHAKE}\n{sent}\nS . 1:3001 ack 1\n{left}")


def test_nothing_is_lost_to_many_flows(play: Player) -> None:
    sent = "\n".join(f'P#{n} udp "one"' for n in range(20000))
    again = "\n".join(f'S#{n} udp "one"\n>#{n} udp "one"' for n in (1, 16383, 16384, 16385, 19999))
    play(f"{sent}\n{again}")


# ------------------------------------------------------------------ the rewriter


def test_a_duplicate_syn_of_the_client_after_the_handshake(play: Player) -> None:
    play(f"""{HANDSHAKE}
        C S 0
        P . 1:101 ack 1
        S . 1:101 ack 1
        > . 1:101 ack 1
    """)


def test_the_clients_acknowledgement_before_the_svms_syn_ack(play: Player) -> None:
    play("""
        C S 0
        P S. 0 ack 1 mss 1460
        C . 1 ack 1
        S S. 0 ack 1 mss 1460
        > S. 0 ack 1
        P . 1:101 ack 1
        S . 1:101 ack 1
        > . 1:101 ack 1
    """)


def test_a_checkpoint_in_mid_handshake(play: Player) -> None:
    play(f"""
        C S 0
        P S. 0 ack 1 mss 1460
        S S. 0 ack 1 mss 1460
        > S. 0 ack 1
        {CHECKPOINT}
        commit
        C . 1 ack 1
        P . 1:101 ack 1
        S . 1:101 ack 1
        > . 1:101 ack 1
    """)


def test_a_connection_that_the_guest_opens(play: Player) -> None:
    play("""
        S S 0 mss 1460 sport 4000
        P S 0 mss 1460 sport 3000
        > S 0 sport 3000
        P . 1:101 ack 1 sport 3000
        S . 1:101 ack 1 sport 4000
        > . 1:101 ack 1 sport 3000
    """)


def test_a_bare_reset_after_a_failover_has_the_pvms_numbers(play: Player) -> None:
    play(f"""{HANDSHAKE}
        failover
        S R 1
        > R 1
    """)


def test_closed_connections_do_not_pile_up() -> None:
    """Four thousand connections, one after the other, through a table for a hundred."""
    core = comparator("core", max_flows=100)
    for n in range(4000):
        client = ("192.0.2.1", 10000 + n)
        for first, flags in ((0, SYN | ACK), (1, FIN | ACK), (2, ACK)):
            for feed, isn in ((core.primary, 1000), (core.secondary, 5000)):
                feed(
                    ethernet(
                        tcp(("192.0.2.2", 80), client, seq=isn + first, ack=1 + first, flags=flags), 0x0800
                    ),
                    n * 10_000_000,
                )
            out = core.take()
            assert len(out) == 1, f"connection {n}: {out}"
