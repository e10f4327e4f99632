"""The screen of `colo-proxy top`: lines of text for a terminal of any size, made for 80 by 24."""

import os
import time
from collections.abc import Iterator, Sequence

from rich.text import Text

from colo_proxy.display.characters import printable
from colo_proxy.display.state import described, state_of, why
from colo_proxy.display.tables import size
from colo_proxy.top.rates import Figures, Look, PortRate, lost
from colo_proxy.top.recent_events import Line

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
_MOST_NICS = 3  # a line each; more where the terminal has many
_LABEL, _CELL = 13, 22  # columns of what stands before figures, and of a rate
_WIDE = 100  # columns from which on times have milliseconds
_LEAST = 3  # rows of the tables that share what the terminal has left


def screen(
    look: Look | None,
    figures: Figures | None,
    happened: Sequence[Line],
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
        lines += _head(look, figures, name, width)
        lines += _throughput(look, figures, width, height)
        lines += _holding(look, figures, width)
        lines += _checkpoints(look, figures, width)
        room = max(0, height - len(lines) - 1)
        told = min(max(_LEAST, room // 3), len(happened) or 1) + 1 if room > 2 * (_LEAST + 1) else 0
        diverging = list(_diverging(look, figures, max(0, room - told), width))
        lines += diverging
        lines += _events(happened, room - len(diverging) if told else 0, width)
    if gone is not None:
        lines[:1] = [_banner(f"{name}  NO ANSWER: {printable(gone)}", _GONE, width)]
    lines = lines[: height - 1]
    lines += [Text("")] * (height - 1 - len(lines))
    lines.append(Text(f" q quit   every {interval:g} s", "dim"))
    for line in lines:
        line.no_wrap = True
        line.truncate(width, overflow="ellipsis")
    return lines


def _head(look: Look, figures: Figures, name: str, width: int) -> Iterator[Text]:
    status = look.status
    state = state_of(status)
    yield _banner(f"{name}  {described(status, state.upper())}", _STYLES[state], width)
    sides = ", ".join(f"{side} {'up' if up else 'DOWN'}" for side, up in status["vmm_connected"].items())
    yield Text(
        f" epoch {status['epoch']:,}   VMM {status['vmm']}{f' ({sides})' if sides else ''}   "
        f"flows {status['flows']:,} of {look.stats['max_flows']:,}"
    )
    waiting = f"{status['waiting_ms'] / 1000:.1f} s"
    said = []
    if status["alarm"]:
        said.append(
            Text(f" ALARM: a checkpoint has been wanted for {waiting}; the VMM does not answer", "bold red")
        )
    if faults := list(_faults(look)):
        said.append(Text(f" FAULT: {'; '.join(faults)}", "bold red"))
    if any(figures.gaps.values()):
        holes = ", ".join(
            f"{guest} {figures.gaps[port]:,.1f}/s"
            for guest, port in (("PVM", "primary"), ("SVM", "secondary"))
        )
        said.append(Text(f" frames are lost before the proxy; holes in TCP streams: {holes}", "yellow"))
    if status["reason"] and not status["alarm"]:
        said.append(Text(f" a checkpoint has been wanted for {waiting}: {why(status)}", "yellow"))
    if status["bypassing"]:
        said.append(Text(f" RULES: {_count(figures.bypassed)} frames/s are bypassed", "yellow"))
    yield from said or [Text("")]


def _faults(look: Look) -> Iterator[str]:
    """Of each port that does not work: its name, and why."""
    broken = [port for nic in look.stats["nics"] for port in nic["ports"].values() if port["fault"]]
    if broken:
        from colo_proxy.engine.engine import FAULTS  # noqa: PLC0415 - compiled, and rarely needed

        for port in broken:
            yield printable(f"{port['name']}: {FAULTS.get(port['fault']) or os.strerror(port['fault'])}")


def _banner(said: str, style: str, width: int) -> Text:
    """The first line: what matters most, and the time, so that one sees whether the screen lives."""
    left = max(0, width - 11)
    return Text(f" {_cut(said, left):{left}} {time.strftime('%H:%M:%SZ', time.gmtime())} ", style)


# What is shown of throughput: the heading, the short one, the port's role and its direction.
_WAYS = (
    ("from clients", "in", "uplink", "in"),
    ("to clients", "out", "uplink", "out"),
    ("from the SVM", "of SVM", "secondary", "in"),
)
_MORE_WAYS = (  # where there is room
    ("from the PVM", "of PVM", "primary", "in"),
    ("to the SVM", "to SVM", "secondary", "out"),
)


def _throughput(look: Look, figures: Figures, width: int, height: int) -> Iterator[Text]:
    ways = _WAYS + _MORE_WAYS if width > _LABEL + _CELL * len(_WAYS + _MORE_WAYS) else _WAYS
    frames = width >= _LABEL + _CELL * len(ways)  # else bytes alone
    cell = _CELL if frames else max(1, (width - _LABEL) // len(ways))
    yield _row("THROUGHPUT", [way[0] if frames else way[1] for way in ways], cell, _HEADING)
    nics = figures.ports
    if len(nics) == 1:
        named = [(look.stats["nics"][0]["ports"]["uplink"]["name"], nics[0])]
    elif len(nics) <= _MOST_NICS + max(0, height - 24) // 3:
        named = [(f"nic {number}", ports) for number, ports in enumerate(nics)]
    else:
        named = [(f"{len(nics)} nics", {role: _sum([ports[role] for ports in nics]) for role in nics[0]})]
    for label, ports in named:
        cells = []
        for _, _, role, direction in ways:
            count, number = (getattr(ports[role], f"{what}_{direction}") for what in ("bytes", "frames"))
            cells.append(f"{size(count, 1000)}/s" + (f" {_count(number):>6}/s" if frames else ""))
        yield _row(printable(label), cells, cell)


def _sum(rates: Sequence[PortRate]) -> PortRate:
    return PortRate(*(sum(getattr(rate, key) for rate in rates) for key in PortRate.__slots__))


def _row(label: str, cells: Sequence[str], cell: int, style: str = "") -> Text:
    return Text(f" {label:{_LABEL - 1}.{_LABEL - 1}}" + "".join(f"{text:>{cell}}" for text in cells), style)


def _holding(look: Look, figures: Figures, width: int) -> Iterator[Text]:
    status, stats = look.status, look.stats
    held = [
        f"{'max' if percentile == 100 else f'p{percentile}'} {_duration(bound)}"
        for percentile, bound in figures.hold_us.items()
    ]
    whole = "   ".join(held)
    if len(whole) + _LABEL <= width:
        yield Text.assemble((f" {'HOLD TIME':{_LABEL - 1}}", _HEADING), whole)
    else:
        for heading, pair in (("HOLD TIME", held[:2]), ("", held[2:])):
            yield Text.assemble((f" {heading:{_LABEL - 1}}", _HEADING), "".join(f"{one:<13}" for one in pair))
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
    rate = f"{count:,}  ({figures.checkpoints:,.0f} a minute)"
    yield Text.assemble((" CHECKPOINTS ", _HEADING), rate, took, aborted)
    reasons = sorted(stats["checkpoint_reasons"].items(), key=lambda item: (-item[1], item[0]))
    text = "   ".join(f"{reason} {number:,}" for reason, number in reasons) or "none yet"
    yield Text(f" {'for':11} {text}"[:width])


def _diverging(look: Look, figures: Figures, room: int, width: int) -> Iterator[Text]:
    """Flows to the left, services to the right, those that diverge most first."""
    if room < 2:
        return
    status, stats = look.status, look.stats
    flows = [f"{row['divergences']:>7,} {row['flow']}" for row in stats["diverging_flows"]]
    services = [f"{row['divergences']:>7,} {row['service']}" for row in stats["diverging_services"]]
    right = 20
    left = min(width - right - 2, max(58, *map(len, flows), 0) if flows else 58)
    heading = f"DIVERGENCES {status['divergences']:,}  ({figures.divergences:,.0f} a minute)"
    yield Text(f" {heading:{left}} SERVICE", _HEADING)
    for at in range(min(room - 1, max(len(flows), len(services)))):
        cells = [rows[at] if at < len(rows) else "" for rows in (flows, services)]
        yield Text(f" {_cut(cells[0], left):{left}} {cells[1]:{right}.{right}}")


_WRONG = ("ALARM", "FAILOVER", "PORT_FAULT", "STATE_CHANGE")


def _events(happened: Sequence[Line], room: int, width: int) -> Iterator[Text]:
    if room < 2:
        return
    yield Text(" EVENTS" + ("" if happened else "  none since top started"), _HEADING)
    for line in happened[1 - room :]:
        clock = time.strftime("%H:%M:%S", time.gmtime(line.at))
        if width >= _WIDE:
            clock += f".{int(line.at % 1 * 1000):03d}Z"
        often = f"{line.times:,}× " if line.times > 1 else ""
        style = "red" if line.kind in _WRONG else "yellow" if line.kind == "DIVERGENCE" else ""
        yield Text(printable(f" {clock} {line.kind:10} {often}{line.said}"), style)


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
