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
@pytest.mark.parametrize(("payload", "flows"), [(10, 7), (10, 1500), (1448, 7), (60000, 7)])
def test_all_that_is_fed_comes_out(payload: int, flows: int) -> None:
    """Of our comparator and of the mover: no packet is lost, so what is timed is the same work."""
    for name in (OURS, CEILING):
        found = comparator.sample(name, payload, flows, packets=300)
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
    words = [*(str(tmp_path / end) for end in comparator.ENDS), "1", "100", "3", "1", "5"]
    with subprocess.Popen([tools.compiled("load"), *words], stdout=subprocess.PIPE) as load:
        peers = {end: doors[end].accept()[0] for end in ("out", "primary", "secondary")}

        def hear(end: str) -> None:
            data = b""
            while more := peers[end].recv(1 << 16):
                data += more
                if end == "primary":
                    peers["out"].sendall(more)
            heard[end] = data

        threads = [threading.Thread(target=hear, args=(end,)) for end in ("primary", "secondary")]
        for thread in threads:
            thread.start()
        said = load.communicate(timeout=30)[0].split()
        for thread in threads:
            thread.join(30)
    for each in (*doors.values(), *peers.values()):
        each.close()
    assert int(said[1]) == 5  # packets that came out
    assert heard["primary"] == heard["secondary"]
    data, seqs = heard["primary"], []
    while data:
        size = int.from_bytes(data[:4])
        seqs.append((int.from_bytes(data[40:42]), int.from_bytes(data[42:46]), size - 54))
        data = data[4 + size :]
    first = seqs[0][1]
    warm = [(1024 + flow, first, 10) for flow in range(3)]
    rounds = [(1024 + index % 3, first + 10 + index // 3 * 100, 100) for index in range(5)]
    assert seqs == warm + rounds


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
