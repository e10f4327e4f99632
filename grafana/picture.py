"""Draws the dashboard's panels with what a Prometheus knows: `python -m grafana.picture FILE.png`.

For the documentation, where there is no Grafana to take a picture of: the panels, queries, legends and
descriptions are the dashboard's (build.py), the data that of a proxy in the lab which lives through
everything (netns-lab/colo_lab/incidents.py), the drawing matplotlib's. `make docs` and `make prometheus` come
first.
"""

import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
from colo_lab import incidents, kernel
from colo_lab.prometheus import Prometheus
from matplotlib import pyplot

from grafana.build import ROWS, Panel, concrete

RULES = Path(__file__).parent / "prometheus" / "colo-proxy.rules.yml"
_STEP = 0.1  # s


def main(target: str) -> None:
    """Let the lab live through it all, and draw."""
    kernel.become_root()
    with incidents.watched() as made, Prometheus(made.lab, RULES, interval_ms=100) as prometheus:
        incidents.play(made)
        end = time.time()
        draw(prometheus, end).savefig(target, dpi=80)


def draw(prometheus: Prometheus, end: float) -> Any:
    """A figure with a row of panels for each row of the dashboard."""
    mpl.rcParams.update({"font.size": 8, "axes.spines.top": False, "axes.spines.right": False})
    lines = [(title, line) for title, panels in ROWS.items() for line in _lines(panels)]
    figure = pyplot.figure(figsize=(15, 2.6 * len(lines)), layout="constrained")
    told = ""
    for strip, (title, panels) in zip(
        figure.subfigures(len(lines), 1, squeeze=False)[:, 0], lines, strict=True
    ):
        if title != told:
            strip.suptitle(title, x=0.01, ha="left", fontweight="bold", fontsize=11)
        told = title
        axes = strip.subplots(1, len(panels), width_ratios=[panel.width for panel in panels], squeeze=False)
        for place, panel in zip(axes[0], panels, strict=True):
            _panel(place, panel, prometheus, end)
    return figure


def _lines(panels: Sequence[Panel]) -> Iterator[list[Panel]]:
    """The panels of a row as Grafana lays them out: 24 columns a line."""
    line: list[Panel] = []
    for panel in panels:
        if line and sum(each.width for each in (*line, panel)) > 24:
            yield line
            line = []
        line.append(panel)
    yield line


def _panel(axes: Any, panel: Panel, prometheus: Prometheus, end: float) -> None:
    axes.set_title(f"{panel.title} ({panel.unit})" if panel.unit != "short" else panel.title, loc="left")
    axes.set_xlim(0, end - prometheus.started)
    lines: list[tuple[str, list[float], list[float]]] = []
    for expression, legend in panel.queries:
        for series in prometheus.range(concrete(expression, "1s"), end, step=_STEP):
            words = legend
            for label, text in series["metric"].items():
                words = words.replace("{{" + label + "}}", text)
            known = [(at, float(value)) for at, value in series["values"] if value != "NaN"]
            times = [at - prometheus.started for at, _ in known]
            lines.append((words, times, [value for _, value in known]))
    if panel.words:
        _states(axes, panel, lines)
    elif panel.heat:
        _heat(axes, lines)
    else:
        lines = sorted(
            (line for line in lines if max(line[2], default=0) > 0), key=lambda line: -max(line[2])
        )
        for words, times, values in lines:
            axes.plot(times, values, label=words, linewidth=1)
        axes.set_ylim(bottom=0)
        if lines:
            columns = max(1, round(panel.width / 4))
            axes.legend(
                fontsize=6, loc="upper left", bbox_to_anchor=(0, -0.12), ncols=columns, frameon=False
            )  # below, where no line is


_COLOURS = {
    "light-blue": "#8ab8ff",
    "blue": "#3274d9",
    "green": "#73bf69",
    "orange": "#ff9830",
    "red": "#e02f44",
}


def _states(axes: Any, panel: Panel, lines: list[Any]) -> None:
    """A bar for each series, coloured by the word for its value."""
    for row, (_, times, values) in enumerate(lines):
        for at, value in zip(times, values, strict=True):
            axes.barh(row, _STEP * 1.05, left=at, height=0.7, color=_COLOURS[panel.words[int(value)][1]])
    axes.set_yticks(range(len(lines)), [words for words, *_ in lines])
    axes.set_ylim(-0.6, len(lines) - 0.4)
    for text, colour in panel.words:
        axes.barh(-9, 0, color=_COLOURS[colour], label=text)
    axes.legend(
        fontsize=6, ncols=len(panel.words), loc="upper left", bbox_to_anchor=(0, -0.12), frameon=False
    )


def _heat(axes: Any, lines: list[Any]) -> None:
    """Buckets from below; each is the difference of two cumulative ones."""
    buckets = sorted((float(words.replace("+Inf", "inf")), times, values) for words, times, values in lines)
    below = [0.0] * len(buckets[0][1])
    rows = []
    for _, _, values in buckets:
        rows.append([max(0.0, now - before) for now, before in zip(values, below, strict=True)])
        below = list(values)
    axes.pcolormesh(buckets[0][1], range(len(rows)), rows, cmap="Blues", norm="symlog", shading="nearest")
    ticks = range(0, len(rows) - 1, 4)
    axes.set_yticks(ticks, [f"{buckets[tick][0]:.2g}" for tick in ticks])


if __name__ == "__main__":
    main(sys.argv[1])
