"""`colo-proxy compare`: did PVM and SVM send the same? From two captures."""

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from colo_proxy.cli.parsers import HOUR_MS, CommandParser, whole_number
from colo_proxy.cli.terminal import say
from colo_proxy.dates import rfc3339
from colo_proxy.display.tables import counted, table

if TYPE_CHECKING:
    from colo_proxy.capture.compare import Comparison
    from colo_proxy.capture.result import Result

STATUS = {"identical": 0, "diverged": 1, "incomplete": 2}
_SHOWN = 20  # divergences in the summary
_BIG = 32 << 20  # bytes from which on a person is shown the progress
_REDRAW = 0.2  # seconds


def add_parser(subparsers: "argparse._SubParsersAction[CommandParser]") -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "compare",
        help="compare two captures",
        description="Compare what a PVM and an SVM sent, from captures of their ports (pcap or pcapng, whole "
        "frames), by the rules of the proxy. After a divergence it goes on as if a checkpoint had been made. "
        "Exit status: 0 identical, 1 diverged, 2 incomplete (no difference was found, but not all was "
        "compared) or unusable input or output; 141 the reader of the output has closed it.",
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
        "--vm-mac",
        metavar="MAC",
        action="append",
        default=[],
        help="the VM's MAC address, if the captures do not show it; may be given several times",
    )
    parser.add_argument("--released", metavar="OUT.pcap", help="write what clients would have received")
    parser.add_argument(
        "--timeout-ms",
        metavar="MS",
        type=whole_number("milliseconds", HOUR_MS),
        default=3000,
        help="output that is missing for this long is a divergence (default: 3000)",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Compare and print. Returns the exit status."""
    from colo_proxy.capture.compare import Comparison  # noqa: PLC0415
    from colo_proxy.capture.origin import parse_mac  # noqa: PLC0415
    from colo_proxy.errors import UserError  # noqa: PLC0415

    try:
        vms = [parse_mac(each) for each in arguments.vm_mac]
    except ValueError as error:
        raise UserError(f"--vm-mac: {error}") from None
    with _released(arguments) as released:
        comparison = Comparison(
            arguments.primary,
            arguments.secondary,
            vms=vms,
            timeout_ms=arguments.timeout_ms,
            released=released,
        )
        with _progress(comparison):
            result = comparison.run()
    for notice in result.notices:
        say(notice)
    if arguments.json:
        print(json.dumps(result.as_json()))
    else:
        print("\n".join(_summary(result)))
    return STATUS[result.verdict]


def _summary(result: "Result") -> Iterator[str]:
    from colo_proxy.capture.origin import mac_text  # noqa: PLC0415

    vm = f"VM {' and '.join(map(mac_text, result.vms))}: " if result.vms else ""
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
    count = sum(each.count for each in result.divergences)
    if count:
        yield f"diverged: {counted(count, 'checkpoint')} would have been needed"
    elif result.not_compared:
        yield from _left_out(result)
    elif result.verdict == "incomplete":
        yield "incomplete: nothing was compared"
    else:
        yield "identical"


def _left_out(result: "Result") -> Iterator[str]:
    shown = [
        (
            each.what,
            "" if each.frames is None else counted(each.frames, "frame"),
            "" if each.bytes is None else counted(each.bytes, "byte"),
            "" if each.begin is None or each.end is None else f"bytes {each.begin:,} to {each.end - 1:,}",
            each.flow or "",
        )
        for each in result.not_compared[:_SHOWN]
    ]
    yield from (f"  {line}" for line in table(shown, left={0, 1, 2, 3, 4}))
    if len(result.not_compared) > _SHOWN:
        yield f"  and {len(result.not_compared) - _SHOWN:,} more; --json lists them all"
    yield "incomplete: no difference was found, but this was not compared"


def _stamp(time_ns: int) -> str:
    """A time in nanoseconds since 1970, to a microsecond."""
    seconds, fraction = divmod(time_ns, 1_000_000_000)
    return rfc3339(seconds, fraction // 1000, 6)


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
