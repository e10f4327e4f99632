"""`colo-proxy status`: is the VM protected?"""

import argparse
from collections.abc import Iterator
from typing import Any

from colo_proxy.cli import target
from colo_proxy.cli.parsers import CommandParser
from colo_proxy.display.state import described, excepts, state_of, svm_is_cut_off, why
from colo_proxy.display.tables import counted, size, table


def add_parser(subparsers: "argparse._SubParsersAction[CommandParser]") -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "status",
        help="show a running proxy's state",
        description="Show whether the VM is protected, and what is held. Exit status: 0 protected, or a "
        "checkpoint is in progress; 3 unprotected, the SVM's port has a fault, or a checkpoint is wanted and "
        "the VMM is not connected, has not made it for max_hold_ms, or has made none since the proxy "
        "started; 4 failed over; 5 no proxy answers; 6 the proxy refuses.",
        examples=(
            ("colo-proxy status web1.toml", "is it protected?"),
            ("colo-proxy status web1.toml && echo protected", "for scripts: the exit status is enough"),
            (
                "colo-proxy status --json | jq -r .state",
                "for programs; no name is needed if only one proxy runs",
            ),
        ),
    )
    target.add_arguments(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Print the answer to `query-status`."""
    with target.connect(arguments) as client:
        status = client.execute("query-status")
    if arguments.json:
        target.print_json(status)
    else:
        print("\n".join(lines(status)))
    return exit_status(status)


def exit_status(status: dict[str, Any]) -> int:
    """0 protected or a checkpoint under way, 3 unprotected or nobody will make one, 4 failed over."""
    state = status["state"]
    if state == "failed-over":
        return 4
    if state == "protected":
        return 3 if svm_is_cut_off(status) else 0
    away = not all(status["vmm_connected"].values())
    never = state == "requested" and not status["checkpoints"]
    return 3 if state == "unprotected" or status["alarm"] or away or never else 0


def lines(status: dict[str, Any]) -> list[str]:
    """The answer to `query-status` for a person."""
    waiting = f"{status['waiting_ms'] / 1000:.1f} s"
    state = state_of(status)
    facts = [("proxy", status["name"]), ("state", described(status, state))]
    if status["alarm"]:
        facts.append(("ALARM", f"a checkpoint has been wanted for {waiting}; what differs is held"))
    if status["reason"]:
        facts.append(("checkpoint", f"wanted for {waiting}: {why(status)}"))
    if status["bypassing"] and not excepts(status):
        by_rules = counted(status["bypassed_frames"], "frame")
        facts.append(("uncompared", f"{by_rules} bypassed by rules; `colo-proxy policy list` shows which"))
    sides = ", ".join(f"{side} {'up' if up else 'DOWN'}" for side, up in status["vmm_connected"].items())
    facts += [
        ("epoch", f"{status['epoch']:,}"),
        ("VMM", status["vmm"] + (f" ({sides})" if sides else "")),
        ("checkpoints", f"{status['checkpoints']:,}"),
        ("divergences", f"{status['divergences']:,}"),
        ("flows", f"{status['flows']:,}"),
        ("held", f"{counted(status['held_frames'], 'frame')}, {size(status['held_bytes'])}"),
    ]
    width = max(len(name) for name, _ in facts)
    return [f"{name:{width}}  {value}" for name, value in facts] + ["", *_nics(status["nics"])]


def lost_by_guest(nic: dict[str, Any]) -> str:
    """Holes in the guests' TCP streams and what was sent again, by guest: which leg loses frames."""
    return "; ".join(
        f"{guest} {counted(nic['stream_gaps'][port], 'hole')}, "
        f"{counted(nic['retransmitted_segments'][port], 'segment')} retransmitted"
        for guest, port in (("PVM", "primary"), ("SVM", "secondary"))
    )


def _nics(nics: list[dict[str, Any]]) -> Iterator[str]:
    """A table, each column as wide as it must be; what is counted stands to the right."""
    rows = [("NIC", "UPLINK", "PRIMARY", "SECONDARY", "FLOWS", "HELD", "TIMEOUT")]
    for nic in nics:
        counts = f"{nic['flows']:,}", f"{nic['held_frames']:,}", f"{nic['timeout_ms']:,} ms"
        rows.append((str(nic["nic"]), nic["uplink"], nic["primary"], nic["secondary"], *counts))
    heading, *lines = table(rows, left={0, 1, 2, 3})
    yield heading
    for line, nic in zip(lines, nics, strict=True):
        yield line
        indent = f"{'':{len(str(nic['nic']))}}    "
        if nic["faults"]:
            yield f"{indent}FAULT: {', '.join(nic['faults'])} (see the log)"
        if any(nic["stream_gaps"].values()) or any(nic["retransmitted_segments"].values()):
            yield f"{indent}lost or reordered before the proxy: {lost_by_guest(nic)}"
