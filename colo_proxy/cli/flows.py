"""`colo-proxy flows`: the flows a running proxy knows."""

import argparse

from colo_proxy.cli import target
from colo_proxy.cli.parsers import CommandParser


def add_parser(subparsers: "argparse._SubParsersAction[CommandParser]") -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "flows",
        help="list the flows of a running proxy",
        description="List the flows, those that hold most first. The data path stands still while it writes "
        "them down; to watch a busy proxy there is top.",
        examples=(
            ("colo-proxy flows web1.toml", "who waits, and who diverges"),
            (
                "colo-proxy flows web1.toml --json | jq '.[] | select(.blocked)'",
                "those that wait for a checkpoint",
            ),
        ),
    )
    target.add_arguments(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Print the answer to `query-flows`."""
    with target.connect(arguments) as client:
        flows = client.execute("query-flows")
    if arguments.json:
        target.print_json(flows)
        return 0
    flows.sort(key=lambda flow: (-flow["held_bytes"], -flow["divergences"], flow["flow"]))
    print(f"{'nic':>3} {'held':>6} {'bytes':>9} {'matched':>12} {'diverged':>8} {'idle s':>7}  flow")
    for flow in flows:
        print(
            f"{flow['nic']:>3} {flow['held_frames']:>6} {flow['held_bytes']:>9} {flow['matched_bytes']:>12} "
            f"{flow['divergences']:>8} {flow['idle_ms'] / 1000:>7.1f}  {flow['flow']}"
            f"{'  BLOCKED' if flow['blocked'] else ''}"
        )
    return 0
