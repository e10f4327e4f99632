"""Reports and what they say to a person."""

import json
import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scapy.layers.dns import DNS, DNSRR
from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.l2 import Ether

from colo_proxy.capture.difference import sentence
from colo_proxy.capture.explain import explain
from colo_proxy.capture.report import MOST_EXCHANGES, Report, Reports, load
from colo_proxy.capture.writer import PcapngWriter
from colo_proxy.errors import UserError
from colo_proxy.words import Divergence, Exchange, Fate, Port, Reason

from .frames import CLIENT_IP, START, VM_IP


def tcp(payload: bytes = b"", seq: int = 1000, **fields) -> bytes:
    return bytes(
        Ether() / IP(src=VM_IP, dst=CLIENT_IP) / TCP(sport=80, dport=40000, seq=seq, **fields) / payload
    )


def udp(payload: bytes) -> bytes:
    return bytes(Ether() / IP(src=VM_IP, dst=CLIENT_IP) / UDP(sport=53, dport=40000) / payload)


def diverged(primary=None, secondary=None, reason=Reason.PAYLOAD, offset=17, exchanges=()) -> Divergence:
    flow = "tcp 192.0.2.2:80 > 192.0.2.1:40000"
    seen = tuple(exchanges)
    return Divergence(0, flow, "tcp", reason, offset, START, primary, secondary, seen, 4_000_000_000)


def exchange(ago: int, port: Port, frame: bytes, fate: Fate = Fate.WAITS, after: int = 0) -> Exchange:
    """A frame that came `ago` us before the divergence."""
    time = START - 1000 * ago
    return Exchange(time, port, frame[:128], len(frame), fate, time + 1000 * after if after else 0)


def page(date: str, body: bytes = b"hello") -> bytes:
    return b"HTTP/1.1 200 OK\r\nServer: x\r\nDate: " + date.encode() + b"\r\n\r\n" + body


ONE, NEXT = "Tue, 14 Nov 2023 22:13:20 GMT", "Tue, 14 Nov 2023 22:13:21 GMT"


@pytest.mark.parametrize(
    ("primary", "secondary", "said"),
    [
        (tcp(page(ONE)), tcp(page(NEXT)), "HTTP Date header differs by one second"),
        (tcp(page(ONE)), tcp(page("Tue, 14 Nov 2023 22:14:20 GMT")), "by 60 seconds"),
        (tcp(page(ONE)), tcp(page("soon")), 'HTTP Date header differs: "Tue, 14'),
        (
            tcp(page(ONE)),
            tcp(page(ONE, b"hallo")),
            "body of the HTTP message differs at stream offset 17: byte 1 is",
        ),
        (tcp(page(ONE)), tcp(page(ONE).replace(b"200 OK", b"500 No")), "HTTP start line differs"),
        (tcp(b"\x17\x03\x03\0\x05abcde"), tcp(b"\x17\x03\x03\0\x05fghij"), "encrypted"),
        (tcp(b"one line\ncount 1\n"), tcp(b"one line\ncount 2\n"), '"count 1" and "count 2"'),
        (tcp(b"\0\1\2"), tcp(b"\0\7\2"), "byte 1 is 0x01 and 0x07"),
        (tcp(b"abcdef", seq=1000), tcp(b"Xdef", seq=1002), '"abcdef" and "Xdef"'[9:]),
        (udp(bytes(DNS(id=1))), udp(bytes(DNS(id=2))), "DNS transaction ID differs: 0x0001 and 0x0002"),
        (udp(bytes(DNS(rcode=0))), udp(bytes(DNS(rcode=3))), "DNS response code differs: 0 and 3"),
        (
            udp(bytes(DNS(an=[DNSRR(rdata="192.0.2.1")]))),
            udp(bytes(DNS(an=[DNSRR(rdata="192.0.2.9")]))),
            "records of a DNS message differ",
        ),
        (tcp(), None, "were not kept"),
    ],
)
def test_one_sentence_says_what_differs(primary, secondary, said):
    assert said in sentence(diverged(primary, secondary))


@pytest.mark.parametrize(
    ("primary", "secondary", "reason", "said"),
    [
        (tcp(flags="FA"), tcp(flags="A"), Reason.CONTROL, "TCP flags differ: PVM FIN+ACK, SVM ACK"),
        (
            tcp(flags="S", options=[("MSS", 1460)]),
            tcp(flags="S", options=[("MSS", 1400)]),
            Reason.CONTROL,
            "MSS differs: 1460 of the PVM, 1400 of the SVM",
        ),
        (
            tcp(flags="S", options=[("SAckOK", b"")]),
            tcp(flags="S"),
            Reason.CONTROL,
            "SACK permitted is only in the PVM's SYN",
        ),
        (
            tcp(b"hi"),
            None,
            Reason.MISSING_SECONDARY,
            "SVM did not say in time what the PVM said at stream offset 17 (2",
        ),
        (None, tcp(b"hi"), Reason.MISSING_PRIMARY, "PVM did not say in time"),
    ],
)
def test_control_and_silence(primary, secondary, reason, said):
    assert said in sentence(diverged(primary, secondary, reason))


def test_a_report_comes_back_as_it_was_written_and_fits_80_columns(tmp_path):
    report = Report(
        diverged(
            tcp(page(ONE)),
            tcp(page(NEXT)),
            exchanges=[
                exchange(3000, Port.UPLINK, tcp(b"GET / HTTP/1.1\r\n\r\n")),
                exchange(2000, Port.PRIMARY, tcp(bytes(1000)), Fate.LEFT, 312),
                exchange(1000, Port.SECONDARY, tcp(bytes(1000))),
                exchange(0, Port.PRIMARY, tcp(page(ONE))),
            ],
        ),
        epoch=7,
        state="protected",
    )
    path = Reports(tmp_path).write(report)
    assert path.stat().st_mode & 0o777 == 0o640
    assert load(path) == report
    lines = list(explain(load(path)))
    assert max(map(len, lines)) <= 80
    text = "\n".join(lines)
    assert "HTTP Date header differs by one second" in text.replace("\n", " ")
    assert "[30]" in text
    assert "[31]" in text
    assert "! TCP" not in text, "the headers agree, so nothing in them is marked"
    assert "client" in text


def test_the_last_exchanges_are_a_list_with_numbers_that_count_from_the_start():
    syn = [exchange(9000, Port.UPLINK, tcp(seq=2**32 - 1, flags="S"))]
    open_ = [
        exchange(8000, Port.PRIMARY, tcp(seq=500, ack=0, flags="SA"), Fate.LEFT, 1500),
        exchange(7000, Port.SECONDARY, tcp(seq=4_000_000_500, ack=0, flags="SA")),
        exchange(6000, Port.UPLINK, tcp(b"GET /", seq=0, ack=501, flags="PA")),
        exchange(20, Port.PRIMARY, tcp(bytes(1448), seq=501, ack=5, flags="PA")),
        exchange(10, Port.SECONDARY, tcp(bytes(1448), seq=4_000_000_501, ack=5, flags="A")),
    ]
    text = list(explain(Report(diverged(tcp(b"a"), tcp(b"b"), exchanges=syn + open_))))
    assert [line.split() for line in text[-7:]] == [
        ["ms", "from", "flags", "seq", "ack", "bytes"],
        ["-9.000", "client", "SYN", "0", "-", "0"],
        ["-8.000", "PVM", "SYN+ACK", "0", "1", "0", "left", "+1.500"],
        ["-7.000", "SVM", "SYN+ACK", "0", "1", "0"],
        ["-6.000", "client", "ACK", "1", "1", "5"],
        ["-0.020", "PVM", "ACK", "1", "6", "1,448", "held"],
        ["-0.010", "SVM", "ACK", "1", "6", "1,448"],
    ]


def test_fields_that_differ_are_marked_but_not_those_that_may(tmp_path):
    lines = list(explain(Report(diverged(tcp(b"a", window=10), tcp(b"b", window=20)))))
    assert next(line for line in lines if line.startswith("!")).split() == ["!", "TCP", "window", "10", "20"]
    assert not any(line.startswith("! TCP chksum") for line in lines)


def test_the_oldest_reports_go_and_nothing_else(tmp_path):
    (tmp_path / "mine.txt").write_text("keep")
    reports = Reports(tmp_path, most=3)
    for at in range(5):
        written = diverged(tcp(b"a"), tcp(b"b"))
        late = Divergence(
            0, written.flow, "tcp", Reason.PAYLOAD, 0, START + at, written.primary, written.secondary
        )
        reports.write(Report(late))
    names = sorted(path.name for path in tmp_path.iterdir())
    assert len(names) == 4
    assert names[-1] == "mine.txt"
    assert ".000000002Z" in names[0]


def test_a_report_is_bounded(tmp_path):
    many = [Exchange(START, Port.UPLINK, bytes(60_000), 60_000)] * (10 * MOST_EXCHANGES)
    path = Reports(tmp_path).write(Report(diverged(exchanges=many)))
    assert path.stat().st_size < 300_000
    assert 0 < len(load(path).divergence.exchanges) <= MOST_EXCHANGES


def test_a_directory_that_is_gone_is_named(tmp_path):
    with pytest.raises(UserError, match="cannot be written"):
        Reports(tmp_path / "gone").write(Report(diverged()))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"reason": "because"}, "no reason"),
        ({"time": "now"}, "'time' is no number"),
        ({"epoch": 1 << 70}, "'epoch' is no number"),
        ({"flow": "\x1b[2J"}, "'flow' is no text"),
        ({"colo-proxy": 99}, "another version"),
        ({"colo-proxy": None}, "another version"),
    ],
)
def test_hostile_reports_are_one_line_for_the_user(tmp_path, change, said):
    good = load_facts() | change
    path = tmp_path / "report.pcapng"
    with path.open("wb") as file:
        PcapngWriter(file, ["uplink"], json.dumps(good))
    with pytest.raises(UserError, match=said):
        load(path)


def load_facts() -> dict[str, object]:
    return {
        "colo-proxy": 1, "nic": 0, "flow": "f", "protocol": "tcp", "reason": "payload",
        "stream_offset": 0, "time": START, "epoch": 0, "state": "protected", "seq_offset": 0,
    }  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(
    primary=st.binary(max_size=120),
    secondary=st.binary(max_size=120),
    reason=st.sampled_from(Reason),
    real=st.booleans(),
)
def test_any_bytes_are_explained(primary, secondary, reason, real):
    if real:
        primary, secondary = tcp(primary), udp(secondary)
    seen = [exchange(0, Port.PRIMARY, primary), exchange(0, Port.SECONDARY, secondary)]
    for line in explain(Report(diverged(primary, secondary, reason, exchanges=seen))):
        assert line.isprintable()
        assert len(line) <= 80


def test_the_command(tmp_path):
    path = Reports(tmp_path).write(Report(diverged(tcp(page(ONE)), tcp(page(NEXT)))))
    command = [sys.executable, "-m", "colo_proxy.cli.main", "explain"]
    done = subprocess.run([*command, str(path)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "Date header" in done.stdout
    done = subprocess.run([*command, __file__], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
