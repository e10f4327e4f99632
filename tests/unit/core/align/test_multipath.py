"""Multipath TCP (RFC 8684) acknowledges data in options: clients are offered none of it."""

from collections.abc import Callable

import pytest
from frames import ip4, ip6, link, with_right_checksum
from hypothesis import given
from hypothesis import strategies as st
from scapy.layers.inet import TCP
from scapy.layers.l2 import Ether
from scapy.packet import Packet

from colo_proxy.core.comparator import Comparator
from colo_proxy.vocabulary import Frame, Mode, Port

MPTCP = 30


def syn_ack(key: bytes, header: Callable[..., Packet] = ip4, before: int = 0, size: int = 10) -> bytes:
    options = [("NOP", None)] * before + [(MPTCP, key[:size]), ("MSS", 1460)]
    return bytes(link() / header() / TCP(sport=80, dport=40000, flags="SA", seq=7, ack=9, options=options))


def released(comparator: Comparator) -> list[bytes]:
    return [each.data for each in comparator.take() if isinstance(each, Frame) and each.port == Port.UPLINK]


@pytest.mark.parametrize("header", [ip4, ip6])
@given(before=st.integers(0, 3), size=st.integers(2, 18), key=st.binary(min_size=18, max_size=18))
def test_the_option_becomes_padding_and_the_checksum_stays_right(
    header: Callable[..., Packet], before: int, size: int, key: bytes
) -> None:
    comparator = Comparator()
    comparator.primary(syn_ack(key, header, before, size), 1)
    comparator.secondary(syn_ack(bytes(18), header, before, size), 2)
    (frame,) = released(comparator)
    assert frame == with_right_checksum(frame)
    assert MPTCP not in dict(Ether(frame)[TCP].options)
    assert dict(Ether(frame)[TCP].options)["MSS"] == 1460


def test_it_stays_where_nothing_is_compared() -> None:
    comparator = Comparator(mode=Mode.PASS)
    frame = syn_ack(bytes(18))
    comparator.primary(frame, 1)
    assert released(comparator) == [frame]


def test_it_is_gone_after_a_checkpoint_too() -> None:
    comparator = Comparator()
    comparator.primary(syn_ack(bytes(18)), 1)
    comparator.svm_stop(2)
    comparator.pvm_stop(3)
    comparator.commit(4)
    (frame,) = released(comparator)
    assert MPTCP not in dict(Ether(frame)[TCP].options)
