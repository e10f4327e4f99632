"""Makes dashboards/colo-proxy.json: `make dashboard`. A test fails where the file is not what this makes.

Everything that is shown is in `ROWS`, from top to bottom; the rest turns it into Grafana's JSON. Metrics do
not carry the name of their proxy, but `colo_proxy_info` does, so queries are joined with it (`of`). Two
proxies may have one name: `instance` tells them apart.

Past 400 lines: most of it is the table of panels.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

from grafana_foundation_sdk.builders import common, dashboard, heatmap, prometheus, statetimeline, timeseries
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import common as common_model
from grafana_foundation_sdk.models import dashboard as model
from grafana_foundation_sdk.models import heatmap as heatmap_model
from grafana_foundation_sdk.models import prometheus as prometheus_model

FILE = Path(__file__).parent / "dashboards" / "colo-proxy.json"
SOURCE = model.DataSourceRef(type_val="prometheus", uid="${datasource}")
RATE = "[$__rate_interval]"
# After a failover the proxy of the other host has the same name: what tells them apart is their address.
CHOSEN = 'colo_proxy_info{name=~"$proxy", instance=~"$instance"}'
EACH = "name, instance"
WHO = "{{name}} {{instance}}"
STATES = {  # the order is that of severity; the number is what the query makes of the state
    "protected": "green",
    "requested": "light-blue",
    "stopped": "blue",
    "unprotected": "orange",
    "failed-over": "red",
}


def concrete(query: str, interval: str, span: str = "1h", proxy: str = ".*", instance: str = ".*") -> str:
    """A query as Grafana would send it, with these for its variables."""
    for variable, value in (
        ("$__rate_interval", interval),
        ("$__range", span),
        ("$proxy", proxy),
        ("$instance", instance),
    ):
        query = query.replace(variable, value)
    return query


def of(selector: str) -> str:
    """A query for the chosen proxies, with the label `name`."""
    return f"{selector} * on (job, instance) group_left (name) {CHOSEN}"


def rate(metric: str, by: str) -> str:
    """Events a second, summed over all labels but these."""
    return f"sum by ({by}) (" + of(f"rate({metric}{RATE})") + ")"


def quantile(share: float, metric: str) -> str:
    """The value that this share of a histogram's observations does not exceed."""
    return f"histogram_quantile({share}, {rate(f'{metric}_bucket', f'le, {EACH}')})"


def state_number() -> str:
    """One number for the state that a proxy is in, counted from 0 in the order of STATES."""
    numbered = [f'{number} * colo_proxy_state{{state="{state}"}}' for number, state in enumerate(STATES)]
    return f"sum by ({EACH}) (" + of(f"({' or '.join(numbered)})") + ")"


def answering() -> str:
    """Whether each target answers, but for those known to be other proxies: one that is down has no info."""
    others = 'last_over_time(colo_proxy_info{name!~"$proxy"}[$__range])'
    return f'up{{job="colo-proxy", instance=~"$instance"}} unless on (job, instance) {others}'


@dataclass(frozen=True)
class Panel:
    """One panel. `queries`: pairs of expression and legend. `words`: text and colour for each value."""

    title: str
    meaning: str
    unit: str
    queries: Sequence[tuple[str, str]]
    width: int = 12  # of 24
    words: Sequence[tuple[str, str]] = ()
    heat: bool = False


ROWS: dict[str, Sequence[Panel]] = {
    "Protection": [
        Panel(
            "State",
            "A protected VM passes through protected, requested and stopped. When it is unprotected or "
            "failed-over, there is no replica to take over.",
            "short",
            [(state_number(), WHO)],
            width=18,
            words=list(STATES.items()),
        ),
        Panel(
            "Checkpoint wanted too long",
            "1 while a checkpoint has been wanted for longer than max_hold_ms. Output is held.",
            "short",
            [(of("colo_proxy_alarm"), WHO)],
            width=6,
            words=[("no", "green"), ("alarm", "red")],
        ),
        Panel(
            "Frames a second that rules decide on",
            "What a rule bypasses is released without a comparison, and is not protected.",
            "pps",
            [
                (
                    rate("colo_proxy_policy_frames_total", f"{EACH}, rule, action"),
                    WHO + " rule {{rule}} {{action}}",
                )
            ],
            width=24,
        ),
    ],
    "Checkpoints and their reasons": [
        Panel(
            "Checkpoints a minute",
            "Committed, aborted and, with vmm = none, assumed.",
            "short",
            [(f"60 * {rate('colo_proxy_checkpoints_total', f'{EACH}, result')}", WHO + " {{result}}")],
            width=8,
        ),
        Panel(
            "Divergences a minute",
            "colo-proxy flows, events and explain show what differed.",
            "short",
            [
                (
                    f"60 * {rate('colo_proxy_divergences_total', f'{EACH}, reason, protocol')}",
                    WHO + " {{reason}} {{protocol}}",
                )
            ],
            width=8,
        ),
        Panel(
            "Epoch",
            "Checkpoints committed since the proxy started.",
            "short",
            [(of("colo_proxy_epoch"), WHO)],
            width=8,
        ),
        Panel(
            "How long a checkpoint takes",
            "From the stop of the VMs to the commit.",
            "s",
            [
                (quantile(0.5, "colo_proxy_checkpoint_seconds"), WHO + " median"),
                (quantile(0.95, "colo_proxy_checkpoint_seconds"), WHO + " 95 %"),
            ],
        ),
        Panel(
            "Time spent in checkpoints",
            "The share of time for which the VMs are stopped.",
            "percentunit",
            [(rate("colo_proxy_checkpoint_seconds_sum", EACH), WHO)],
        ),
    ],
    "Hold time": [
        Panel(
            "Hold time",
            "For how long released output had been held, until the SVM sent it or until a commit.",
            "s",
            [
                (quantile(0.5, "colo_proxy_hold_seconds"), WHO + " median"),
                (quantile(0.9, "colo_proxy_hold_seconds"), WHO + " 90 %"),
                (quantile(0.99, "colo_proxy_hold_seconds"), WHO + " 99 %"),
            ],
            width=8,
        ),
        Panel(
            "Hold time, all of it",
            "Frames by hold time, of the chosen proxies together.",
            "s",
            [
                (
                    "sum by (le) (" + of("increase(colo_proxy_hold_seconds_bucket[$__rate_interval])") + ")",
                    "{{le}}",
                )
            ],
            width=8,
            heat=True,
        ),
        Panel(
            "Timeout in force",
            "Output that the other VM has not sent after this time is a divergence.",
            "s",
            [(of("colo_proxy_timeout_seconds"), WHO + " nic {{nic}}")],
            width=8,
        ),
    ],
    "Throughput": [
        Panel(
            "Bits a second",
            "What the ports received (in) and sent (out).",
            "bps",
            [
                (
                    f"8 * {rate('colo_proxy_bytes_total', f'{EACH}, port, direction')}",
                    WHO + " {{port}} {{direction}}",
                )
            ],
            width=8,
        ),
        Panel(
            "Frames a second",
            "A super-frame counts once.",
            "pps",
            [(rate("colo_proxy_frames_total", f"{EACH}, port, direction"), WHO + " {{port}} {{direction}}")],
            width=8,
        ),
        Panel(
            "Released frames a second",
            "Output released to clients.",
            "pps",
            [(rate("colo_proxy_released_frames_total", EACH), WHO)],
            width=8,
        ),
    ],
    "Queues and drops": [
        Panel(
            "Held bytes",
            "Output that is held now. Its bound is max_held_bytes.",
            "bytes",
            [(of("colo_proxy_held_bytes"), WHO)],
            width=6,
        ),
        Panel(
            "Held frames",
            "Output that is held now.",
            "short",
            [(of("colo_proxy_held_frames"), WHO)],
            width=6,
        ),
        Panel(
            "Flows",
            "Flows that the proxy knows now. Their bound is max_flows.",
            "short",
            [(of("colo_proxy_flows"), WHO)],
            width=6,
        ),
        Panel(
            "Dropped frames a second",
            "policy, old-epoch, uncommitted and closed belong to the work; the others deserve a look.",
            "pps",
            [(rate("colo_proxy_dropped_frames_total", f"{EACH}, reason"), WHO + " {{reason}}")],
            width=6,
        ),
        Panel(
            "Unverified retransmissions a second",
            "TCP retransmissions of the PVM that were released although not all of their bytes had been "
            'compared: every one with retransmissions = "trust".',
            "pps",
            [(rate("colo_proxy_retransmissions_unverified_total", EACH), WHO)],
            width=6,
        ),
        Panel(
            "Holes in TCP streams a second",
            "Segments that begin beyond what their guest had sent before: the link from that guest loses or "
            "reorders frames.",
            "pps",
            [(rate("colo_proxy_stream_gaps_total", f"{EACH}, nic, port"), WHO + " nic {{nic}} {{port}}")],
            width=9,
        ),
        Panel(
            "Segments sent again a second",
            "By guest. If both have as many, the path to the clients loses frames. If only one has them, "
            "its link does.",
            "pps",
            [
                (
                    rate("colo_proxy_retransmitted_segments_total", f"{EACH}, nic, port"),
                    WHO + " nic {{nic}} {{port}}",
                )
            ],
            width=9,
        ),
        Panel(
            "Requests for neighbours a second",
            "ARP requests and neighbour solicitations that the proxy has sent for the SVM, in the PVM's "
            "name. After a restart of the proxy there are a few.",
            "pps",
            [(rate("colo_proxy_neighbours_asked_total", f"{EACH}, nic"), WHO + " nic {{nic}}")],
            width=6,
        ),
    ],
    "VMM and ports": [
        Panel(
            "VMM connections",
            "Whether the VMM of each side can be reached.",
            "short",
            [(of("colo_proxy_vmm_connected"), WHO + " {{side}}")],
            width=8,
            words=[("lost", "red"), ("connected", "green")],
        ),
        Panel(
            "Ports",
            "Whether each port works.",
            "short",
            [(of("colo_proxy_port_up"), WHO + " nic {{nic}} {{port}}")],
            width=8,
            words=[("fault", "red"), ("up", "green")],
        ),
        Panel(
            "Reachable by Prometheus",
            "Whether the last scrape worked. A target that never answered has no name and is always shown.",
            "short",
            [(answering(), "{{instance}}")],
            width=8,
            words=[("down", "red"), ("up", "green")],
        ),
    ],
}


def build() -> str:
    """The dashboard, as Grafana reads it."""
    made = (
        dashboard.Dashboard("colo-proxy")
        .uid("colo-proxy")
        .description("COLO pairs behind colo-proxy: are they protected, and what does it cost?")
        .tags(["colo-proxy"])
        .timezone("browser")
        .refresh("10s")
        .time("now-30m", "now")
        .tooltip(model.DashboardCursorSync.CROSSHAIR)
        .with_variable(dashboard.DatasourceVariable("datasource").label("Prometheus").type("prometheus"))
        .with_variable(_choice("proxy", "Proxy", "label_values(colo_proxy_info, name)"))
        .with_variable(
            _choice("instance", "Address", 'label_values(colo_proxy_info{name=~"$proxy"}, instance)')
        )
    )
    numbers = count(1)
    for title, panels in ROWS.items():
        made.with_row(dashboard.Row(title).id(next(numbers)))
        for panel in panels:
            made.with_panel(_panel(panel).id(next(numbers)))
    return JSONEncoder(sort_keys=True, indent=2).encode(made.build()) + "\n"


def _choice(name: str, label: str, query: str) -> Any:
    """A variable: one of these, several or all."""
    return (
        dashboard.QueryVariable(name)
        .label(label)
        .datasource(SOURCE)
        .query(query)
        .refresh(model.VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(model.VariableSort.ALPHABETICAL_ASC)
        .multi(True)
        .include_all(True)
        .all_value(".*")
        .current(model.VariableOption(text="All", value="$__all"))
    )


def _panel(panel: Panel) -> Any:
    if panel.words:
        builder = _timeline(panel)
    elif panel.heat:
        builder = _heatmap()
    else:
        builder = _series()
    builder = (
        builder.title(panel.title)
        .description(panel.meaning)
        .datasource(SOURCE)
        .span(panel.width)
        .height(7)
        .unit(panel.unit)
    )
    for number, (expression, legend) in enumerate(panel.queries):
        query = (
            prometheus.Dataquery()
            .expr(expression)
            .range()
            .legend_format(legend)
            .ref_id("ABC"[number])
            .datasource(SOURCE)
        )
        if panel.heat:
            query = query.format(prometheus_model.PromQueryFormat.HEATMAP)
        builder = builder.with_target(query)
    return builder


def _series() -> Any:
    return (
        timeseries.Panel()
        .min(0)
        .fill_opacity(8)
        .show_points(common_model.VisibilityMode.AUTO)
        .legend(
            common.VizLegendOptions()
            .display_mode(common_model.LegendDisplayMode.LIST)
            .placement(common_model.LegendPlacement.BOTTOM)
            .show_legend(True)
        )
        .tooltip(common.VizTooltipOptions().mode(common_model.TooltipDisplayMode.MULTI))
    )


def _timeline(panel: Panel) -> Any:
    words = {
        str(number): model.ValueMappingResult(text=text, color=colour, index=number)
        for number, (text, colour) in enumerate(panel.words)
    }
    return (
        statetimeline.Panel()
        .mappings([model.ValueMap(options=words)])
        .color_scheme(dashboard.FieldColor().mode(model.FieldColorModeId.THRESHOLDS))
        .show_value(common_model.VisibilityMode.AUTO)
        .row_height(0.8)
    )


def _heatmap() -> Any:
    return (
        heatmap.Panel()
        .calculate(False)
        .color(
            heatmap.HeatmapColorOptions()
            .mode(heatmap_model.HeatmapColorMode.SCHEME)
            .scheme("Blues")
            .steps(32)
        )
        .y_axis(heatmap.YAxisConfig().unit("s"))
        .show_legend()
    )


if __name__ == "__main__":
    FILE.write_text(build())
