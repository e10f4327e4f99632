"""`colo-proxy compare` on many small captures: verdict, reasons, offsets, and what clients would receive."""

import json
from pathlib import Path
from typing import Any

import dpkt
import pytest
from models.packets import ACK, SYN, checksum, ethernet, ip, tcp
from transcripts.play import Play

from colo_proxy.cli.main import main
from colo_proxy.vocabulary import Frame, Port

from .frames import MAC, START, Compared, Timed, save, timed
from .scenarios import SCENARIOS

SENDER = bytes.fromhex(MAC.replace(":", ""))


class Recorder:
    """What each guest says, for a capture of its port."""

    def __init__(self) -> None:
        self.said: dict[str, list[Timed]] = {"P": [], "S": []}

    def primary(self, frame: bytes, now: int) -> None:
        self.said["P"].append((START + now, frame))

    def secondary(self, frame: bytes, now: int) -> None:
        self.said["S"].append((START + now, frame))

    uplink, received = primary, secondary  # the clients' frames are in the guest's capture, too

    def take(self) -> list[Any]:
        return []


def lines(text: str) -> list[str]:
    return [line.strip() for line in text.splitlines() if line.strip()]


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_scenario(scenario: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recorder = Recorder()
    play = Play(recorder, p_isn=1000, s_isn=77_000, c_isn=500_000)
    events = [line for line in lines(SCENARIOS[scenario]) if line.split()[0] not in {"!", ">", "held"}]
    wanted = [line for line in lines(SCENARIOS[scenario]) if line not in events]
    for event in events:
        play.happen(event)
    captures = [save(tmp_path / f"{who}.pcap", recorder.said[who]) for who in "PS"]
    released = tmp_path / "released.pcap"
    vm = ["--vm-mac", MAC] if events else []
    status = main(["compare", *map(str, captures), *vm, "--json", "--released", str(released)])
    found = json.loads(capsys.readouterr().out)
    with released.open("rb") as file:
        frames = [Frame(Port.UPLINK, data) for _, data in dpkt.pcap.Reader(file)]
    # Each connection of a flow has its own ISN: told by the last that was set, as the transcript is read.
    came = [play.describe(frame) for frame in frames]
    assert came == [play.wanted(line, came[at : at + 1]) for at, line in enumerate(of(">", wanted))]
    differences = [f"! {each['reason']} {each['stream_offset']}" for each in found["divergences"]]
    assert differences == of("!", wanted)
    assert found["held_frames"] == sum(int(line.split()[1]) for line in of("held", wanted))
    assert found["released_frames"] == len(frames)
    assert (found["primary_frames"], found["secondary_frames"]) == tuple(
        sum(frame[6:12] == SENDER for _, frame in said) for said in recorder.said.values()
    )
    compared = any(event.split()[1] != "arp" for event in events)  # which is housekeeping
    verdict = (1, "diverged") if differences else (0, "identical") if compared else (2, "incomplete")
    assert (status, found["verdict"]) == verdict


def of(mark: str, wanted: list[str]) -> list[str]:
    return [line for line in wanted if line.split()[0] == mark]


# ------------------------------------------------------------------ what a transcript has no words for


@pytest.fixture
def compared(compared: Compared) -> Compared:
    """Of what PVM and SVM sent, a frame a millisecond."""
    return lambda pvm, svm: compared(timed(pvm), timed(svm), MAC)


def six(next_header: int, data: bytes) -> bytes:
    return ethernet(ip("2001:db8::2", "2001:db8::1", next_header, data), 0x86DD)


def segment(seq: int, payload: bytes, flags: int = ACK) -> bytes:
    """A TCP segment without its IPv6 header."""
    ends = ("2001:db8::2", 80), ("2001:db8::1", 40000)
    return tcp(*ends, seq=seq, ack=1, flags=flags, payload=payload)[40:]


def test_ipv6_extension_headers(compared: Compared) -> None:
    """A stream is the same one behind them (RFC 8200, 4.1): hop-by-hop and destination options here."""
    options = bytes([60, 0, 1, 4, 0, 0, 0, 0]) + bytes([6, 0, 1, 4, 0, 0, 0, 0])
    opened = [[six(6, segment(isn, b"", SYN | ACK))] for isn in (1000, 77000)]
    plain = six(6, segment(77001, b"data"))
    status, found = compared([*opened[0], six(0, options + segment(1001, b"data"))], [*opened[1], plain])
    assert (status, found["released_frames"], found["flows"]) == (0, 2, 1)
    status, found = compared([*opened[0], six(0, options + segment(1001, b"dataX"))], [*opened[1], plain])
    assert (status, found["divergences"][0]["stream_offset"]) == (1, 4)
    assert found["divergences"][0]["reason"] == "missing-secondary"


def test_ipv6_fragments(compared: Compared) -> None:
    def cut(data: bytes, ident: int, at: int) -> list[bytes]:
        head = bytes([6, 0])
        name = ident.to_bytes(4)
        return [
            six(44, head + (1).to_bytes(2) + name + data[:at]),
            six(44, head + at.to_bytes(2) + name + data[at:]),
        ]

    opened = [[six(6, segment(isn, b"", SYN | ACK))] for isn in (1000, 77000)]
    pvm = [*opened[0], *cut(segment(1001, b"d" * 64), 7, 24)]
    status, found = compared(pvm, [*opened[1], *cut(segment(77001, b"d" * 64), 9, 40)])
    assert (status, found["released_frames"], found["held_frames"]) == (0, 3, 0)
    status, found = compared(pvm, [*opened[1], six(6, segment(77001, b"d" * 63 + b"D"))])
    assert (status, found["divergences"][0]["stream_offset"]) == (1, 63)


def test_an_icmp_error_that_quotes_a_client(compared: Compared) -> None:
    """Each guest quotes the segment with its own number acknowledged; the SVM's is aligned."""

    def said(isn: int) -> list[bytes]:
        ends = ("192.0.2.2", 80), ("192.0.2.1", 40000)
        client = tcp(*ends[::-1], seq=500, ack=isn + 1, flags=ACK, payload=b"what the guest rejects")
        opened = tcp(*ends, seq=isn, ack=500, flags=SYN | ACK)
        error = bytes([3, 3]) + bytes(6) + client
        error = error[:2] + checksum(error).to_bytes(2) + error[4:]
        return [ethernet(opened, 0x0800), ethernet(ip("192.0.2.2", "192.0.2.1", 1, error), 0x0800)]

    status, found = compared(said(1000), said(77000))
    assert (status, found["released_frames"], found["held_frames"]) == (0, 2, 0)


def test_ipv6_atomic_fragments(compared: Compared) -> None:
    """Whole packets (RFC 6946), each with an identification that its guest has drawn."""

    def atomic(ident: int, data: bytes, at: int = 0) -> bytes:
        return six(44, bytes([47, 0]) + at.to_bytes(2) + ident.to_bytes(4) + data)

    status, found = compared(
        [atomic(7, b"carried"), atomic(8, b"again")],
        [atomic(99, b"carried"), atomic(0, b"AGAIN")],
    )
    assert (status, found["released_frames"], found["held_frames"]) == (1, 2, 0)
    assert [(each["reason"], each["stream_offset"]) for each in found["divergences"]] == [("payload", 7)]


def test_each_fragment_that_waits_is_counted(compared: Compared) -> None:
    data = bytes([0, 53, 0, 9, 0, 40, 0, 0]) + b"d" * 32
    pieces = [
        ethernet(
            ip("192.0.2.2", "192.0.2.1", 17, data[at : at + 8], ident=7, fragment=at // 8 | more), 0x0800
        )
        for at, more in ((0, 0x2000), (8, 0x2000), (16, 0x2000), (24, 0x2000), (32, 0))
    ]
    assert compared(pieces, [])[1]["held_frames"] == 5
    assert compared(pieces[:3], [])[1]["held_frames"] == 3
    assert compared(pieces, pieces)[1]["held_frames"] == 0


def test_a_datagram_in_120_fragments(compared: Compared) -> None:
    """65,000 bytes where the MTU is 576."""
    data = bytes([0, 53, 0, 9, 0xFD, 0xF0, 0, 0]) + bytes(65000)

    def cut(ident: int) -> list[bytes]:
        return [
            ethernet(
                ip(
                    "192.0.2.2",
                    "192.0.2.1",
                    17,
                    data[at : at + 552],
                    ident=ident,
                    fragment=at // 8 | (0x2000 if at + 552 < len(data) else 0),
                ),
                0x0800,
            )
            for at in range(0, len(data), 552)
        ]

    status, found = compared(cut(7), cut(9))
    assert (status, found["released_frames"], found["held_frames"]) == (0, 118, 0)
    data = data[:-1] + b"!"
    status, found = compared(cut(7), [])
    assert (status, found["released_frames"], found["held_frames"]) == (1, 0, 118)
