"""Growth: what a packet costs and what a flow takes from 1 to 100,000 flows, and memory in a flood."""

import subprocess
import sys
from pathlib import Path
from typing import Any

from . import comparator
from .comparator import OURS, Results
from .tools import number, table

FLOWS = (1, 10, 100, 1_000, 10_000, 100_000)
PAYLOAD = 10
FLOOD = 300_000  # frames
BOUNDS: dict[str, Any] = {"max_held_bytes": 16 << 20, "max_flow_bytes": 1 << 20, "max_flows": 10_000}


def measure(rounds: int, *, share: float = 1.0, flows: tuple[int, ...] = FLOWS) -> Results:
    """Our comparator alone, by number of flows."""
    return comparator.measure(rounds, payloads=(PAYLOAD,), flows=flows, contenders=(OURS,), share=share)


def per_flow(results: Results) -> float:
    """Bytes of memory that each flow takes, idle: the process's growth, fewest flows to most."""
    least, most = min(key[2] for key in results), max(key[2] for key in results)
    grown = results[OURS, PAYLOAD, most].resident - results[OURS, PAYLOAD, least].resident
    return grown * 1024 / max(1, most - least)


def flood(frames: int = FLOOD) -> str:
    """What a process of its own says after PVM output in ever new flows that the SVM never said."""
    words = [sys.executable, "-m", "bench.growth", str(frames)]
    return subprocess.run(words, check=True, capture_output=True, text=True).stdout


def report(results: Results, flooded: str) -> str:
    """The tables, in Markdown."""
    base = results[min(results)].cpu
    rows = [
        [f"{key[2]:,}", number(cell.cpu * 1e6), number(cell.cpu / base), number(cell.resident / 1024)]
        for key, cell in sorted(results.items())
    ]
    text = table(("flows", "µs CPU a packet", "× one flow", "resident, MiB"), rows)
    flow = f"An idle flow takes {per_flow(results):.0f} bytes, its share of the table included."
    return f"{text}\n{flow}\n\n{flooded}"


def _resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


def _drown(frames: int) -> str:
    """Flood a comparator with bounds; say how far the process has grown."""
    from scapy.layers.inet import IP, UDP  # noqa: PLC0415 - the other processes need none of it
    from scapy.layers.l2 import Ether  # noqa: PLC0415

    from colo_proxy.core.comparator import Comparator  # noqa: PLC0415
    from colo_proxy.vocabulary import Mode  # noqa: PLC0415

    frame = bytearray(bytes(Ether() / IP(src="192.0.2.2", dst="10.0.0.0") / UDP() / bytes(1400)))
    target = Comparator(mode=Mode.COMPARE, timeout_ms=3000, **BOUNDS)
    before, now, peaks = _resident(), 1, []
    for index in range(frames):
        frame[30:34] = (0x0A000000 + index // 4).to_bytes(4)
        now += 1000
        target.primary(bytes(frame), now)
        if index % 1000 == 0:
            target.take()
            peaks.append(_resident() - before)
    bounds = ", ".join(f"{name} = {value:,}" for name, value in BOUNDS.items())
    return (
        f"Flood: {frames:,} frames of the PVM in {frames // 4:,} flows that the SVM never said ({bounds}): "
        f"the process grew by {max(peaks) / 2**20:.1f} MiB at most.\n"
    )


if __name__ == "__main__":
    print(_drown(int(sys.argv[1])), end="")
