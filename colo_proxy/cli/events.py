"""`colo-proxy events`: what happens, as it happens."""

import argparse
from typing import Any

from colo_proxy.cli import target
from colo_proxy.cli.parsers import CommandParser
from colo_proxy.dates import rfc3339
from colo_proxy.display.characters import printable
from colo_proxy.telemetry.sentences import sentence


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
    return printable(f"{when} {event['event']:<18} {sentence(event['event'], event['data'])}")
