"""`colo-proxy status`: is the VM protected?"""

import argparse
from typing import Any

from colo_proxy.cli import target


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "status",
        help="show a running proxy's state",
        description="Show whether the VM is protected, and what is held.",
        epilog="example: colo-proxy status web1.toml --json",
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
        print("\n".join(_lines(status)))
    return 0


def _lines(status: dict[str, Any]) -> list[str]:
    lines = [f"{status['name']}: {status['state']}, epoch {status['epoch']}"]
    if status["alarm"]:
        lines.append(f"ALARM: output held for {status['waiting_ms'] / 1000:.1f} s; the VMM does not answer")
    if status["reason"]:
        lines.append(f"checkpoint wanted: {status['reason']}, for {status['waiting_ms'] / 1000:.1f} s")
    sides = ", ".join(f"{side} {'up' if up else 'DOWN'}" for side, up in status["vmm_connected"].items())
    lines.append(f"VMM: {status['vmm']}" + (f" ({sides})" if sides else ""))
    lines.append(f"checkpoints {status['checkpoints']}, divergences {status['divergences']}")
    lines.append(
        f"flows {status['flows']}, held {status['held_frames']} frames, {status['held_bytes'] / 1024:.0f} KiB"
    )
    for nic in status["nics"]:
        faults = f", FAULT: {', '.join(nic['faults'])}" if nic["faults"] else ""
        lines.append(
            f"nic {nic['nic']}: {nic['uplink']} <- {nic['primary']} = {nic['secondary']}, "
            f"{nic['flows']} flows, timeout {nic['timeout_ms']} ms{faults}"
        )
    return lines
