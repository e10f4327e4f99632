"""A real Prometheus scrapes a proxy that lives through everything: all queries answer, all metrics move."""

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from colo_lab import incidents
from colo_lab.errors import Missing
from colo_lab.prometheus import Prometheus, program
from support.documents import RULES, alerts, panel_queries, rows

from grafana.build import concrete

STEP = 0.5  # s
METRICS = rows(Path(__file__).parents[2] / "docs" / "metrics.md", "| metric |")
STILL = {  # within these seconds
    "colo_proxy_info": "constant",
    "colo_proxy_timeout_seconds": "learned over 10 s",
}


class Watched:
    """What Prometheus knows in the end."""

    def __init__(self, prometheus: Prometheus) -> None:
        self.prometheus = prometheus
        self.end = time.time()

    def series(self, query: str) -> list[dict[str, Any]]:
        """What a query of the dashboard gave, at any time. A series without one number is none."""
        found = self.prometheus.range(concrete(query, "2s"), self.end, step=STEP)
        return [series for series in found if any(value != "NaN" for _, value in series["values"])]


@pytest.fixture(scope="module")
def watched() -> Iterator[Watched | Missing]:
    """A fixture cannot skip in a way that lab/conftest.py sees, so what is missing is handed on."""
    try:
        program("prometheus")
    except Missing as missing:
        yield missing
        return
    with incidents.watched() as made, Prometheus(made.lab, RULES) as prometheus:
        try:
            incidents.play(made)
        except BaseException:
            print(made.proxy.log.read_text())
            raise
        yield Watched(prometheus)


@pytest.fixture(autouse=True)
def _there(watched: Watched | Missing) -> None:
    if isinstance(watched, Missing):
        if os.environ.get("CI") == "true":
            raise watched
        pytest.skip(str(watched))


def test_every_panel_shows_something(watched: Watched) -> None:
    empty = [panel for panel, query in panel_queries().items() if not watched.series(query)]
    assert empty == []


def test_every_alert_has_its_moment(watched: Watched) -> None:
    silent = [name for name, query in alerts().items() if not watched.series(query)]
    assert silent == []


def test_prometheus_has_evaluated_the_rules(watched: Watched) -> None:
    (group,) = watched.prometheus.get("rules")["groups"]
    found = {rule["name"]: (rule["health"], rule.get("lastError")) for rule in group["rules"]}
    assert found == dict.fromkeys(alerts(), ("ok", None))


def test_the_proxies_to_choose_from(watched: Watched) -> None:
    assert watched.prometheus.get("label/name/values", **{"match[]": "colo_proxy_info"}) == ["lab"]


@pytest.mark.parametrize("metric", [name for name in METRICS if name not in STILL])
def test_every_metric_moves(watched: Watched, metric: str) -> None:
    kind = METRICS[metric][0]
    for part in ("_count", "_sum", "_bucket") if kind == "histogram" else ("",):
        found = watched.series(metric + part)
        assert any(len({value for _, value in series["values"]}) > 1 for series in found), metric + part


def test_what_a_scrape_says_is_what_happened(watched: Watched) -> None:
    """One figure by hand: the storm's answers were divergences, and cost a checkpoint each.

    Other incidents add to them. Nearly each: on a busy machine an answer can travel to the SVM with a
    checkpoint that is already under way, or the SVM's come too late to be compared.
    """
    made = watched.prometheus.instant('colo_proxy_checkpoints_total{result="committed"}')
    diverged = watched.prometheus.instant('colo_proxy_divergences_total{reason="payload",protocol="tcp"}')
    for (series,) in (made, diverged):
        assert int(series["value"][1]) >= 0.9 * incidents.STORM
