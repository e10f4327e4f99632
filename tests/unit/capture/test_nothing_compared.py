"""Captures of which nothing can be compared are never `identical`: housekeeping is not compared."""

from pathlib import Path

import pytest
from models.packets import ACK, SYN, ethernet, ip, tcp, udp

from colo_proxy.cli.main import main

from .frames import MAC, Compared, save, timed

VM, CLIENT = ("192.0.2.2", 80), ("192.0.2.1", 40000)
VM6, CLIENT6 = "fe80::2", "ff02::2"

ARP = ethernet(bytes.fromhex("0001080006040002") + bytes(20), 0x0806)
LLDP = ethernet(bytes(46), 0x88CC)
IGMP = ethernet(ip("192.0.2.2", "224.0.0.22", 2, bytes.fromhex("2200f9fd00000000")), 0x0800)
SOLICITATION = ethernet(ip(VM6, CLIENT6, 58, bytes((135,)) + bytes(23)), 0x86DD)
REPORT = ethernet(ip(VM6, CLIENT6, 58, bytes((143,)) + bytes(7)), 0x86DD)
HOUSEKEEPING = ARP, LLDP, IGMP, SOLICITATION, REPORT

CALL = ethernet(tcp(CLIENT, VM, seq=7, ack=0, flags=SYN), 0x0800, from_vm=False)
DATAGRAM = ethernet(udp(VM, CLIENT, b"answer"), 0x0800)
ACKNOWLEDGEMENT = ethernet(tcp(VM, CLIENT, seq=100, ack=8, flags=ACK), 0x0800)


@pytest.fixture
def compared(compared: Compared) -> Compared:
    return lambda pvm, svm: compared(timed(pvm), timed(svm), MAC)


@pytest.mark.parametrize("frame", HOUSEKEEPING)
@pytest.mark.parametrize(("pvm", "svm"), [(1, 1), (0, 1), (1, 0), (3, 2)])
def test_housekeeping_alone_is_not_identical(compared: Compared, frame: bytes, pvm: int, svm: int) -> None:
    status, found = compared([frame] * pvm + [CALL], [frame] * svm + [CALL])
    assert (status, found["verdict"], found["divergences"]) == (2, "incomplete", [])
    assert (
        "neither capture has a frame of the VM that is compared (ARP, for instance, is not), "
        "so nothing was compared"
    ) in found["notices"]


def test_every_kind_of_housekeeping_together(compared: Compared) -> None:
    status, found = compared([*HOUSEKEEPING, CALL], [*HOUSEKEEPING, CALL])
    assert (status, found["verdict"]) == (2, "incomplete")


@pytest.mark.parametrize("frame", HOUSEKEEPING)
def test_one_frame_that_is_compared_is_enough(compared: Compared, frame: bytes) -> None:
    status, found = compared([frame, DATAGRAM, CALL], [DATAGRAM, frame, CALL])
    assert (status, found["verdict"], found["notices"]) == (0, "identical", [])


@pytest.mark.parametrize("swapped", [False, True])
def test_an_acknowledgement_of_one_guest_is_compared_with_nothing(
    compared: Compared, swapped: bool, tmp_path: Path
) -> None:
    """Neither releases it nor is it a difference yet (M3); but the other guest has sent nothing at all."""
    captures = [ACKNOWLEDGEMENT, CALL], [ARP, CALL]
    status, found = compared(*(captures[::-1] if swapped else captures))
    assert (status, found["verdict"], found["divergences"]) == (2, "incomplete", [])
    name = "pvm.pcap" if swapped else "svm.pcap"
    assert found["notices"][-1].startswith(f"{tmp_path / name}: has no frame of the VM that is compared")


def test_the_summary_of_two_empty_captures(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    paths = [str(save(tmp_path / name, [])) for name in ("pvm.pcap", "svm.pcap")]
    assert main(["compare", *paths]) == 2
    assert capsys.readouterr().out.splitlines()[-1] == "incomplete: nothing was compared"
