"""`colo-proxy events`: what happens, as it happens."""

import argparse
import json
from typing import Any

from colo_proxy.cli import target
from colo_proxy.cli.parsers import CommandParser
from colo_proxy.dates import rfc3339


def add_parser(subparsers: "argparse._SubParsersAction[CommandParser]") -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "events",
        help="follow the events of a running proxy",
        description="Print each event of a running proxy as it happens, until Ctrl-C.",
        examples=(
            ("colo-proxy events web1.toml", "what happens, as it happens"),
            (
                "colo-proxy events web1.toml --json | jq -r 'select(.event == \"DIVERGENCE\").data.flow'",
                "flows that diverge",
            ),
        ),
    )
    target.add_arguments(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Print events for as long as the proxy lives."""
    with target.connect(arguments) as client:
        for event in client.events():
            if arguments.json:
                target.print_json(event)
            else:
                print(line(event), flush=True)
    return 0


def line(event: dict[str, Any]) -> str:
    """One event for a person: the time (RFC 3339), what happened, and what is known of it."""
    stamp = event["timestamp"]
    when = rfc3339(stamp["seconds"], stamp["microseconds"] // 1000, 3)
    return target.printable(f"{when} {event['event']:<18} {sentence(event['event'], event['data'])}")


def sentence(name: str, data: dict[str, Any]) -> str:  # noqa: PLR0911
    """What is known of an event. Of one that this program does not know, what was said as it was."""
    match name, data:
        case "CHECKPOINT_REQUEST", {"reason": reason, "flow": flow, "stream_offset": at, "attempt": attempt}:
            where = f" at byte {at:,} of {flow}" if flow else ""
            return f"{reason}{where}" + (f", attempt {attempt}" if attempt > 1 else "")
        case "CHECKPOINT_BEGIN", {"epoch": epoch}:
            return f"epoch {epoch:,} ends"
        case "CHECKPOINT_COMMIT" | "CHECKPOINT_ABORT", {"epoch": epoch, "reason": reason, "seconds": seconds}:
            return f"epoch {epoch:,} ({reason}), {seconds * 1000:.1f} ms"
        case "DIVERGENCE", {"reason": reason, "stream_offset": at, "flow": flow, "report": report}:
            more = f" and {data['count'] - 1:,} more" if data.get("count", 1) > 1 else ""
            return f"{reason} at byte {at:,} of {flow}{more}" + (f"; report {report}" if report else "")
        case "EVENTS_LOST", {"lost": lost, "state": state}:
            return f"{lost:,} events were not read in time; the state is now {state}"
        case "STATE_CHANGE", {"from": old, "to": new, "why": why}:
            return f"{old} -> {new}: {why}"
        case "FAILOVER", {"epoch": epoch, "why": why}:
            return f"epoch {epoch:,}: {why}"
        case "ALARM", {"active": active, "held_ms": held}:
            said = (
                "a checkpoint has been awaited for" if active else "no checkpoint is awaited any more, after"
            )
            return f"{said} {held / 1000:.1f} s" + ("; output is held meanwhile" if active else "")
        case "PORT_FAULT", {"nic": nic, "text": text}:
            return f"nic {nic} {text}"
        case _:
            return json.dumps(data)
