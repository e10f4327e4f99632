"""What every part of the suite needs: C programs compiled on the fly, medians, tables, the machine's load."""

import math
import os
import shutil
import statistics
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

HERE = Path(__file__).parent
RESULTS = HERE / "results"
BUILD = HERE.parent / "build" / "bench"


def compiled(name: str) -> str:
    """The path of bench/c/NAME.c as a program, built again when its source is newer."""
    source, program = HERE / "c" / f"{name}.c", BUILD / name
    if not program.exists() or program.stat().st_mtime < source.stat().st_mtime:
        compiler = os.environ.get("CC") or shutil.which("cc")
        if compiler is None:
            sys.exit("bench: there is no C compiler: install one (Debian: apt install gcc)")
        BUILD.mkdir(parents=True, exist_ok=True)
        subprocess.run([compiler, "-O2", "-Wall", "-Wextra", "-o", program, source], check=True)
    return str(program)


def median(values: Sequence[float]) -> float:
    """The median; NaN of nothing."""
    return statistics.median(values) if values else float("nan")


def quantile(values: Sequence[float], share: float) -> float:
    """The value below which `share` of the values lie (nearest rank)."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else float("nan")


def number(value: float) -> str:
    """Three significant digits, as people write them."""
    if math.isnan(value):
        return "–"
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def load() -> str:
    """How busy the machine is with other things, for the results."""
    return f"load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores"
