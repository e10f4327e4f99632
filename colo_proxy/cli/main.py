"""`colo-proxy`: finds the command, runs it, and turns a UserError into one line and its exit status.

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
    "pair",
    "completion",
)

# For the manual page and docs/commands.md.
EXIT_STATUSES = (
    (0, "success. status: protected, or a checkpoint is in progress. compare: identical"),
    (1, "compare: the outputs differ"),
    (
        2,
        "bad input: arguments, a file or a policy rule, whether the command or the running proxy finds the "
        "mistake. run: the host cannot run the proxy, or a part of it has failed. check: there are errors. "
        "compare: incomplete",
    ),
    (3, "status: the VM is not protected. pair status: there is no record, or not the one to expect"),
    (4, "status: failed over"),
    (5, "no proxy answers. pair: the arbiter does not answer"),
    (
        6,
        "the proxy refuses the connection (no permission, too many clients) or the command, or the command "
        "failed (checkpoint: none was committed in time). pair init: there is a record, or was one",
    ),
    (78, "run: the configuration is wrong, so a restart does not help"),
    (130, "ended by Ctrl-C"),
    (141, "the reader of the output has closed it (as head does), so it is no verdict"),
)


def parser() -> CommandParser:
    """The whole command line."""
    top = CommandParser(
        prog="colo-proxy",
        description="The network half of COLO: mirrors, aligns, compares and releases a VM pair's output. "
        "Exit status: 0 success, 2 bad input, 5 no proxy answers, 6 the proxy refuses; the manual page lists "
        "all. An error is one line with the reason.",
        examples=(
            ("colo-proxy check web1.toml", "is the configuration right, and can this host run it?"),
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
        status = _run(arguments)
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


def _run(arguments: argparse.Namespace) -> int:
    """Run the command. A data path that was never compiled is reported as a mistake of the user."""
    from colo_proxy.errors import UserError  # noqa: PLC0415

    try:
        return int(arguments.run(arguments))
    except ModuleNotFoundError as error:
        if error.name != "colo_proxy.compiled":
            raise
        raise UserError(
            "the data path is not compiled: run make build in the repository's root directory "
            "(Debian: apt install make gcc python3-dev python3-venv)"
        ) from None


def _abandon_output() -> None:
    """Python would complain of what it could not write, at its final flush."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


if __name__ == "__main__":
    sys.exit(main())
