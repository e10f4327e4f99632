"""`colo-proxy policy`: which flows are compared, bypassed or dropped."""

import argparse
import json
import sys
import tomllib
from pathlib import Path
from typing import Any

from colo_proxy.cli import target
from colo_proxy.cli.parsers import CommandParser
from colo_proxy.control.client import Client
from colo_proxy.display.tables import counted
from colo_proxy.errors import ControlError


def add_parser(subparsers: "argparse._SubParsersAction[CommandParser]") -> None:
    """Add the command and its own commands."""
    parser = subparsers.add_parser(
        "policy",
        help="show or change the policies of a running proxy",
        description="Show or change which flows are compared, bypassed or dropped. The first rule that "
        "matches wins. A change lasts until the proxy stops or reads its configuration again (SIGHUP); the "
        "file is not changed.",
        examples=(
            ("colo-proxy policy list web1.toml", "the rules in force, in order"),
            (
                'colo-proxy policy add \'{match = {protocol = "udp", port = 123}, action = "bypass"}\'',
                "NTP is released without a comparison",
            ),
        ),
    )
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    for add in (_add_list, _add_set, _add_add, _add_remove):
        add(commands)


def _add_list(commands: "argparse._SubParsersAction[CommandParser]") -> None:
    listing = commands.add_parser(
        "list",
        help="show the rules, in order",
        description="Show the rules in force, in order: the number of each, and how many frames of the PVM "
        "it has decided on since the rules were set.",
        examples=(("colo-proxy policy list web1.toml --json", "in the form that `policy add` accepts"),),
    )
    target.add_arguments(listing)
    listing.set_defaults(run=_list)


def _add_set(commands: "argparse._SubParsersAction[CommandParser]") -> None:
    replacing = commands.add_parser(
        "set",
        help="replace all rules by the [[policy]] sections of a file",
        description="Replace all rules by the [[policy]] sections of a file, or none if one is wrong. "
        "A file with policy = [] removes all rules; a file without any [[policy]] is refused.",
        examples=(("colo-proxy policy set rules.toml web1.toml", "the rules of rules.toml from now on"),),
    )
    replacing.add_argument(
        "file", metavar="FILE", help="TOML with [[policy]] sections, such as a configuration"
    )
    target.add_arguments(replacing)
    replacing.set_defaults(run=_set)


def _add_add(commands: "argparse._SubParsersAction[CommandParser]") -> None:
    adding = commands.add_parser(
        "add",
        help="add a rule at the end, or with --first at the beginning",
        description="Add a rule. The first rule that matches wins.",
        examples=(
            (
                'colo-proxy policy add \'{match = {protocol = "udp", port = 123}, action = "bypass"}\'',
                "NTP is released without a comparison",
            ),
            (
                'colo-proxy policy add --first \'{match = {remote = "192.0.2.66"}, action = "drop"}\'',
                "before all others",
            ),
        ),
    )
    adding.add_argument("rule", metavar="RULE", help="an inline TOML table, or JSON")
    adding.add_argument("--first", action="store_true", help="put it before all others")
    target.add_arguments(adding)
    adding.set_defaults(run=_add)


def _add_remove(commands: "argparse._SubParsersAction[CommandParser]") -> None:
    removing = commands.add_parser(
        "remove",
        help="remove a rule",
        description="Remove a rule by its number in the list.",
        examples=(("colo-proxy policy remove 1 web1.toml", "the first one"),),
    )
    removing.add_argument("number", type=int, metavar="N", help="its number in the list, from 1")
    target.add_arguments(removing)
    removing.set_defaults(run=_remove)


def _list(arguments: argparse.Namespace) -> int:
    with target.connect(arguments) as client:
        rules = client.execute("query-policy")
    _show(arguments, rules)
    return 0


def _set(arguments: argparse.Namespace) -> int:
    rules = _rules(Path(arguments.file))
    with target.connect(arguments) as client:
        return _replace(arguments, client, rules)


def _rules(path: Path) -> list[Any]:
    """The rules of a file. One that names none by mistake must not take away those in force."""
    from colo_proxy.config.problems import meant, printable  # noqa: PLC0415
    from colo_proxy.config.reader import SECTIONS  # noqa: PLC0415

    try:
        document = tomllib.loads(path.read_text())
    except OSError as error:
        raise ControlError(f"{path}: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        raise ControlError(f"{path}: not valid TOML: {error}") from None
    for key in document:
        if key not in SECTIONS:
            raise ControlError(f"{path}: [{printable(key)}]: unknown section{meant(key, SECTIONS)}")
    if "policy" not in document:
        raise ControlError(f"{path}: there is no [[policy]]; write policy = [] to have no rules")
    rules = document["policy"]
    if not isinstance(rules, list):
        raise ControlError(f"{path}: [[policy]] must be an array of tables")
    return rules


def _in_force(client: Client) -> list[Any]:
    """The rules without their counts: a request may be 64 KiB long, and 1,000 rules need them."""
    rules: list[dict[str, Any]] = client.execute("query-policy")
    return [{key: value for key, value in rule.items() if key != "frames"} for rule in rules]


def _add(arguments: argparse.Namespace) -> int:
    rule = _rule(arguments.rule)
    with target.connect(arguments) as client:
        rules = _in_force(client)
        return _replace(arguments, client, [rule, *rules] if arguments.first else [*rules, rule])


def _remove(arguments: argparse.Namespace) -> int:
    with target.connect(arguments) as client:
        rules = _in_force(client)
        if not 1 <= arguments.number <= len(rules):
            there = f"the rules are numbered from 1 to {len(rules)}" if rules else "there are no rules"
            raise ControlError(f"there is no rule {arguments.number}: {there}")
        del rules[arguments.number - 1]
        return _replace(arguments, client, rules)


def _replace(arguments: argparse.Namespace, client: Client, rules: list[Any]) -> int:
    for warning in client.execute("set-policy", policies=rules)["warnings"]:
        print(f"colo-proxy: warning: {warning}", file=sys.stderr)
    _show(arguments, client.execute("query-policy"))
    return 0


def _rule(text: str) -> Any:
    try:
        return tomllib.loads(f"rule = {text}")["rule"]
    except (ValueError, RecursionError):
        pass
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        raise ControlError(
            f'{text[:60]!r} is not a rule; write \'{{match = {{protocol = "udp"}}, action = "bypass"}}\''
        ) from None


def _show(arguments: argparse.Namespace, rules: list[dict[str, Any]]) -> None:
    if arguments.json:
        target.print_json(rules)
        return
    if not rules:
        print("no rules: everything is compared, except housekeeping such as ARP")
    width = max((len(counted(rule["frames"], "frame")) for rule in rules), default=0)
    for number, rule in enumerate(rules, 1):
        match = " ".join(f"{key}={value}" for key, value in rule.get("match", {}).items())
        frames = counted(rule["frames"], "frame")
        print(f"{number:>3} {rule['action']:<8} {frames:>{width}}  {match or 'everything'}")
