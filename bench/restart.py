"""A restart of the proxy under traffic: a client's longest silence, and whether every byte is right.

    python -m bench.restart [--rounds N]

In the namespaces lab: a download through the proxy, in whose middle the proxy is stopped (SIGTERM) and
started again with the same configuration, as `systemctl restart` does. Then the same with SIGKILL. The new
proxy knows nothing, so it holds until the lab's VMM has made a checkpoint; TCP bridges the gap.
"""

import argparse
import statistics
import sys
import time
from collections import Counter

from colo_lab.errors import LabError
from colo_lab.kernel import become_root
from colo_lab.protected import Protected, protected
from colo_lab.replica.content import Content
from colo_lab.transfer import MIB, Transfer

SIZE = 512 * MIB


def restart(pair: Protected, how: str) -> tuple[float, float]:
    """Milliseconds of the client's longest silence, and from the stop to the new proxy's first commit."""
    with Transfer(pair.lab, pair.lab.topology.nics[0].url(f"/bytes/{SIZE}"), marks=MIB) as download:
        download.reach(SIZE // 8)
        before, began = len(pair.vmm.checkpoints), time.monotonic()
        pair.proxy.stop() if how == "SIGTERM" else pair.proxy.kill()
        pair.proxy.start()
        pair.vmm.wait(lambda vmm: len(vmm.checkpoints) > before, 15, "the checkpoint after the restart")
        took = time.monotonic() - began
        result = download.result(90)
    if result["sha256"] != Content().sha256(SIZE):
        raise LabError(f"{how}: a wrong byte: {result}")
    return result["gap"] * 1000, took * 1000


def shown(values: tuple[float, ...]) -> str:
    """Median and range."""
    return f"{statistics.median(values):.0f} ms ({min(values):.0f} to {max(values):.0f})"


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    try:
        become_root()
        with protected() as pair:
            for how in ("SIGTERM", "SIGKILL"):
                before = len(pair.vmm.checkpoints)
                silence, back = zip(*(restart(pair, how) for _ in range(arguments.rounds)), strict=True)
                reasons = Counter(checkpoint.reason for checkpoint in pair.vmm.checkpoints[before:])
                print(
                    f"{how}: {arguments.rounds} downloads of {SIZE // MIB} MiB, every byte right\n"
                    f"  longest silence of the client    {shown(silence)}\n"
                    f"  from the stop to the commit      {shown(back)}\n"
                    f"  checkpoints                      {dict(reasons)}"
                )
    except LabError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
