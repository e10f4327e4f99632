"""Reports and what `explain` shows of them.

Past 400 lines: reports of all kinds of divergence, made and read by the same helpers.
"""

import json
import subprocess
import sys
import tomllib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scapy.layers.dns import DNS, DNSQR, DNSRR
from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.l2 import Ether

from colo_proxy.capture.difference import sentence
from colo_proxy.capture.explain import explain, shaded
from colo_proxy.capture.report import MOST_EXCHANGES, Report, Reports, load
from colo_proxy.capture.writer import PcapngWriter
from colo_proxy.cli.main import main
from colo_proxy.errors import UserError
from colo_proxy.vocabulary import Divergence, Exchange, Fate, Port, Reason

from .frames import CLIENT_IP, START, VM_IP

CDEF = """"cdef" in the PVM's packet, "Xdef" in the SVM's."""


def tcp(payload: bytes = b"", seq: int = 1000, **fields: Any) -> bytes:
    return bytes(
        Ether() / IP(src=VM_IP, dst=CLIENT_IP) / TCP(sport=80, dport=40000, seq=seq, **fields) / payload
    )


def udp(payload: bytes) -> bytes:
    return bytes(Ether() / IP(src=VM_IP, dst=CLIENT_IP) / UDP(sport=53, dport=40000) / payload)


def diverged(
    primary: bytes | None = None,
    secondary: bytes | None = None,
    reason: Reason = Reason.PAYLOAD,
    offset: int = 17,
    exchanges: Sequence[Exchange] = (),
) -> Divergence:
    flow = "tcp 192.0.2.2:80 > 192.0.2.1:40000"
    seen = tuple(exchanges)
    return Divergence(0, flow, "tcp", reason, offset, START, primary, secondary, seen, SVM)


def exchange(ago: int, port: Port, frame: bytes, fate: Fate = Fate.WAITS, after: int = 0) -> Exchange:
    """A frame that came `ago` us before the divergence."""
    time = START - 1000 * ago
    return Exchange(time, port, frame[:128], len(frame), fate, time + 1000 * after if after else 0)


def page(date: str, body: bytes = b"hello") -> bytes:
    return b"HTTP/1.1 200 OK\r\nServer: x\r\nDate: " + date.encode() + b"\r\n\r\n" + body


ROOT = Path(__file__).parents[3]
SVM = 4_000_000_000  # its offset: isn_svm - isn_pvm
LOOP = bytes.fromhex("000100000001000000000000c00c")  # a question whose name points to itself
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
        (
            tcp(b"one line\ncount 1\n"),
            tcp(b"one line\ncount 2\n"),
            '"count 1" in the PVM\'s packet, "count 2" in',
        ),
        (tcp(b"\0\1\2"), tcp(b"\0\7\2"), "byte 1 is 0x01 in the PVM's packet, 0x07 in the SVM's."),
        (tcp(b"abcdef", seq=1000), tcp(b"Xdef", seq=SVM + 1002), CDEF),
        (tcp(b"cdef", seq=1002), tcp(b"abXdef", seq=SVM + 1000), CDEF),
        (
            udp(bytes(DNS(id=1))),
            udp(bytes(DNS(id=2))),
            "DNS transaction ID differs: 0x0001 in the PVM's packet",
        ),
        (
            udp(bytes(DNS(id=1, qd=DNSQR(qname="web1.test", qtype="AAAA")))),
            udp(bytes(DNS(id=2, qd=DNSQR(qname="web1.test", qtype="AAAA")))),
            "DNS transaction ID differs: 0x0001 in the PVM's packet, 0x0002 in the SVM's; asked for web1",
        ),
        (
            udp(LOOP + b"\0\1\0\1"),
            udp(LOOP + b"\0\2\0\1"),
            "records of a DNS message differ: byte 15 is 0x01 in the PVM's packet, 0x02",
        ),
        (
            udp(bytes(DNS(rcode=0))),
            udp(bytes(DNS(rcode=3))),
            "response code differs: 0 in the PVM's packet, 3 in",
        ),
        (
            udp(bytes(DNS(an=[DNSRR(rrname="web1.test", rdata="192.0.2.1")]))),
            udp(bytes(DNS(an=[DNSRR(rrname="web1.test", rdata="192.0.2.9")]))),
            "The DNS records differ: web1.test A 192.0.2.1 (TTL 0) in the PVM's packet, "
            "web1.test A 192.0.2.9 (TTL 0) in the SVM's.",
        ),
        (None, None, "17; the packets that show it were not kept."),
        (tcp(b"ab", flags="PA"), None, "the PVM sent 2 bytes with PSH+ACK; the SVM's packet was not kept."),
        (None, udp(b"abc"), "17: the SVM sent 3 bytes; the PVM's packet was not kept."),
    ],
)
def test_one_sentence_says_what_differs(primary: bytes | None, secondary: bytes | None, said: str) -> None:
    assert said in sentence(diverged(primary, secondary))


@pytest.mark.parametrize(
    ("primary", "secondary", "reason", "said"),
    [
        (tcp(flags="FA"), tcp(flags="A"), Reason.CONTROL, "TCP flags differ: PVM FIN+ACK, SVM ACK"),
        (
            tcp(flags="S", options=[("MSS", 1460)]),
            tcp(flags="S", options=[("MSS", 1400)]),
            Reason.CONTROL,
            "MSS differs: 1460 in the PVM's packet, 1400 in the SVM's",
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
            "SVM did not send in time what the PVM sent at stream offset 17 (2",
        ),
        (None, tcp(b"hi"), Reason.MISSING_PRIMARY, "PVM did not send in time"),
    ],
)
def test_control_and_silence(
    primary: bytes | None, secondary: bytes | None, reason: Reason, said: str
) -> None:
    assert said in sentence(diverged(primary, secondary, reason))


def test_a_report_comes_back_as_it_was_written_and_fits_80_columns(tmp_path: Path) -> None:
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


def test_the_last_exchanges_are_a_list_with_numbers_that_count_from_the_start() -> None:
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


def numbers(*exchanges: Exchange) -> list[tuple[str, ...]]:
    """Who sent which sequence and acknowledgement number, as the list shows it; the SVM's offset is 0."""
    report = Report(replace(diverged(tcp(b"a"), tcp(b"b"), exchanges=list(exchanges)), seq_offset=0))
    lines = [line.split() for line in explain(report)][-len(exchanges) :]
    return [(words[1], *words[3:5]) for words in lines]


def test_numbers_of_a_flow_that_was_not_compared_before_are_small() -> None:
    """The rule has just changed: no SYN is known, and no offset of the SVM's numbers."""
    assert numbers(
        exchange(4000, Port.PRIMARY, tcp(bytes(1000), seq=2_000_001_000, ack=77, flags="A")),
        exchange(3000, Port.PRIMARY, tcp(bytes(1000), seq=2_000_000_000, ack=70, flags="A")),
        exchange(2000, Port.SECONDARY, tcp(bytes(1000), seq=500, ack=77, flags="A")),
        exchange(1000, Port.UPLINK, tcp(b"1234567", seq=70, ack=2_000_000_000, flags="A")),
    ) == [("PVM", "1001", "8"), ("PVM", "1", "1"), ("SVM", "1", "8"), ("client", "1", "1")]


def test_numbers_count_from_their_own_syn_if_the_port_is_used_again() -> None:
    assert numbers(
        exchange(9000, Port.UPLINK, tcp(seq=1000, flags="S")),
        exchange(8000, Port.PRIMARY, tcp(seq=2**32 - 1, ack=1001, flags="SA")),
        exchange(7000, Port.UPLINK, tcp(seq=1001, ack=0, flags="A")),
        exchange(6000, Port.UPLINK, tcp(seq=900, flags="S")),
        exchange(5000, Port.PRIMARY, tcp(seq=3_000_000_000, ack=901, flags="SA")),
        exchange(4000, Port.PRIMARY, tcp(seq=3_000_000_001, ack=901, flags="A")),
        exchange(3000, Port.UPLINK, tcp(seq=901, ack=3_000_000_001, flags="A")),
    ) == [
        ("client", "0", "-"),
        ("PVM", "0", "1"),
        ("client", "1", "1"),
        ("client", "0", "-"),
        ("PVM", "0", "1"),
        ("PVM", "1", "1"),
        ("client", "1", "1"),
    ]


def marked(primary: bytes, secondary: bytes, reason: Reason = Reason.PAYLOAD) -> dict[str, str]:
    """The marks of fields that differ, by what stands there, until the payload's bytes begin."""
    lines = list(explain(Report(diverged(primary, secondary, reason))))
    start = next(at for at, line in enumerate(lines) if line.split() == ["PVM", "SVM"])
    found = {}
    for line in lines[start + 1 :]:
        if "payload, from the byte" in line:
            break
        if line[:1] in ("!", "<", "~"):
            found[" ".join(line[1:].split())] = line[0]
    return found


def test_a_stream_is_marked_as_it_is_compared() -> None:
    """docs/comparison.md, section 3: acknowledgement and window are clamped, headers are free."""
    assert marked(
        tcp(b"a", seq=5, ack=7, window=10, flags="PA", chksum=1, options=[("Timestamp", (1, 2))]),
        tcp(b"b", seq=9, ack=8, window=20, flags="A", chksum=2, options=[("Timestamp", (3, 2))]),
    ) == {
        "TCP seq 5 9": "~",
        "TCP ack 7 8": "<",
        "TCP flags PA A": "~",
        "TCP window 10 20": "<",
        "TCP chksum 0x1 0x2": "~",
        "TCP options TSval 1 TSecr 2 END TSval 3 TSecr 2 END": "~",
    }
    assert marked(tcp(flags="FA", chksum=1), tcp(flags="A", chksum=1), Reason.CONTROL) == {
        "TCP flags FA A": "!"
    }
    assert marked(
        tcp(flags="UA", urgptr=1, chksum=1), tcp(flags="UA", urgptr=2, chksum=1), Reason.CONTROL
    ) == {"TCP urgptr 1 2": "!"}
    assert marked(tcp(urgptr=1, chksum=1), tcp(urgptr=2, chksum=1)) == {"TCP urgptr 1 2": "~"}


def test_an_option_in_which_two_syns_differ_stands_on_its_own() -> None:
    plain = [("MSS", 1460), ("SAckOK", b""), ("Timestamp", (123, 0)), ("NOP", None), ("WScale", 7)]
    primary = tcp(flags="S", chksum=1, options=plain)
    other = [("MSS", 1460), ("SAckOK", b""), ("Timestamp", (456, 0)), ("NOP", None), ("WScale", 8)]
    secondary = tcp(flags="S", chksum=1, options=other)
    lines = list(explain(Report(diverged(primary, secondary, Reason.CONTROL))))
    at = next(n for n, line in enumerate(lines) if "TCP options" in line)
    assert [line.rstrip() for line in lines[at : at + 3]] == [
        "~ TCP options          MSS 1460 SACKok TSval 123   MSS 1460 SACKok TSval 456",
        "~                      TSecr 0 NOP WScale 7        TSecr 0 NOP WScale 8",
        "! TCP option           WScale 7                    WScale 8",
    ]
    assert all(line[:1] != "!" for line in lines[at + 3 :])


@pytest.mark.parametrize(
    ("one", "other", "said"),
    [
        ([(30, b"\x00\x81abcdefgh")], [(30, b"\x00\x81abcdefgx")], "TCP option Multipath TCP differs"),
        ([(253, b"ab")], [], "TCP option 253 is only in the PVM's SYN"),
        ([("Timestamp", (1, 0))], [("Timestamp", (2, 0))], "the packets below show where"),
    ],
)
def test_options_that_nobody_knows_count_and_times_do_not(
    one: list[tuple[Any, Any]], other: list[tuple[Any, Any]], said: str
) -> None:
    primary, secondary = tcp(flags="S", options=one), tcp(flags="S", options=other)
    assert said in sentence(diverged(primary, secondary, Reason.CONTROL))


def test_a_datagram_is_marked_as_it_is_compared() -> None:
    """Section 4: all above layer 2 counts, but for IP's id and what sums up the rest."""

    def dns(number: int, ident: int, ttl: int = 64, **fields: Any) -> bytes:
        ip = IP(src=VM_IP, dst=CLIENT_IP, id=ident, ttl=ttl, chksum=0)
        return bytes(Ether() / ip / UDP(sport=53, dport=40000, **fields) / DNS(id=number))

    assert marked(dns(1, 1, chksum=1), dns(2, 2, chksum=2)) == {
        "IP id 1 2": "~",
        "UDP chksum 0x1 0x2": "~",
        "DNS id 1 2": "!",
    }
    assert marked(dns(1, 1, ttl=64), dns(1, 1, ttl=63)) == {"IP ttl 64 63": "!"}
    only = marked(dns(1, 1, chksum=1), dns(1, 1, chksum=2))
    assert only == {"UDP chksum 0x1 0x2": "!"}, "it is all that differs"


def test_a_long_field_is_shown_where_it_differs() -> None:
    long = "".join(f"label{n}." for n in range(30))
    one, other = (udp(bytes(DNS(qd=DNSQR(qname=long + end)))) for end in ("aa.test", "bb.test"))
    lines = list(explain(Report(diverged(one, other))))
    assert any("aa.test" in line and "bb.test" in line for line in lines)
    assert max(map(len, lines)) <= 80


def test_on_a_terminal_what_counts_stands_out() -> None:
    assert shaded("! TCP flags") == "\x1b[1m! TCP flags\x1b[0m"
    assert shaded("~ TCP seq") == "\x1b[2m~ TCP seq\x1b[0m"
    assert shaded("< TCP ack") == "< TCP ack"


def test_the_oldest_reports_go_and_nothing_else(tmp_path: Path) -> None:
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


def test_a_report_is_bounded(tmp_path: Path) -> None:
    many = [Exchange(START, Port.UPLINK, bytes(60_000), 60_000)] * (10 * MOST_EXCHANGES)
    path = Reports(tmp_path).write(Report(diverged(exchanges=many)))
    assert path.stat().st_size < 300_000
    assert 0 < len(load(path).divergence.exchanges) <= MOST_EXCHANGES


def test_a_directory_that_is_gone_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot be written"):
        Reports(tmp_path / "gone").write(Report(diverged()))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"reason": "because"}, "is not a reason"),
        ({"time": "now"}, "'time' is not a number"),
        ({"epoch": 1 << 70}, "'epoch' is not a number"),
        ({"flow": "\x1b[2J"}, "'flow' is not a valid string"),
        ({"colo-proxy": 99}, "another version"),
        ({"colo-proxy": None}, "another version"),
    ],
)
def test_hostile_reports_are_one_line_for_the_user(tmp_path: Path, change: dict[str, Any], said: str) -> None:
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
def test_any_bytes_are_explained(primary: bytes, secondary: bytes, reason: Reason, real: bool) -> None:
    if real:
        primary, secondary = tcp(primary), udp(secondary)
    seen = [exchange(0, Port.PRIMARY, primary), exchange(0, Port.SECONDARY, secondary)]
    for line in explain(Report(diverged(primary, secondary, reason, exchanges=seen))):
        assert line.isprintable()
        assert len(line) <= 80


def test_the_command(tmp_path: Path) -> None:
    path = Reports(tmp_path).write(Report(diverged(tcp(page(ONE)), tcp(page(NEXT)))))
    command = [sys.executable, "-m", "colo_proxy.cli.main", "explain"]
    done = subprocess.run([*command, str(path)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "Date header" in done.stdout
    done = subprocess.run([*command, __file__], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1


def test_without_scapy_the_extra_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "scapy", None)  # as where it is not installed
    assert main(["explain", str(tmp_path / "report.pcapng")]) == UserError.exit_status
    said = capsys.readouterr()
    assert not said.out
    assert said.err.endswith("-m pip install 'colo-proxy[explain]'\n")
    assert said.err.count("\n") == 1
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert any(requirement.startswith("scapy") for requirement in extras["explain"])
