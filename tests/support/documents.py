"""Reads what documents say: tables of a page, queries of the dashboard and of the alerts."""

import json
import re
from pathlib import Path

import yaml

GRAFANA = Path(__file__).parents[2] / "grafana"
RULES = GRAFANA / "prometheus" / "colo-proxy.rules.yml"
DASHBOARD = GRAFANA / "dashboards" / "colo-proxy.json"
_PARTS = re.compile(r"_(?:bucket|sum|count)$")  # of a histogram


def rows(page: Path, heading: str) -> dict[str, list[str]]:
    """The first table that has this heading in its first row: cells by the first cell, without backquotes."""
    lines = page.read_text().splitlines()
    at = next(n for n, line in enumerate(lines) if line.startswith(heading))
    start = next(n for n in range(at, len(lines)) if lines[n].startswith("| ")) + 2
    found = {}
    for line in lines[start:]:
        if not line.startswith("|"):
            break
        first, *rest = [cell.strip().replace("\\|", "|") for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
        found[first.strip("`")] = rest
    return found


def names(cell: str) -> list[str]:
    """What stands in backquotes."""
    return re.findall(r"`([^`]+)`", cell)


def panel_queries() -> dict[str, str]:
    """Every query of the dashboard, by its panel and letter."""
    return {
        f"{panel['title']} {target['refId']}": target["expr"]
        for panel in json.loads(DASHBOARD.read_text())["panels"]
        for target in panel.get("targets", ())
    }


def alerts() -> dict[str, str]:
    """The expression of each alert, by its name."""
    groups = yaml.safe_load(RULES.read_text())["groups"]
    return {rule["alert"]: rule["expr"] for group in groups for rule in group["rules"]}


def metrics_of(query: str) -> set[str]:
    """The metrics that a query is about, as docs/metrics.md names them."""
    return {_PARTS.sub("", name) for name in re.findall(r"\b(?:colo_proxy_\w+|up(?={))", query)}
