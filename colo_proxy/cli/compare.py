"""`colo-proxy compare`: did PVM and SVM say the same? From two captures."""

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from colo_proxy.cli.parsers import HOUR_MS, CommandParser, whole_number
from colo_proxy.cli.tables import counted, table
from colo_proxy.cli.terminal import say

if TYPE_CHECKING:
    from colo_proxy.capture.compare import Comparison, Result

DIVERGED = 1  # exit status
_SHOWN = 20  # divergences in the summary
_BIG = 32 << 20  # bytes from which on a person is shown the progress
_REDRAW = 0.2  # seconds


def add_parser(subparsers: "argparse._SubParsersAction[CommandParser]") -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "compare",
        help="compare two captures",
        description="Compare what a PVM and an SVM said, from captures of their ports (pcap or pcapng, whole "
        "frames), by the rules of the proxy. After a divergence it goes on as if a checkpoint had been made. "
        "Exit status: 0 identical, 1 diverged, 2 unusable input or output; 141 nobody reads the output.",
        examples=(
            ("colo-proxy compare pvm.pcap svm.pcap", "how many checkpoints would this workload have cost?"),
            ("colo-proxy compare pvm.pcap svm.pcap --json | jq .divergences", "for programs"),
            (
                "colo-proxy compare pvm.pcap svm.pcap --released client.pcap",
                "what clients would have received",
            ),
        ),
    )
    parser.add_argument("primary", metavar="PRIMARY", help="capture of the PVM's port, both directions")
    parser.add_argument("secondary", metavar="SECONDARY", help="capture of the SVM's port")
    parser.add_argument(
        "--vm-mac", metavar="MAC", help="the VM's MAC address, where the captures do not tell"
    )
    parser.add_argument("--released", metavar="OUT.pcap", help="write what clients would have received")
    parser.add_argument(
        "--timeout-ms",
        metavar="MS",
        type=whole_number("milliseconds", HOUR_MS),
        default=3000,
        help="after this long missing output is a divergence (default: 3000)",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Compare and print. Exit status 0: identical, 1: diverged."""
    from colo_proxy.capture.compare import Comparison  # noqa: PLC0415
    from colo_proxy.capture.origin import parse_mac  # noqa: PLC0415
    from colo_proxy.errors import UserError  # noqa: PLC0415

    try:
        vm = parse_mac(arguments.vm_mac) if arguments.vm_mac is not None else None
    except ValueError as error:
        raise UserError(f"--vm-mac: {error}") from None
    with _released(arguments) as released:
        comparison = Comparison(
            arguments.primary, arguments.secondary, vm=vm, timeout_ms=arguments.timeout_ms, released=released
        )
        with _progress(comparison):
            result = comparison.run()
    if notice := _of_time(arguments, result):
        say(notice)
    if arguments.json:
        print(json.dumps(result.as_json()))
    else:
        print("\n".join(_summary(result)))
    return 0 if result.identical else DIVERGED


def _of_time(arguments: argparse.Namespace, result: "Result") -> str | None:
    """What to know of the captures' times: that they were moved, or that they may have to be."""
    if result.shift:
        return (
            f"{arguments.secondary}: does not overlap {arguments.primary} in time; its times "
            f"were moved by {result.shift / 1e9:+.6f} s, so that both begin together"
        )
    missing = any(each.reason.label.startswith("missing") for each in result.divergences)
    if not missing or abs(result.later) <= arguments.timeout_ms * 1_000_000:
        return None
    seconds = result.later / 1e9
    return (
        f"{arguments.secondary}: begins {abs(seconds):.6f} s {'after' if seconds > 0 else 'before'} "
        f"{arguments.primary}; if it is their clocks that differ, move its times (editcap -t "
        f"{-seconds:.6f}) and compare again"
    )


def _summary(result: "Result") -> Iterator[str]:
    from colo_proxy.capture.origin import mac_text  # noqa: PLC0415

    vm = f"VM {mac_text(result.vm)}: " if result.vm else ""
    said = f"{counted(result.primary_frames, 'frame')} of the PVM, {result.secondary_frames:,} of the SVM"
    kept = f"{result.released_frames:,} released, {result.held_frames:,} held"
    yield f"{vm}{counted(result.flows, 'flow')}, {said}; {kept}"
    shown = [
        (_stamp(each.time), each.reason.label, f"byte {each.stream_offset:,}", each.flow)
        for each in result.divergences[:_SHOWN]
    ]
    yield from (f"  {line}" for line in table(shown, left={0, 1, 2, 3}))
    if len(result.divergences) > _SHOWN:
        yield f"  and {len(result.divergences) - _SHOWN:,} more; --json lists them all"
    count = len(result.divergences)
    if count:
        yield f"diverged: {counted(count, 'checkpoint')} would have been needed"
    else:
        yield "identical"


def _stamp(time_ns: int) -> str:
    """A time in UTC, after ISO 8601."""
    seconds, fraction = divmod(time_ns, 1_000_000_000)
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)) + f".{fraction // 1000:06d}Z"


@contextmanager
def _released(arguments: argparse.Namespace) -> Iterator[Callable[[int, bytes], None] | None]:
    """Where released frames go."""
    if arguments.released is None:
        yield None
        return
    from colo_proxy.capture.writer import PcapWriter, output  # noqa: PLC0415
    from colo_proxy.errors import UserError  # noqa: PLC0415

    if arguments.released == "-":
        raise UserError(
            "--released -: the verdict is written to standard output; name a file or a pipe "
            "(/dev/stdout, if both may go there)"
        )
    out = Path(arguments.released)
    for capture in (arguments.primary, arguments.secondary):
        if _same(out, capture):
            raise UserError(f"{out}: is one of the captures; give --released another name")
    with output(out) as file:
        yield PcapWriter(file).write


def _same(one: Path, other: str) -> bool:
    """Whether both names are of one file; if one cannot be looked up, whoever reads or writes it says why."""
    try:
        return one.samefile(other)
    except OSError:
        return False


@contextmanager
def _progress(comparison: "Comparison") -> Iterator[None]:
    """A line on the terminal that tells a person how far big captures have got."""
    size = comparison.primary.size + comparison.secondary.size
    if not sys.stderr.isatty() or size < _BIG:
        yield
        return
    drawn = 0.0

    def draw() -> None:
        nonlocal drawn
        if time.monotonic() - drawn >= _REDRAW:
            drawn = time.monotonic()
            text = f"\rcomparing {size >> 20:,} MiB: {comparison.done:4.0%}"
            print(text, end="", file=sys.stderr, flush=True)

    comparison.progress = draw
    try:
        yield
    finally:
        print("\r\033[K", end="", file=sys.stderr, flush=True)
