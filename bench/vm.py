"""The same guests, client and work three ways: direct, QEMU's own COLO proxy, colo-proxy.

And, as the ceiling for any pair on one machine, two guests at once that know nothing of each other, each
with a client of its own that asks for all of it. Writes its part of docs/peers.md.

    python -m bench.vm [--rounds N]     # as root, on a machine that does nothing else

Each round runs the ways one after the other, each on fresh guests; figures are medians over all rounds.
"""

import argparse
import asyncio
import contextlib
import json
import os
import resource
import statistics
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from colo_vm import guest
from colo_vm.debian import LabError, say
from colo_vm.stage import URL, Stage

PAGE = Path(__file__).parents[1] / "docs" / "peers.md"
BEGIN, END = "<!-- pair: made by python -m bench.vm -->", "<!-- end of pair -->"

DOWNLOADS, SMALL, CLOCKS = 4, 40, 5
DIRECT, TWO, QEMU, OURS = "direct", "two at once, direct", "QEMU's own proxy", "colo-proxy"
WAYS = (DIRECT, TWO, QEMU, OURS)


def qemu_proxy(home: Path) -> tuple[list[str], list[str]]:
    """QEMU's own filters, as its docs/colo-proxy.txt lays them out: arguments of the PVM and of the SVM.

    UNIX sockets where the document has TCP; the virtio-net header on, which is its fast way.
    """

    def socket(name: str, path: str, serve: bool) -> list[str]:
        end = "server=on,wait=off" if serve else "reconnect-ms=100"
        return ["-chardev", f"socket,id={name},path={home}/{path},{end}"]

    pvm = [
        *socket("mirror0", "mirror", True),
        *socket("compare1", "secondary", True),
        *socket("compare0", "primary", True),
        *socket("compare0-0", "primary", False),
        *socket("compare_out", "out", True),
        *socket("compare_out0", "out", False),
        *("-object", "filter-mirror,id=m0,netdev=hn0,queue=tx,outdev=mirror0,vnet_hdr_support=on"),
        *(
            "-object",
            "filter-redirector,netdev=hn0,id=in,queue=rx,indev=compare_out,vnet_hdr_support=on",
        ),
        *("-object", "filter-redirector,netdev=hn0,id=out,queue=rx,outdev=compare0,vnet_hdr_support=on"),
        *("-object", "iothread,id=iothread1"),
        "-object",
        "colo-compare,id=comp0,primary_in=compare0-0,secondary_in=compare1,outdev=compare_out0,"
        "iothread=iothread1,vnet_hdr_support=on",
    ]
    svm = [
        *socket("red0", "mirror", False),
        *socket("red1", "secondary", False),
        *("-object", "filter-redirector,id=f1,netdev=hn0,queue=tx,indev=red0,vnet_hdr_support=on"),
        *("-object", "filter-redirector,id=f2,netdev=hn0,queue=rx,outdev=red1,vnet_hdr_support=on"),
        *("-object", "filter-rewriter,id=rew0,netdev=hn0,queue=all,vnet_hdr_support=on"),
    ]
    return pvm, svm


class Way:
    """One way in one round: the service is up when entered."""

    def __init__(self, name: str, stage: Stage) -> None:
        self.name, self.stage = name, stage

    async def start(self) -> None:
        """Boot and protect."""
        stage = self.stage
        if self.name == QEMU:
            stage.pair.pvm_extra, stage.pair.svm_extra = qemu_proxy(stage.home)
            stage.network.bridge("svm0")
        if self.name != OURS:
            stage.network.bridge("pvm0")
        await stage.pair.start()
        if self.name == DIRECT:
            return
        if self.name == OURS:
            await stage.start_proxy()
        await stage.pair.protect()
        if self.name == OURS:
            await stage.until_state("protected")
        self.entered = time.time()

    def checkpoints(self) -> int:
        """Counted the same way for all: the PVM's stops since COLO was entered."""
        if self.name == DIRECT:
            return 0
        return sum(event == "STOP" and at > self.entered for at, event in self.stage.pair.pvm.events)

    async def kill(self) -> None:
        """SIGKILL to the PVM; for QEMU's own proxy, what a cluster manager does next, at once."""
        self.stage.pair.pvm.kill()
        if self.name == QEMU:
            svm = self.stage.pair.svm
            for name in ("f2", "f1"):
                await svm.execute("object-del", id=name)
            await svm.execute("x-colo-lost-heartbeat")

    def processor_ms(self) -> float:
        """Processor time so far of the VMs, the proxy and the clients that have ended, in milliseconds.

        The kernel's own work for the network is in it only where it was done on a process's account.
        """
        stage = self.stage
        running = [stage.pair.pvm.process]
        if self.name != DIRECT:
            running.append(stage.pair.svm.process)
        if self.name == OURS:
            running.append(stage.proxy)
        ticks = 0
        for process in running:
            assert process is not None
            stat = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
            ticks += int(stat[11]) + int(stat[12])  # utime and stime, proc_pid_stat(5)
        clients = resource.getrusage(resource.RUSAGE_CHILDREN)
        return 1000 * (ticks / os.sysconf("SC_CLK_TCK") + clients.ru_utime + clients.ru_stime)


@asynccontextmanager
async def entered(name: str) -> AsyncIterator[Way]:
    async with Stage() as stage:
        way = Way(name, stage)
        await way.start()
        yield way


async def download(way: Way, times: int) -> list[float]:
    """Download so many times; the speeds, in MB/s."""
    runs = await way.stage.fetch("/64m", "--times", str(times), seconds=120)
    for run in runs:
        if run.get("sha256") != guest.sha256("64m"):
            raise LabError(f"{way.name}: a download came wrong: {run}")
    return [run["bytes"] / run["seconds"] / 1e6 for run in runs]


async def ask(way: Way) -> list[float]:
    """Fetch something small, over a connection each time; how long that took, in ms."""
    runs = await way.stage.fetch("/tiny", "--times", str(SMALL))
    return [run["seconds"] * 1000 for run in runs if run.get("complete")]


# What comes first is not counted: an emulated CPU translates what it runs for the first time.


async def measure_two(found: dict[str, list[float]]) -> None:
    """One round of the ceiling."""
    async with entered(DIRECT) as one, entered(DIRECT) as other:
        await asyncio.gather(download(one, 1), download(other, 1))
        for speeds in await asyncio.gather(download(one, DOWNLOADS), download(other, DOWNLOADS)):
            found["speed"] += speeds
        await asyncio.gather(ask(one), ask(other))
        for times in await asyncio.gather(ask(one), ask(other)):
            found["small"] += times


async def measure(way: Way, found: dict[str, list[float]]) -> None:
    """One round of one way; adds to what was found."""
    stage = way.stage
    before = way.checkpoints()
    await download(way, 1)
    spent = way.processor_ms()
    found["speed"] += await download(way, DOWNLOADS)
    found["processor"].append((way.processor_ms() - spent) / DOWNLOADS)
    found["needless"].append(way.checkpoints() - before)
    await ask(way)
    found["small"] += await ask(way)
    if way.name == OURS:
        found["surprises"].append(len(stage.surprises()))
    (paced,) = await stage.fetch("/64m", "--pace", "16000000")
    found["silence"].append(paced["longest_silence"] * 1000)
    if way.name == DIRECT:
        return
    before = way.checkpoints()
    runs = await stage.fetch("/cgi-bin/clock", "--times", str(CLOCKS))
    found["clock"] += [run["seconds"] * 1000 for run in runs if run.get("complete")]
    found["clock checkpoints"].append((way.checkpoints() - before) / CLOCKS)
    client = await stage.client(URL + "/64m", "--pace", "33000000", "--mark", "20000000")
    assert client.stdout is not None
    await client.stdout.readline()
    with contextlib.suppress(Exception):
        await way.kill()
    out, _ = await asyncio.wait_for(client.communicate(), 90)
    last: dict[str, Any] = json.loads(out.splitlines()[-1])
    if last.get("sha256") == guest.sha256("64m"):
        found["kill"].append(last["longest_silence"] * 1000)
    else:
        found["lost"].append(1)


ROWS = (
    ("64 MiB over HTTP, MB/s", "speed", "{:.0f}"),
    ("processor time of such a download, all processes, ms", "processor", "{:.0f}"),
    (f"checkpoints that {DOWNLOADS + 1} such downloads cost", "needless", "{:.0f}"),
    ("GET of 6 bytes, ms", "small", "{:.1f}"),
    ("longest silence, client reading at 16 MB/s, ms", "silence", "{:.0f}"),
    ("GET of the guest's nanosecond clock, ms", "clock", "{:.0f}"),
    ("checkpoints for one such request", "clock checkpoints", "{:.1f}"),
    ("longest silence, PVM killed in mid-download, ms", "kill", "{:.0f}"),
)


def cell(values: list[float], form: str) -> str:
    """Median and range."""
    if not values:
        return "–"
    low, high = form.format(min(values)), form.format(max(values))
    return f"{form.format(statistics.median(values))} ({low}–{high})"


def table(found: dict[str, dict[str, list[float]]]) -> str:
    lines = ["| median (range) | " + " | ".join(WAYS) + " |", "| --- " * (len(WAYS) + 1) + "|"]
    for title, key, form in ROWS:
        lines.append(f"| {title} | " + " | ".join(cell(found[way][key], form) for way in WAYS) + " |")
    lost = " | ".join("–" if way in {DIRECT, TWO} else f"{len(found[way]['lost'])}" for way in WAYS)
    return "\n".join([*lines, f"| downloads lost with the PVM | {lost} |"])


async def bench(rounds: int) -> str:
    keys = [key for _, key, _ in ROWS] + ["lost", "surprises"]
    found: dict[str, dict[str, list[float]]] = {way: {key: [] for key in keys} for way in WAYS}
    about = ""
    for number in range(rounds):
        for name in WAYS:
            say(f"round {number + 1} of {rounds}: {name}")
            if name == TWO:
                await measure_two(found[name])
                continue
            async with entered(name) as way:
                await measure(way, found[name])
                about = f"{way.stage.qemu}, accelerator {way.stage.accel}, {rounds} rounds."
    busy = f"Load average at the end {os.getloadavg()[1]:.1f} on {os.cpu_count()} processors."
    surprises = sum(found[OURS]["surprises"])
    note = (
        "The web server dates its answers, so a request that the two guests answer in different seconds is a "
        f"true difference; colo-proxy found {surprises:.0f} of any other kind. "
        "colo-proxy takes at least 50 ms from one checkpoint to the next (`min_interval_ms`), which is what "
        "the clock's row shows. For the kill, QEMU's own proxy is told at once that the PVM is dead; "
        "colo-proxy detects it. Guests, client and proxy share the processors. So compare a pair with "
        f"*{TWO}* too: two guests without any proxy that do the same work at the same time."
    )
    return f"{about} {busy}\n\n{table(found)}\n\n{note}"


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    try:
        text = asyncio.run(bench(arguments.rounds))
    except LabError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 2
    print(text)
    page = PAGE.read_text() if PAGE.exists() else "# colo-proxy beside its peers\n"
    if BEGIN not in page:
        page += f"\n## A real pair\n\n{BEGIN}{END}\n"
    head, _, rest = page.partition(BEGIN)
    PAGE.write_text(f"{head}{BEGIN}\n{text}\n{END}{rest.partition(END)[2]}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
