"""Writes the parts of these pages that are made from the code: `make reference`.

Each stands between two comments, `<!-- NAME: made by make reference -->` and `<!-- end of NAME -->`. A test
fails where a page is not what this makes.
"""

import argparse
import ast
import inspect
import re
import sys
import textwrap
from collections.abc import Callable, Iterator
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

from pydantic_core import PydanticUndefined

from colo_proxy.cli.main import EXIT_STATUSES, parser
from colo_proxy.cli.parsers import CommandParser, walk
from colo_proxy.config import sections
from colo_proxy.pair.table import RIGHTS, ROLES, TABLE, Sign, State

DOCS = Path(__file__).parent
# What the file's own name gives: config.reader does it.
_FROM_THE_FILE = {
    "name": "the file's name without `.toml`",
    "control": "`/run/colo-proxy/NAME.sock`",
    "state_dir": "`/var/lib/colo-proxy/NAME`",
}


def updated(page: str) -> str:
    """A page with its generated parts as they are now."""
    for name, make in PARTS.items():
        begin, end = f"<!-- {name}: made by make reference -->", f"<!-- end of {name} -->"
        if begin in page:
            before, _, rest = page.partition(begin)
            _, _, after = rest.partition(end)
            page = f"{before}{begin}\n{make().strip()}\n{end}{after}"
    return page


# ---- configuration


def section(model: type[sections.Section]) -> str:
    """The table of a section's keys."""
    lines = ["| key | default | values | meaning |", "| --- | --- | --- | --- |"]
    meanings = dict(attribute_docstrings(model))
    for key, field in model.model_fields.items():
        cells = (f"`{key}`", _default(key, field), _values(key, field), meanings[key])
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(lines)


def attribute_docstrings(model: type) -> Iterator[tuple[str, str]]:
    """The strings that stand below the attributes of a class, on one line each."""
    (body,) = ast.parse(textwrap.dedent(inspect.getsource(model))).body
    statements = getattr(body, "body", [])
    for attribute, text in pairwise(statements):
        match attribute, text:
            case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(meaning))):
                yield name, " ".join(meaning.split())


def _default(key: str, field: Any) -> str:
    default = field.default
    if default is PydanticUndefined:
        return _FROM_THE_FILE.get(key, "none, required")
    if default is None or default == ():
        return "none"
    if key == "timeout_ms" and default == sections.AUTO:
        return '`"auto"`'
    if isinstance(default, bool):
        return f"`{str(default).lower()}`"
    if isinstance(default, tuple):
        return f'`"{default[0]}:{default[1]}"`'
    return f'`"{default}"`' if isinstance(default, str) else f"`{default}`"


def _values(key: str, field: Any) -> str:
    """What may be written: the bounds of a number, the words of a choice."""
    words = getattr(field.annotation, "__args__", ())
    if words and all(isinstance(word, str) for word in words):
        return ", ".join(f'`"{word}"`' for word in words)
    bounds = {
        name: getattr(rule, name) for rule in field.metadata for name in ("ge", "le") if hasattr(rule, name)
    }
    if bounds:
        auto = key == "timeout_ms" and field.default == sections.AUTO
        least = max(bounds["ge"], 1) if auto else bounds["ge"]
        return ('`"auto"`, ' if auto else "") + f"{least} to {bounds['le']}"
    if key in ("uplink", "primary", "secondary", "vm", "notify_dev"):
        return "an endpoint"
    if field.annotation is bool:
        return "`true`, `false`"
    if key in ("metrics", "listen", "peer"):
        return '`"HOST:PORT"`'
    return "an array of text" if key == "endpoints" else "text"


# ---- commands


def statuses() -> str:
    """The table of exit statuses."""
    rows = [f"| {status} | {meaning} |" for status, meaning in EXIT_STATUSES]
    return "\n".join(["| exit status | meaning |", "| --- | --- |", *rows])


def commands() -> str:
    """A section for each command: how it is called, what for, its arguments and options."""
    return "\n\n".join(_command(path, each) for path, each in all_commands())


def all_commands() -> Iterator[tuple[str, CommandParser]]:
    """Every command that does something, by its words: `policy add`."""
    for name, each in walk(parser()):
        if not any(isinstance(action, argparse._SubParsersAction) for action in each._actions):
            yield name.removeprefix("colo-proxy "), each


def _command(path: str, each: CommandParser) -> str:
    text = [f"## `{path}`", each.description or "", f"```text\n{usage(each)}\n```"]
    cells = [(word, meaning.replace("|", "\\|")) for word, meaning in table(each)]
    rows = [f"| `{word}` | {meaning} |" for word, meaning in cells]
    text.append("\n".join(["| argument | meaning |", "| --- | --- |", *rows]))
    examples = [f"# {what}\n{line}" for line, what in each.examples]
    text.append("\n".join(["```sh", *examples, "```"]))
    return "\n\n".join(part for part in text if part)


def usage(each: CommandParser) -> str:
    """How a command is called, in one line."""
    usage = re.sub(r"\s+", " ", each.format_usage().removeprefix("usage: ")).strip()
    return usage.replace("[-h] ", "")


def table(each: CommandParser) -> Iterator[tuple[str, str]]:
    """Each argument and option as it is written, and its help; but `-h`, which every command has."""
    for action in each._actions:
        if not isinstance(action, argparse._HelpAction) and action.help != argparse.SUPPRESS:
            yield _call(action), _help(action)


def _call(action: argparse.Action) -> str:
    value = action.metavar if isinstance(action.metavar, str) else action.dest.upper()
    if not action.option_strings:
        return value
    return ", ".join(action.option_strings) + ("" if action.nargs == 0 else f" {value}")


def _help(action: argparse.Action) -> str:
    return (action.help or "").replace("%%", "%")


SECTIONS: dict[str, type[sections.Section]] = {
    "proxy": sections.Proxy,
    "nic": sections.Nic,
    "pair-keys": sections.Pair,
    "arbiter-keys": sections.Arbiter,
    "pair-nic": sections.PairNic,
    "compare": sections.Compare,
    "checkpoint": sections.Checkpoint,
    "log": sections.Log,
}
# ---- the right to speak


def right_states() -> str:
    """The table of the machine's states."""
    lines = ["| state | role | right | meaning |", "| --- | --- | --- | --- |"]
    lines += [f"| {state.name} | {ROLES[state]} | {RIGHTS[state].value} | {state.value} |" for state in State]
    return "\n".join(lines)


def right_signs() -> str:
    """The table of what events can mean."""
    lines = ["| sign | meaning |", "| --- | --- |"]
    lines += [f"| {sign.name} | {sign.value} |" for sign in Sign]
    return "\n".join(lines)


def right_moves() -> str:
    """The table of every transition."""
    lines = ["| state | sign | next | what it does besides |", "| --- | --- | --- | --- |"]
    for state in State:
        for sign, (after, do) in sorted(TABLE[state].items(), key=lambda item: list(Sign).index(item[0])):
            lines.append(
                f"| {state.name} | {sign.name} | {after.name} | {'; '.join(each.value for each in do)} |"
            )
    return "\n".join(lines)


PARTS: dict[str, Callable[[], str]] = {
    **{name: partial(section, model) for name, model in SECTIONS.items()},
    "exit statuses": statuses,
    "commands": commands,
    "right-states": right_states,
    "right-signs": right_signs,
    "right-moves": right_moves,
}


def main() -> int:
    """Bring every page up to date; says which have changed."""
    for path in sorted(DOCS.glob("*.md")):
        page = path.read_text()
        new = updated(page)
        if new != page:
            path.write_text(new)
            print(path)
    return 0


if __name__ == "__main__":
    sys.exit(main())
