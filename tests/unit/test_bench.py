"""The benchmark suite works: a few packets through each part. No figure is looked at."""

import math
import shutil
import socket
import subprocess
import threading
from pathlib import Path

import pytest

from bench import comparator, growth, tools
from bench.comparator import CEILING, OURS, Cell, Sample

needs_compiler = pytest.mark.skipif(shutil.which("cc") is None, reason="there is no C compiler (cc)")


@needs_compiler
@pytest.mark.parametrize("payload", [10, 1448, 60000])
def test_all_that_is_fed_comes_out(payload: int) -> None:
    """Of our comparator and of the mover: no packet is lost, so what is timed is the same work."""
    for name in (OURS, CEILING):
        found = comparator.sample(name, payload, flows=7, packets=300)
        assert found.lost == 0
        assert found.rate > 0
        assert found.resident > 0


@needs_compiler
def test_the_load_is_what_it_says(tmp_path: Path) -> None:
    """Whole frames with the length in front, round robin over the flows, sequence numbers without a hole."""
    heard: dict[str, bytes] = {}
    doors = {}
    for end in comparator.ENDS:
        doors[end] = socket.socket(socket.AF_UNIX)
        doors[end].bind(str(tmp_path / end))
        doors[end].listen(1)

    def listen(end: str) -> None:
        peer, _ = doors[end].accept()
        data = b""
        while end != "out" and (more := peer.recv(1 << 16)):
            data += more
        if end == "out":
            peer.close()  # nothing comes back: the program gives up at once
        heard[end] = data

    threads = [threading.Thread(target=listen, args=(end,)) for end in comparator.ENDS]
    for thread in threads:
        thread.start()
    words = [*(str(tmp_path / end) for end in comparator.ENDS), "1", "100", "3", "5", "4"]
    subprocess.run([tools.compiled("load"), *words], check=False, capture_output=True, timeout=30)
    for thread in threads:
        thread.join(30)
    for door in doors.values():
        door.close()
    assert set(heard) == set(comparator.ENDS)
    wire = 4 + 54 + 100
    for end in ("primary", "secondary"):
        assert len(heard[end]) % wire == 0
        for index, start in enumerate(range(0, len(heard[end]), wire)):
            frame = heard[end][start : start + wire]
            assert int.from_bytes(frame[:4]) == 154
            assert int.from_bytes(frame[40:42]) == 1024 + index % 3
            assert int.from_bytes(frame[42:46]) == 1000 + index // 3 * 100


def test_medians_and_tables() -> None:
    cell = Cell([Sample(rate, 0, cpu, 100) for rate, cpu in ((1.0, 3.0), (9.0, 1.0), (2.0, 2.0))])
    assert (cell.rate, cell.cpu) == (2.0, 2.0)
    assert math.isnan(Cell().rate)
    assert tools.quantile(list(range(1000)), 0.99) == 990
    assert [tools.number(value) for value in (1234.5, 12.34, 1.234, math.nan)] == [
        "1,234",
        "12.3",
        "1.23",
        "–",
    ]
    results = {
        (OURS, growth.PAYLOAD, flows): Cell([Sample(1, 0, 1, kib)]) for flows, kib in ((1, 100), (1001, 600))
    }
    assert growth.per_flow(results) == 512
    assert "| 1,001 |" in growth.report(results, "")
