"""`colo-proxy failover`: the SVM becomes the service, now."""

import argparse

from colo_proxy.cli import target
from colo_proxy.cli.parsers import CommandParser


def add_parser(subparsers: "argparse._SubParsersAction[CommandParser]") -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "failover",
        help="let the SVM take over",
        description="Let the SVM take over. What the PVM has said and the SVM has not is dropped. "
        "There is no way back.",
        examples=(("colo-proxy failover web1.toml", "the PVM's host is about to go; there is no way back"),),
    )
    target.add_arguments(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Fail over."""
    with target.connect(arguments) as client:
        client.execute("failover")
    if arguments.json:
        target.print_json({"state": "failed-over"})
    else:
        print("the SVM has taken over")
    return 0
