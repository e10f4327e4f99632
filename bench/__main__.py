"""Measure everything that needs no VM and write bench/results/: tables, a picture, profiles.

python -m bench [--rounds N] [--quick] [--into DIRECTORY]
"""

import argparse
import shutil
import sys
import time
from pathlib import Path

from colo_lab.errors import LabError as NoLab
from colo_vm.debian import LabError as NoQemu
from colo_vm.debian import say
from colo_vm.qemu import bare

from . import comparator, growth, live, plot, profile
from .comparator import CONTENDERS, FLOWS, OURS, PAYLOADS, QEMU
from .tools import RESULTS, load

PROFILED = ((10, 64), (10, 100_000), (1448, 64), (60000, 64))  # payload, flows
LIVE = {
    live.CEILING: "profile-live-forwarder.txt",
    live.PACKET: "profile-live-packet.txt",
    live.TAP: "profile-live-tap.txt",
}
SHARE = 0.02  # of the packets, for a quick look


def contenders() -> tuple[tuple[str, ...], str]:
    """Who takes part in the comparator's table, and what to say of QEMU."""
    try:
        return tuple(CONTENDERS), f"QEMU {bare()[1]}"
    except NoQemu as error:
        return tuple(name for name in CONTENDERS if name != QEMU), f"QEMU is missing: {error}"


def running(rounds: int, seconds: float) -> tuple[live.Live | None, str]:
    """The live results and their text, or none and why."""
    try:
        results = live.measure(rounds, seconds=seconds)
    except NoLab as error:
        return None, f"Not measured: {error}\n"
    return results, live.report(results)


def profiles(into: Path, seconds: float) -> str:
    """Write where the time goes, a file each; returns what to say of them."""
    if shutil.which("perf") is None:
        return "No profiles: perf is missing (Debian: apt install linux-perf).\n"
    names = []
    for payload, flows in PROFILED:
        name = f"profile-{payload}-{flows}.txt"
        (into / name).write_text(profile.profile(payload, flows, seconds))
        names.append(f"[{payload:,} bytes, {flows:,} flows]({name})")
        say(f"profile, {payload} bytes, {flows} flows: done")
    text = "Where the comparator's time goes (perf, by function): " + ", ".join(names) + ".\n"
    names = []
    for way, name in LIVE.items():
        try:
            (into / name).write_text(profile.profile_live(way, seconds))
        except NoLab as error:
            return f"{text}\nNone of the live proxy: {error}\n"
        names.append(f"[{way}]({name})")
        say(f"profile, {way}: done")
    return text + "\nAnd live, with one TCP stream: " + ", ".join(names) + ".\n"


def main() -> int:
    parser = argparse.ArgumentParser(prog="bench", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5, help="medians are of so many (5)")
    parser.add_argument("--quick", action="store_true", help="few packets, to see that it works")
    parser.add_argument("--into", type=Path, default=RESULTS, help="where the results go")
    arguments = parser.parse_args()
    into, rounds = arguments.into, 1 if arguments.quick else arguments.rounds
    share, seconds = (SHARE, 0.2) if arguments.quick else (1.0, 1.0)
    into.mkdir(parents=True, exist_ok=True)
    names, qemu = contenders()
    began, busy = time.strftime("%Y-%m-%d %H:%M"), load()
    alone = comparator.measure(
        rounds,
        share=share,
        contenders=names,
        payloads=PAYLOADS[:1] if arguments.quick else PAYLOADS,
        flows=FLOWS[:2] if arguments.quick else FLOWS,
    )
    grown = growth.measure(rounds, share=share, flows=(1, 1000) if arguments.quick else growth.FLOWS)
    flooded = growth.flood(growth.FLOOD if share == 1 else 10_000)
    results, live_text = running(rounds, seconds)
    sections = [
        f"# Results\n\n{began}; medians of {rounds}; {qemu}; before: {busy}; after: {load()}.\n",
        "![all of it](results.png)\n",
        f"## Comparator alone\n\n{comparator.report(alone)}",
        f"## Growth\n\n{OURS}, {growth.PAYLOAD} bytes of payload.\n\n{growth.report(grown, flooded)}",
        f"## Live in namespaces\n\n{live_text}",
        f"## Profiles\n\n{profiles(into, 4 * seconds)}",
    ]
    (into / "results.md").write_text("\n".join(sections))
    plot.draw(into / "results.png", alone, grown, results)
    say(f"written: {into / 'results.md'} and results.png")
    return 0


if __name__ == "__main__":
    sys.exit(main())
