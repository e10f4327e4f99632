"""Where the lab says things to a person: on a terminal, or in a pipe or file, in any encoding."""

import io
import re
import sys
from typing import IO, Any

from rich.console import Console

_TRAILING = re.compile(r"[ \t]+(?=\n)")
_WIDTH = 160  # where there is no terminal: more than anything that is said


def any_encoding() -> None:
    """Have characters that the locale has not replaced, and not end in an error."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")


def console() -> Console:
    """A console on standard output; without a terminal it neither wraps lines nor pads them."""
    if sys.stdout.isatty():
        return Console(highlight=False)
    return Console(highlight=False, file=_Unpadded(sys.stdout), width=_WIDTH, soft_wrap=True)  # type: ignore[arg-type]


class _Unpadded:
    """Text without the blanks that fill table columns up."""

    def __init__(self, to: IO[str]) -> None:
        self._to = to

    def write(self, text: str) -> int:
        return self._to.write(_TRAILING.sub("", text))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._to, name)
