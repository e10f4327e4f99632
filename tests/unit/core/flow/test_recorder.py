"""The flight recorder: a divergence brings its flow's last exchanges at all ports, and their fates."""

from pathlib import Path

from scapy.layers.inet import IP, TCP, UDP, fragment
from scapy.layers.l2 import Dot1Q, Ether
from scapy.packet import Packet
from unit.engine.ports.test_qemu_socket import wire
from unit.engine.test_engine import Bench, silent

from colo_proxy.capture.explain import explain
from colo_proxy.capture.report import Report, Reports, load
from colo_proxy.core.comparator import Comparator
from colo_proxy.vocabulary import Divergence, Fate, Mode, Port

MS = 1_000_000
SLOTS, EXCHANGES, SNAP = 4096, 32, 128  # of recorder.pxd


def vm(layer: Packet, vlan: int = 0) -> bytes:
    tag = Dot1Q(vlan=vlan) if vlan else b""
    head = Ether(src="52:54:00:00:00:02", dst="02:00:00:00:00:01")
    head = head / tag if vlan else head
    return bytes(head / IP(src="192.0.2.2", dst="192.0.2.1") / layer)


def client(layer: Packet) -> bytes:
    head = Ether(src="02:00:00:00:00:01", dst="52:54:00:00:00:02")
    return bytes(head / IP(src="192.0.2.1", dst="192.0.2.2") / layer)


def tcp(seq: int, ack: int, data: bytes = b"", flags: str = "A", port: int = 4000) -> bytes:
    return vm(TCP(sport=80, dport=port, seq=seq, ack=ack, flags=flags) / data)


def ask(seq: int, ack: int, data: bytes = b"", flags: str = "A", port: int = 4000) -> bytes:
    return client(TCP(sport=port, dport=80, seq=seq, ack=ack, flags=flags) / data)


def one_divergence(comparator: Comparator) -> Divergence:
    [found] = [item for item in comparator.take() if isinstance(item, Divergence)]
    return found


def told(divergence: Divergence) -> list[tuple[float, Port, Fate]]:
    return [(each.time / MS, each.port, each.fate) for each in divergence.exchanges]


def test_a_connection_in_both_directions_with_times_and_fates() -> None:
    comparator = Comparator()
    comparator.uplink(ask(99, 0, flags="S"), 1 * MS)
    comparator.uplink(ask(7, 0, flags="S", port=4001), 1 * MS)  # another flow's
    comparator.primary(tcp(500, 100, flags="SA"), 2 * MS)
    comparator.secondary(tcp(900, 100, flags="SA"), 3 * MS)
    request = ask(100, 501, b"GET /")
    comparator.uplink(request, 4 * MS)
    long = tcp(501, 105, b"x" * 900 + b"A")
    comparator.primary(long, 5 * MS)
    comparator.secondary(tcp(901, 105, b"x" * 900 + b"B"), 6 * MS)
    found = one_divergence(comparator)
    assert told(found) == [
        (1, Port.UPLINK, Fate.WAITS),
        (2, Port.PRIMARY, Fate.LEFT),
        (3, Port.SECONDARY, Fate.WAITS),
        (4, Port.UPLINK, Fate.WAITS),
        (5, Port.PRIMARY, Fate.WAITS),
        (6, Port.SECONDARY, Fate.WAITS),
    ]
    assert found.exchanges[1].fate_time == 3 * MS
    assert found.exchanges[3].data == request, "as the client sent it, not as the SVM got it"
    assert (found.exchanges[4].data, found.exchanges[4].size) == (long[:SNAP], len(long))
    assert found.seq_offset == 400
    assert found.primary == long, "the packets that differ are whole"


def test_datagrams_and_what_was_dropped() -> None:
    comparator = Comparator(max_flow_bytes=1)
    comparator.uplink(client(UDP(sport=4000, dport=53) / b"?"), 1 * MS)
    for at, data in ((2, b"first"), (3, b"second")):
        comparator.primary(vm(UDP(sport=53, dport=4000) / data), at * MS)
    comparator.secondary(vm(UDP(sport=53, dport=4000) / b"other"), 4 * MS)
    comparator.tick(10 * MS)
    assert told(one_divergence(comparator)) == [
        (1, Port.UPLINK, Fate.WAITS),
        (2, Port.PRIMARY, Fate.WAITS),
        (3, Port.PRIMARY, Fate.DROPPED),
        (4, Port.SECONDARY, Fate.WAITS),
    ]


def test_fragments_belong_to_the_datagram_they_make_up() -> None:
    comparator = Comparator()
    for now, side, letter in ((1, comparator.primary, b"A"), (2, comparator.secondary, b"B")):
        whole = Ether(vm(UDP(sport=53, dport=4000) / (letter * 2000)))
        for piece in fragment(whole, fragsize=1400):
            side(bytes(piece), now * MS)
    comparator.tick(20 * MS)
    assert told(one_divergence(comparator)) == [
        (1, Port.PRIMARY, Fate.WAITS),
        (1, Port.PRIMARY, Fate.WAITS),
        (2, Port.SECONDARY, Fate.WAITS),
        (2, Port.SECONDARY, Fate.WAITS),
    ]


def test_it_is_bounded_and_forgets_what_is_long_ago() -> None:
    comparator = Comparator()
    for at in range(100):
        comparator.uplink(ask(100, 500, port=4000), at)
    for at in range(SLOTS - 2):
        comparator.uplink(ask(100, 500, port=4001), 100 + at)
    comparator.primary(tcp(500, 100, b"A"), 10_000)
    comparator.secondary(tcp(500, 100, b"B"), 10_001)
    seen = one_divergence(comparator).exchanges
    assert [each.port for each in seen] == [Port.PRIMARY, Port.SECONDARY]
    for at in range(2 * EXCHANGES):
        comparator.uplink(ask(100, 500 + at), 20_000 + at)
    for word in ("svm_stop", "pvm_stop", "commit"):
        getattr(comparator, word)(30_000)
    comparator.primary(tcp(501, 100, b"A"), 40_000)
    comparator.secondary(tcp(501, 100, b"B"), 40_001)
    seen = one_divergence(comparator).exchanges
    assert len(seen) == EXCHANGES
    assert [each.time for each in seen[:2]] == [20_000 + EXCHANGES + 2 + at for at in (0, 1)]


def busy(comparator: Comparator, begin: int, end: int) -> None:
    """Between these times (ms) other flows turn the ring over again and again."""
    frame = ask(100, 500, port=4001)
    for at in range(begin, end):
        for _ in range(SLOTS // 50):
            comparator.uplink(frame, at * MS)
        comparator.tick(at * MS)


def test_what_is_missing_on_a_busy_nic_keeps_what_led_to_it() -> None:
    comparator = Comparator(timeout_ms=300)
    comparator.uplink(ask(99, 0, flags="S"), 1 * MS)
    for side, at in ((comparator.primary, 2), (comparator.secondary, 3)):
        side(tcp(500, 100, flags="SA"), at * MS)
    comparator.uplink(ask(100, 501, b"GET /"), 4 * MS)
    comparator.primary(tcp(501, 105, b"first"), 5 * MS)
    busy(comparator, 6, 150)
    comparator.primary(tcp(506, 105, b"second"), 150 * MS)
    comparator.uplink(ask(105, 501), 151 * MS)
    busy(comparator, 152, 400)
    assert told(one_divergence(comparator)) == [
        (1, Port.UPLINK, Fate.WAITS),
        (2, Port.PRIMARY, Fate.LEFT),
        (3, Port.SECONDARY, Fate.WAITS),
        (4, Port.UPLINK, Fate.WAITS),
        (5, Port.PRIMARY, Fate.WAITS),
        (150, Port.PRIMARY, Fate.WAITS),
        (151, Port.UPLINK, Fate.WAITS),
    ]


def test_fates_that_come_late_are_kept_too() -> None:
    comparator = Comparator(timeout_ms=300)
    comparator.primary(tcp(500, 100, b"first"), 1 * MS)
    comparator.primary(tcp(505, 100, b"second"), 2 * MS)
    busy(comparator, 3, 150)
    comparator.secondary(tcp(500, 100, b"first"), 150 * MS)
    busy(comparator, 151, 400)
    found = one_divergence(comparator)
    assert told(found) == [
        (1, Port.PRIMARY, Fate.LEFT),
        (2, Port.PRIMARY, Fate.WAITS),
        (150, Port.SECONDARY, Fate.WAITS),
    ]
    assert found.exchanges[0].fate_time == 150 * MS


def test_output_of_the_svm_that_waits_keeps_it_as_well() -> None:
    comparator = Comparator(timeout_ms=300)
    comparator.uplink(client(UDP(sport=4000, dport=53) / b"?"), 1 * MS)
    comparator.secondary(vm(UDP(sport=53, dport=4000) / b"!"), 2 * MS)
    busy(comparator, 3, 400)
    assert told(one_divergence(comparator)) == [(1, Port.UPLINK, Fate.WAITS), (2, Port.SECONDARY, Fate.WAITS)]


def test_places_are_given_back_by_what_waits_no_more() -> None:
    comparator = Comparator(timeout_ms=300)
    for port in range(5000, 5200):  # more than there are places, one after the other
        now = (port - 4999) * 30
        comparator.primary(tcp(500, 100, b"x", port=port), now * MS)
        comparator.tick((now + 25) * MS)
        comparator.secondary(tcp(500, 100, b"x", port=port), (now + 26) * MS)
    comparator.take()
    comparator.primary(tcp(500, 100, b"x"), 7000 * MS)
    busy(comparator, 7001, 7400)
    assert told(one_divergence(comparator)) == [(7000, Port.PRIMARY, Fate.WAITS)]


def test_where_all_places_are_taken_the_ring_has_to_do() -> None:
    comparator = Comparator(timeout_ms=300)
    for port in range(5000, 5100):
        comparator.primary(tcp(500, 100, b"x", port=port), 1 * MS)
    busy(comparator, 2, 400)
    found = [item for item in comparator.take() if isinstance(item, Divergence)]
    assert len(found) == 64  # no more wait to be taken
    assert [len(each.exchanges) for each in found] == [1] * 32 + [0] * 32


def test_from_the_ports_to_what_a_person_reads(tmp_path: Path) -> None:
    with Bench(mode=Mode.COMPARE) as bench:
        bench.uplink.sendall(wire(ask(99, 0, flags="S")))
        bench.svm.recv(1)  # the SVM's copy: the PVM has it too
        bench.pvm.sendall(wire(tcp(500, 100, flags="SA")))
        assert silent(bench.uplink)
        bench.svm.sendall(wire(tcp(900, 100, flags="SA")))
        bench.uplink.recv(1)
        bench.pvm.sendall(wire(tcp(501, 100, b"x" * 900 + b"A")))
        bench.svm.sendall(wire(tcp(901, 100, b"x" * 900 + b"B")))
        [found] = bench.events(1)
    assert isinstance(found, Divergence)
    read = load(Reports(tmp_path).write(Report(found)))
    assert read.divergence.exchanges == found.exchanges
    lines = [line.split() for line in list(explain(read))[-5:]]
    assert [line[1] for line in lines] == ["client", "PVM", "SVM", *sorted(line[1] for line in lines[3:])]
    assert [line[2:6] for line in lines[:3]] == [
        ["SYN", "0", "-", "0"],
        ["SYN+ACK", "0", "1", "0"],
        ["SYN+ACK", "0", "1", "0"],
    ]
    assert lines[1][6] == "left"
    assert {tuple(line[2:6]) for line in lines[3:]} == {("ACK", "1", "1", "901")}
