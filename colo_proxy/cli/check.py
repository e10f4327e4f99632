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
    """Print the problems, errors first. Exit status 2 where there is an error, not for warnings."""
    from colo_proxy import config  # noqa: PLC0415
    from colo_proxy.host.check import problems  # noqa: PLC0415

    found = problems(config.load(arguments.config))
    for problem in found:
        print(f"colo-proxy: {problem}", file=sys.stderr)
    if any(problem.level == "error" for problem in found):
        return 2
    print(f"{arguments.config}: the configuration is right, and this host can run it")
    return 0
