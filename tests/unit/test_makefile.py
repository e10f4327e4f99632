"""What a target of the Makefile installs: a demo needs no tools for tests."""

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.skipif(not shutil.which("make"), reason="there is no make")
@pytest.mark.parametrize(
    ("target", "installed"),
    [
        ("demo", ["--editable ."]),
        ("lab-up", ["--editable ."]),
        ("test", ["--editable .", "--editable '.[dev]'"]),
    ],
)
def test_what_a_target_installs(target: str, installed: list[str]) -> None:
    """As where pyproject.toml has changed, and nothing is run."""
    command = ["make", "--dry-run", "--what-if", "pyproject.toml", target]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    lines = [line for line in done.stdout.splitlines() if "pip install" in line]
    assert [line[line.index("--editable") :] for line in lines if "--editable" in line] == installed
    assert not any("--quiet" in line for line in lines if line.endswith("--editable ."))
