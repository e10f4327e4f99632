"""On links that lose, reorder and duplicate frames in all six directions, replicas that serve the same need
no checkpoint, and every byte is right. `python -m bench.loss` has the numbers."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from colo_lab.impairments import Impairments
from colo_lab.lab import Lab
from colo_lab.protected import Protected
from colo_lab.replica.content import Content
from colo_lab.transfer import Transfer, uploaded

BAD = Impairments(loss=0.01, duplicates=0.01, reordering=0.02, seed=1)
SIZE, TIMES = 5_000_000, 3
PATIENCE = {"timeout_ms": 30_000}  # who stands still is found even so; a machine that is busy is excused
EACH_WAY = {"client0-host", "client0-client", "pvm0-host", "pvm0-pvm", "svm0-host", "svm0-svm"}


@pytest.fixture
def pair(protect: Callable[..., Any]) -> Iterator[Protected]:
    """A protected lab on bad links."""
    with protect(impairments=BAD, compare=PATIENCE) as made:
        yield made


def struck(lab: Lab) -> dict[str, dict[str, int]]:
    """What became of the frames; each direction has lost, reordered and duplicated some."""
    assert lab.wires
    hits = lab.wires.hits()
    for direction, counts in hits.items():
        assert all(counts[what] for what in ("lost", "reordered", "duplicated")), f"{direction}: {counts}"
        assert not counts["missed"], f"{direction}: lost by the lab itself: {counts}"
    return hits


def download(lab: Lab, size: int = SIZE) -> None:
    with Transfer(lab, lab.topology.nics[0].url(f"/bytes/{size}")) as transfer:
        assert transfer.result()["sha256"] == Content().sha256(size)


def upload(lab: Lab, size: int = SIZE) -> None:
    with Transfer(lab, lab.topology.nics[0].url("/upload"), post=size) as transfer:
        assert transfer.result()["sha256"] == uploaded(size)


@pytest.mark.parametrize("transfer", [download, upload])
def test_no_checkpoint_without_a_difference(pair: Protected, transfer: Callable[[Lab], None]) -> None:
    for _ in range(TIMES):
        transfer(pair.lab)
    assert set(struck(pair.lab)) == EACH_WAY
    assert pair.later == []


def test_a_byte_that_differs_is_found(pair: Protected) -> None:
    """What cannot be told from a loss at first is told from it in the end.

    Other checkpoints may follow: the lab's do not carry what a guest has received out of order.
    """
    pair.lab.svm.fault(flip=SIZE // 2)
    download(pair.lab)
    assert pair.later[0] == "payload"
