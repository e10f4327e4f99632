"""Very many flows: what a listing of them costs the data path, and how soon a storm of divergences is over.

    PYTHONPATH=netns-lab python -m bench.floods [--rounds N] [--seconds S] [--flows N] [--diverging N]

*Listing.* A proxy knows 100,000 flows. Round trips of 64 bytes over TCP are measured with nothing else, while
`colo-proxy flows --json` runs again and again, and beside a process that computes as much as that command
does and asks no proxy: on few cores that takes its part, too. The three take turns within a round.

*Storm.* 30,000 flows diverge at once, and the VMM reads nothing for seven seconds. Then it reads, and makes
the checkpoint (and copies nothing). Timed from the first frame that differs to the state `protected`.
"""

import argparse
import contextlib
import json
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from colo_lab.crowd import Crowd
from colo_lab.errors import LabError
from colo_lab.kernel import become_root
from colo_lab.proxy import COMMAND
from colo_lab.waiting import Deadline
from colo_vm.debian import say

from .live import PORT, TAP, Way, way
from .tools import load, median, number, quantile, table

QUIET, LISTED, BUSY = "nothing else", "flows are listed", "a process that computes"
SILENT_S = 7.0
PATIENCE_MS = 60_000  # for missing output: nobody answers for the crowd
COMPUTE = """import json, sys
text = open(sys.argv[1]).read()
while True:
    json.dumps(json.loads(text), indent=1)
"""


@dataclass
class Listing:
    """Round trips in µs by round, for each of the three; seconds of each listing, and how many it found."""

    trips: dict[str, list[list[float]]] = field(default_factory=dict)
    took: list[float] = field(default_factory=list)
    found: list[int] = field(default_factory=list)

    def share(self, what: str, share: float) -> float:
        """The median over the rounds of this quantile."""
        return median([quantile(trips, share) for trips in self.trips[what]])


def flows(between: Way, results: Listing) -> bytes:
    """List all flows once, as an operator does."""
    assert between.proxy
    words = [*COMMAND, "flows", "--json", "--socket", str(between.proxy.control)]
    began = time.monotonic()
    said = subprocess.run(words, check=True, capture_output=True, timeout=300).stdout
    results.took.append(time.monotonic() - began)
    results.found.append(len(json.loads(said)))
    return said


@contextlib.contextmanager
def listing(between: Way, results: Listing) -> Iterator[None]:
    """One listing after the other; the last one ends before the context does."""
    over = threading.Event()

    def again() -> None:
        while not over.is_set():
            flows(between, results)

    thread = threading.Thread(target=again)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


@contextlib.contextmanager
def computing(text: Path) -> Iterator[None]:
    """A process that does with a listing what `colo-proxy flows --json` does, without a proxy."""
    with subprocess.Popen([sys.executable, "-c", COMPUTE, str(text)]) as process:
        try:
            yield
        finally:
            process.kill()


def listed(rounds: int, seconds: float, count: int) -> Listing:
    """Measure round trips with and without listings. Raises LabError."""
    results = Listing()
    with (
        way(TAP, max_flows=2 * count, timeout_ms=PATIENCE_MS) as between,
        Crowd(between.lab, between.the_proxy()) as crowd,
        tempfile.NamedTemporaryFile() as text,
    ):
        crowd.send(range(count), b"same", b"same")
        text.write(flows(between, results))
        text.flush()
        beside: dict[str, Callable[[], contextlib.AbstractContextManager[None]]] = {
            QUIET: contextlib.nullcontext,
            LISTED: lambda: listing(between, results),
            BUSY: lambda: computing(Path(text.name)),
        }
        for turn in range(rounds):
            for what, context in beside.items():
                with context():
                    said = between.client("rtt", "tcp", between.host, PORT, "1000", str(seconds)).stdout
                results.trips.setdefault(what, []).append([int(word) / 1e3 for word in said.split()])
            say(f"floods, round {turn + 1} of {rounds}: done")
        if between.divergences():
            raise LabError(f"{between.divergences()} divergences, where the guests send the same")
    return results


def report(results: Listing, count: int) -> str:
    """What listings cost, in Markdown."""
    rows = []
    for name, share in (("median", 0.5), ("99th percentile", 0.99)):
        values = {what: results.share(what, share) for what in (QUIET, LISTED, BUSY)}
        ratios = [values[LISTED] / values[of] for of in (QUIET, BUSY)]
        rows.append([f"{name}, µs", *map(number, values.values()), *map(number, ratios)])
    head = ["round trip of 64 bytes", QUIET, LISTED, BUSY, "listed / nothing", "listed / computing"]
    least, most = min(results.found), max(results.found)
    shown = f"{least:,}" if least == most else f"{least:,} to {most:,}"
    return table(head, rows) + (
        f"\n{len(results.found)} listings, of {count:,} flows and those of the measurement itself: {shown} "
        f"were listed, in {median(results.took):.1f} s (median).\n"
    )


def storm(count: int) -> str:
    """So many flows diverge at once. Raises LabError."""
    with (
        way(TAP, timeout_ms=PATIENCE_MS) as between,
        Crowd(between.lab, between.the_proxy()) as crowd,
        between.the_proxy().connect() as vmm,
    ):
        vmm.execute("vmm-ready")
        began = time.monotonic()
        crowd.send(range(count), b"this", b"that")
        sent = time.monotonic() - began
        time.sleep(max(0.0, SILENT_S - sent))
        vmm.event(Deadline(10), "CHECKPOINT_REQUEST")
        vmm.execute("checkpoint-begin")
        vmm.execute("checkpoint-commit")
        status = vmm.execute("query-status")
        took = time.monotonic() - began
        if status["state"] != "protected" or status["held_frames"]:
            raise LabError(f"the checkpoint healed nothing: {status}")
        return (
            f"Storm: {status['divergences']:,} flows diverged within {sent:.1f} s, the VMM read nothing for "
            f"{max(SILENT_S, sent):.1f} s; protected {took:.1f} s after the first frame that differed.\n"
        )


def main(words: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=5.0, help="of round trips, in each turn")
    parser.add_argument("--flows", type=int, default=100_000)
    parser.add_argument("--diverging", type=int, default=30_000)
    arguments = parser.parse_args(words)
    try:
        become_root()
        print(f"before: {load()}\n")
        results = listed(arguments.rounds, arguments.seconds, arguments.flows)
        print(report(results, arguments.flows))
        print(storm(arguments.diverging))
        print(f"after: {load()}")
    except LabError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
