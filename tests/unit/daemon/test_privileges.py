"""Capabilities, in a child process, since they do not come back."""

import os
import subprocess
import sys

import pytest

CODE = """
import threading
from colo_proxy.daemon import privileges
privileges.drop()
def status():
    print(open("/proc/thread-self/status").read())
thread = threading.Thread(target=status); thread.start(); thread.join()
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, which has capabilities to drop")
def test_only_what_is_needed_stays_and_threads_inherit_it() -> None:
    done = subprocess.run(
        [sys.executable, "-c", CODE], capture_output=True, text=True, check=True, timeout=30
    )
    fields = dict(line.split(":\t") for line in done.stdout.splitlines() if ":\t" in line)
    kept = 1 << 1 | 1 << 12 | 1 << 13
    for name in ("CapPrm", "CapEff"):
        value = int(fields[name], 16)
        assert value & ~kept == 0
        assert value & (1 << 12)
    assert fields["NoNewPrivs"] == "1"
