"""Live: what clients send on a connection that the guest has opened again reaches the SVM's port of it."""

import struct

import pytest
from models.packets import ACK, SYN, Packet, checksum, ethernet, ip, parse, tcp

from colo_proxy.core.comparator import Comparator
from colo_proxy.vocabulary import Frame, Port

VM, SERVER = "192.0.2.2", "192.0.2.1"
SERVER_ISN = 77
ORDERS = pytest.mark.parametrize("pvm_first", [True, False])


def out(comparator: Comparator, port: Port) -> list[Packet]:
    return [parse(item.data) for item in comparator.take() if isinstance(item, Frame) and item.port == port]


def opened(comparator: Comparator, number: int, pvm_first: bool, ports: tuple[int, int] = (712, 985)) -> None:
    """Both guests send the SYN of their connection of this number: 10,000 and 50,000 apart."""
    syns = [
        (say, tcp((VM, port), (SERVER, 2049), seq=isn, flags=SYN))
        for say, port, isn in (
            (comparator.primary, ports[0], 10_000 * number),
            (comparator.secondary, ports[1], 50_000 * number),
        )
    ]
    for say, syn in syns if pvm_first else syns[::-1]:
        say(ethernet(syn, 0x0800), number)
    assert [(p.sport, p.seq) for p in out(comparator, Port.UPLINK)] == [(ports[0], 10_000 * number)]


def unreachable(source: str, target: str, quoted: bytes) -> bytes:
    """An ICMP error (RFC 792)."""
    head = struct.pack("!BBHI", 3, 1, 0, 0)
    summed = struct.pack("!H", checksum(head + quoted))
    return ip(source, target, 1, head[:2] + summed + head[4:] + quoted)


def answer(number: int, port: int = 712) -> bytes:
    isn = 10_000 * number
    return tcp((SERVER, 2049), (VM, port), seq=SERVER_ISN, ack=isn + 1, flags=SYN | ACK)


@ORDERS
def test_the_answer_to_each_try(pvm_first: bool) -> None:
    comparator = Comparator()
    for number in range(1, 6):
        opened(comparator, number, pvm_first)
        comparator.uplink(ethernet(answer(number), 0x0800, from_vm=False), number)
        (heard,) = out(comparator, Port.SECONDARY)
        assert (heard.dport, heard.ack) == (985, 50_000 * number + 1)
    assert len(comparator.flows()) <= 2  # what both have left behind is gone


@ORDERS
def test_the_ports_of_two_connections_cross(pvm_first: bool) -> None:
    comparator = Comparator()
    crossing = {0: (712, 713), 1: (713, 712)}
    for number in range(1, 7):
        opened(comparator, number, pvm_first, crossing[number % 2])
        comparator.uplink(ethernet(answer(number, crossing[number % 2][0]), 0x0800, from_vm=False), number)
        (heard,) = out(comparator, Port.SECONDARY)
        assert (heard.dport, heard.ack) == (crossing[number % 2][1], 50_000 * number + 1)


@ORDERS
def test_errors_that_quote_it(pvm_first: bool) -> None:
    """From outside, and from the SVM."""
    comparator = Comparator()
    opened(comparator, 1, pvm_first)
    opened(comparator, 2, pvm_first)
    sent = tcp((VM, 712), (SERVER, 2049), seq=20_001, ack=SERVER_ISN + 1)
    error = unreachable("198.51.100.1", VM, sent[:28])
    comparator.uplink(ethernet(error, 0x0800, from_vm=False), 9)
    (heard,) = out(comparator, Port.SECONDARY)
    quoted = heard.frame[heard.l4 + 8 + 20 :]
    assert struct.unpack("!HHI", quoted[:8]) == (985, 2049, 100_001)
    ours, theirs = (
        unreachable(VM, SERVER, tcp((SERVER, 2049), (VM, port), seq=SERVER_ISN, ack=ack))
        for port, ack in ((712, 20_001), (985, 100_001))
    )
    comparator.primary(ethernet(ours, 0x0800), 10)
    assert not out(comparator, Port.UPLINK)
    comparator.secondary(ethernet(theirs, 0x0800), 11)
    assert len(out(comparator, Port.UPLINK)) == 1, "the SVM's quote is not that of the PVM"
