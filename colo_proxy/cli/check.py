"""`colo-proxy check`: is the configuration right, and can this host do it?"""

import argparse
import sys


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "check",
        help="check a configuration and this host",
        description="Check a configuration and what it needs of this host. Each problem is a line with its "
        "remedy; nothing is changed.",
        epilog="example: colo-proxy check /etc/colo-proxy/web1.toml",
    )
    parser.add_argument("config", metavar="CONFIG.toml")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Print the problems, or that there are none. Exit status 2 where there are."""
    from colo_proxy import config  # noqa: PLC0415
    from colo_proxy.host import check  # noqa: PLC0415

    problems = check.problems(config.load(arguments.config))
    for problem in problems:
        print(f"colo-proxy: {problem}", file=sys.stderr)
    if problems:
        return 2
    print(f"{arguments.config}: the configuration is right, and this host can run it")
    return 0
