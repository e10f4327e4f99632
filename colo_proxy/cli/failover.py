"""`colo-proxy failover`: the SVM becomes the service, now."""

import argparse

from colo_proxy.cli import target
from colo_proxy.cli.parsers import CommandParser
from colo_proxy.cli.terminal import confirm
from colo_proxy.display.characters import printable


def add_parser(subparsers: "argparse._SubParsersAction[CommandParser]") -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "failover",
        help="let the SVM take over",
        description="Let the SVM take over. What the PVM has sent and the SVM has not is dropped. "
        "This cannot be undone. If the SVM is already the service, nothing happens.",
        examples=(
            (
                "colo-proxy failover web1.toml",
                "before the PVM is stopped; asks first, since it cannot be undone",
            ),
            ("colo-proxy failover web1.toml --yes", "for scripts: does not ask"),
        ),
    )
    target.add_arguments(parser)
    parser.add_argument("--yes", action="store_true", help="do not ask; required without a terminal")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Fail over."""
    with target.connect(arguments) as client:
        name = printable(client.greeting["name"])
        confirm(f"Let the SVM of {name} take over? This cannot be undone.", yes=arguments.yes)
        client.execute("failover")
    if arguments.json:
        target.print_json({"state": "failed-over"})
    else:
        print("the SVM has taken over")
    return 0
