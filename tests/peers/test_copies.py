"""What QEMU's mirror and rewriter get wrong about the SVM's copies of clients' frames, and we must not.

Each test looks at the copy itself: the numbers that the SVM will read, and whether its checksums are right.
"""

import struct
from typing import Any

from models.packets import ACK, SYN, Packet, checksum, ethernet, ip, parse, tcp
from transcripts.conftest import comparator

from colo_proxy.vocabulary import Frame, Port

VM, CLIENT = ("192.0.2.2", 80), ("192.0.2.1", 40000)
PVM, SVM, TICKS = 4_294_967_000, 700, 5_000  # ISNs on either side of 2**32; the SVM's clock is ahead
STAMPED = b"\x01\x01\x08\x0a"
SACK = b"\x01\x01\x05\x12"


def stamps(mine: int, yours: int) -> bytes:
    return STAMPED + struct.pack("!II", mine, yours)


def greet(judge: Any, now: int = 1, *, ack: int = 1, pvm: int = PVM, svm: int = SVM) -> None:
    """Both guests say SYN/ACK."""
    for feed, isn, clock in ((judge.primary, pvm, 100), (judge.secondary, svm, 100 + TICKS)):
        options = b"\x02\x04\x05\xb4\x04\x02" + stamps(clock, 9)
        feed(said(isn, ack=ack, flags=SYN | ACK, options=options), now)
    judge.take()


def said(seq: int, sport: int = 80, **fields: Any) -> bytes:
    """A guest's segment."""
    return ethernet(tcp((VM[0], sport), CLIENT, seq=seq, **fields), 0x0800)


def copies(judge: Any, *segments: bytes) -> list[Packet]:
    """The SVM's copies of a client's segments; the PVM gets each as it is."""
    found = []
    for frame in segments:
        judge.uplink(frame, 5)
        mine, copy = (item for item in judge.take() if isinstance(item, Frame))
        assert (mine.port, mine.data) == (Port.PRIMARY, frame)
        assert copy.port == Port.SECONDARY
        packet = parse(copy.data)
        data = copy.data[packet.l4 : packet.end]
        cover = packet.source + packet.target + struct.pack("!II", len(data), 6)
        assert packet.protocol != 6 or checksum(cover + data) == 0
        found.append(packet)
    return found


def client(seq: int = 1, *, port: int = 80, **fields: Any) -> bytes:
    return ethernet(tcp(CLIENT, (VM[0], port), seq=seq, **fields), 0x0800, from_vm=False)


def test_acknowledgement_sack_edges_and_echoed_timestamp() -> None:
    judge = comparator("core")
    greet(judge)
    edges = [(PVM + 1001) % 2**32, (PVM + 2001) % 2**32, (PVM + 3001) % 2**32, (PVM + 4001) % 2**32]
    options = SACK + struct.pack("!4I", *edges) + stamps(9, 100)
    [copy] = copies(judge, client(ack=PVM + 501, options=options))
    assert copy.ack == SVM + 501
    assert struct.unpack("!4I", copy.options[5]) == (SVM + 1001, SVM + 2001, SVM + 3001, SVM + 4001)
    assert struct.unpack("!II", copy.options[8]) == (9, 100 + TICKS)  # TSval is the client's own


def test_a_syn_said_again_after_the_handshake() -> None:
    judge = comparator("core")
    greet(judge)
    again, after = copies(judge, client(0, flags=SYN), client(ack=PVM + 1))
    assert (again.seq, again.ack, again.flags) == (0, 0, SYN)
    assert after.ack == SVM + 1


def test_an_acknowledgement_before_the_svm_has_said_syn() -> None:
    """It can have no right number, but later ones have."""
    judge = comparator("core")
    judge.primary(said(PVM, ack=1, flags=SYN | ACK), 1)
    copies(judge, client(ack=PVM + 1))
    judge.secondary(said(SVM, ack=1, flags=SYN | ACK), 2)
    judge.take()
    [later] = copies(judge, client(ack=PVM + 1))
    assert later.ack == SVM + 1


def test_a_checkpoint_in_mid_handshake() -> None:
    """From the SVM's stop on it has the PVM's numbers: nothing is moved any more."""
    judge = comparator("core")
    greet(judge)
    judge.svm_stop(2)
    [while_stopped] = copies(judge, client(ack=PVM + 1))
    judge.svm_loaded(3)
    judge.pvm_stop(3)
    judge.commit(3)
    judge.take()
    [after] = copies(judge, client(ack=PVM + 1))
    assert while_stopped.ack == after.ack == PVM + 1


def test_the_answer_to_a_connection_that_the_guest_opens() -> None:
    judge = comparator("core")
    judge.primary(said(PVM, sport=3000, flags=SYN), 1)
    judge.secondary(said(SVM, sport=4000, flags=SYN), 2)
    judge.take()
    [copy] = copies(judge, client(0, port=3000, ack=PVM + 1, flags=SYN | ACK))
    assert (copy.ack, copy.dport, copy.seq) == (SVM + 1, 4000, 0)


def quoting(segment: bytes) -> bytes:
    """An ICMP error, fragmentation needed (RFC 1191), about a guest's segment."""
    quote = segment[14:][: 20 + 20]
    message = bytes([3, 4, 0, 0, 0, 0, 5, 0x14]) + quote
    message = message[:2] + checksum(message).to_bytes(2) + message[4:]
    return ethernet(ip("198.51.100.1", VM[0], 1, message), 0x0800, from_vm=False)


def test_the_header_that_an_icmp_error_quotes() -> None:
    """Or path-MTU discovery breaks for the SVM alone: its kernel looks at the quoted sequence number."""
    judge = comparator("core")
    greet(judge)
    [copy] = copies(judge, quoting(said(PVM + 1, ack=1)))
    message = copy.frame[copy.l4 : copy.end]
    assert checksum(message) == 0
    assert struct.unpack("!HHI", message[28:36]) == (80, CLIENT[1], SVM + 1)


def test_the_second_connection_on_the_same_ports_has_an_offset_of_its_own() -> None:
    judge = comparator("core")
    greet(judge)
    greet(judge, now=3, ack=9001, pvm=70_000, svm=20_000)
    [copy] = copies(judge, client(9001, ack=70_001))
    assert copy.ack == 20_001


def test_what_the_svm_says_reaches_clients_in_the_pvms_numbers() -> None:
    """After a failover: sequence number, TSval; a bare reset too."""
    judge = comparator("core")
    greet(judge)
    judge.failover(2)
    judge.take()
    judge.secondary(said(SVM + 1, ack=1, options=stamps(700 + TICKS, 9), payload=b"data"), 3)
    judge.secondary(said(SVM + 5, flags=4), 4)
    data, reset = (parse(item.data) for item in judge.take())
    assert data.seq == (PVM + 1) % 2**32
    assert struct.unpack("!II", data.options[8]) == (700, 9)
    assert (reset.seq, reset.flags) == ((PVM + 5) % 2**32, 4)
