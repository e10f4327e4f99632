"""The dashboard, the alerts and the files for a Prometheus and a Grafana: complete and current."""

import json
import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from colo_lab.errors import Missing
from colo_lab.prometheus import program
from support.documents import GRAFANA, RULES, alerts, metrics_of, names, panel_queries, rows

from grafana import build

ROOT = Path(__file__).parents[2]
METRICS = rows(ROOT / "docs" / "metrics.md", "| metric |")


@pytest.fixture
def promtool() -> str:
    """Its path. What is missing is a skip, save in CI."""
    try:
        return program("promtool")
    except Missing as missing:
        if os.environ.get("CI") == "true":
            raise
        pytest.skip(str(missing))


def test_the_dashboard_is_current() -> None:
    assert build.FILE.read_text() == build.build(), "run: make dashboard"


def test_panels_have_their_own_numbers_and_do_not_overlap() -> None:
    panels = json.loads(build.FILE.read_text())["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        at = panel["gridPos"]
        cells = {(at["x"] + x, at["y"] + y) for x in range(at["w"]) for y in range(at["h"])}
        assert max(x for x, _ in cells) < 24
        assert not cells & taken, panel["title"]
        taken |= cells


def test_every_metric_is_in_a_panel_or_a_rule() -> None:
    used = set().union(*(metrics_of(query) for query in [*panel_queries().values(), *alerts().values()]))
    assert used - set(METRICS) == {"up"}
    assert set(METRICS) - used == set()


def test_every_query_can_be_limited_to_the_chosen_proxies_and_addresses() -> None:
    for title, query in panel_queries().items():
        assert re.search(r'colo_proxy_info{name[=!]~"\$proxy"', query), title
        assert 'instance=~"$instance"' in query, title


def test_proxies_of_one_name_are_told_apart() -> None:
    for title, query in panel_queries().items():
        for labels in re.findall(r"\bby \((.*?)\)", query):
            assert "instance" in labels.split(", ") or labels == "le", title  # le: the chosen ones together


def test_after_a_failover_the_name_is_on_two_hosts(promtool: str, tmp_path: Path) -> None:
    """The old proxy says failed-over, the new one protected; a third has another name, a fourth is down."""
    hosts = {
        "a:9308": ("web1", "failed-over"),
        "b:9308": ("web1", "protected"),
        "c:9308": ("web2", "stopped"),
    }
    series = [("up", "", "d:9308", 0)]
    for instance, (name, state) in hosts.items():
        series += [("up", "", instance, 1), ("colo_proxy_info", f', name="{name}"', instance, 1)]
        series += [
            ("colo_proxy_state", f', state="{each}"', instance, int(each == state)) for each in build.STATES
        ]
    numbers = list(build.STATES)

    def expected(query: str, values: dict[str, int], names: bool, **choice: str) -> dict[str, Any]:
        def labels(instance: str) -> str:
            name = f', name="{hosts[instance][0]}"' if names else ', job="colo-proxy"'
            return ("{" if names else "up{") + f'instance="{instance}"{name}' + "}"

        samples = [{"labels": labels(instance), "value": value} for instance, value in values.items()]
        return {"expr": build.concrete(query, "1m", **choice), "eval_time": "10m", "exp_samples": samples}

    state = panel_queries()["State A"]
    reach = panel_queries()["Reachable by Prometheus A"]
    states = {instance: numbers.index(state) for instance, (_, state) in hosts.items()}
    web1 = {instance: states[instance] for instance in ("a:9308", "b:9308")}
    one = dict.fromkeys(hosts, 1)
    case = {
        "interval": "15s",
        "input_series": [
            {"series": f'{metric}{{job="colo-proxy", instance="{instance}"{more}}}', "values": f"{value}x60"}
            for metric, more, instance, value in series
        ],
        "promql_expr_test": [
            expected(state, states, True),
            expected(state, web1, True, proxy="web1"),
            expected(state, {"b:9308": web1["b:9308"]}, True, instance="b:9308"),
            expected(reach, {**one, "d:9308": 0}, False),
            expected(reach, {"a:9308": 1, "b:9308": 1, "d:9308": 0}, False, proxy="web1"),
            expected(reach, {"b:9308": 1}, False, proxy="web1", instance="b:9308"),
        ],
    }
    (tmp_path / "test.yml").write_text(yaml.safe_dump({"tests": [case]}))
    done = subprocess.run(
        [promtool, "test", "rules", str(tmp_path / "test.yml")],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_rule_has_a_test_in_which_it_fires_and_one_in_which_it_does_not() -> None:
    cases = yaml.safe_load((RULES.with_name("colo-proxy.rules.test.yml")).read_text())["tests"]
    fires: dict[str, set[bool]] = {}
    for case in cases:
        for expected in case["alert_rule_test"]:
            fires.setdefault(expected["alertname"], set()).add(bool(expected["exp_alerts"]))
    assert fires == {name: {True, False} for name in alerts()}


def test_the_rules_fire_when_they_should(promtool: str) -> None:
    for words in (
        ["check", "rules", str(RULES)],
        ["check", "config", str(RULES.with_name("prometheus.yml"))],
        ["test", "rules", str(RULES.with_name("colo-proxy.rules.test.yml"))],
    ):
        done = subprocess.run([promtool, *words], capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


def test_every_alert_is_explained() -> None:
    page = rows(ROOT / "docs" / "monitoring.md", "| alert |")
    severities = {
        rule["alert"]: rule["labels"]["severity"]
        for group in yaml.safe_load(RULES.read_text())["groups"]
        for rule in group["rules"]
    }
    assert {name: cells[0] for name, cells in page.items()} == severities


def test_the_metrics_page_says_what_the_rules_ask() -> None:
    selector = r"(?:colo_proxy_\w+|\bup\b)(?:{[^}]*})?"
    page = (ROOT / "docs" / "metrics.md").read_text().partition("These deserve an alert")[2].split("\n\n")[0]
    said = {each for code in names(page) for each in re.findall(selector, code)}
    asked = {each for query in alerts().values() for each in re.findall(selector, query)}
    assert said == {each for each in asked if not each.startswith("colo_proxy_info")}


def test_the_metrics_page_is_what_promtool_likes(promtool: str) -> None:
    """Names, types and units after Prometheus' conventions."""
    from fakes.engine import counters  # noqa: PLC0415
    from prometheus_client import CollectorRegistry, generate_latest  # noqa: PLC0415

    from colo_proxy.checkpoint.machine import Machine  # noqa: PLC0415
    from colo_proxy.telemetry.metrics import ProxyCollector  # noqa: PLC0415
    from colo_proxy.telemetry.stats import Totals  # noqa: PLC0415

    registry = CollectorRegistry(auto_describe=False)
    registry.register(ProxyCollector("web1", "control", Totals(lambda: [counters()], Machine(0))))
    done = subprocess.run(
        [promtool, "check", "metrics"], input=generate_latest(registry), capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr.decode()


def test_the_files_that_are_mounted_exist() -> None:
    compose = yaml.safe_load((GRAFANA / "compose.yaml").read_text())
    inside: dict[str, Path] = {}
    for service in compose["services"].values():
        for volume in service["volumes"]:
            source, target, *_ = volume.split(":")
            if source.startswith("."):
                assert (GRAFANA / source).is_dir(), source
                inside[target] = GRAFANA / source
            else:
                assert source in compose["volumes"]
    wanted = re.findall(r"/(?:etc|var)/[\w/.-]+\.(?:json|ya?ml)", (GRAFANA / "compose.yaml").read_text())
    provider: Any = yaml.safe_load((GRAFANA / "provisioning/dashboards/colo-proxy.yaml").read_text())
    wanted.append(provider["providers"][0]["options"]["path"] + "/colo-proxy.json")
    for path in wanted:
        target = max((target for target in inside if path.startswith(target)), key=len)
        assert (inside[target] / Path(path).relative_to(target)).exists(), path


def test_grafana_knows_how_often_prometheus_scrapes() -> None:
    source = yaml.safe_load((GRAFANA / "provisioning/datasources/prometheus.yaml").read_text())
    prometheus = yaml.safe_load((GRAFANA / "prometheus/prometheus.yml").read_text())
    assert source["datasources"][0]["jsonData"]["timeInterval"] == prometheus["global"]["scrape_interval"]
    assert prometheus["scrape_configs"][0]["job_name"] == "colo-proxy"
