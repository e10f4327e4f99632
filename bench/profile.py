"""Where the time goes: perf samples of our process alone, by function.

python -m bench.profile PAYLOAD FLOWS       the comparator alone
python -m bench.profile "colo-proxy, TAP"   live, one TCP stream; any way of bench.live but the bridge
"""

import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

from colo_lab import kernel

from .comparator import ENDS, OURS, PACKETS, serving
from .live import PORT, STREAM, way
from .tools import compiled


def record(pid: int, seconds: float, lines: int) -> str:
    """What `perf` saw of a process, in per cent. Raises CalledProcessError."""
    with TemporaryDirectory() as home:
        data = str(Path(home, "perf.data"))
        where = ["-p", str(pid), "-o", data]
        words = ["perf", "record", "-q", "-F", "1999", *where, "--", "sleep", str(seconds)]
        subprocess.run(words, check=True, capture_output=True)
        words = ["perf", "report", "-i", data, "--stdio", "-q", "--no-children", "--sort", "dso,symbol"]
        text = subprocess.run(words, check=True, capture_output=True, text=True).stdout
    kept = [line.rstrip(" -\t") for line in text.splitlines() if line.strip() and not line.startswith("#")]
    return "\n".join(kept[:lines]) + "\n"


def profile(payload: int, flows: int, seconds: float = 2.0, lines: int = 40) -> str:
    """The functions that took the most CPU time while the comparator was fed."""
    with serving(OURS) as (pid, paths):
        numbers = (pid, payload, flows, 1, 40 * PACKETS[payload])
        words = [*(paths[end] for end in ENDS), *map(str, numbers)]
        feeding = subprocess.Popen([compiled("load"), *words], stdout=subprocess.DEVNULL)
        try:
            time.sleep(0.7)  # what is being made ready is not of interest
            return record(pid, seconds, lines)
        finally:
            feeding.kill()
            feeding.wait()


def profile_live(name: str, seconds: float = 2.0, lines: int = 40) -> str:
    """The same while one TCP stream goes through what stands between. Raises LabError."""
    kernel.become_root()
    with way(name) as between:
        feeding = between.start("stream", between.host, PORT, "1", str(int(20 * seconds * STREAM)))
        try:
            time.sleep(0.5)
            return record(between.pid, seconds, lines)
        finally:
            feeding.kill()
            feeding.communicate()


if __name__ == "__main__":
    alone = len(sys.argv) == 3
    print(profile(int(sys.argv[1]), int(sys.argv[2])) if alone else profile_live(sys.argv[1]), end="")
