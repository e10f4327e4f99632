"""Debian as a source of parts: the mirror this machine uses, packages unpacked without installing them.

The mirror's address is asked of apt at run time, so what is written here holds on any
Debian-like machine.
"""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

CACHE = Path(os.environ.get("COLO_VM_CACHE") or Path(__file__).parents[2] / ".cache" / "vm")

# Commands the lab needs and the Debian package each comes from.
TOOLS = {
    "debootstrap": "debootstrap",
    "ip": "iproute2",
    "unshare": "util-linux",
    "nsenter": "util-linux",
    "apt-get": "apt",
    "dpkg-deb": "dpkg",
}


class LabError(Exception):
    """The lab cannot be built or started; the text says what is missing and what to do."""


_began = time.monotonic()


def say(text: str) -> None:
    """Write one line of progress, with the seconds since the start, to standard error."""
    print(f"[{time.monotonic() - _began:6.1f} s] {text}", file=sys.stderr, flush=True)


def run(command: Sequence[str], *, what: str, cwd: Path | None = None) -> str:
    """Run a command to its end and return its output; `LabError` with its last lines when it fails."""
    done = subprocess.run(
        command, cwd=cwd, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False
    )
    if done.returncode:
        tail = "\n".join(done.stdout.splitlines()[-8:])
        raise LabError(f"{what}: `{' '.join(command)}` ended with {done.returncode}:\n{tail}")
    return done.stdout


def need(*tools: str) -> None:
    """Make sure that these commands exist, installing their packages when root.

    Raises `LabError` naming the missing packages when they cannot be installed.
    """
    missing = sorted({TOOLS[tool] for tool in tools if shutil.which(tool) is None})
    if not missing:
        return
    names = " ".join(missing)
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        raise LabError(f"missing: {names}. Install with: apt-get install {names}")
    say(f"installing {names}, which this machine lacks")
    run(["apt-get", "update", "-qq"], what="package lists")
    run(["apt-get", "install", "-y", "-qq", "--no-install-recommends", *missing], what=f"installing {names}")


def mirror() -> str:
    """The address of the Debian archive in this machine's own apt sources."""
    targets = run(
        ["apt-get", "indextargets", "--format", "$(ORIGIN)|$(COMPONENT)|$(CODENAME)|$(REPO_URI)"],
        what="reading apt's sources",
    )
    for line in targets.splitlines():
        origin, component, codename, address = line.split("|", 3)
        if origin == "Debian" and component == "main" and "-" not in codename:
            return address
    raise LabError("apt's sources name no Debian archive with lists: run apt-get update")


def unpack(package: str, into: Path) -> None:
    """Download a package of the machine's own release and unpack its files into a directory."""
    into.mkdir(parents=True, exist_ok=True)
    run(["apt-get", "download", "-qq", package], what=f"downloading {package}", cwd=into)
    for archive in into.glob(f"{package}_*.deb"):
        run(["dpkg-deb", "-x", str(archive), str(into)], what=f"unpacking {package}")
        archive.unlink()


def depends(package: str) -> list[str]:
    """What a package depends on, by name (a metapackage's real ones)."""
    lines = run(["apt-cache", "depends", package], what=f"looking up {package}").splitlines()
    return [line.split(":", 1)[1].strip() for line in lines if line.strip().startswith("Depends:")]
