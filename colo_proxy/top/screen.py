"""The screen of `colo-proxy top`: lines of text for a terminal of any size, made for 80 by 24."""

import time
from collections.abc import Iterator, Sequence
from typing import Any

from rich.text import Text

from colo_proxy.cli.events import line as event_line
from colo_proxy.cli.status import MEANING, state_of
from colo_proxy.cli.tables import size
from colo_proxy.cli.target import printable
from colo_proxy.top.figures import Figures, Look, PortRate, lost

_STYLES = {
    "protected": "bold white on green",
    "observing": "bold white on blue",
    "requested": "bold black on yellow",
    "stopped": "bold black on yellow",
    "unprotected": "bold white on red",
    "failed-over": "bold white on red",
}
_GONE = "bold white on red"
_HEADING = "bold"
_MOST_NICS = 3  # a line each
_LEAST = 3  # rows of the tables that share what the terminal has left


def screen(
    look: Look | None,
    figures: Figures | None,
    events: list[dict[str, Any]],
    *,
    name: str,
    gone: str | None,
    interval: float,
    width: int,
    height: int,
) -> list[Text]:
    """The lines, not more than `height`, none longer than `width`.

    `gone`: why the proxy does not answer; what was seen last is then shown beneath.
    """
    lines: list[Text] = []
    if look is not None and figures is not None:
        lines += _head(look, name, width)
        lines += _throughput(look, figures)
        lines += _holding(look, figures)
        lines += _checkpoints(look, figures, width)
        room = max(0, height - len(lines) - 1)
        told = min(max(_LEAST, room // 3), len(events) or 1) + 1 if room > 2 * (_LEAST + 1) else 0
        lines += _diverging(look, figures, max(0, room - told), width)
        lines += _events(events, told)
    if gone is not None:
        lines[:1] = [_banner(f"{name}  NO ANSWER: {printable(gone)}", _GONE, width)]
    lines = lines[: height - 1]
    lines += [Text("")] * (height - 1 - len(lines))
    lines.append(Text(f" q quit   every {interval:g} s", "dim"))
    for line in lines:
        line.no_wrap = True
        line.truncate(width, overflow="ellipsis")
    return lines


def _head(look: Look, name: str, width: int) -> Iterator[Text]:
    status = look.status
    state = state_of(status)
    yield _banner(f"{name}  {state.upper()}: {MEANING[state]}", _STYLES[state], width)
    sides = ", ".join(f"{side} {'up' if up else 'DOWN'}" for side, up in status["vmm_connected"].items())
    yield Text(
        f" epoch {status['epoch']:,}   VMM {status['vmm']}{f' ({sides})' if sides else ''}   "
        f"flows {status['flows']:,} of {look.stats['max_flows']:,}"
    )
    waiting = f"{status['waiting_ms'] / 1000:.1f} s"
    faults = [fault for nic in status["nics"] for fault in nic["faults"]]
    if status["alarm"]:
        yield Text(f" ALARM: output has been held for {waiting}; the VMM does not answer", "bold red")
    elif faults:
        yield Text(f" FAULT: {', '.join(faults)} (the log says what)", "bold red")
    elif status["reason"]:
        yield Text(f" a checkpoint is wanted for {status['reason']}, since {waiting}", "yellow")
    else:
        yield Text("")


def _banner(said: str, style: str, width: int) -> Text:
    """The first line: what matters most, and the time, so that one sees whether the screen lives."""
    left = max(0, width - 11)
    return Text(f" {_cut(said, left):{left}} {time.strftime('%H:%M:%S')} ", style)


def _throughput(look: Look, figures: Figures) -> Iterator[Text]:
    yield _row("THROUGHPUT", ("from clients", "to clients", "from the SVM"), _HEADING)
    nics = figures.ports
    if len(nics) == 1:
        yield _rates(
            look.stats["nics"][0]["ports"]["uplink"]["name"], nics[0]["uplink"], nics[0]["secondary"]
        )
    elif len(nics) <= _MOST_NICS:
        for number, ports in enumerate(nics):
            yield _rates(f"nic {number}", ports["uplink"], ports["secondary"])
    else:
        uplink, svm = (
            PortRate(*(sum(getattr(ports[role], key) for ports in nics) for key in PortRate.__slots__))
            for role in ("uplink", "secondary")
        )
        yield _rates(f"{len(nics)} nics", uplink, svm)


def _rates(label: str, uplink: PortRate, svm: PortRate) -> Text:
    said = (
        (uplink.bytes_in, uplink.frames_in),
        (uplink.bytes_out, uplink.frames_out),
        (svm.bytes_in, svm.frames_in),
    )
    return _row(printable(label), [f"{size(count, 1000)}/s {_count(frames):>6}/s" for count, frames in said])


def _row(label: str, cells: Sequence[str], style: str = "") -> Text:
    return Text(f" {label:12.12}" + "".join(f"{cell:>22}" for cell in cells), style)


def _holding(look: Look, figures: Figures) -> Iterator[Text]:
    status, stats = look.status, look.stats
    held = "   ".join(
        f"{'max' if percentile == 100 else f'p{percentile}'} {_duration(bound)}"
        for percentile, bound in figures.hold_us.items()
    )
    yield Text.assemble((" HOLD TIME   ", _HEADING), held)
    bar = "█" * round(10 * status["held_bytes"] / stats["max_held_bytes"])
    gone = lost(stats)
    most = f", most {gone.most_common(1)[0][0]}" if gone else ""
    rate = f" ({figures.drops:,.0f}/s)" if figures.drops else ""
    yield Text.assemble(
        (" QUEUES      ", _HEADING),
        f"held {status['held_frames']:,}, {size(status['held_bytes'])} of "
        f"{size(stats['max_held_bytes'])} [{bar:·<10}]  ",
        (f"dropped {gone.total():,}{rate}{most}", "red" if rate else ""),
    )


def _checkpoints(look: Look, figures: Figures, width: int) -> Iterator[Text]:
    stats = look.stats
    made, last = stats["checkpoints"], stats["checkpoint_seconds_last"] * 1000
    mean = stats["checkpoint_seconds_sum"] / made["committed"] * 1000 if made["committed"] else 0
    took = f"   last {last:.1f} ms, mean {mean:.1f} ms" if made["committed"] else ""
    aborted = f"   {made['aborted']:,} aborted" if made["aborted"] else ""
    count = made["committed"] + made["assumed"]
    rate = f"{count:,}  ({figures.checkpoints:.1f}/s)"
    yield Text.assemble((" CHECKPOINTS ", _HEADING), rate, took, aborted)
    reasons = sorted(stats["checkpoint_reasons"].items(), key=lambda item: (-item[1], item[0]))
    text = "   ".join(f"{reason} {number:,}" for reason, number in reasons) or "none yet"
    yield Text(f" {'for':11} {text}"[:width])


def _diverging(look: Look, figures: Figures, room: int, width: int) -> Iterator[Text]:
    """Flows to the left, services to the right, those that diverge most first."""
    if room < 2:
        return
    status, stats = look.status, look.stats
    right = 20
    left = width - right - 2
    heading = f"DIVERGENCES {status['divergences']:,}  ({figures.divergences:.1f}/s)"
    yield Text(f" {heading:{left}} SERVICE", _HEADING)
    flows = [(row["divergences"], row["flow"]) for row in stats["diverging_flows"]]
    services = [(row["divergences"], row["service"]) for row in stats["diverging_services"]]
    for at in range(room - 1):
        if at >= max(len(flows), len(services)):
            return
        cells = [f"{rows[at][0]:>7,} {rows[at][1]}" if at < len(rows) else "" for rows in (flows, services)]
        yield Text(f" {_cut(cells[0], left):{left}} {cells[1]:{right}.{right}}")


def _events(events: list[dict[str, Any]], room: int) -> Iterator[Text]:
    if room < 2:
        return
    yield Text(" EVENTS" + ("" if events else "  none since top began"), _HEADING)
    for event in events[1 - room :]:
        yield Text(f" {event_line(event)}")


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else text[: max(0, width - 1)] + "…"


def _count(number: float) -> str:
    """Five places: frames a second."""
    return f"{number:,.0f}" if number < 10_000 else f"{number / 1000:,.0f}k"


def _duration(bound: int | None) -> str:
    """Microseconds, as the bucket that a hold was under."""
    if bound is None:
        return "–"
    if bound == 1 << 31:  # the last bucket has no bound
        return f">{bound / 2e6:.0f} s"
    if bound < 1000:
        return f"<{bound} µs"
    return f"<{bound / 1000:.0f} ms" if bound < 1_000_000 else f"<{bound / 1e6:.0f} s"
