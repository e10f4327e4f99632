"""A QEMU whose COLO works: the system's where its version is good, else one of a newer Debian in a chroot.

The chroot lives in the cache. Its bind mounts are made in a mount namespace of the QEMU
process itself, so nothing is left mounted whatever happens.
"""

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import NamedTuple

from colo_proxy.checkpoint.qemu_versions import Colo, judge

from .debian import CACHE, LabError, mirror, need, run, say

SUITE = "forky"  # Debian 14, which has QEMU 11
BINARY = "qemu-system-x86_64"


class Qemu(NamedTuple):
    """A QEMU that can be started: `command(shared)` begins its command line."""

    version: tuple[int, int, int]
    chroot: Path | None

    def command(self, shared: Path) -> list[str]:
        """The first words of a command line; the process sees the directory `shared` under its own path."""
        if self.chroot is None:
            return [BINARY]
        # `exec` all the way: the process id that is started is QEMU's own.
        script = (
            "set -e; root=$1 shared=$2; shift 2; "
            'for dir in /dev /proc /sys; do mount --rbind "$dir" "$root$dir"; done; '
            'mkdir -p "$root$shared"; mount --bind "$shared" "$root$shared"; '
            f'exec chroot "$root" {BINARY} "$@"'
        )
        private = ["unshare", "--mount", "--propagation", "private"]
        return [*private, "sh", "-c", script, "qemu", str(self.chroot), str(shared)]

    def __str__(self) -> str:
        where = f"Debian {SUITE} in a chroot" if self.chroot else "the system's"
        return f"QEMU {'.'.join(map(str, self.version))} ({where})"


def _version(command: list[str]) -> tuple[int, int, int] | None:
    try:
        done = subprocess.run([*command, "--version"], capture_output=True, text=True, check=False)
    except OSError:
        return None
    found = re.search(r"version (\d+)\.(\d+)\.(\d+)", done.stdout)
    return (int(found[1]), int(found[2]), int(found[3])) if found else None


def bare() -> tuple[list[str], str]:
    """A QEMU of whatever version for its `colo-compare` object alone: command and version.

    No VM and no COLO state are needed for that. In a chroot it sees the directory `CACHE`.
    """
    system = _version([BINARY])
    qemu = Qemu(system, None) if system else find()
    return qemu.command(CACHE), ".".join(map(str, qemu.version))


def find() -> Qemu:
    """The system's QEMU when its COLO works, else the cached chroot's, built first where there is none.

    Raises `LabError` when the chroot would be needed and cannot be built.
    """
    system = _version([BINARY])
    if system is not None and judge(system, kvm=False).colo is Colo.WORKS:
        return Qemu(system, None)
    root = CACHE / SUITE
    version = _version(["chroot", str(root), BINARY])
    if version is None:
        _build(root, system)
        version = _version(["chroot", str(root), BINARY])
    if version is None:
        raise LabError(f"the QEMU in {root} does not start; remove that directory to build it again")
    return Qemu(version, root)


def _build(root: Path, system: tuple[int, int, int] | None) -> None:
    have = f"this system's is {'.'.join(map(str, system))}" if system else "this system has none"
    if os.geteuid() != 0:
        raise LabError(
            f"a QEMU with a working COLO is needed ({have}). As root one is built in {root}; "
            f"or install QEMU 11.1 or newer"
        )
    need("debootstrap", "unshare")
    say(f"QEMU: {have}; building a Debian {SUITE} in {root} (about a minute, 500 MB)")
    scratch = root.with_suffix(".part")
    shutil.rmtree(scratch, ignore_errors=True)
    # debootstrap of an older Debian has no script of this name; they are all links to sid's.
    script = Path("/usr/share/debootstrap/scripts") / SUITE
    if not script.exists():
        script = script.with_name("sid")
    command = ["debootstrap", "--variant=minbase", SUITE, str(scratch), mirror(), str(script)]
    run(command, what=f"debootstrap {SUITE}")
    say("QEMU: installing qemu-system-x86 in it")
    install = "apt-get install -y -qq --no-install-recommends qemu-system-x86 && apt-get clean"
    quiet = ["env", "DEBIAN_FRONTEND=noninteractive"]
    run(["chroot", str(scratch), *quiet, "sh", "-c", install], what="installing QEMU")
    scratch.rename(root)
