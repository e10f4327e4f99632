"""What the tests of both fuzz targets do: a short run of libFuzzer, with the same inputs each time."""

import os
import subprocess
from pathlib import Path

import pytest
from fuzz import build, run


def fuzz_with_the_same(target: build.Target, runs: int, kept: Path) -> "subprocess.CompletedProcess[str]":
    """Run libFuzzer with the address and undefined-behaviour sanitizers; `kept` receives inputs.

    Skips where there is no clang; in CI that is a failure.
    """
    try:
        words = run.command(run.the_same(runs), kept, target)
    except build.MissingToolError as error:
        if os.environ.get("CI"):
            pytest.fail(f"CI must fuzz: {error}")
        pytest.skip(str(error))
    return subprocess.run(
        words, check=False, env=build.environment(), capture_output=True, text=True, errors="replace"
    )
