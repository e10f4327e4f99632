"""`colo-proxy check`: is the configuration right, and can this host run it?"""

import argparse

from colo_proxy.cli.parsers import CommandParser
from colo_proxy.cli.terminal import say
from colo_proxy.display.state import state_of


def add_parser(subparsers: "argparse._SubParsersAction[CommandParser]") -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "check",
        help="check a configuration and this host",
        description="Check a configuration and what it needs of this host: kernel, capabilities, interfaces, "
        "their offloads and queues, bridge, sockets, QEMU's version and COLO state; with [pair] also "
        "certificates and arbiter, where it swaps a key of its own. Each problem is a line with its remedy; "
        "nothing else is changed. What a running proxy of this configuration uses is not "
        "reported as a problem.",
        examples=(
            ("colo-proxy check web1.toml", "the first thing to run: what is missing, each with its remedy"),
            (
                "colo-proxy check web1.toml && colo-proxy run web1.toml",
                "errors end with status 2, warnings do not",
            ),
        ),
    )
    parser.add_argument("config", metavar="CONFIG.toml", help="the configuration to check")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Print the problems, errors first. Exit status 2 where there is an error, not for warnings."""
    from colo_proxy import config  # noqa: PLC0415
    from colo_proxy.daemon.check import problems, running  # noqa: PLC0415

    settings = config.load(arguments.config)
    status = running(settings)
    if status:
        print(f"{arguments.config}: this proxy is running (state {state_of(status)})")
    found = problems(settings, status)
    for problem in found:
        say(str(problem))
    if any(problem.level == "error" for problem in found):
        return 2
    print(f"{arguments.config}: the configuration is right, and this host can run it")
    return 0
