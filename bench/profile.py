"""Where the time goes: perf samples of our process alone, by function.

python -m bench.profile PAYLOAD FLOWS
"""

import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

from .comparator import ENDS, OURS, PACKETS, serving
from .tools import compiled


def profile(payload: int, flows: int, seconds: float = 2.0, lines: int = 40) -> str:
    """The functions that took the most CPU time while the comparator was fed, in per cent."""
    with TemporaryDirectory() as home, serving(OURS) as (pid, paths):
        numbers = (pid, payload, flows, 1, 40 * PACKETS[payload])
        words = [*(paths[end] for end in ENDS), *map(str, numbers)]
        feeding = subprocess.Popen([compiled("load"), *words], stdout=subprocess.DEVNULL)
        try:
            time.sleep(0.7)  # what is being made ready is not of interest
            data = str(Path(home, "perf.data"))
            where = ["-p", str(pid), "-o", data]
            subprocess.run(
                ["perf", "record", "-q", "-F", "1999", *where, "--", "sleep", str(seconds)],
                check=True,
                capture_output=True,
            )
        finally:
            feeding.kill()
            feeding.wait()
        words = ["perf", "report", "-i", data, "--stdio", "-q", "--no-children", "--sort", "dso,symbol"]
        text = subprocess.run(words, check=True, capture_output=True, text=True).stdout
    kept = [line.rstrip() for line in text.splitlines() if line.strip() and not line.startswith("#")]
    return "\n".join(kept[:lines]) + "\n"


if __name__ == "__main__":
    print(profile(int(sys.argv[1]), int(sys.argv[2])), end="")
