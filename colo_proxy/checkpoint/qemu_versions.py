"""Which QEMU versions have a COLO that works, by name, as measured with `x-colo` pairs.

- up to 7.2, TCG: the primary deadlocks inside a checkpoint; the COLO thread waits on a condition variable
  without QEMU's global lock (`tcg_log_global_after_sync`). KVM does not take that path.
- 10.0: the migration completes; the COLO state is never entered.
- 11.1: works.
"""

from enum import Enum
from typing import NamedTuple

REMEDY = "use QEMU 11.1 or newer (Debian 14 `forky`, or its packages in a chroot: docs/qemu.md)"

Version = tuple[int, int, int]


class Colo(Enum):
    """What is known of COLO in a version."""

    WORKS = "works"
    UNTESTED = "untested"
    BROKEN = "broken"


class Verdict(NamedTuple):
    """What is known and, unless it works, what to tell the operator: the fault and the remedy."""

    colo: Colo
    what: str = ""
    remedy: str = ""

    @property
    def text(self) -> str:
        """Fault and remedy in one line; empty when it works."""
        return f"{self.what}; {self.remedy}" if self.what else ""


def judge(version: Version, *, kvm: bool) -> Verdict:
    """Say whether COLO works in this QEMU with this accelerator (`kvm` false: TCG)."""
    name = f"QEMU {'.'.join(map(str, version))}"
    if version >= (11, 1, 0):
        return Verdict(Colo.WORKS)
    if version[:2] == (10, 0):
        what = f"{name} never enters the COLO state: its migration simply completes"
        return Verdict(Colo.BROKEN, what, REMEDY)
    if version < (8, 0, 0) and not kvm:
        what = f"{name} deadlocks inside a checkpoint without KVM"
        return Verdict(Colo.BROKEN, what, f"{REMEDY}, or KVM")
    return Verdict(Colo.UNTESTED, f"{name} has not been tried with COLO by this project", REMEDY)
