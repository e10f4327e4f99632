"""UDP from ports that each guest draws: what clients and guests get, and that checksums stay right."""

from random import Random
from typing import Any

import pytest
from frames import PARTIAL
from models.datagrams import Reassembly
from models.packets import checksum, ethernet, fragments, ip, parse, partial, udp

from colo_proxy.core.align.aligner import from_svm, quoted_from_svm, quoted_to_svm, to_svm
from colo_proxy.core.comparator import Comparator
from colo_proxy.vocabulary import Divergence, Exhausted, Frame, Port

VM = {4: "192.0.2.2", 6: "2001:db8::2"}
SERVER = {4: ("198.51.100.1", 53), 6: ("2001:db8::35", 53)}
ETHERTYPE = {4: 0x0800, 6: 0x86DD}
PVM_PORT, SVM_PORT = 5000, 6000
SECOND = 10**9
versions = pytest.mark.parametrize("version", [4, 6])


def query(version: int, port: int, payload: bytes = b"query") -> bytes:
    return ethernet(udp((VM[version], port), SERVER[version], payload), ETHERTYPE[version])


def answer(version: int, port: int, payload: bytes = b"answer") -> bytes:
    packet = udp(SERVER[version], (VM[version], port), payload)
    return ethernet(packet, ETHERTYPE[version], from_vm=False)


def asked(version: int, **settings: object) -> Comparator:
    """Both guests have asked, from a port each."""
    comparator = Comparator(**settings)  # type: ignore[arg-type]
    comparator.primary(query(version, PVM_PORT), 1)
    comparator.secondary(query(version, SVM_PORT), 2)
    assert frames(comparator, Port.UPLINK) == [query(version, PVM_PORT)]
    return comparator


def frames(comparator: Comparator, port: Port) -> list[bytes]:
    return [item.data for item in comparator.take() if isinstance(item, Frame) and item.port is port]


def datagram(frame: bytes) -> bytes:
    """The UDP header and what follows."""
    packet = parse(frame)
    return frame[packet.l4 : packet.end]


def joined(pieces: list[bytes]) -> bytes:
    reassembly = Reassembly()
    (whole,) = filter(None, [reassembly.add(parse(frame), frame, 0) for frame in pieces])
    return datagram(whole.packet.frame)


@versions
def test_the_answer_reaches_each_guest_at_its_own_port(version: int) -> None:
    comparator = asked(version)
    comparator.uplink(answer(version, PVM_PORT), 3)
    came = {item.port: item.data for item in comparator.take() if isinstance(item, Frame)}
    assert came == {Port.PRIMARY: answer(version, PVM_PORT), Port.SECONDARY: answer(version, SVM_PORT)}


@versions
def test_an_answer_in_fragments(version: int) -> None:
    comparator = asked(version)
    cut = fragments(udp(SERVER[version], (VM[version], PVM_PORT), bytes(range(200))), 77, lambda: 48)
    for piece in cut:
        comparator.uplink(ethernet(piece, ETHERTYPE[version], from_vm=False), 3)
    assert joined(frames(comparator, Port.SECONDARY)) == datagram(
        answer(version, SVM_PORT, bytes(range(200)))
    )


@versions
def test_a_query_in_fragments(version: int) -> None:
    """It is compared on the PVM's port, and leaves from it after a failover."""
    comparator = asked(version)
    for port, tell in ((SVM_PORT, comparator.secondary), (PVM_PORT, comparator.primary)):
        for piece in fragments(udp((VM[version], port), SERVER[version], bytes(300)), port, lambda: 64):
            tell(ethernet(piece, ETHERTYPE[version]), 3)
    assert len(frames(comparator, Port.UPLINK)) == 5
    late = udp((VM[version], SVM_PORT), SERVER[version], bytes(300))
    cut = [ethernet(piece, ETHERTYPE[version]) for piece in fragments(late, 78, lambda: 64)]
    for frame in cut[:3]:
        comparator.secondary(frame, 4)
    comparator.failover(5)
    for frame in cut[3:]:
        comparator.secondary(frame, 6)
    assert joined(frames(comparator, Port.UPLINK)) == datagram(query(version, PVM_PORT, bytes(300)))


def error(version: int, quoted: bytes, *, from_vm: bool) -> bytes:
    """Port unreachable (RFC 792, RFC 4443), from the VM or to it."""
    router = SERVER[version][0]
    ends = (VM[version], router) if from_vm else (router, VM[version])
    kind, protocol = (b"\3\3", 1) if version == 4 else (b"\1\4", 58)
    data = kind + bytes(6) + quoted
    cover = b"" if version == 4 else parse(ethernet(ip(*ends, 58, b""), 0x86DD)).frame[22:54]
    cover += b"" if version == 4 else len(data).to_bytes(4) + (58).to_bytes(4)
    data = data[:2] + checksum(cover + data).to_bytes(2) + data[4:]
    return ethernet(ip(*ends, protocol, data), ETHERTYPE[version], from_vm=from_vm)


@versions
def test_an_error_that_quotes_the_query(version: int) -> None:
    comparator = asked(version)
    comparator.uplink(error(version, query(version, PVM_PORT)[14:], from_vm=False), 3)
    for_the_svm = frames(comparator, Port.SECONDARY)
    assert for_the_svm == [error(version, query(version, SVM_PORT)[14:], from_vm=False)]


@versions
def test_an_error_of_both_guests_that_quotes_the_answer(version: int) -> None:
    """The socket is closed by now."""
    comparator = asked(version)
    for_clients = error(version, answer(version, PVM_PORT)[14:], from_vm=True)
    comparator.secondary(error(version, answer(version, SVM_PORT)[14:], from_vm=True), 3)
    comparator.primary(for_clients, 4)
    assert frames(comparator, Port.UPLINK) == [for_clients]


def test_there_and_back_is_the_same() -> None:
    """For every checksum there is: 0xffff and 0 are the same sum, but 0 says that there is none (RFC 768)."""
    draw = Random(5)
    ports = [(0, 0xFFFF), (0xFFFF, 0), (1, 0xFFFE), (5000, 6000)]
    ports += [(draw.randrange(2**16), draw.randrange(2**16)) for _ in range(20)]
    for pvm, svm in ports:
        for payload in (b"", b"\xff\xff", b"odd", draw.randbytes(40)):
            sent, theirs = answer(4, pvm, payload), answer(4, svm, payload)
            assert to_svm(sent, pvm_port=pvm, svm_port=svm) == theirs
            assert from_svm(query(4, svm, payload), pvm_port=pvm, svm_port=svm) == query(4, pvm, payload)


def test_where_there_is_no_checksum_there_is_none() -> None:
    bare = answer(4, PVM_PORT)[:40] + bytes(2) + answer(4, PVM_PORT)[42:]
    moved = to_svm(bare, pvm_port=PVM_PORT, svm_port=SVM_PORT)
    assert moved == answer(4, SVM_PORT)[:40] + bytes(2) + answer(4, SVM_PORT)[42:]


@versions
def test_a_partial_checksum_is_that_of_the_pseudo_header(version: int) -> None:
    frame, vnet = partial(query(version, SVM_PORT))
    moved = from_svm(frame, pvm_port=PVM_PORT, svm_port=SVM_PORT, vnet=vnet)
    assert moved == partial(query(version, PVM_PORT))[0]


def test_a_partial_checksum_of_another_header_says_nothing_of_this_one() -> None:
    """A tunnel's: the outer datagram's is whole, and is kept right."""
    moved = from_svm(query(4, SVM_PORT), pvm_port=PVM_PORT, svm_port=SVM_PORT, vnet=PARTIAL)
    assert moved == query(4, PVM_PORT)


@versions
def test_quotes_there_and_back(version: int) -> None:
    ports: dict[str, Any] = {"pvm_port": PVM_PORT, "svm_port": SVM_PORT}
    ours = error(version, query(version, PVM_PORT)[14:], from_vm=False)
    assert quoted_to_svm(ours, **ports) == error(version, query(version, SVM_PORT)[14:], from_vm=False)
    ours = error(version, answer(version, SVM_PORT)[14:], from_vm=True)
    assert quoted_from_svm(ours, **ports) == error(version, answer(version, PVM_PORT)[14:], from_vm=True)


def test_offloaded_on_one_side() -> None:
    comparator = Comparator()
    frame, vnet = partial(query(4, SVM_PORT))
    comparator.secondary(frame, 1, vnet)
    comparator.primary(query(4, PVM_PORT), 2)
    assert frames(comparator, Port.UPLINK) == [query(4, PVM_PORT)]


def test_after_a_minute_of_silence_nothing_is_mapped() -> None:
    comparator = asked(4)
    comparator.tick(62 * SECOND)
    comparator.uplink(answer(4, PVM_PORT), 63 * SECOND)
    assert frames(comparator, Port.SECONDARY) == [answer(4, PVM_PORT)]
    assert comparator.flows() == []


def test_what_clients_send_keeps_a_port_mapped() -> None:
    comparator = asked(4)
    for second in range(30, 300, 30):
        comparator.tick(second * SECOND)
        comparator.uplink(answer(4, PVM_PORT), second * SECOND)
        assert frames(comparator, Port.SECONDARY) == [answer(4, SVM_PORT)]


def test_after_a_failover_a_port_is_mapped_for_longer() -> None:
    comparator = asked(4)
    comparator.failover(3)
    comparator.tick(600 * SECOND)
    comparator.uplink(answer(4, PVM_PORT), 601 * SECOND)
    assert frames(comparator, Port.SECONDARY) == [answer(4, SVM_PORT)]
    comparator.tick(7200 * SECOND)
    assert comparator.flows() == []


def test_a_flood_of_flows_is_bounded_and_goes() -> None:
    """Each of its own port, none of them answered by the other guest; then all is as before."""
    comparator = Comparator(max_flows=500, max_held_bytes=16 << 20)
    for port in range(2000):
        comparator.primary(query(4, 1000 + port, b"P%d" % port), port)
        comparator.secondary(query(4, 20_000 + port, b"S%d" % port), port)
    assert len(comparator.flows()) == 500
    came = comparator.take()
    assert any(isinstance(item, Exhausted) for item in came)
    assert not any(isinstance(item, Frame) for item in came)
    comparator.tick(SECOND)
    assert any(isinstance(item, Divergence) for item in comparator.take())
    comparator.commit(2 * SECOND)
    comparator.take()
    comparator.tick(70 * SECOND)
    for now in range(71, 80):
        comparator.tick(now * SECOND)
    assert comparator.flows() == []
    comparator.primary(query(4, PVM_PORT), 80 * SECOND)
    comparator.secondary(query(4, SVM_PORT), 80 * SECOND)
    assert frames(comparator, Port.UPLINK) == [query(4, PVM_PORT)]
