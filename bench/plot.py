"""The results as one picture."""

from pathlib import Path

import matplotlib as mpl
from matplotlib.axes import Axes

from . import comparator, live
from .comparator import CEILING, FLOWS, OURS, PAYLOADS, QEMU
from .growth import PAYLOAD

mpl.use("Agg")
from matplotlib import pyplot as plt

COLOURS = {OURS: "#1b6ca8", QEMU: "#d1495b", CEILING: "#9aa5b1"}
WAYS = {live.BRIDGE: "#9aa5b1", live.CEILING: "#edae49", live.PACKET: "#1b6ca8", live.TAP: "#66a182"}


def _alone(axes: Axes, results: comparator.Results) -> None:
    """Packets a second by payload, one bar a contender; 64 flows, or the nearest that was measured."""
    flows = min((key[2] for key in results), key=lambda count: abs(count - FLOWS[1]))
    payloads = [size for size in PAYLOADS if (OURS, size, flows) in results]
    for at, (name, colour) in enumerate(COLOURS.items()):
        heights = [results[name, size, flows].rate for size in payloads if (name, size, flows) in results]
        places = [index + (at - 1) * 0.27 for index in range(len(heights))]
        bars = axes.bar(places, heights, width=0.25, color=colour, label=name)
        axes.bar_label(bars, [f"{height / 1e3:,.0f} k" for height in heights], fontsize=7)
    axes.set_yscale("log")
    axes.set_xticks(range(len(payloads)), [f"{size:,} bytes" for size in payloads])
    axes.set_title(f"Comparator alone, {flows} flows: packets/s")
    axes.legend(fontsize=8)


def _growth(axes: Axes, results: comparator.Results) -> None:
    keys = sorted(results)
    axes.plot([key[2] for key in keys], [results[key].cpu * 1e9 for key in keys], "o-", color=COLOURS[OURS])
    axes.set_xscale("log")
    axes.set_ylim(0, 1.2e9 * max(cell.cpu for cell in results.values()))
    axes.set_xlabel("flows")
    axes.set_title(f"CPU time of a packet and its copy, {PAYLOAD} bytes: ns")


def _throughput(axes: Axes, results: live.Live) -> None:
    """Each thing measured as a share of the C forwarder's."""
    for at, (name, colour) in enumerate(WAYS.items()):
        shares = [results.value(name, what) / results.value(live.CEILING, what) for what in live.THROUGHPUT]
        axes.bar(
            [index + (at - 1.5) * 0.2 for index in range(len(shares))], shares, 0.18, color=colour, label=name
        )
    axes.axhline(1, color="black", linewidth=0.5)
    axes.set_xticks(range(len(live.THROUGHPUT)), list(live.THROUGHPUT))
    axes.set_title("Live, two replicas: throughput / C forwarder's")
    axes.legend(fontsize=8)


def _latency(axes: Axes, results: live.Live) -> None:
    whats = [f"{kind} {load}" for kind in ("tcp", "udp") for load in ("idle", "moderate load")]
    for at, (name, colour) in enumerate(WAYS.items()):
        places = [index + (at - 1.5) * 0.2 for index in range(len(whats))]
        medians = [results.value(name, f"{what} median") for what in whats]
        tails = [
            results.value(name, f"{what} p99") - middle for what, middle in zip(whats, medians, strict=True)
        ]
        axes.bar(
            places, medians, 0.18, color=colour, yerr=[[0] * len(tails), tails], ecolor="#555555", capsize=2
        )
    axes.set_yscale("log")
    axes.set_xticks(range(len(whats)), [what.replace("tcp", "TCP").replace("udp", "UDP") for what in whats])
    axes.set_title("Round trip of 64 bytes: median, whisker to p99, µs")


def draw(into: Path, alone: comparator.Results, grown: comparator.Results, running: live.Live | None) -> None:
    """Write the picture as PNG; without live results its upper half."""
    figure, axes = plt.subplots(2 if running else 1, 2, figsize=(11, 8 if running else 4), squeeze=False)
    _alone(axes[0][0], alone)
    _growth(axes[0][1], grown)
    if running:
        _throughput(axes[1][0], running)
        _latency(axes[1][1], running)
    for one in axes.flat:
        one.spines[["top", "right"]].set_visible(False)
    figure.tight_layout()
    figure.savefig(into, dpi=80)
    plt.close(figure)
