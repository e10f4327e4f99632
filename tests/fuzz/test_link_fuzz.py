"""The fuzzer of the link: new inputs, the same each time, with the sanitizers; and that it would notice."""

import os
from pathlib import Path
from types import ModuleType

import pytest
from fuzz import build, run
from fuzz.same_inputs import fuzz_with_the_same

RUNS = 20_000 if os.environ.get("CI") else 5_000
SEND, WORD, FLUSH, CARRY, READ, HOSTILE = 0, 1, 2, 3, 4, 5


@pytest.fixture(scope="module")
def target() -> ModuleType:
    return build.load_module(build.LINK)


def test_an_input_becomes_records_that_cross(target: ModuleType) -> None:
    """A frame of 60 bytes, `loaded`, `vm-gone`; carried in pieces of 20 bytes; then what a stranger sends."""
    story = bytes([15]) + bytes([SEND, 0, 60, 0]) + bytes([WORD, 0x11, 0, 0, 8, 0])
    story += bytes([WORD, 0x17, 0, 0, 30, 0]) + bytes([FLUSH])
    story += bytes([READ, 20, 0]) * 7 + bytes([HOSTILE, 4]) + b"GET "
    assert target.run(story) == (None, 3)


def test_frames_beyond_the_bound_are_dropped_and_told(target: ModuleType) -> None:
    assert target.run(bytes([0]) + bytes([SEND, 0, 60, 0]) * 5 + bytes([FLUSH])) == (None, 0)
    assert target.run(bytes([2]) + bytes([SEND, 0, 60, 0]) * 5 + bytes([FLUSH])) == (None, 3)


@pytest.mark.timeout(900)
def test_new_inputs_break_nothing(tmp_path: Path) -> None:
    done = fuzz_with_the_same(build.LINK, RUNS, tmp_path / "kept")
    print(done.stderr[-3000:])
    assert done.returncode == 0, f"the input lies in {run.findings(build.LINK)}"
    assert f"stat::number_of_executed_units: {RUNS}" in done.stderr, "the fuzzer has not run to its end"
