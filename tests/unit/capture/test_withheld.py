"""Notices of acknowledgements that wait at the end, and of frames that were captured twice."""

from pathlib import Path
from typing import Any

import pytest
from models.packets import ACK, ethernet, tcp, udp

from .frames import MAC, Compared, timed

FOUR = ("192.0.2.2", 80), ("192.0.2.1", 40000)
SIX = ("2001:db8::2", 80), ("2001:db8::1", 40000)


@pytest.fixture
def compared(compared: Compared) -> Compared:
    return lambda pvm, svm: compared(timed(pvm), timed(svm), MAC)


def segment(
    ends: tuple[tuple[str, int], tuple[str, int]], ack: int, payload: bytes = b"", **ip: Any
) -> bytes:
    kind = 0x86DD if ends is SIX else 0x0800
    return ethernet(tcp(*ends, seq=100, ack=ack, flags=ACK, payload=payload, **ip), kind)


@pytest.mark.parametrize("count", [1, 2])
def test_acknowledgements_that_wait_at_the_end_are_noticed(
    compared: Compared, count: int, tmp_path: Path
) -> None:
    both = [segment(FOUR, 50)]
    waiting = [segment(FOUR, 60 + at) for at in range(count)]
    status, found = compared(both + waiting, both)
    assert (status, found["verdict"], found["held_frames"]) == (0, "identical", count)
    those = "1 acknowledgement of the PVM was" if count == 1 else "2 acknowledgements of the PVM were"
    assert found["notices"] == [
        f"{tmp_path}/pvm.pcap: {those} still withheld when the captures ended, because the SVM had not "
        "acknowledged or offered as much"
    ]


def test_an_acknowledgement_of_the_svm_alone_waits_for_nothing(compared: Compared) -> None:
    both = [segment(FOUR, 50)]
    status, found = compared(both, [*both, segment(FOUR, 60)])
    assert (status, found["verdict"], found["notices"]) == (0, "identical", [])


@pytest.mark.parametrize("ends", [FOUR, SIX])
@pytest.mark.parametrize("payload", [b"", b"repeated"])
def test_segments_that_a_guest_repeats_were_not_captured_twice(
    compared: Compared, ends: tuple[tuple[str, int], tuple[str, int]], payload: bytes
) -> None:
    ip = {"ident": 0} if ends is FOUR else {}
    once = segment(ends, 50, payload, **ip)
    status, found = compared([once, once, once], [once])
    assert (status, found["verdict"], found["notices"]) == (0, "identical", [])


@pytest.mark.parametrize(
    "once",
    [
        segment(FOUR, 50, b"bytes", ident=7),
        ethernet(udp(*SIX, b"datagram"), 0x86DD),
    ],
)
def test_frames_that_no_guest_repeats_were(compared: Compared, once: bytes) -> None:
    found = compared([once, once], [once])[1]
    assert "1 frame of the VM's 2 are in it twice" in found["notices"][0]
