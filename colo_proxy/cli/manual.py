"""The manual page and docs/commands.md, from the parsers: what `--help` says, in two more shapes.

python -m colo_proxy.cli.manual     # in the repository: writes both; a test fails when they differ
"""

import argparse
from collections.abc import Iterator
from pathlib import Path

from colo_proxy.cli.main import parser
from colo_proxy.cli.parsers import CommandParser, walk

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "colo_proxy" / "man" / "colo-proxy.1"
DOCS = ROOT / "docs" / "commands.md"


def usage(command: CommandParser) -> str:
    """The command line in one line, options first."""
    words = [command.prog]
    for option, _ in options(command):
        words.append(f"[{option}]")
    words += [f"[{name}]" if optional else name for name, optional, _ in positionals(command)]
    return " ".join(words)


def options(command: CommandParser) -> Iterator[tuple[str, str]]:
    """Each option with its value's name, and its help; but `-h`, which every command has."""
    for action in command._actions:
        if action.option_strings and not isinstance(action, argparse._HelpAction):
            value = f" {action.metavar or action.dest.upper()}" if action.nargs != 0 else ""
            yield f"{', '.join(action.option_strings)}{value}", _help(action)


def positionals(command: CommandParser) -> Iterator[tuple[str, bool, str]]:
    """Each argument: its name, whether it may be left out, its help."""
    for action in command._actions:
        if not action.option_strings:
            optional = action.nargs in ("?", "*")
            yield str(action.metavar or action.dest), optional, _help(action)


def _help(action: argparse.Action) -> str:
    return (action.help or "").replace("%%", "%")


def markdown() -> str:
    """docs/commands.md."""
    lines = [
        "# Commands",
        "",
        "What `--help` says of each, and `man colo-proxy`. Made by `python -m colo_proxy.cli.manual`.",
    ]
    for name, command in walk(parser()):
        lines += ["", f"## `{name}`", "", command.description or "", "", "```text", usage(command), "```"]
        rows = [(word, text) for word, _, text in positionals(command) if text]
        rows += options(command)
        if rows:
            lines += ["", "| | |", "| --- | --- |", *(f"| `{word}` | {text} |" for word, text in rows)]
        if command.examples:
            lines += ["", "```sh"]
            lines += [line for line_, what in command.examples for line in (f"# {what}", line_)]
            lines += ["```"]
    return "\n".join(lines) + "\n"


def roff() -> str:
    """The manual page, for man(1): man(7) macros."""
    top = parser()
    lines = [
        '.\\" Made by python -m colo_proxy.cli.manual from the parsers.',
        ".TH COLO\\-PROXY 1",
        ".SH NAME",
        "colo\\-proxy \\- the network half of COLO fault tolerance, beside an unmodified VMM",
        ".SH SYNOPSIS",
    ]
    for _, command in walk(parser()):
        if not any(isinstance(action, argparse._SubParsersAction) for action in command._actions):
            lines += [f".B {_roff(usage(command))}", ".br"]
    lines += [".SH DESCRIPTION", _roff(top.description or ""), ".SH COMMANDS"]
    for name, command in walk(parser()):
        if name != top.prog:
            lines += [f".SS {_roff(name.removeprefix('colo-proxy '))}", _roff(command.description or "")]
        for word, text in [
            *((word, text) for word, _, text in positionals(command) if text),
            *options(command),
        ]:
            lines += [".TP", f".B {_roff(word)}", _roff(text)]
        if command.examples and name != top.prog:
            lines += [".PP", "Examples:"]
            for line, what in command.examples:
                lines += [".TP", f".B {_roff(line)}", _roff(what)]
    lines += [".SH FILES"]
    for path, what in _FILES:
        lines += [".TP", f".I {_roff(path)}", what]
    lines += [".SH SEE ALSO", "systemd.service(5), bridge(8), qemu(1)"]
    return "\n".join(lines) + "\n"


_FILES = (
    ("/etc/colo-proxy/NAME.toml", "the configuration of one proxy"),
    ("/run/colo-proxy/NAME.sock", "its control socket"),
    ("/var/lib/colo-proxy/NAME/", "its reports of divergences, where they are wanted"),
)


def _roff(text: str) -> str:
    """Text without what roff would obey: backslashes, a leading dot; hyphens that are minus signs, quotes."""
    text = text.replace("\\", "\\e").replace("-", "\\-").replace("'", "\\(aq").replace('"', "\\(dq")
    return "\\&" + text if text.startswith(".") else text


def main() -> None:
    """Write both."""
    for path, text in ((PAGE, roff()), (DOCS, markdown())):
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)


if __name__ == "__main__":
    main()
