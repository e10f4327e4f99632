"""Which frames of two captures the VM sent, where addresses alone do not tell.

Past 400 lines: each way to tell needs captures of its own.
"""

import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import ARP, Dot1Q, Ether
from scapy.packet import Packet, Raw

from colo_proxy.capture import origin
from colo_proxy.capture.compare import Comparison
from colo_proxy.capture.origin import QEMU_PREFIX, Said, mac_text
from colo_proxy.capture.reader import CaptureError

from .frames import CLIENT_IP, START, VM_IP, Timed, save

VM, CLIENT = "02:ab:00:00:00:05", "02:00:00:00:00:01"
QEMU, ANOTHER = "52:54:00:00:00:02", "52:54:00:00:00:03"
REQUEST, ANSWER = b"GET /what/the/guest/wants", b"HTTP/1.1 200 OK\r\n\r\nhere it is"


class Wire:
    """A VM's port: what is said there, a frame a millisecond; whole seconds make captures that are cut."""

    def __init__(self, vm: str = VM, client: str = CLIENT, six: bool = False, vlan: int = 0) -> None:
        self.ends = {True: (vm, VM_IP), False: (client, CLIENT_IP)}
        self.six = six
        self.vlan = vlan
        self.frames: list[Timed] = []

    def says(self, from_vm: bool, what: Packet) -> None:
        (source, a), (target, b) = self.ends[from_vm], self.ends[not from_vm]
        head = Ether(src=source, dst=target)
        if self.vlan:
            head /= Dot1Q(vlan=self.vlan)
        number = len(self.frames)
        if self.six:
            head /= IPv6(src=f"::{a}", dst=f"::{b}")
        elif ARP not in what:
            head /= IP(src=a, dst=b, id=number)
        self.frames.append((START + number * 1_000_000, bytes(head / what)))

    def opens(
        self,
        isn: int,
        *,
        by_vm: bool,
        port: int = 40000,
        asks: bytes = REQUEST,
        answers: bytes = ANSWER,
        theirs: int = 500,
    ) -> "Wire":
        """A connection; the VM's numbers begin with `isn`, the client's with `theirs`."""
        first, second = (isn, theirs) if by_vm else (theirs, isn)
        out: dict[str, Any] = {"sport": port, "dport": 443}
        back: dict[str, Any] = {"sport": 443, "dport": port}
        self.says(by_vm, TCP(**out, flags="S", seq=first))
        self.says(not by_vm, TCP(**back, flags="SA", seq=second, ack=first + 1))
        self.says(by_vm, TCP(**out, flags="A", seq=first + 1, ack=second + 1))
        self.says(by_vm, TCP(**out, flags="PA", seq=first + 1, ack=second + 1) / asks)
        self.says(not by_vm, TCP(**back, flags="PA", seq=second + 1, ack=first + 1 + len(asks)) / answers)
        return self

    def datagrams(self, *said: bytes, from_vm: bool = True) -> "Wire":
        for data in said:
            self.says(from_vm, UDP(sport=53, dport=4000) / Raw(data))
        return self


Judge = Callable[[Wire, Wire], tuple[str | None, str]]


@pytest.fixture
def judge(tmp_path: Path) -> Judge:
    """The VM's address and the verdict; None and the error where nobody knows."""

    def of(pvm: Wire, svm: Wire) -> tuple[str | None, str]:
        saved = [save(tmp_path / name, wire.frames) for name, wire in (("pvm.pcap", pvm), ("svm.pcap", svm))]
        comparison = Comparison(*saved)
        try:
            result = comparison.run()
        except CaptureError as error:
            return None, str(error)
        assert result.vm
        assert comparison.done == 1
        reasons = [divergence.reason.label for divergence in result.divergences]
        return mac_text(result.vm), " ".join(reasons) or "identical"

    return of


@pytest.mark.parametrize("port", [40000, 41000])
@pytest.mark.parametrize("wire", [(VM, CLIENT), (VM, CLIENT, True, 7), (QEMU, ANOTHER)])
def test_a_guest_that_opens_the_connection_is_no_client(
    judge: Judge, wire: tuple[str, str] | tuple[str, str, bool, int], port: int
) -> None:
    """The client accepts it, and says the same to both."""
    pvm = Wire(*wire).opens(1000, by_vm=True)
    svm = Wire(*wire).opens(77000, by_vm=True, port=port, asks=REQUEST[:-1] + b"S")
    assert judge(pvm, svm) == (wire[0], "payload")
    assert judge(pvm, Wire(*wire).opens(77000, by_vm=True, port=port)) == (wire[0], "identical")


def test_captures_that_were_cut_in_other_places(judge: Judge) -> None:
    """What the client said before one of them began, and after the other ended, is in one alone."""
    pvm, svm = Wire(), Wire()
    for number in range(20):
        port = 40000 + number
        pvm.opens(1000 + number * 5000, by_vm=True, port=port)
        svm.opens(77000 + number * 5000, by_vm=True, port=port)
    del pvm.frames[:15]
    del svm.frames[-10:]
    assert judge(pvm, svm)[0] == VM


def test_a_guest_that_accepts(judge: Judge) -> None:
    vm, found = judge(Wire().opens(1000, by_vm=False), Wire().opens(77000, by_vm=False, answers=b"nothing"))
    assert (vm, found) == (VM, "payload")


def test_a_guest_that_accepts_with_the_same_numbers(judge: Judge) -> None:
    """Then who accepts is all there is to know, and whoever it is, they say the same."""
    assert judge(*[Wire().opens(1000, by_vm=False)] * 2) == (VM, "identical")
    assert judge(*[Wire().opens(1000, by_vm=True)] * 2) == (CLIENT, "identical")


def test_nobody_is_the_vm_for_accepting_while_the_other_differs(judge: Judge) -> None:
    """A guest that draws the same numbers, and says one byte otherwise; or a secondary that says nothing."""
    pvm = Wire().opens(1000, by_vm=True)
    vm, why = judge(pvm, Wire().opens(1000, by_vm=True, asks=REQUEST[:-1] + b"S"))
    assert (vm, "--vm-mac" in why) == (None, True)
    dumb = Wire().opens(1000, by_vm=True)
    dumb.frames = [frame for frame in dumb.frames if frame[1][6:12] != bytes.fromhex(VM.replace(":", ""))]
    vm, why = judge(pvm, dumb)
    assert (vm, "--vm-mac" in why) == (None, True)


def test_a_guest_that_accepts_on_one_side_alone(judge: Judge) -> None:
    """What the client says in the one is in the other, too; who would accept there is silent."""
    pvm, svm = Wire().opens(1000, by_vm=False), Wire().opens(1000, by_vm=False)
    svm.frames = [frame for frame in svm.frames if frame[1][6:12] != bytes.fromhex(VM.replace(":", ""))]
    assert judge(pvm, svm) == (VM, "missing-secondary")
    svm.frames = svm.frames[:1]
    assert judge(pvm, svm) == (VM, "missing-secondary")


def test_a_secondary_capture_without_the_clients(judge: Judge) -> None:
    pvm, svm = Wire().opens(1000, by_vm=True), Wire().opens(77000, by_vm=True)
    svm.frames = [frame for frame in svm.frames if frame[1][6:12] == bytes.fromhex(VM.replace(":", ""))]
    assert judge(pvm, svm) == (VM, "identical")


def test_each_guest_has_an_address_of_its_own(judge: Judge) -> None:
    """Then the client's is the only one that is in both captures."""
    pvm, svm = Wire(VM).opens(1000, by_vm=False), Wire(QEMU).opens(77000, by_vm=False, answers=b"nothing")
    for pair in ((pvm, svm), (Wire(QEMU).opens(1000, by_vm=True), Wire(ANOTHER).opens(5, by_vm=True))):
        vm, why = judge(*pair)
        assert (vm, f"if it is {CLIENT}, give it as --vm-mac" in why) == (None, True)


@pytest.mark.parametrize("vm", [VM, QEMU])
def test_each_host_has_a_router_of_its_own(judge: Judge, vm: str) -> None:
    pvm, svm = Wire(vm, CLIENT).opens(1000, by_vm=False), Wire(vm, "02:00:00:00:00:02")
    assert judge(pvm, svm.opens(77000, by_vm=False)) == (vm, "identical")
    svm.frames.clear()
    found, _ = judge(pvm, svm.opens(1000, by_vm=False))
    assert found == (vm if vm == QEMU else None)


def test_two_runs(judge: Judge) -> None:
    """Clients that draw numbers, too, are no mirror: a server may be a guest or its client."""
    pvm, svm = Wire(), Wire()
    for wire, theirs in ((pvm, 500), (svm, 9000)):
        wire.opens(1000 + theirs, by_vm=True, theirs=theirs)
    vm, why = judge(pvm, svm)
    assert (vm, "--vm-mac" in why) == (None, True)


def test_datagrams(judge: Judge) -> None:
    asked = [b"query %d" % number for number in range(9)]
    said = [b"answer %d" % number for number in range(9)]
    pvm = Wire().datagrams(*asked, from_vm=False).datagrams(*said)
    svm = Wire().datagrams(*asked, from_vm=False).datagrams(*said[:-1], b"answer X")
    assert judge(pvm, svm) == (VM, "payload")
    assert judge(pvm, pvm)[0] is None, "nothing differs"
    late = Wire().datagrams(*asked[1:], from_vm=False).datagrams(*said)
    assert judge(pvm, late)[0] is None, "a query that one capture missed may as well be a guest's output"


def test_what_guests_say_on_their_own_timers_is_no_evidence(judge: Judge) -> None:
    pvm, svm = Wire().datagrams(b"same"), Wire().datagrams(b"same")
    for wire in (pvm, svm):
        wire.datagrams(b"same", from_vm=False)
    pvm.says(True, ARP(psrc=VM_IP))
    svm.says(True, ARP(psrc="192.0.2.99"))
    assert judge(pvm, svm)[0] is None


def test_the_captures_are_not_read_again_where_the_address_tells(
    judge: Judge, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_: object) -> None:
        raise AssertionError

    monkeypatch.setattr("colo_proxy.capture.compare.listen", never)
    pvm = Wire(QEMU).opens(1000, by_vm=True)
    assert QEMU.startswith(mac_text(QEMU_PREFIX))
    assert judge(pvm, pvm) == (QEMU, "identical")


SERVED = b"HTTP/1.1 200 OK\r\n\r\n" + b"served" * 500
SPOILED = SERVED[:1500] + b"!" + SERVED[1501:]
ROUTER, STRANGER = CLIENT, "02:00:00:00:00:77"


def stray(wire: Wire, source: str, target: str) -> None:
    """A frame of somebody else's that a bridge has flooded."""
    frame = Ether(src=source, dst=target) / IP(src="192.0.2.50", dst="192.0.2.51") / UDP(dport=7) / b"stray"
    wire.frames.append((wire.frames[-1][0] + 1000, bytes(frame)))


@pytest.mark.parametrize("vm", [QEMU, VM])
@pytest.mark.parametrize("ends", [(ROUTER, STRANGER), (STRANGER, ROUTER)])
@pytest.mark.parametrize("where", ["both", "one"])
def test_a_stray_frame_makes_no_router_the_vm(
    judge: Judge, vm: str, ends: tuple[str, str], where: str
) -> None:
    """It leaves the router alone on every frame; it would be compared with itself."""
    pvm, svm = Wire(vm, ROUTER), Wire(vm, ROUTER)
    pvm.opens(1000, by_vm=False, answers=SERVED)
    svm.opens(77000, by_vm=False, answers=SPOILED)
    stray(pvm, *ends)
    if where == "both":
        stray(svm, *ends)
    assert judge(pvm, svm) == (vm, "payload")
    equal = Wire(vm, ROUTER).opens(1000, by_vm=False, answers=SERVED)
    stray(equal, *ends)
    assert judge(equal, equal) == (vm, "identical")
    equal.frames.clear()  # the same numbers, and a byte that differs
    equal.opens(1000, by_vm=False, answers=SPOILED)
    stray(equal, *ends)
    assert judge(pvm, equal) == (vm, "payload")


def test_a_stray_frame_where_the_guest_opens_with_the_same_numbers(judge: Judge) -> None:
    """The router accepts, and is the only one on every frame."""
    pvm = Wire(VM, ROUTER).opens(1000, by_vm=True, asks=SERVED)
    svm = Wire(VM, ROUTER).opens(1000, by_vm=True, asks=SPOILED)
    for wire in (pvm, svm):
        stray(wire, ROUTER, STRANGER)
    vm, why = judge(pvm, svm)
    assert (vm, "--vm-mac" in why) == (None, True)


@pytest.mark.parametrize("second", ["52:54:00:00:00:09", "00:00:5e:00:01:07"])
def test_a_guest_with_two_addresses(judge: Judge, tmp_path: Path, second: str) -> None:
    """VRRP, macvlan: the client is the only one on every frame."""
    wires = []
    for isn, said in ((1000, SERVED), (77000, SPOILED)):
        wire, other = Wire(QEMU), Wire(second)
        wire.opens(isn, by_vm=False)
        other.opens(isn + 5, by_vm=False, port=41000, answers=said)
        wire.frames += [(time + 10**9, data) for time, data in other.frames]
        wires.append(wire)
    vm, why = judge(*wires)
    assert vm is None
    assert QEMU in why
    assert second in why
    assert "--vm-mac" in why
    addresses = [bytes.fromhex(each.replace(":", "")) for each in (QEMU, second)]
    result = Comparison(tmp_path / "pvm.pcap", tmp_path / "svm.pcap", vms=addresses).run()
    assert [each.reason.label for each in result.divergences] == ["payload"]
    assert (result.divergences[0].stream_offset, result.flows, result.notices) == (1500, 2, [])
    result = Comparison(tmp_path / "pvm.pcap", tmp_path / "svm.pcap", vms=addresses[:1]).run()
    assert result.verdict == "identical"
    assert [f"5 unicast frames neither come from nor go to {QEMU}" in each for each in result.notices] == [
        True
    ] * 2


def test_a_second_address_that_sends_to_groups_alone(judge: Judge, tmp_path: Path) -> None:
    """VRRP's advertisements; what others send to groups is the same in both captures."""
    second, group = "00:00:5e:00:01:07", "01:00:5e:00:00:12"

    def wire(isn: int, says: bytes) -> Wire:
        wire = Wire(QEMU).opens(isn, by_vm=False)
        for source, said in ((second, says), (STRANGER, b"the same")):
            frame = Ether(src=source, dst=group) / IP(src=VM_IP, dst="224.0.0.18", proto=112) / Raw(said)
            wire.frames.append((wire.frames[-1][0] + 1000, bytes(frame)))
        return wire

    pvm = wire(1000, b"priority 100")
    assert judge(pvm, wire(77000, b"priority 100")) == (QEMU, "identical")
    vm, why = judge(pvm, wire(77000, b"priority 101"))
    assert vm is None
    assert all(each in why for each in (QEMU, second, "--vm-mac"))
    assert STRANGER not in why
    one, both = (
        [bytes.fromhex(QEMU.replace(":", ""))],
        [bytes.fromhex(each.replace(":", "")) for each in (QEMU, second)],
    )
    result = Comparison(tmp_path / "pvm.pcap", tmp_path / "svm.pcap", vms=both).run()
    assert ([each.reason.label for each in result.divergences], result.notices) == (["payload"], [])
    result = Comparison(tmp_path / "pvm.pcap", tmp_path / "svm.pcap", vms=one).run()
    assert [second in each for each in result.notices] == [True]


def test_a_second_address_that_sends_to_groups_in_one_capture_alone(tmp_path: Path) -> None:
    """The PVM is VRRP's master, and the SVM is not."""
    second, group = "00:00:5e:00:01:07", "01:00:5e:00:00:12"
    paths = [tmp_path / name for name in ("pvm.pcap", "svm.pcap")]
    for path, isn in zip(paths, (1000, 77000), strict=True):
        wire = Wire(QEMU).opens(isn, by_vm=False)
        for source in (STRANGER, second) if isn == 1000 else (STRANGER,):
            frame = Ether(src=source, dst=group) / IP(src=VM_IP, dst="224.0.0.18", proto=112) / Raw(b"is up")
            wire.frames.append((wire.frames[-1][0] + 1000, bytes(frame)))
        save(path, wire.frames)
    for pvm, svm in (paths, paths[::-1]):
        result = Comparison(pvm, svm).run()
        (notice,) = result.notices
        assert (second in notice, "pvm.pcap" in notice, STRANGER in notice) == (True, True, False)
        assert result.verdict == "identical"


@pytest.mark.parametrize("wire", [(VM, CLIENT), (QEMU, CLIENT), (QEMU, ANOTHER), (VM, QEMU)])
@pytest.mark.parametrize("by_vm", [False, True])
def test_captures_that_hold_only_what_clients_sent(judge: Judge, wire: tuple[str, str], by_vm: bool) -> None:
    said = Wire(*wire).opens(1000, by_vm=by_vm)
    said.frames = [
        frame for frame in said.frames if frame[1][6:12] == bytes.fromhex(wire[1].replace(":", ""))
    ]
    vm, why = judge(said, said)
    assert (vm, "--vm-mac" in why) == (None, True) or (by_vm and wire == (VM, QEMU)), "who has QEMU's prefix"
    queries = Wire(*wire).datagrams(b"query", from_vm=False)
    vm, why = judge(queries, queries)
    assert (vm, "--vm-mac" in why) == (None, True)


def test_captures_that_hold_only_what_the_vm_sent(judge: Judge) -> None:
    pvm, svm = Wire().opens(1000, by_vm=False), Wire().opens(77000, by_vm=False, answers=b"nothing")
    for each in (pvm, svm):
        each.frames = [one for one in each.frames if one[1][6:12] == bytes.fromhex(VM.replace(":", ""))]
    assert judge(pvm, svm) == (VM, "payload")


def test_the_prefix_is_no_proof(judge: Judge) -> None:
    """A client in QEMU says the same to both guests, which have another prefix."""
    pvm = Wire(VM, QEMU).opens(1000, by_vm=False, answers=SERVED)
    assert judge(pvm, Wire(VM, QEMU).opens(77000, by_vm=False, answers=SPOILED)) == (VM, "payload")
    assert judge(pvm, Wire(VM, QEMU).opens(1000, by_vm=False, answers=SPOILED)) == (VM, "payload")
    svm = Wire(VM, QEMU).opens(1000, by_vm=False)
    svm.frames = [frame for frame in svm.frames if frame[1][6:12] == bytes.fromhex(QEMU.replace(":", ""))]
    assert judge(pvm, svm)[1] != "identical"


def test_many_addresses_are_told_apart_by_reading_again(judge: Judge) -> None:
    """More than are followed in the first pass."""
    wires = []
    for isn, said in ((1000, SERVED), (77000, SPOILED)):
        wire = Wire(VM)
        for number in range(20):
            each = Wire(VM, f"02:00:00:00:01:{number:02x}")
            each.opens(
                isn + number * 100_000,
                by_vm=False,
                port=40000 + number,
                answers=said if number == 19 else SERVED,
            )
            wire.frames += [(time + number * 10**7, data) for time, data in each.frames]
        stray(wire, f"02:00:00:00:01:{3:02x}", STRANGER)
        wires.append(wire)
    for wire in wires:  # whom nobody follows
        for number in range(30):
            wire.frames.insert(
                0, (START, bytes(Ether(src=f"02:00:00:00:02:{number:02x}", dst=STRANGER) / b"flooded"))
            )
    assert judge(*wires) == (VM, "payload")


def test_a_sample_is_bounded_and_the_same_of_what_is_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(origin, "_SAMPLE", 64)
    one, other = Said(), Said()
    flood = [bytes(Ether() / IP() / TCP(seq=number, flags="A") / b"x") for number in range(2000)]
    opening = [bytes(Ether() / IP() / TCP(seq=number, flags="S")) for number in range(20)]
    for frame in opening + flood:
        one.add(frame)
    for frame in flood[::-1] + opening + flood[:500]:
        other.add(frame)
    below = min(one.streams.below, other.streams.below)
    assert len(one.streams.kept) < 128
    kept = {name for name in one.streams.kept if name < below}
    assert kept == {name for name in other.streams.kept if name < below}
    assert len(kept) >= 64
    first = Said()
    for frame in opening:
        first.add(frame)
    assert first.streams.kept < kept, "the beginnings of connections are kept first"


@pytest.mark.parametrize("size", range(14, 60))
def test_frames_of_any_length(size: int) -> None:
    """Lengths in packets are nobody's promise."""
    said = Said()
    for kind in (0x0800, 0x86DD, 0x0806, 0x8100, 0x88A8, 0x1234):
        for fill in (0, 6, 58, 255):
            frame = bytes(12) + struct.pack(">H", kind) + bytes([0x45]) + bytes([fill]) * 50
            said.add(frame[:size])
    assert not said.accepts or size >= 54
