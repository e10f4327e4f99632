"""Where the replicas differ, nothing of it leaves before the commit, and the request says what differed."""

import warnings
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import pytest
from colo_lab.capture import Stream, capturing
from colo_lab.protected import Protected
from colo_lab.replica.content import Content
from colo_lab.transfer import MIB, Transfer
from colo_lab.vmm import stamp


class Watch(ExitStack):
    """Captures at the PVM's port, the SVM's port and the client."""

    def __init__(self, made: Protected) -> None:
        super().__init__()
        nic, topology = made.lab.topology.nics[0], made.lab.topology
        places = [(topology.host, nic.primary), (topology.host, nic.secondary), (topology.client, nic.device)]
        self._captures = [self.enter_context(capturing(*place)) for place in places]

    def streams(self) -> tuple[Stream, ...]:
        return tuple(Stream.first(capture.segments()) for capture in self._captures)


def requests(made: Protected) -> list[dict[str, Any]]:
    return [event for event in made.vmm.events if event["event"] == "CHECKPOINT_REQUEST"]


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("offset", [0, 5 * MIB + 1, 20 * MIB])
def test_flipped_byte(
    pair: Protected, version: int, offset: int, record_property: Callable[[str, object], None]
) -> None:
    size = 32 * MIB
    nic = pair.lab.topology.nics[0]
    pair.lab.svm.fault(flip=offset)
    with Watch(pair) as watch:
        with Transfer(pair.lab, nic.url(f"/bytes/{size}", version=version)) as download:
            result = download.result()
        primary, secondary, client = watch.streams()
    assert result["sha256"] == Content().sha256(size)
    checkpoint = pair.vmm.checkpoints[1]
    request = requests(pair)[0]["data"]
    vm, other = (nic.vm4, nic.client4) if version == 4 else (f"[{nic.vm6}]", f"[{nic.client6}]")
    assert request["flow"] == f"tcp {vm}:80 > {other}:{client.segments[0].target}"
    assert (request["reason"], request["stream_offset"], request["nic"]) == ("payload", offset, 0)
    assert client.said(before=checkpoint.committed) <= offset
    delay = (stamp(requests(pair)[0]) - max(primary.reached(offset), secondary.reached(offset))) / 1e6
    record_property("request_after_ms", delay)
    if delay > 10:
        warnings.warn(f"the request came {delay:.1f} ms after the differing byte", stacklevel=1)
    assert pair.later == ["payload"]


def test_flipped_byte_of_the_pvm(pair: Protected) -> None:
    """The PVM is right by definition: its byte is what the client gets."""
    size, offset = 8 * MIB, 3 * MIB
    pair.lab.pvm.fault(flip=offset)
    with Transfer(pair.lab, pair.lab.topology.nics[0].url(f"/bytes/{size}")) as download:
        result = download.result()
    assert result["bytes"] == size
    assert result["sha256"] != Content().sha256(size)
    assert pair.later == ["payload"]


def test_server_of_the_svm_hangs(protect: Callable[..., Any]) -> None:
    size = 32 * MIB
    with protect(compare={"timeout_ms": 300}) as made, Watch(made) as watch:
        url = made.lab.topology.nics[0].url(f"/bytes/{size}")
        with Transfer(made.lab, url, rate=40e6, marks=MIB) as download:
            download.reach(8 * MIB)
            made.lab.svm.hang()
            result = download.result()
        _, secondary, client = watch.streams()
        checkpoint = made.vmm.checkpoints[1]
        assert checkpoint.reason == "missing-secondary"
        assert client.said(before=checkpoint.committed) <= secondary.said(before=checkpoint.committed)
        assert made.later == ["missing-secondary"]
        assert result["sha256"] == Content().sha256(size)


def test_answers_that_always_differ(pair: Protected) -> None:
    """The clock in nanoseconds: each answer costs a checkpoint, and each arrives."""
    url = pair.lab.topology.nics[0].url("/clock")
    for _ in range(10):
        with Transfer(pair.lab, url) as transfer:
            assert transfer.result()["status"] == 200
    assert pair.later == ["payload"] * 10


def test_random_answers_agree_after_a_checkpoint(pair: Protected) -> None:
    """The first checkpoint made the SVM's generator the PVM's."""
    with Transfer(pair.lab, pair.lab.topology.nics[0].url("/random/200000")) as transfer:
        assert transfer.result()["bytes"] == 200_000
    assert pair.later == []


def test_differences_amid_other_transfers(pair: Protected) -> None:
    """A checkpoint carries everybody's connections; nobody gets a wrong byte."""
    nic, size = pair.lab.topology.nics[0], 2 * MIB
    with Transfer(pair.lab, nic.url(f"/bytes/{size}"), parallel=20, rate=20e6, marks=MIB) as downloads:
        for count in range(1, 6):
            downloads.reach(count * 4 * MIB)
            with Transfer(pair.lab, nic.url("/clock")) as transfer:
                assert transfer.result()["status"] == 200
        hashes = {result["sha256"] for result in downloads.results()}
    assert hashes == {Content().sha256(size)}
    assert pair.later.count("payload") >= 5


def test_a_slow_svm_needs_no_checkpoint(protect: Callable[..., Any]) -> None:
    """The SVM answers 100 ms later: the client waits for it, and that is all."""
    with protect(compare={"timeout_ms": 1000}) as made:
        made.lab.svm.fault(delay=0.1)
        with Transfer(made.lab, made.lab.topology.nics[0].url(f"/bytes/{MIB}")) as download:
            result = download.result()
        assert result["sha256"] == Content().sha256(MIB)
        assert result["gap"] >= 0.09
        assert made.later == []
