"""Capture files in every form, and damaged in every way: the frames, or one line that says where."""

import bz2
import gzip
import io
import lzma
import struct
from collections.abc import Callable
from pathlib import Path

import dpkt
import pcapng
import pytest
from hypothesis import given
from hypothesis import strategies as st

from colo_proxy.capture.reader import Capture, CaptureError
from colo_proxy.capture.writer import PcapngWriter

from .frames import SECOND, START, Timed, pcap, save

FRAMES = [
    (START + 1_234_567_000, b"\xff" * 12 + b"\x88\xb5one"),
    (START + 2 * SECOND + 999_999_000, bytes(61)),
]


def pairs(path: Path | str) -> list[Timed]:
    return [(frame.time, frame.data) for frame in Capture(path)]


def block(kind: int, body: bytes, order: str = "<") -> bytes:
    body += bytes(-len(body) % 4)
    return struct.pack(order + "II", kind, len(body) + 12) + body + struct.pack(order + "I", len(body) + 12)


def section(order: str = "<") -> bytes:
    return block(0x0A0D0D0A, struct.pack(order + "IHHq", 0x1A2B3C4D, 1, 0, -1), order)


def interface(
    order: str = "<", link: int = 1, snap: int = 0, resolution: int | None = None, offset: int = 0
) -> bytes:
    options = b""
    if resolution is not None:
        options += struct.pack(order + "HHB3x", 9, 1, resolution)
    if offset:
        options += struct.pack(order + "HHq", 14, 8, offset)
    return block(
        1, struct.pack(order + "HHI", link, 0, snap) + options + (bytes(4) if options else b""), order
    )


def packet(units: int, data: bytes, order: str = "<", number: int = 0, kind: int = 6) -> bytes:
    shape = "HHIIII" if kind == 2 else "IIIII"
    head = (number, 0) if kind == 2 else (number,)
    times = (units >> 32, units & 0xFFFFFFFF, len(data), len(data))
    return block(kind, struct.pack(order + shape, *head, *times) + data, order)


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("nano", [False, True])
def test_pcap_in_all_four_forms_as_dpkt_reads_it(tmp_path: Path, order: str, nano: bool) -> None:
    path = save(tmp_path / "a.pcap", FRAMES, order=order, nano=nano)
    assert pairs(path) == FRAMES
    with path.open("rb") as file:
        assert [data for _, data in dpkt.pcap.Reader(file)] == [data for _, data in FRAMES]


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("kind", [2, 6])
@pytest.mark.parametrize(
    ("resolution", "units"), [(None, 10**6), (6, 10**6), (9, 10**9), (3, 10**3), (0x94, 1 << 20), (0, 1)]
)
def test_pcapng_times_by_each_interfaces_own_resolution(
    tmp_path: Path, order: str, kind: int, resolution: int | None, units: int
) -> None:
    path = tmp_path / "a.pcapng"
    count = 1_700_000_000 * units + units // 8
    path.write_bytes(
        section(order)
        + interface(order, resolution=9)
        + interface(order, resolution=resolution, offset=-5)
        + packet(count, b"x" * 15, order, number=1, kind=kind)
    )
    fraction = units // 8 * SECOND // units
    assert pairs(path) == [((1_700_000_000 - 5) * SECOND + fraction, b"x" * 15)]


def test_sections_each_have_their_order_and_interfaces_and_unknown_blocks_are_skipped(tmp_path: Path) -> None:
    path = tmp_path / "a.pcapng"
    path.write_bytes(
        section("<") + block(5, b"statistics") + interface("<") + packet(7, b"a" * 14)
        + block(0x0BAD, bytes(300_000))
        + section(">") + interface(">", resolution=9) + packet(9000, b"b" * 14, ">")
        + block(3, struct.pack(">I", 14) + b"c" * 14, ">")
    )  # fmt: skip
    assert pairs(path) == [(7000, b"a" * 14), (9000, b"b" * 14), (9000, b"c" * 14)]


def test_our_writer_as_python_pcapng_reads_it() -> None:
    file = io.BytesIO()
    writer = PcapngWriter(file, ["uplink", "primary"], comment="all of it")
    writer.write(START + 5, b"frame one and a bit", 1, comment="first")
    file.seek(0)
    scanned = list(pcapng.FileScanner(file))
    assert scanned[0].options["opt_comment"] == "all of it"
    assert [entry.options["if_name"] for entry in scanned[1:3]] == ["uplink", "primary"]
    assert scanned[3].packet_data == b"frame one and a bit"
    assert scanned[3].interface_id == 1
    assert scanned[3].options["opt_comment"] == "first"
    assert scanned[3].timestamp == pytest.approx((START + 5) / SECOND)


LONG = struct.pack("<IIII", 0, 0, 1 << 31, 1 << 31)
SNAPPED = struct.pack("<IIII", 0, 0, 14, 1514) + bytes(14)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "the file is empty; capture again"),
        (b"\xa1", "neither a pcap nor a pcapng file"),
        (b"GIF89a" * 10, "neither a pcap nor a pcapng file"),
        (pcap([])[:20], "ends inside the file's header"),
        (pcap([], link=113), None),
        (pcap(FRAMES, link=113), "frame 1 at byte 24: link type 113 (Linux cooked v1)"),
        (pcap(FRAMES)[:-1], "frame 2 at byte 57: the file ends inside it"),
        (pcap(FRAMES)[:60], "frame 2 at byte 57: the file ends inside its header"),
        (pcap([]) + LONG, "longer than any frame"),
        (pcap([]) + SNAPPED, "frame 1 at byte 24: only 14 of its 1,514 bytes"),
        (pcap([]) + struct.pack("<IIII", 0, 2_000_000, 0, 0), "behind the point"),
        (section()[:10], "ends inside a section's header"),
        (section() + packet(1, b"x"), "names interface 0"),
        (section() + interface() + packet(1, b"x")[:-2], "frame 1 at byte 48: the file ends inside a block"),
        (section() + interface() + packet(1, b"x")[:-4] + b"\0\0\0\0", "ends with the length 0"),
        (section() + struct.pack("<II", 6, 13), "cannot be 13 bytes long"),
        (section() + struct.pack("<II", 77, 0xFFFFFFFC), "ends inside a block"),
        (section() + interface(link=105) + packet(1, b"x"), "link type 105 (Wi-Fi)"),
        (section() + interface(snap=14) + block(3, struct.pack("<I", 60) + bytes(14)), "only 14 of its 60"),
        (section() + interface(resolution=0) + packet(1 << 63, b"x"), "between 1970 and 2106"),
        (section() + interface(offset=-1) + packet(1, b"x"), "between 1970 and 2106"),
        (section() + block(1, b"abcd"), "too short"),
        (section() + block(1, struct.pack("<HHIHH", 1, 0, 0, 9, 99)), "longer than its block"),
        (section() + interface() + block(6, struct.pack("<IIIII", 0, 0, 0, 99, 99)), "do not fit"),
        (block(0x0A0D0D0A, struct.pack("<IHHq", 0x1A2B3C4D, 9, 0, -1)), "pcapng version 9.0"),
        (b"\x0a\x0d\x0d\x0a" + bytes(24), "no byte order"),
    ],
)
def test_what_is_wrong_is_named_with_file_frame_and_byte(
    tmp_path: Path, content: bytes, said: str | None
) -> None:
    path = tmp_path / "web.pcap"
    path.write_bytes(content)
    if said is None:
        assert pairs(path) == []
        return
    with pytest.raises(CaptureError) as caught:
        pairs(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("pack", "tool"),
    [
        (gzip.compress, "gzip"),
        (bz2.compress, "bzip2"),
        (lzma.compress, "xz"),
        (bytes.fromhex("28b52ffd").__add__, "zstd"),
        (bytes.fromhex("04224d18").__add__, "lz4"),
    ],
)
def test_a_compressed_capture_is_told_from_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pack: Callable[[bytes], bytes], tool: str
) -> None:
    monkeypatch.chdir(tmp_path)
    for name, command in (("a b.pcap.x", "'a b.pcap.x' > 'a b.pcap'"), ("a", "a > a.pcap")):
        (tmp_path / name).write_bytes(pack(pcap(FRAMES)))
        with pytest.raises(CaptureError) as caught:
            pairs(name)
        assert str(caught.value) == f"{name}: is compressed; unpack it first: {tool} -dc {command}"


SEEDS = [
    pcap(FRAMES),
    pcap(FRAMES, order=">", nano=True),
    section() + interface(resolution=9) + packet(5, b"y" * 20) + block(3, struct.pack("<I", 14) + bytes(14)),
    section(">") + interface(">", snap=20) + packet(5, b"y" * 20, ">", kind=2),
]


@given(
    seed=st.sampled_from(SEEDS),
    edits=st.lists(st.tuples(st.integers(0, 300), st.integers(0, 255)), max_size=6),
    cut=st.integers(0, 300),
    tail=st.binary(max_size=40),
)
def test_damaged_files_give_frames_or_a_capture_error_and_nothing_else(
    tmp_path_factory: pytest.TempPathFactory, seed: bytes, edits: list[tuple[int, int]], cut: int, tail: bytes
) -> None:
    data = bytearray(seed)
    for at, value in edits:
        data[at % len(data)] = value
    path = tmp_path_factory.getbasetemp() / "damaged"
    path.write_bytes(bytes(data[:cut]) + tail)
    capture = Capture(path)
    try:
        for frame in capture:
            assert 0 <= frame.time < 1 << 62
            assert len(frame.data) <= path.stat().st_size
    except CaptureError as error:
        assert str(error).startswith(str(path))  # noqa: PT017
    assert capture.position <= capture.size
