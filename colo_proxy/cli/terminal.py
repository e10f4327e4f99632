"""What is said on stderr, and what is asked at a terminal."""

import sys

from colo_proxy.errors import UserError


def say(line: str) -> None:
    """Print a line, the program's name first, without what a terminal would obey: names of files may hold it.

    A newline, too: a line remains one.
    """
    print(f"colo-proxy: {visible(line)}", file=sys.stderr)


def confirm(question: str, *, yes: bool) -> None:
    """Ask before something that cannot be undone; `yes` is the answer that was given on the command line.

    Raises UserError where the answer is no, or where nobody can be asked.
    """
    if yes:
        return
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise UserError(
            f"{question} This is not a terminal, so nobody can confirm it: repeat the command with --yes"
        )
    print(f"colo-proxy: {visible(question)} [y/N] ", end="", file=sys.stderr, flush=True)
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise UserError("nothing was done")


def visible(text: str) -> str:
    """A text with each character that cannot be seen as Python writes it: `\\x1b`."""
    return "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape").decode() for letter in text
    )
