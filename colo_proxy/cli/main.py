"""`colo-proxy`: finds the command, runs it, and turns a UserError into one line and exit status 2.

A command is a module with `add_parser(subparsers)`, which sets `run` to a function from the parsed arguments
to an exit status. Adding one is adding its name to `COMMANDS`. A module imports at its top only what argparse
needs; what is slow to import (pydantic, scapy, pyroute2) waits until `run`: programs poll `status`.
"""

import argparse
import errno
import importlib
import os
import signal
import sys
from collections.abc import Sequence

from colo_proxy.cli.parsers import CommandParser
from colo_proxy.cli.terminal import say

COMMANDS = (
    "run",
    "check",
    "compare",
    "colo-compare",
    "explain",
    "status",
    "flows",
    "top",
    "events",
    "checkpoint",
    "failover",
    "quit",
    "policy",
    "completion",
)


def parser() -> CommandParser:
    """The whole command line."""
    top = CommandParser(
        prog="colo-proxy",
        description="The network half of COLO: mirrors, aligns, compares and releases a VM pair's output. "
        "Exit status 2: bad input, with one line why; 141: the reader of the output has closed it.",
        examples=(
            ("colo-proxy check web1.toml", "is the configuration right, and can this host do it?"),
            ("colo-proxy run web1.toml", "run the proxy"),
            ("colo-proxy top web1.toml", "watch it"),
            ("colo-proxy COMMAND --help", "a command's options, with examples"),
        ),
    )
    top.add_argument("--version", action=_Version, nargs=0, help="show the version and exit")
    subparsers = top.add_subparsers(metavar="COMMAND", required=True)
    for name in COMMANDS:
        importlib.import_module(f"colo_proxy.cli.{name.replace('-', '_')}").add_parser(subparsers)
    return top


class _Version(argparse.Action):
    """Looks the version up only when asked for: importlib.metadata is slow."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        from colo_proxy import __version__  # noqa: PLC0415

        print(f"colo-proxy {__version__}")
        parser.exit()


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status."""
    from colo_proxy.errors import UserError  # noqa: PLC0415

    arguments = parser().parse_args(argv)
    try:
        status = int(arguments.run(arguments))
        sys.stdout.flush()
    except UserError as error:
        for line in error.lines:
            say(line)
        return error.exit_status
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # The reader has gone (`colo-proxy events | head`): the status says only that, as a shell would.
        _abandon_output()
        return 128 + signal.SIGPIPE
    except OSError as error:
        if error.errno in {errno.EMFILE, errno.ENFILE}:
            say("too many open files: raise the limit (ulimit -n, LimitNOFILE= in the unit)")
            return UserError.exit_status
        if error.errno not in {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO}:
            raise
        _abandon_output()
        say(f"the output cannot be written: {error.strerror}")
        return UserError.exit_status
    return status


def _abandon_output() -> None:
    """Python would complain of what it could not write, at its final flush."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


if __name__ == "__main__":
    sys.exit(main())
