"""The shape of every command's parser: a description, and examples that teach."""

import argparse
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NoReturn

from colo_proxy.cli.terminal import visible

HOUR_MS = 3_600_000
Example = tuple[str, str]  # a command line, and what it is for


class Help(argparse.HelpFormatter):
    """Wraps paragraphs, and leaves what has lines of its own (examples) as it is."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        if "\n" in text:
            return "".join(f"{indent}{line}\n" for line in text.splitlines())
        return super()._fill_text(text, width, indent)


class CommandParser(argparse.ArgumentParser):
    """A parser that knows its examples, for the help, the manual and the tests."""

    def __init__(self, *, examples: Sequence[Example] = (), **keywords: Any) -> None:
        super().__init__(formatter_class=Help, epilog=_epilog(examples), **keywords)
        self.examples = tuple(examples)
        self._intermixed = False

    def parse_known_args(self, *arguments: Any, **keywords: Any) -> tuple[Any, list[str]]:
        """What is unknown to a command is its own error, with its usage, and not the whole program's."""
        namespace, unknown = self._parse(*arguments, **keywords)
        if unknown and not self._intermixed:
            self.error(f"unrecognized arguments: {' '.join(unknown)}")
        return namespace, unknown

    def _parse(self, *arguments: Any, **keywords: Any) -> tuple[Any, list[str]]:
        """Options may stand between arguments: argparse gives an optional one up at the first option."""
        has_commands = any(isinstance(action, argparse._SubParsersAction) for action in self._actions)
        if has_commands or self._intermixed:
            return super().parse_known_args(*arguments, **keywords)
        self._intermixed = True  # what follows may call `parse_known_args`
        try:
            return self.parse_known_intermixed_args(*arguments, **keywords)
        finally:
            self._intermixed = False

    def error(self, message: str) -> NoReturn:
        """Say what is wrong and how the command is called; exit with status 2."""
        super().error(visible(message))


def _epilog(examples: Sequence[Example]) -> str | None:
    if not examples:
        return None
    lines = [line for command, what in examples for line in (f"  {command}", f"      {what}")]
    return "\n".join(["examples:", *lines])


def whole_number(of: str, most: int) -> Callable[[str], int]:
    """An argument's type: a whole number of something, from 1 on."""

    def number(text: str) -> int:
        if not text.isascii() or not text.isdigit() or not 1 <= int(text[:18]) <= most:
            raise argparse.ArgumentTypeError(f"{text!r} is not a number of {of} from 1 to {most}")
        return int(text)

    return number


def seconds(least: float, most: float) -> Callable[[str], float]:
    """An argument's type: a number of seconds, which need not be whole."""

    def number(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not least <= value <= most:
            raise argparse.ArgumentTypeError(
                f"{text!r} is not a number of seconds from {least:g} to {most:g}"
            )
        return value

    return number


def walk(parser: argparse.ArgumentParser) -> Iterator[tuple[str, CommandParser]]:
    """A parser and those of its commands, in order, each with its whole name (`colo-proxy policy add`)."""
    assert isinstance(parser, CommandParser)  # noqa: S101 - argparse makes subparsers of their parent's class
    yield parser.prog, parser
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for command in action.choices.values():
                yield from walk(command)
