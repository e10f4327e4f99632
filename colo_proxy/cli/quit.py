"""`colo-proxy quit`: stop a running proxy."""

import argparse

from colo_proxy.cli import target
from colo_proxy.cli.parsers import CommandParser
from colo_proxy.cli.terminal import confirm
from colo_proxy.display.characters import printable


def add_parser(subparsers: "argparse._SubParsersAction[CommandParser]") -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "quit",
        help="stop a running proxy",
        description="Stop a running proxy. Nothing of the VM reaches its clients until a proxy runs again. "
        "If systemd runs the proxy, stop it with systemctl.",
        examples=(
            ("colo-proxy quit web1.toml", "asks first"),
            ("colo-proxy quit web1.toml --yes", "for scripts: does not ask"),
        ),
    )
    target.add_arguments(parser, json_too=False)
    parser.add_argument("--yes", action="store_true", help="do not ask; required without a terminal")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Stop it."""
    with target.connect(arguments) as client:
        name = printable(client.greeting["name"])
        confirm(f"Stop the proxy of {name}? Its VM cannot reach clients without one.", yes=arguments.yes)
        client.execute("quit")
    print(f"{name} is stopping")
    return 0
