"""What `compare` has not looked at makes no verdict `identical`; what is odd about a capture is noticed."""

import struct
from pathlib import Path

import pytest
from models.packets import ACK, SYN, checksum, ethernet, ip, tcp, udp

from colo_proxy.cli.main import main

from .frames import MAC, SECOND, START, VM, Compared, Timed, http, pcap, timed
from .frames import udp as said_by_vm
from .test_reader import interface, packet, section

ENDS = ("192.0.2.2", 80), ("192.0.2.1", 40000)
ENDS6 = ("2001:db8::2", 80), ("2001:db8::1", 40000)
ANSWER = b"HTTP/1.1 200 OK\r\n\r\n" + b"answer" * 300


# ------------------------------------------------------------------ frames longer than any port would take


def big(isn: int, payload: bytes, six: bool, jumbo: bool = False) -> list[Timed]:
    """A connection's start and one BIG TCP frame: its IP header has a length of 0."""
    kind = 0x86DD if six else 0x0800
    ends = ENDS6 if six else ENDS
    opened = ethernet(tcp(*ends, seq=isn, ack=1, flags=SYN | ACK), kind)
    small = tcp(*ends, seq=isn + 1, ack=1, flags=ACK)
    if six:
        hop = bytes((6, 0, 0xC2, 4)) + (8 + 20 + len(payload)).to_bytes(4) if jumbo else b""
        packet = small[:4] + bytes(2) + bytes((0 if jumbo else 6,)) + small[7:40] + hop + small[40:] + payload
    else:
        packet = small[:2] + bytes(2) + small[4:10] + bytes(2) + small[12:] + payload
    return timed([opened, ethernet(packet, kind)])


@pytest.mark.parametrize(("six", "jumbo"), [(False, False), (True, False), (True, True)])
@pytest.mark.parametrize("size", [1500, 65536, 69590, 70000, 190_000, 524_000])
def test_super_frames_of_any_length(compared: Compared, six: bool, jumbo: bool, size: int) -> None:
    data = bytes(range(256)) * (size // 256 + 1)
    data = data[:size]
    other = data[:-7] + b"!" + data[-6:]
    status, found = compared(big(1000, data, six, jumbo), big(77000, data, six, jumbo), MAC)
    assert (status, found["verdict"], found["released_frames"]) == (0, "identical", 2)
    status, found = compared(big(1000, data, six, jumbo), big(77000, other, six, jumbo), MAC)
    assert (status, found["verdict"]) == (1, "diverged")
    assert [(each["reason"], each["stream_offset"]) for each in found["divergences"]] == [
        ("payload", size - 7)
    ]


def test_super_frames_against_segments(compared: Compared) -> None:
    data = bytes(i * 7 & 255 for i in range(150_000))
    opened = ethernet(tcp(*ENDS, seq=77000, ack=1, flags=SYN | ACK), 0x0800)
    cut = [
        ethernet(tcp(*ENDS, seq=77001 + at, ack=1, flags=ACK, payload=data[at : at + 1448]), 0x0800)
        for at in range(0, len(data), 1448)
    ]
    assert compared(big(1000, data, False), timed([opened, *cut]), MAC)[0] == 0
    assert compared(timed([opened, *cut]), big(1000, data, False), MAC)[0] == 0
    cut[-1] = cut[-1][:-1] + b"!"
    status, found = compared(big(1000, data, False), timed([opened, *cut]), MAC)
    assert (status, found["divergences"][0]["stream_offset"]) == (1, len(data) - 1)


def test_padding_is_no_super_frame(compared: Compared) -> None:
    """A length of 0 in a frame that Ethernet has padded says nothing, and a whole one is not extended."""
    small = tcp(*ENDS, seq=1001, ack=1, flags=ACK, payload=b"123456")
    unfinished = ethernet(small[:2] + bytes(2) + small[4:], 0x0800)
    assert len(unfinished) == 60
    pvm, svm = timed([unfinished]), timed([unfinished[:-6] + b"123457"])
    assert compared(pvm, svm, MAC)[1]["divergences"][0]["flow"].startswith("ethertype"), "no stream"


# ------------------------------------------------------------------ UDP checksums that are still partial


def partial(frame: bytes) -> bytes:
    """The datagram as a host's own capture has it: the checksum is that of the pseudo-header."""
    at = 14 + 20 if frame[12:14] == b"\x08\x00" else 14 + 40
    addresses = frame[26:34] if at == 34 else frame[22:54]
    total = 0xFFFF ^ checksum(addresses + bytes((0, 17)) + frame[at + 4 : at + 6])
    return frame[: at + 6] + total.to_bytes(2) + frame[at + 8 :]


@pytest.mark.parametrize("ends", [("192.0.2.2", "192.0.2.1", 0x0800), ("2001:db8::2", "2001:db8::1", 0x86DD)])
def test_a_partial_udp_checksum_is_none(compared: Compared, ends: tuple[str, str, int]) -> None:
    def datagram(data: bytes) -> bytes:
        return ethernet(udp((ends[0], 53), (ends[1], 4000), data), ends[2])

    right, other = datagram(b"an answer"), datagram(b"an answeR")
    wrong = partial(right)[:-9] + b"an answer"
    at = len(right) - 9 - 2
    wrong = right[:at] + bytes((right[at] ^ 1,)) + right[at + 1 :]
    for pvm, svm, status in (
        (partial(right), right, 0),
        (right, partial(right), 0),
        (partial(right), partial(right), 0),
        (partial(right), wrong, 1),
        (wrong, partial(right), 1),
        (partial(right), partial(other), 1),
        (partial(right), other, 1),
        (right, wrong, 1),
    ):
        assert compared(timed([pvm]), timed([svm]), MAC)[0] == status


@pytest.mark.parametrize(("same", "status"), [(True, 0), (False, 1)])
def test_padding_behind_a_length_of_802_3(compared: Compared, same: bool, status: int) -> None:
    """Spanning tree, IPX: each guest's driver pads with what it likes."""
    pvm = ethernet(b"said" + bytes(42), 4)
    svm = ethernet((b"said" if same else b"sais") + b"\xff" * 42, 4)
    assert compared(timed([pvm]), timed([svm]), MAC)[0] == status


# ------------------------------------------------------------------ what was not looked at


def snapped(frames: list[Timed], length: int) -> bytes:
    """A pcap with no more than so many bytes of each frame."""
    out = pcap([])
    for time, data in frames:
        head = struct.pack("<IIII", time // SECOND, time % SECOND // 1000, min(len(data), length), len(data))
        out += head + data[:length]
    return out


@pytest.mark.parametrize("length", [60, 96, 500])
def test_frames_that_are_cut_make_it_incomplete(compared: Compared, length: int) -> None:
    pvm, svm = http(1000, ANSWER), http(77000, ANSWER)
    whole = len(pvm[4][1])
    flow = "tcp 192.0.2.2:80 > 192.0.2.1:40000"
    entry = {"what": "cut", "frames": 1, "bytes": whole - length, "flow": flow, "from": None, "to": None}
    status, found = compared(snapped(pvm, length), snapped(svm, length))
    assert (status, found["verdict"], found["divergences"]) == (2, "incomplete", [])
    assert found["not_compared"][:2] == [entry, entry]
    for one, other in ((snapped(pvm, length), pcap(svm)), (pcap(pvm), snapped(svm, length))):
        status, found = compared(one, other)
        assert (status, found["verdict"], found["not_compared"]) == (2, "incomplete", [entry])


@pytest.mark.parametrize("length", [*range(14, 58), 70])
@pytest.mark.parametrize("six", [False, True])
@pytest.mark.parametrize("tcp_options", [b"", b"\x01\x01\x08\x0a" + bytes(8)])
def test_frames_that_are_cut_inside_their_headers(
    compared: Compared, length: int, six: bool, tcp_options: bytes
) -> None:
    """On one side: what the other side has is not missing; where the ports are cut off, of no flow."""
    ends, kind = (ENDS6, 0x86DD) if six else (ENDS, 0x0800)

    def said(isn: int) -> list[Timed]:
        frames = [
            ethernet(tcp(*ends, seq=isn, ack=1, flags=SYN | ACK), kind),
            *(
                ethernet(tcp(*ends, seq=isn + 1, ack=1, options=tcp_options, payload=payload), kind)
                for payload in (b"one" * 40, b"other" * 40)
            ),
            ethernet(udp(*ends, b"datagram" * 20), kind),
        ]
        return timed(frames[:2] + frames[3:])

    pvm, svm = said(1000), said(77000)
    for one, other in ((snapped(pvm, length), pcap(svm)), (pcap(pvm), snapped(svm, length))):
        status, found = compared(one, other, MAC)
        assert (status, found["verdict"], found["divergences"]) == (2, "incomplete", [])
        ports = 14 + (40 if six else 20) + 4
        assert (found["not_compared"][0]["flow"] is None) == (length < ports)


def test_what_is_there_of_a_cut_frame_is_compared(compared: Compared) -> None:
    pvm, svm = http(1000, ANSWER), http(77000, ANSWER.replace(b"200", b"404"))
    for one, other in ((snapped(pvm, 96), snapped(svm, 96)), (snapped(pvm, 96), pcap(svm))):
        status, found = compared(one, other)
        assert (status, found["verdict"]) == (1, "diverged")
        assert [(each["reason"], each["stream_offset"]) for each in found["divergences"]] == [("payload", 9)]
        assert found["not_compared"], "and is listed all the same"


def test_datagrams_that_are_cut(compared: Compared) -> None:
    said = [said_by_vm(b"x" * 200, START)]
    status, found = compared(snapped(said, 96), snapped(said, 96))
    assert (status, found["verdict"], found["divergences"]) == (2, "incomplete", [])
    assert [each["flow"] for each in found["not_compared"]] == ["udp 192.0.2.2:5353 > 192.0.2.1:9"] * 2


def test_frames_that_are_shorter_than_a_header(compared: Compared) -> None:
    short = [(START + 1, b"short")]
    status, found = compared(http(1, ANSWER) + short, http(2, ANSWER))
    assert (status, found["verdict"]) == (2, "incomplete")
    assert found["not_compared"] == [
        {"what": "dropped", "frames": 1, "bytes": 5, "flow": None, "from": None, "to": None}
    ]
    status, found = compared(http(1, ANSWER) + short, http(2, ANSWER[:-1] + b"!"))
    assert (status, found["verdict"]) == (1, "diverged")


@pytest.mark.parametrize("later", [0, 10])
def test_fragments_of_the_svm_that_never_complete(compared: Compared, later: int) -> None:
    """Nobody could compare them, at the end or after the timeout."""
    piece = ethernet(ip("192.0.2.2", "192.0.2.1", 17, bytes(8), ident=7, fragment=0x2000), 0x0800)
    svm = [*http(2, ANSWER), (START + 1, piece), *http(2, ANSWER, port=41000, start=START + later * SECOND)]
    pvm = http(1, ANSWER) + http(1, ANSWER, port=41000, start=START + later * SECOND)
    vm = bytes.fromhex(VM.replace(":", ""))
    svm[6] = (START + 6_000_000, svm[6][1][:6] + vm + svm[6][1][12:])
    status, found = compared(pvm, svm)
    assert (status, found["verdict"], found["not_compared"][0]["frames"]) == (2, "incomplete", 1)


@pytest.mark.parametrize("later", [0, 10])
def test_fragments_that_complete_in_neither(compared: Compared, later: int) -> None:
    """It is no proof of anything that the PVM has sent them; what the SVM's capture has whole is one."""

    def said(isn: int, *pieces: bytes) -> list[Timed]:
        mine = [(START + 10 + at, piece) for at, piece in enumerate(pieces)]
        return [*talk(isn, START), *mine, *talk(isn, START + later * SECOND, 41000)]

    def talk(isn: int, start: int, port: int = 40000) -> list[Timed]:
        ends = ENDS[0], (ENDS[1][0], port)
        return timed([ethernet(tcp(*ends, seq=isn, ack=1, flags=SYN | ACK), 0x0800)], start)

    def piece(ident: int, at: int, more: bool) -> bytes:
        data = (udp(*ENDS, b"x" * 24)[20:] + bytes(8))[at : at + 16]
        word = at // 8 | (0x2000 if more else 0)
        return ethernet(ip("192.0.2.2", "192.0.2.1", 17, data, ident=ident, fragment=word), 0x0800)

    status, found = compared(said(1, piece(7, 0, True)), said(2, piece(9, 0, True)), MAC)
    assert (status, found["verdict"], found["divergences"]) == (2, "incomplete", [])
    assert found["not_compared"][-1]["flow"] == "ip-17 192.0.2.2 > 192.0.2.1"
    whole = piece(9, 0, True), piece(9, 16, False)
    assert compared(said(1, piece(7, 0, True)), said(2, *whole), MAC)[0] == 1
    assert compared(said(1, piece(7, 0, True)), said(2), MAC)[0] == 1


def test_a_person_reads_what_was_left_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said = [said_by_vm(b"x" * 200, START)]
    path = tmp_path / "cut.pcap"
    path.write_bytes(snapped(said, 96))
    assert main(["compare", str(path), str(path), "--vm-mac", VM]) == 2
    assert capsys.readouterr().out == (
        f"VM {VM}: 0 flows, 1 frame of the PVM, 1 of the SVM; 0 released, 0 held\n"
        "  cut  1 frame  146 bytes    udp 192.0.2.2:5353 > 192.0.2.1:9\n"
        "  cut  1 frame  146 bytes    udp 192.0.2.2:5353 > 192.0.2.1:9\n"
        "incomplete: no difference was found, but this was not compared\n"
    )


# ------------------------------------------------------------------ what is odd


def test_a_tail_of_zeros(compared: Compared, tmp_path: Path) -> None:
    """As a crash of the capturing host leaves it; its records would be empty frames of 1970."""
    for zeros in (4096, 5, 17):
        status, found = compared(pcap(http(1, ANSWER)) + bytes(zeros), pcap(http(2, ANSWER)))
        assert (status, found["verdict"]) == (0, "identical")
        assert found["notices"] == [
            f"{tmp_path}/pvm.pcap: its last {zeros:,} bytes are zeros, not frames; "
            "the file was damaged, and the frames that were there are lost"
        ]
    ng = section() + interface(resolution=9) + b"".join(packet(time, data) for time, data in http(2, ANSWER))
    status, found = compared(pcap(http(1, ANSWER)), ng + bytes(4096))
    assert (status, len(found["notices"])) == (0, 1)


def test_zeros_in_the_middle_are_no_tail(compared: Compared) -> None:
    """An empty frame of 1970 makes no sense, and does not change the times of others."""
    middle = pcap(http(1, ANSWER)[:3]) + bytes(16) + pcap(http(1, ANSWER)[3:])[24:]
    status, found = compared(middle, pcap(http(2, ANSWER)))
    assert (status, found["verdict"], found["not_compared"][0]["what"]) == (2, "incomplete", "dropped")
    assert "times go back by up to 1,700,000,000" in found["notices"][0]


@pytest.mark.parametrize("at", [0, 1, 4, 5])
@pytest.mark.parametrize("seconds", [3600 * 25, 10**9])
def test_one_frame_dated_far_ahead(compared: Compared, at: int, seconds: int) -> None:
    pvm = http(1, ANSWER)
    pvm[at] = (pvm[at][0] + seconds * SECOND, pvm[at][1])
    for one, other, name in ((pvm, http(2, ANSWER), "pvm.pcap"), (http(2, ANSWER), pvm, "svm.pcap")):
        status, found = compared(one, other)
        assert (status, found["verdict"], len(found["notices"])) == (0, "identical", 1)
        assert f"{name}: frame {at + 1} is dated" in found["notices"][0]


def test_frames_captured_twice_on_one_side(compared: Compared) -> None:
    """A datagram of which the other capture has one copy is missing there."""
    datagrams = [said_by_vm(b"one", START + SECOND), said_by_vm(b"two", START + SECOND)]
    doubled = [frame for frame in http(1, ANSWER) + datagrams for _ in range(2)]
    status, found = compared(doubled, http(2, ANSWER) + datagrams)
    assert (status, found["divergences"][0]["reason"]) == (1, "missing-secondary")
    assert "4 frames of the VM's 8 are in it twice" in found["notices"][0]
    assert compared(doubled, doubled)[1]["notices"] == []


def test_a_tap_that_strips_vlan_tags(compared: Compared, tmp_path: Path) -> None:
    def tagged(frames: list[Timed], vlan: int) -> list[Timed]:
        return [(time, data[:12] + b"\x81\x00" + vlan.to_bytes(2) + data[12:]) for time, data in frames]

    for one, other, name in (
        (tagged(http(1, ANSWER), 7), http(2, ANSWER), "svm.pcap"),
        (http(1, ANSWER), tagged(http(2, ANSWER), 7), "pvm.pcap"),
    ):
        status, found = compared(one, other)
        assert status == 1
        assert found["notices"][0].startswith(f"{tmp_path}/{name}: none of the VM's frames has a VLAN tag")
        assert "VLAN 7" in found["notices"][0]
    assert compared(tagged(http(1, ANSWER), 7), tagged(http(2, ANSWER), 7))[1]["notices"] == []


def test_a_connection_that_is_whole_has_no_notice(compared: Compared) -> None:
    status, found = compared(http(1, ANSWER), http(2, ANSWER))
    assert (status, found["notices"], found["not_compared"]) == (0, [], [])
