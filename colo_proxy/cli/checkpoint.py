"""`colo-proxy checkpoint`: ask the VMM for a checkpoint now."""

import argparse
from typing import Any

from colo_proxy.cli import target
from colo_proxy.cli.parsers import HOUR_MS, CommandParser, seconds
from colo_proxy.control.client import Client, NothingMore
from colo_proxy.errors import Refused


def add_parser(subparsers: "argparse._SubParsersAction[CommandParser]") -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "checkpoint",
        help="request a checkpoint",
        description="Request a checkpoint from the VMM, and wait until it is committed.",
        examples=(
            ("colo-proxy checkpoint web1.toml", "request it, and wait until it is committed"),
            ("colo-proxy checkpoint web1.toml --timeout 30", "for VMs with much memory"),
        ),
    )
    target.add_arguments(parser)
    parser.add_argument("--no-wait", action="store_true", help="request it, and do not wait for the commit")
    parser.add_argument(
        "--timeout",
        type=seconds(0.001, HOUR_MS / 1000),
        default=10.0,
        metavar="S",
        help="wait at most S seconds, up to an hour (10)",
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Ask, and wait for the commit."""
    with target.connect(arguments) as client:
        asked = client.execute("checkpoint")
        result = {"requested": True, "epoch": asked["epoch"]}
        if not arguments.no_wait:
            result |= _committed(client, asked["epoch"], arguments.timeout)
    if arguments.json:
        target.print_json(result)
    elif arguments.no_wait:
        print("checkpoint requested")
    else:
        print(f"checkpoint committed: epoch {result['epoch']}, {result['seconds'] * 1000:.1f} ms")
    return 0


def _committed(client: Client, epoch: int, timeout: float) -> dict[str, Any]:
    """Wait for the commit that ends this epoch; returns what its event says. Raises ControlError.

    In a flood of events the one of the commit, or of the failover, may be among those that are lost.
    """
    try:
        for event in client.events(timeout):
            data, missed = event["data"], event["event"] == "EVENTS_LOST"
            if event["event"] == "CHECKPOINT_COMMIT" and data["epoch"] > epoch:
                return dict(data)
            if missed and data["epoch"] > epoch:
                last = client.execute("query-stats")["checkpoint_seconds_last"]
                return {"epoch": data["epoch"], "seconds": last}
            if event["event"] == "FAILOVER" or (missed and data["state"] == "failed-over"):
                raise Refused("the SVM has taken over; there will be no checkpoint")
    except NothingMore:
        pass
    with Client(client.path) as another:  # what has timed out is not read any more
        begun = another.execute("query-status")["state"] == "stopped"
    vmm = "the VMM has begun one" if begun else "the VMM has not begun one"
    raise Refused(f"no checkpoint was committed within {timeout:g} s: {vmm}; the request stays in force")
