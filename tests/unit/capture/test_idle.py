"""Connections that are idle when a capture begins: an answered keep-alive shows no lost byte."""

from typing import Any

import pytest
from models.packets import ACK, ethernet, tcp

from .frames import MAC, START, Compared, Timed

FOUR = ("192.0.2.2", 22), ("192.0.2.1", 40000)
SIX = ("2001:db8::2", 22), ("2001:db8::1", 40000)
TIMESTAMP = bytes.fromhex("0101080a0000000100000002")
NUMBERS = 100, 2**32 - 1, 0, 2**31  # SND.NXT


class Idle:
    """One guest's port; the next byte that the VM sends has the number `next`."""

    def __init__(self, following: int, ends: tuple[tuple[str, int], tuple[str, int]] = FOUR) -> None:
        self.next, self.ends, self.now = following, ends, START
        self.frames: list[Timed] = []

    def add(self, from_vm: bool, seq: int, ack: int, **fields: Any) -> "Idle":
        source, target = self.ends if from_vm else self.ends[::-1]
        packet = tcp(source, target, seq=seq % 2**32, ack=ack % 2**32, flags=ACK, **fields)
        kind = 0x86DD if self.ends is SIX else 0x0800
        self.now += 1_000_000
        self.frames.append((self.now, ethernet(packet, kind, from_vm=from_vm)))
        return self

    def probes(self, **fields: Any) -> "Idle":
        return self.add(True, self.next - 1, 5001, **fields)

    def answers(self, received: int = 0, **fields: Any) -> "Idle":
        return self.add(False, 5001, self.next + received, **fields)

    def sends(self, payload: bytes) -> "Idle":
        return self.add(True, self.next, 5001, payload=payload)


@pytest.fixture
def compared(compared: Compared) -> Compared:
    return lambda pvm, svm: compared(pvm.frames, svm.frames, MAC)


def differences(found: dict[str, Any]) -> list[tuple[str, int]]:
    return [(each["reason"], each["stream_offset"]) for each in found["divergences"]]


@pytest.mark.parametrize("following", NUMBERS)
@pytest.mark.parametrize("ends", [FOUR, SIX])
@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("options", [b"", TIMESTAMP])
def test_answered_keep_alives_are_identical(
    compared: Compared,
    following: int,
    ends: tuple[tuple[str, int], tuple[str, int]],
    count: int,
    options: bytes,
) -> None:
    ports = Idle(following, ends), Idle(following, ends)
    for port in ports:
        for _ in range(count):
            port.probes(options=options).answers(options=options)
    status, found = compared(*ports)
    assert (status, found["verdict"], found["not_compared"]) == (0, "identical", [])


@pytest.mark.parametrize("following", NUMBERS)
def test_what_follows_them_is_compared(compared: Compared, following: int) -> None:
    pvm = Idle(following).probes().answers().sends(b"same").answers(4)
    same = Idle(following).probes().answers().sends(b"same").answers(4)
    other = Idle(following).probes().answers().sends(b"sane").answers(4)
    assert compared(pvm, same)[1]["verdict"] == "identical"
    assert differences(compared(pvm, other)[1]) == [("payload", 2)]


@pytest.mark.parametrize("following", NUMBERS)
@pytest.mark.parametrize(("by", "reason"), [(0, "missing-secondary"), (1, "missing-primary")])
def test_what_only_one_guest_sends_behind_them(
    compared: Compared, following: int, by: int, reason: str
) -> None:
    ports = [Idle(following).probes().answers() for _ in range(2)]
    ports[by].sends(b"more").answers(4)
    status, found = compared(*ports)
    assert (status, differences(found), found["not_compared"]) == (1, [(reason, 0)], [])


@pytest.mark.parametrize("following", NUMBERS)
def test_bytes_that_the_captures_lack_behind_them_are_not_compared(
    compared: Compared, following: int
) -> None:
    ports = [Idle(following).probes().answers().answers(50) for _ in range(2)]
    status, found = compared(*ports)
    assert (status, found["verdict"]) == (2, "incomplete")
    assert [(each["from"], each["to"]) for each in found["not_compared"]] == [(0, 50)]


@pytest.mark.parametrize("first", [True, False])
def test_a_byte_of_the_svms_at_the_number_is_a_byte(compared: Compared, first: bool) -> None:
    """The empty segment was no keep-alive then: the PVM's capture lacks what the client has acknowledged."""
    pvm = Idle(100).probes().answers()
    svm = Idle(100)
    if not first:
        svm.now += 5_000_000
    svm.next -= 1
    status, found = compared(pvm, svm.sends(b"x"))
    assert (status, found["verdict"]) == (2, "incomplete")
    assert [(each["from"], each["to"]) for each in found["not_compared"]] == [(0, 1)]
