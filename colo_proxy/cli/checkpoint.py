"""`colo-proxy checkpoint`: ask the VMM for a checkpoint now."""

import argparse

from colo_proxy.cli import target
from colo_proxy.cli.parsers import CommandParser
from colo_proxy.errors import ControlError


def add_parser(subparsers: "argparse._SubParsersAction[CommandParser]") -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "checkpoint",
        help="ask for a checkpoint",
        description="Ask the VMM for a checkpoint, and wait until it is committed.",
        examples=(
            ("colo-proxy checkpoint web1.toml", "ask, and wait until it is committed"),
            ("colo-proxy checkpoint web1.toml --timeout 30", "for VMs with much memory"),
        ),
    )
    target.add_arguments(parser)
    parser.add_argument("--no-wait", action="store_true", help="ask, and do not wait for the commit")
    parser.add_argument("--timeout", type=float, default=10.0, metavar="S", help="wait at most so long (10)")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Ask, and wait for the commit."""
    if arguments.timeout <= 0:
        raise ControlError(f"--timeout {arguments.timeout}: must be more than 0 seconds")
    with target.connect(arguments) as client:
        asked = client.execute("checkpoint")
        result = {"requested": True, "epoch": asked["epoch"]}
        if not arguments.no_wait:
            for event in client.events(arguments.timeout):
                if event["event"] == "CHECKPOINT_COMMIT" and event["data"]["epoch"] > asked["epoch"]:
                    result = {"requested": True, **event["data"]}
                    break
                if event["event"] == "FAILOVER":
                    raise ControlError("the SVM has taken over; there will be no checkpoint")
    if arguments.json:
        target.print_json(result)
    elif arguments.no_wait:
        print("checkpoint requested")
    else:
        print(f"checkpoint committed: epoch {result['epoch']}, {result['seconds'] * 1000:.1f} ms")
    return 0
