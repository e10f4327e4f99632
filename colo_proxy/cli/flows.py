"""`colo-proxy flows`: the flows a running proxy knows."""

import argparse
import os
from typing import Any

from colo_proxy.cli import target
from colo_proxy.cli.parsers import CommandParser
from colo_proxy.control.client import FEW
from colo_proxy.display.characters import printable
from colo_proxy.display.tables import size, table


def add_parser(subparsers: "argparse._SubParsersAction[CommandParser]") -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "flows",
        help="list the flows of a running proxy",
        description="List the flows; those that hold most come first. If the proxy is busy, each flow is "
        "shown as it was at some moment during the listing.",
        examples=(
            ("colo-proxy flows web1.toml", "which flows wait, and which diverge"),
            (
                "colo-proxy flows web1.toml --json | jq '.[] | select(.blocked)'",
                "flows that wait for a checkpoint",
            ),
        ),
    )
    target.add_arguments(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Print the answer to `query-flows`."""
    with target.connect(arguments) as client:
        flows = []
        for flow in client.flows():
            flows.append(flow)
            if len(flows) == FEW:
                give_way()
    if arguments.json:
        target.print_json(flows)
        return 0
    print("\n".join(lines(flows)))
    return 0


def give_way() -> None:
    """Leave the processors to others from now on: a long listing must not delay the VMs' packets.

    Not with SCHED_IDLE (sched(7)): on a busy host the listing would never end.
    """
    os.nice(10)


def lines(flows: list[dict[str, Any]]) -> list[str]:
    """The answer to `query-flows` for a person: those that hold most first, then those that diverged most."""
    if not flows:
        return ["no flows"]
    rows = [("NIC", "HELD", "SIZE", "MATCHED", "DIVERGED", "IDLE", "FLOW")]
    for flow in sorted(flows, key=lambda one: (-one["held_bytes"], -one["divergences"], one["flow"])):
        rows.append(
            (
                str(flow["nic"]),
                f"{flow['held_frames']:,}",
                size(flow["held_bytes"]),
                size(flow["matched_bytes"]),
                f"{flow['divergences']:,}",
                f"{flow['idle_ms'] / 1000:,.1f} s",
                printable(flow["flow"]) + (" (waits for a checkpoint)" if flow["blocked"] else ""),
            )
        )
    return list(table(rows, left={0, 6}))
