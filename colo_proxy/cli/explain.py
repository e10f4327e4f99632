"""`colo-proxy explain`: a divergence report, for a person."""

import argparse
import os
import sys
from importlib.util import find_spec

from colo_proxy.cli.parsers import CommandParser
from colo_proxy.errors import UserError

EXTRA = "'colo-proxy[explain]'"  # pyproject.toml says what is in it


def add_parser(subparsers: "argparse._SubParsersAction[CommandParser]") -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "explain",
        help="show a divergence report",
        description="Show what differed: one sentence, then both packets side by side with the differing "
        "fields and bytes marked (! counts; < does not by itself: clients receive the lower of the two; "
        "~ may differ), and the flow's last exchanges. It needs scapy: "
        "pip install 'colo-proxy[explain]'. Wireshark opens the same file.",
        examples=(
            ("colo-proxy explain /var/lib/colo-proxy/web1/divergence-1.pcapng", "both packets, side by side"),
            ("colo-proxy events web1.toml --json | jq -r '.data.report // empty'", "where new reports are"),
        ),
    )
    parser.add_argument("report", metavar="REPORT", help="a file that the proxy wrote into [proxy] reports")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Print the report."""
    from colo_proxy.capture import explain, report  # noqa: PLC0415

    if not find_spec("scapy"):
        raise UserError(
            f"explain needs scapy, which is not installed: run {sys.executable} -m pip install {EXTRA}"
        )
    colours = sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
    for line in explain.explain(report.load(arguments.report)):
        print(explain.shaded(line) if colours else line)
    return 0
