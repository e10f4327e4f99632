"""The comparator alone, on UNIX sockets: colo-proxy, QEMU's colo-compare, and a C program that moves bytes.

Each contender is fed the same segments by bench/c/load.c; the contenders take turns within a round.
"""

import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from colo_vm.debian import CACHE, LabError, say
from colo_vm.qemu import bare

from .tools import compiled, median, number, table

PAYLOADS = (10, 1448, 60000)
FLOWS = (1, 64, 10_000, 100_000)
OURS, QEMU, CEILING = "colo-proxy", "QEMU", "C mover"
PACKETS = {10: 400_000, 1448: 200_000, 60000: 12_000}  # a sample
QEMU_SHARE = 0.25  # of them, so that it takes about as long
ENDS = ("primary", "secondary", "out")


@dataclass(frozen=True, slots=True)
class Sample:
    """One measurement: packets a second, packets lost, CPU seconds a packet, resident memory in KiB."""

    rate: float
    lost: int
    cpu: float
    resident: int


@dataclass(slots=True)
class Cell:
    """All samples of one contender at one payload and number of flows."""

    samples: list[Sample] = field(default_factory=list)

    @property
    def rate(self) -> float:
        return median([sample.rate for sample in self.samples])

    @property
    def cpu(self) -> float:
        return median([sample.cpu for sample in self.samples])

    @property
    def lost(self) -> int:
        return max((sample.lost for sample in self.samples), default=0)

    @property
    def resident(self) -> float:
        return median([sample.resident for sample in self.samples])


Results = dict[tuple[str, int, int], Cell]  # by contender, payload, flows


def our_command(paths: dict[str, str]) -> list[str]:
    words = [sys.executable, "-m", "colo_proxy.cli.main", "colo-compare", "--max-queue-size", "16384"]
    for option, end in zip(("--primary-in", "--secondary-in", "--outdev"), ENDS, strict=True):
        words += [option, f"unix:{paths[end]}"]
    return words


def mover_command(paths: dict[str, str]) -> list[str]:
    return [compiled("move"), *(paths[end] for end in ENDS)]


def qemu_command(paths: dict[str, str]) -> list[str]:
    """QEMU's object alone, with a queue long enough that it loses nothing of what is on the way."""
    command = [*bare()[0], "-machine", "none", "-nodefaults", "-nographic", "-object", "iothread,id=io"]
    for end, path in paths.items():
        command += ["-chardev", f"socket,id={end},path={path},server=on,wait=off"]
    compare = "colo-compare,id=compare,primary_in=primary,secondary_in=secondary,outdev=out,iothread=io"
    return [*command, "-object", f"{compare},max_queue_size=16384,compare_timeout=30000"]


CONTENDERS: dict[str, Callable[[dict[str, str]], list[str]]] = {
    OURS: our_command,
    QEMU: qemu_command,
    CEILING: mover_command,
}


@contextmanager
def serving(name: str) -> Iterator[tuple[int, dict[str, str]]]:
    """A contender that listens: its process id and its sockets."""
    CACHE.mkdir(parents=True, exist_ok=True)  # QEMU may live in a chroot that sees this directory alone
    with tempfile.TemporaryDirectory(dir=CACHE) as home:
        paths = {end: str(Path(home, end)) for end in ENDS}
        process = subprocess.Popen(CONTENDERS[name](paths), stdin=subprocess.DEVNULL, stderr=subprocess.PIPE)
        try:
            yield process.pid, paths
        finally:
            process.kill()
            process.communicate()


def sample(name: str, payload: int, flows: int, packets: int) -> Sample:
    """One measurement by a fresh process. Each flow has been seen once before, so tables have their size."""
    warm = max(1, packets // 20 // flows)
    with serving(name) as (pid, paths):
        words = [*(paths[end] for end in ENDS), *map(str, (pid, payload, flows, warm, packets))]
        words = [compiled("load"), *words]
        done = subprocess.run(words, capture_output=True, text=True, timeout=120, check=False)
    if done.returncode:
        raise LabError(f"{name}, {payload} bytes, {flows} flows: {done.stderr.strip()}")
    seconds, came, cpu, resident = done.stdout.split()
    count = max(int(came), 1)
    return Sample(count / float(seconds), packets - int(came), int(cpu) / 1e9 / count, int(resident))


def measure(
    rounds: int,
    *,
    payloads: tuple[int, ...] = PAYLOADS,
    flows: tuple[int, ...] = FLOWS,
    contenders: tuple[str, ...] = tuple(CONTENDERS),
    share: float = 1.0,
) -> Results:
    """All combinations, `rounds` times; `share` of the usual number of packets."""
    results: Results = {}
    for turn in range(rounds):
        for payload in payloads:
            for count in flows:
                for name in contenders:
                    packets = int(PACKETS[payload] * share * (QEMU_SHARE if name == QEMU else 1))
                    found = sample(name, payload, count, packets)
                    results.setdefault((name, payload, count), Cell()).samples.append(found)
            say(f"comparator alone, round {turn + 1} of {rounds}, {payload} bytes: done")
    return results


def report(results: Results) -> str:
    """The tables, in Markdown."""
    rows = []
    for payload, flows in sorted({key[1:] for key in results}):
        ours, theirs, most = (results.get((name, payload, flows), Cell()) for name in CONTENDERS)
        lost = f" (loses {theirs.lost:,})" if theirs.lost else ""
        rows.append(
            [
                f"{payload:,}",
                f"{flows:,}",
                number(ours.rate / 1e3) + (f" (**loses {ours.lost:,}**)" if ours.lost else ""),
                number(theirs.rate / 1e3) + lost,
                number(most.rate / 1e3),
                number(ours.rate / theirs.rate),
                number(ours.rate / most.rate),
                number(ours.cpu * 1e6),
                number(theirs.cpu * 1e6),
                number(theirs.cpu / ours.cpu),
            ]
        )
    head = (
        "payload, bytes",
        "flows",
        "colo-proxy, k/s",
        "QEMU, k/s",
        "C mover, k/s",
        "× QEMU",
        "× C mover",
        "colo-proxy, µs CPU",
        "QEMU, µs CPU",
        "× QEMU, by CPU",
    )
    return table(head, rows)


if __name__ == "__main__":
    print(report(measure(int(sys.argv[1]) if len(sys.argv) > 1 else 5)))
