"""`colo-proxy pair`: which of two hosts may speak for the VM."""

import argparse
from typing import TYPE_CHECKING, Any

from colo_proxy.cli import target
from colo_proxy.cli.parsers import CommandParser
from colo_proxy.errors import Unreachable, UserError

if TYPE_CHECKING:
    from colo_proxy.config import Config, TwoHosts


def add_parser(subparsers: "argparse._SubParsersAction[CommandParser]") -> None:
    """Add the command and its own commands."""
    parser = subparsers.add_parser(
        "pair",
        help="which of two hosts may speak for the VM",
        description="Create the record of the right to speak in the arbiter, or show it.",
        examples=(("colo-proxy pair status web1.toml", "which host may speak for the VM?"),),
    )
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    _add_init(commands)
    _add_status(commands)


def _add_init(commands: "argparse._SubParsersAction[CommandParser]") -> None:
    parser = commands.add_parser(
        "init",
        help="create the record, with this host as its owner",
        description="Create the record of the right to speak in the arbiter, once for each VM. This host is "
        "then its owner, alone. It is refused if there is a record, or if this host has known one. The other "
        "host must be switched off, or must have known no record ('colo-proxy pair status' there shows it): "
        "this version cannot ask it. Exit status: 0 created; 5 the arbiter does not answer; 6 refused.",
        examples=(("colo-proxy pair init web1.toml --switched-off b", "b is switched off"),),
    )
    parser.add_argument("config", metavar="CONFIG.toml", help="the configuration, with [pair]")
    parser.add_argument("--switched-off", metavar="HOST", help="the other host's name, to confirm that")
    parser.set_defaults(run=_init)


def _add_status(commands: "argparse._SubParsersAction[CommandParser]") -> None:
    parser = commands.add_parser(
        "status",
        help="show who may speak, by the arbiter",
        description="Read the record of the right to speak from the arbiter, compare it with what this host "
        "has known, and say what it means. Nothing is changed. Exit status: 0 a record is there; 3 there is "
        "none, or it is older than this host has known, or of other hosts; 5 the arbiter does not answer.",
        examples=(
            ("colo-proxy pair status web1.toml", "which host may speak for the VM?"),
            ("colo-proxy pair status web1.toml --json | jq -r .record.owner", "for programs"),
        ),
    )
    parser.add_argument("config", metavar="CONFIG.toml", help="the configuration, with [pair]")
    parser.add_argument("--json", action="store_true", help="print JSON, for programs")
    parser.set_defaults(run=_status)


def _load(arguments: argparse.Namespace) -> "tuple[Config, TwoHosts]":
    from colo_proxy import config  # noqa: PLC0415

    settings = config.load(arguments.config)
    if settings.two_hosts is None:
        raise UserError(f"{arguments.config}: it has no [pair]; give a configuration of two hosts")
    return settings, settings.two_hosts


def _init(arguments: argparse.Namespace) -> int:
    from colo_proxy.pair.founding import found  # noqa: PLC0415

    settings, two = _load(arguments)
    peer = two.pair.peer_host
    if arguments.switched_off is None:
        raise UserError(
            f"this version cannot ask {peer} whether it has known a record; if {peer} is switched off, or "
            f"'colo-proxy pair status' there shows that it has known none, add --switched-off {peer}"
        )
    if arguments.switched_off != peer:
        raise UserError(
            f"--switched-off {arguments.switched_off}: that is not the other host, which is {peer}"
        )
    record = found(two, settings.proxy.name)
    print(f"{settings.proxy.name}: {two.pair.host} is the owner, alone (generation {record.g})")
    return 0


def _status(arguments: argparse.Namespace) -> int:
    from colo_proxy.pair import note as notes  # noqa: PLC0415
    from colo_proxy.pair.founding import look  # noqa: PLC0415
    from colo_proxy.pair.standing import standing  # noqa: PLC0415

    settings, two = _load(arguments)
    known = notes.read(two.pair.state_dir)
    told: dict[str, Any] = {
        "name": settings.proxy.name,
        "host": two.pair.host,
        "peer_host": two.pair.peer_host,
        "known_generation": known.highest,
        "forced_generation": known.forced,
        "arbiter": {"kind": two.arbiter.kind, "reachable": False, "latency_ms": None},
    }
    try:
        reply = look(two, settings.proxy.name)
    except Unreachable:
        if arguments.json:
            target.print_json(told)
        raise
    stands = standing(two.pair.host, two.pair.peer_host, reply.record, known)
    if arguments.json:
        told["arbiter"] |= {"reachable": True, "latency_ms": round(reply.seconds * 1000, 3)}
        record = reply.record._asdict() if reply.record else None
        target.print_json(told | {"record": record, "verdict": stands.verdict, "meaning": stands.words})
    else:
        print(f"{settings.proxy.name}: {'ALARM: ' if stands.alarming else ''}{stands.words}")
        if reply.record:
            pairing = f", pairing {reply.record.pairing}" if reply.record.paired else ""
            print(f"  generation {reply.record.g}{pairing}; this host has known {known.highest or 'none'}")
        if known.forced:
            print(f"  an operator has forced this host past generation {known.forced}")
        print(f"  the arbiter ({two.arbiter.kind}) has answered in {reply.seconds * 1000:.1f} ms")
    return 0 if stands.verdict in ("solo", "pair") else 3
