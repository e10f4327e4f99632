"""Very many flows, and what operators and the VMM learn of them meanwhile. The VMM here copies nothing."""

import json
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from colo_lab.control import Control
from colo_lab.crowd import Crowd
from colo_lab.lab import Lab, best_uplink
from colo_lab.proxy import COMMAND, Proxy
from colo_lab.waiting import Deadline, until

MANY = 100_000
DIVERGING = 30_000
MOST_MEMORY = 160 << 10  # KiB; of it the data path may hold 64 MiB in frames


@contextmanager
def crowded(**compare: int) -> Iterator[tuple[Proxy, Crowd, Control]]:
    """A proxy that is protected, the wires of its guests, and the connection of its VMM."""
    with (
        Lab(uplink=best_uplink()) as lab,
        Proxy(lab, compare={"timeout_ms": 60_000, **compare}) as proxy,
        Crowd(lab, proxy) as crowd,
        proxy.connect() as vmm,
    ):
        for word in ("vmm-ready", "checkpoint-begin", "checkpoint-commit"):
            vmm.execute(word)
        yield proxy, crowd, vmm


def listed(proxy: Proxy) -> list[dict[str, Any]]:
    """What `colo-proxy flows` lists."""
    words = [*COMMAND, "flows", "--json", "--socket", str(proxy.control)]
    return list(json.loads(subprocess.run(words, capture_output=True, check=True, timeout=120).stdout))


def test_all_of_a_hundred_thousand_flows_are_listed_once() -> None:
    """Meanwhile checkpoints are made, which are events, and other flows come."""
    over = threading.Event()
    epochs: list[int] = []
    with crowded(max_flows=2 * MANY) as (proxy, crowd, vmm):
        crowd.send(range(MANY), b"same", b"same")
        assert (proxy.status()["flows"], proxy.status()["held_frames"]) == (MANY, 0)

        def disturb() -> None:
            while not over.wait(0.02):
                vmm.execute("checkpoint-begin")
                epochs.append(vmm.execute("checkpoint-commit")["epoch"])
                at = MANY + 200 * len(epochs)
                crowd.send(range(at, at + 200), b"new", b"new")

        thread = threading.Thread(target=disturb)
        thread.start()
        try:
            flows = listed(proxy)
        finally:
            over.set()
            thread.join()
        names = [flow["flow"] for flow in flows]
        lived = {crowd.name(number) for number in range(MANY)}
    assert len(epochs) > 1
    assert len(names) == len(set(names))
    assert len({flow["id"] for flow in flows}) == len(flows)
    assert lived <= set(names)


def resident(proxy: Proxy) -> int:
    """KiB of a proxy's memory."""
    assert proxy.process
    lines = Path(f"/proc/{proxy.process.pid}/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmRSS:")).split()[1])


def test_flows_that_diverge_at_once_while_the_vmm_reads_nothing() -> None:
    """It keeps its connection, and is told what it needs to go on."""
    with crowded() as (proxy, crowd, vmm), proxy.connect() as operator:
        before = resident(proxy)
        crowd.send(range(DIVERGING), b"this", b"that")
        seen = until(
            lambda: [s for s in [operator.execute("query-status")] if s["divergences"] == DIVERGING],
            Deadline(60),
            "the divergences",
        )[0]
        assert (seen["state"], seen["flows"], seen["held_frames"]) == ("requested", DIVERGING, DIVERGING)
        for _ in range(2000):  # more events than are kept for any client
            operator.execute("checkpoint-begin")
            operator.execute("checkpoint-abort")
        assert resident(proxy) - before < MOST_MEMORY
        missed = vmm.event(Deadline(30), "EVENTS_LOST")["data"]
        assert missed["lost"] > 0
        assert (missed["state"], missed["held_frames"]) == ("requested", DIVERGING)
        for word in ("checkpoint-begin", "checkpoint-commit"):
            vmm.execute(word)
        seen = vmm.execute("query-status")
        assert (seen["state"], seen["held_frames"]) == ("protected", 0)
        log = proxy.log.read_text()
    assert "Traceback" not in log
    assert log.count("divergence: ") < 60
