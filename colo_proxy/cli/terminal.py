"""What is said on stderr."""

import sys


def say(line: str) -> None:
    """Print a line, the program's name first, without what a terminal would obey: names of files may hold it.

    A newline, too: a line remains one.
    """
    print(f"colo-proxy: {visible(line)}", file=sys.stderr)


def visible(text: str) -> str:
    """A text with each character that cannot be seen as Python writes it: `\\x1b`."""
    return "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape").decode() for letter in text
    )
