"""`vmm = "none"` beside real kernels: nothing waits for the SVM, and it is a replica all the same."""

from collections.abc import Iterator
from typing import Any

import pytest
from colo_lab.lab import Lab, best_uplink
from colo_lab.proxy import Proxy
from colo_lab.replica.content import Content
from colo_lab.transfer import MIB, Transfer
from colo_lab.waiting import Deadline, until

SIZE = 200 * MIB
FLIP = 20 * MIB + 1


@pytest.fixture
def observed() -> Iterator[tuple[Lab, Proxy]]:
    """A lab whose proxy only observes."""
    sections: dict[str, Any] = {"checkpoint": {"vmm": "none"}, "compare": {"timeout_ms": 3000}}
    with Lab(uplink=best_uplink()) as lab, Proxy(lab, **sections) as proxy:
        yield lab, proxy


def download(lab: Lab, size: int, version: int) -> None:
    with Transfer(lab, lab.topology.nics[0].url(f"/bytes/{size}", version=version)) as transfer:
        assert transfer.result()["sha256"] == Content().sha256(size)


def divergences(proxy: Proxy) -> dict[str, int]:
    """How many of which reason, once nothing waits any more."""
    until(lambda: proxy.status()["held_frames"] == 0, Deadline(20), "the SVM to say the rest")
    with proxy.connect() as control:
        counted = control.execute("query-stats")["nics"][0]["divergences"]
    return {reason: n for reason, protocols in counted.items() if (n := sum(protocols.values()))}


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("size", [100_000, SIZE])
def test_replicas_that_say_the_same(observed: tuple[Lab, Proxy], size: int, version: int) -> None:
    lab, proxy = observed
    for _ in range(3):
        download(lab, size, version)
    assert divergences(proxy) == {}


def test_a_byte_that_differs(observed: tuple[Lab, Proxy]) -> None:
    lab, proxy = observed
    with proxy.connect() as control:
        lab.svm.fault(flip=FLIP)
        download(lab, SIZE, 4)
        data = control.event(Deadline(20), "DIVERGENCE")["data"]
    assert (data["reason"], data["stream_offset"]) == ("payload", FLIP)
    assert divergences(proxy) == {"payload": 1}


def test_many_connections(observed: tuple[Lab, Proxy]) -> None:
    lab, proxy = observed
    with Transfer(lab, lab.topology.nics[0].url(f"/bytes/{MIB}"), parallel=50) as transfer:
        for result in transfer.results():
            assert result["sha256"] == Content().sha256(MIB)
    assert divergences(proxy) == {}
