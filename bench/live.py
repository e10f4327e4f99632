"""Live in namespaces: throughput and round trips from a client to a pair of replicas.

Four ways, each with a lab of its own, measured in turn within a round: a plain bridge (no proxy, one VM), a C
program that mirrors, aligns and forwards but compares nothing, and colo-proxy with its uplink on a packet
socket (as that program's) and on a TAP.
"""

import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from colo_lab import kernel
from colo_lab.errors import LabError
from colo_lab.lab import Lab
from colo_lab.namespaces import Namespace
from colo_lab.proxy import Proxy
from colo_lab.topology import Uplink
from colo_lab.waiting import Deadline, wait_readable
from colo_vm.debian import say

from .tools import compiled, median, number, quantile, table

PORT = "9000"
BRIDGE, CEILING, PACKET, TAP = "bridge", "C forwarder", "colo-proxy, packet", "colo-proxy, TAP"
UPLINKS = {BRIDGE: Uplink.BRIDGE, CEILING: Uplink.PACKET, PACKET: Uplink.PACKET, TAP: Uplink.TAP}
METRICS = "127.0.0.1:9308"
DATAGRAM, WINDOW = 64, 256  # bytes, datagrams on the way
STREAM = 750_000_000  # bytes that take about a second


@dataclass
class Way:
    """One way from the client to the VM, up."""

    name: str
    lab: Lab
    proxy: Proxy | None = None
    pid: int = 0  # of what stands between; 0: nothing does

    def the_proxy(self) -> Proxy:
        """What stands between. Raises LabError where that is no proxy."""
        if self.proxy is None:
            raise LabError(f"there is no proxy on the way {self.name}")
        return self.proxy

    def cpu(self) -> float:
        """Seconds of CPU time of what stands between so far, user and kernel, all threads."""
        tasks = Path(f"/proc/{self.pid}/task").iterdir() if self.pid else ()
        return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e9

    def said(self) -> int:
        """Bytes that the SVM has said so far."""
        host = self.lab.topology.host
        (link,) = host.route.get_links(host.index(self.lab.topology.nics[0].secondary))
        return int(link.get_attr("IFLA_STATS64")["rx_bytes"])

    def client(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run the traffic program in the client's namespace. Raises LabError when it fails."""
        process = self.start(*words)
        said, complained = process.communicate(timeout=60)
        if process.returncode:
            raise LabError(f"{self.name}: traffic {' '.join(words)}: {complained.decode().strip()}")
        return subprocess.CompletedProcess(words, 0, said.decode())

    def start(self, *words: str) -> "subprocess.Popen[bytes]":
        pipe = subprocess.PIPE
        return self.lab.topology.client.popen([compiled("traffic"), *words], stdout=pipe, stderr=pipe)

    @property
    def host(self) -> str:
        return self.lab.topology.nics[0].vm4

    def divergences(self) -> int:
        return int(self.proxy.status()["divergences"]) if self.proxy else 0


@contextmanager
def _ready(namespace: Namespace, words: list[str]) -> Iterator[int]:
    """A program in a namespace, once it has said so; its process id."""
    with namespace.running(words, stdout=subprocess.PIPE) as process:
        assert process.stdout
        wait_readable(process.stdout.fileno(), Deadline(10), words[0])
        yield process.pid


@contextmanager
def way(name: str, **compare: int) -> Iterator[Way]:
    """A lab with this way in it. A proxy protects at once: both servers are fresh, nothing is copied.

    `compare`: keys of its configuration's section of that name.
    """
    with ExitStack() as stack:
        lab = stack.enter_context(Lab(uplink=UPLINKS[name]))
        for vm in (lab.topology.pvm, lab.topology.svm):
            stack.enter_context(_ready(vm, [compiled("traffic"), "serve", PORT]))
        nic = lab.topology.nics[0]
        proxy, pid = None, 0
        if name == CEILING:
            words = [compiled("forward"), nic.uplink, nic.primary, nic.secondary]
            pid = stack.enter_context(_ready(lab.topology.host, words))
        elif name != BRIDGE:
            proxy = stack.enter_context(Proxy(lab, proxy={"metrics": METRICS}, compare=compare))
            with proxy.connect() as control:
                control.execute("checkpoint-begin")
                control.execute("checkpoint-commit")
            assert proxy.process
            pid = proxy.process.pid
        yield Way(name, lab, proxy, pid)


@dataclass
class Live:
    """All samples, by way and what was measured."""

    samples: dict[tuple[str, str], list[float]] = field(default_factory=dict)
    faults: dict[str, int] = field(default_factory=dict)

    def add(self, name: str, what: str, value: float) -> None:
        self.samples.setdefault((name, what), []).append(value)

    def value(self, name: str, what: str) -> float:
        return median(self.samples.get((name, what), []))


THROUGHPUT = {"one TCP stream": 8e-9, "64 TCP streams": 8e-9, "UDP echoes": 1e-3}  # and their factor
UNITS = {"one TCP stream": "Gbit/s", "64 TCP streams": "Gbit/s", "UDP echoes": "k/s"}
SHARES = {"median": 0.5, "p99": 0.99, "p99.9": 0.999}
# Beside the measured one: no packet; datagrams at a rate far from what anything here can do; as many as a
# window of 16 allows; metrics read.
LOADS = ("idle", "moderate load", "full load", "scraped")
MODERATE, FULL = ("pace", "200"), ("udp", str(DATAGRAM), "16")  # microseconds from one datagram to the next


def throughput(ways: list[Way], results: Live, seconds: float) -> None:
    """One round."""
    for each in ways:
        for what, count in (("one TCP stream", "1"), ("64 TCP streams", "64")):
            size = int(seconds * STREAM)
            used, before = each.cpu(), each.said()
            said = each.client("stream", each.host, PORT, count, str(size)).stdout
            results.add(each.name, what, float(said))
            results.add(each.name, f"{what}, CPU", (each.cpu() - used) / size * 1e9)
            results.add(each.name, f"{what}, SVM", (each.said() - before) / size)
        words = ["udp", each.host, PORT, str(DATAGRAM), str(WINDOW), str(seconds)]
        rate, lost = each.client(*words).stdout.split()
        results.add(each.name, "UDP echoes", float(rate))
        results.add(each.name, "UDP lost", float(lost))


def latency(ways: list[Way], results: Live, seconds: float) -> None:
    """One round: 64 bytes there and back, one after the other, a millisecond apart."""
    for each in ways:
        for load in LOADS:
            if load == "scraped" and each.proxy is None:
                continue
            with ExitStack() as stack:
                if load.endswith("load"):
                    kind, *how = MODERATE if load == "moderate load" else FULL
                    process = each.start(kind, each.host, PORT, *how, str(2 * seconds + 0.7))
                    stack.callback(_end, process)
                # As long without scrapes as with them: their tails are compared.
                lasts = 2 * seconds if load in {"idle", "scraped"} else seconds
                for kind in ("tcp", "udp"):
                    process = each.start("rtt", kind, each.host, PORT, "1000", str(lasts))
                    if load == "scraped":
                        _scrape(each, lasts)
                    said, _ = process.communicate(timeout=60)
                    trips = [int(word) / 1e3 for word in said.split()]
                    for share, value in SHARES.items():
                        results.add(each.name, f"{kind} {load} {share}", quantile(trips, value))


def _end(process: "subprocess.Popen[bytes]") -> None:
    process.kill()
    process.communicate()


def _scrape(each: Way, seconds: float) -> None:
    """Prometheus' part: a scrape a second, one at the least."""
    for _ in range(max(1, int(seconds))):
        time.sleep(min(seconds, 1) / 2)
        with kernel.inside(each.lab.topology.host.fd):
            urllib.request.urlopen(f"http://{METRICS}/metrics", timeout=5).read()
        time.sleep(min(seconds, 1) / 3)


def measure(rounds: int, *, seconds: float = 1.0, names: tuple[str, ...] = tuple(UPLINKS)) -> Live:
    """All ways up at once, `rounds` times throughput and latency. Raises LabError."""
    kernel.become_root()
    results = Live()
    with ExitStack() as stack:
        ways = [stack.enter_context(way(name)) for name in names]
        for turn in range(rounds):
            throughput(ways, results, seconds)
            latency(ways, results, seconds / 2)
            say(f"live, round {turn + 1} of {rounds}: done")
        for each in ways:
            results.faults[each.name] = each.divergences()
    return results


def report(results: Live) -> str:
    """The tables, in Markdown."""
    names = [name for name in UPLINKS if any(key[0] == name for key in results.samples)]
    ours = [name for name in (PACKET, TAP) if name in names]
    rows = []
    for what, factor in THROUGHPUT.items():
        row = [f"{what}, {UNITS[what]}", *(number(results.value(name, what) * factor) for name in names)]
        for name in ours:
            row += [number(results.value(name, what) / results.value(of, what)) for of in (CEILING, BRIDGE)]
        rows.append(row)
    head = ["", *names]
    for name in ours:
        head += [f"{name} / C forwarder", f"{name} / bridge"]
    text = table(head, rows)
    costs = []
    for what in ("one TCP stream", "64 TCP streams"):
        values = [results.value(name, f"{what}, CPU") for name in names if name != BRIDGE]
        costs.append([f"{what}, ms of CPU a gigabyte", *(number(value * 1e3) for value in values)])
        values = [results.value(name, f"{what}, SVM") for name in names if name != BRIDGE]
        costs.append([f"{what}, said by the SVM, %", *(number(value * 100) for value in values)])
    text += "\n" + table(["", *(name for name in names if name != BRIDGE)], costs)
    trips = []
    for kind in ("tcp", "udp"):
        for load in LOADS:
            for share in SHARES:
                what = f"{kind} {load} {share}"
                plain = results.value(BRIDGE, what.replace("scraped", "idle"))
                row = [what.replace("tcp", "TCP").replace("udp", "UDP"), number(plain)]
                row += [number(results.value(name, what) - plain) for name in names if name != BRIDGE]
                trips.append(row)
    head = ["round trip, µs", "bridge", *(f"added by {name}" for name in names if name != BRIDGE)]
    lines = [text, table(head, trips)]
    lines += [
        f"{name}: {count} divergences in all of this (each would hold a flow for ever here).\n"
        for name, count in results.faults.items()
        if count
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    chosen = tuple(sys.argv[2].split(";")) if len(sys.argv) > 2 else tuple(UPLINKS)
    print(report(measure(int(sys.argv[1]) if len(sys.argv) > 1 else 5, names=chosen)))
