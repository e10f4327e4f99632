"""`colo-proxy failover`: the SVM becomes the service, now."""

import argparse

from colo_proxy.cli import target
from colo_proxy.cli.parsers import CommandParser
from colo_proxy.cli.terminal import confirm


def add_parser(subparsers: "argparse._SubParsersAction[CommandParser]") -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "failover",
        help="let the SVM take over",
        description="Let the SVM take over. What the PVM has said and the SVM has not is dropped. "
        "There is no way back. Where the SVM is the service already, nothing is left to do.",
        examples=(
            ("colo-proxy failover web1.toml", "the PVM is about to end; asks first, as there is no way back"),
            ("colo-proxy failover web1.toml --yes", "for scripts: does not ask"),
        ),
    )
    target.add_arguments(parser)
    parser.add_argument("--yes", action="store_true", help="do not ask; required where there is no terminal")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Fail over."""
    with target.connect(arguments) as client:
        name = target.printable(client.greeting["name"])
        confirm(f"Let the SVM of {name} take over? There is no way back.", yes=arguments.yes)
        client.execute("failover")
    if arguments.json:
        target.print_json({"state": "failed-over"})
    else:
        print("the SVM has taken over")
    return 0
