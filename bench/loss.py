"""Transfers over links that lose, reorder and duplicate frames, with the proxy and without.

    python -m bench.loss [--transfers N] [--size BYTES] [--seed N] [--keep DIRECTORY]

Two labs whose cables suffer the same in every direction (netns-lab/colo_lab/impairments.py). In one the
proxy protects a pair: six directions suffer. In the other the VM is on the bridge itself, so that a frame
meets the client's cable and the VM's. Downloads and uploads take turns in both, one connection at a time, and
every byte is checked. The replicas serve the same, so each checkpoint but the first is one too many. `--keep`
keeps the reports of the divergences, for `colo-proxy explain`.
"""

import argparse
import shutil
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path

from colo_lab.errors import LabError
from colo_lab.impairments import Impairments
from colo_lab.kernel import become_root
from colo_lab.lab import Lab
from colo_lab.protected import Protected, protected
from colo_lab.replica.content import Content
from colo_lab.topology import Uplink
from colo_lab.transfer import Transfer, uploaded
from colo_vm.debian import say

from .tools import load, median, number, quantile, table

DOWNLOAD, UPLOAD = "download", "upload"
BRIDGE, PROXY = "bridge", "colo-proxy"
PATIENCE = 600  # s, for a transfer
PATIENCE_MS = 3000  # for missing output, as QEMU's: what "auto" learns depends on what else the machine does
SHOWN: dict[str, Callable[[Sequence[float]], float]] = {
    "median": median,
    "95th percentile": lambda values: quantile(values, 0.95),
    "longest": max,
}
Samples = dict[tuple[str, str], list[float]]  # seconds, by kind of transfer and way


def transfer(lab: Lab, kind: str, size: int) -> float:
    """Seconds from the client's SYN to its last byte. Raises LabError where a byte is wrong."""
    path, post = (f"/bytes/{size}", -1) if kind == DOWNLOAD else ("/upload", size)
    with Transfer(lab, lab.topology.nics[0].url(path), post=post) as client:
        result = client.result(PATIENCE)
    if result["sha256"] != (Content().sha256(size) if kind == DOWNLOAD else uploaded(size)):
        raise LabError(f"a wrong {kind}: {result}")
    return float(result["seconds"])


def measure(labs: dict[str, Lab], transfers: int, size: int) -> Samples:
    """All transfers, by turns; who is first in a round changes."""
    samples: Samples = {}
    for turn in range(transfers):
        for kind in (DOWNLOAD, UPLOAD):
            for way in sorted(labs, reverse=bool(turn % 2)):
                samples.setdefault((kind, way), []).append(transfer(labs[way], kind, size))
        if (turn + 1) % 10 == 0:
            say(f"loss, {turn + 1} of {transfers}: done")
    return samples


def report(samples: Samples) -> str:
    """The times, in Markdown."""
    rows = []
    for kind in (DOWNLOAD, UPLOAD):
        for what, value in SHOWN.items():
            plain, ours = value(samples[kind, BRIDGE]), value(samples[kind, PROXY])
            rows.append(
                [f"{kind}, {what}, ms", number(plain * 1e3), number(ours * 1e3), number(ours / plain)]
            )
    return table(["", BRIDGE, PROXY, "ratio"], rows)


def checkpoints(pair: Protected) -> str:
    """What the proxy asked for, and why."""
    pair.vmm.settle()
    made = pair.vmm.checkpoints[1:]
    found = Counter(event["data"]["reason"] for event in pair.vmm.events if event["event"] == "DIVERGENCE")
    lines = [
        f"checkpoints: {len(made)} {dict(Counter(each.reason for each in made))}",
        f"divergences: {found.total()} {dict(found)}",
        *(f"  {each.reason}: {each.flow}, at {each.stream_offset}" for each in made),
    ]
    return "\n".join(lines)


def suffered(labs: dict[str, Lab]) -> str:
    """What the wires did, of all frames that were sent."""
    lines = []
    for way, lab in labs.items():
        assert lab.wires
        counts: Counter[str] = Counter()
        for hits in lab.wires.hits().values():
            counts.update(hits)
        lines.append(f"{way}: " + ", ".join(f"{count:,} {what}" for what, count in counts.items()))
    return "\n".join(lines)


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="bench.loss", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--transfers", type=int, default=100, help="of either kind and way (100)")
    parser.add_argument("--size", type=int, default=5_000_000, help="bytes of each (5,000,000)")
    parser.add_argument("--seed", type=int, default=1, help="of the faults (1)")
    for name, share in (("loss", 0.01), ("duplicates", 0.01), ("reordering", 0.02)):
        parser.add_argument(f"--{name}", type=float, default=share, help=f"a share of the frames ({share})")
    parser.add_argument("--keep", type=Path, help="a directory for the reports of divergences")
    given = parser.parse_args(argv)
    faults = Impairments(given.loss, given.duplicates, given.reordering, given.seed)
    before = load()
    try:
        become_root()
        with ExitStack() as stack:
            pair = stack.enter_context(
                protected(impairments=faults, reports=True, compare={"timeout_ms": PATIENCE_MS})
            )
            plain = stack.enter_context(Lab(uplink=Uplink.BRIDGE, impairments=faults))
            labs = {BRIDGE: plain, PROXY: pair.lab}
            samples = measure(labs, given.transfers, given.size)
            print(f"{given.transfers} downloads and uploads of {given.size:,} bytes; {faults}")
            print(f"before: {before}; after: {load()}\n\n{report(samples)}")
            print(f"{checkpoints(pair)}\n{suffered(labs)}")
            if given.keep:
                shutil.copytree(pair.lab.run.directory / "reports", given.keep, dirs_exist_ok=True)
    except LabError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
