"""The fuzzer's inputs: those that broke something once are replayed, and new ones made, the same each time.

`make fuzz` makes others each time.
"""

import os
import subprocess
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from fuzz import build, replay, run
from fuzz.same_inputs import fuzz_with_the_same
from scapy.layers.inet import IP, TCP
from scapy.layers.l2 import Ether

from colo_proxy.core.comparator import Comparator
from colo_proxy.vocabulary import Frame, Port

Buffer = bytes | bytearray | memoryview
CORPUS = sorted(build.HERE.glob("corpus/*"))
RUNS = 20_000 if os.environ.get("CI") else 5_000  # the latter are the first of the former


@pytest.fixture(scope="module")
def target() -> ModuleType:
    return build.load_module()


@pytest.mark.parametrize("path", CORPUS, ids=lambda path: path.name)
def test_found_inputs_break_nothing_any_more(target: ModuleType, path: Path) -> None:
    assert target.run(path.read_bytes()) is None


def test_an_input_becomes_frames(target: ModuleType) -> None:
    """Few bytes make a segment of the PVM, the same of the SVM later with a byte changed, and a commit."""
    steps = target.story(bytes([0, 0, 0x23]) + bytes([0, 0, 0, 7, 5, 0]) + bytes([0xB9, 3]) + bytes([14, 0]))
    assert [(port, now) for port, now, _ in steps] == [(1, 0), (2, 10**9), (16 + 4, 10**9)]
    pvm, svm = (Ether(frame[10:]) for _, _, frame in steps[:2])
    assert (pvm[IP].src, pvm[TCP].sport, pvm[TCP].dport) == ("192.0.2.2", 80, 4000)
    assert [index for index, (a, b) in enumerate(zip(pvm.load, svm.load, strict=True)) if a != b] == [2]
    assert (svm[TCP].seq - pvm[TCP].seq) % 2**32 == (0xFFFFFFF0 - 0xFFFFFF80) % 2**32


@pytest.fixture(scope="module")
def fuzzed(tmp_path_factory: pytest.TempPathFactory) -> tuple[subprocess.CompletedProcess[str], Path]:
    """A run of libFuzzer with the address and undefined-behaviour sanitizers, and the inputs it kept."""
    kept = tmp_path_factory.mktemp("fuzz") / "kept"
    return fuzz_with_the_same(build.COMPARATOR, RUNS, kept), kept


@pytest.mark.timeout(900)
def test_new_inputs_break_nothing(fuzzed: tuple[subprocess.CompletedProcess[str], Path]) -> None:
    done, _ = fuzzed
    print(done.stderr[-3000:])
    assert done.returncode == 0, f"the input lies in {run.findings()}"
    assert f"stat::number_of_executed_units: {RUNS}" in done.stderr, "the fuzzer has not run to its end"


def test_what_comes_out_of_them_keeps_the_promise(
    target: ModuleType, fuzzed: tuple[subprocess.CompletedProcess[str], Path]
) -> None:
    """The inputs that reached furthest, a thousand or so, and those of the corpus."""
    paths = [*CORPUS, *fuzzed[1].iterdir()]
    broken = {path.name: replay.broken_promise(target, path.read_bytes()) for path in paths}
    assert {name: why for name, why in broken.items() if why} == {}


def test_a_comparator_that_releases_all_does_not(target: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    class Reckless(Comparator):
        def primary(self, frame: Buffer, now: int, vnet: Buffer | None = None) -> None:
            super().primary(frame, now, vnet)
            self.said = [Frame(Port.UPLINK, bytes(frame), bytes(vnet or 10))]

        def take(self) -> list[Any]:
            return [*super().take(), *vars(self).pop("said", ())]

    monkeypatch.setattr(replay, "Comparator", Reckless)
    data = bytes([0, 0, 0x23]) + bytes([0, 0, 0, 7, 5, 0]) + bytes([0xB9, 3])  # the SVM's byte is another
    assert replay.broken_promise(target, data) is not None
