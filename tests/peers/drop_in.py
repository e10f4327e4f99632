"""`colo-proxy colo-compare`, in QEMU's place."""

import sys

from .scenarios import SCAN_MS
from .sockets import Comparator


class DropIn(Comparator):
    """One of it."""

    def command(self, paths: dict[str, str]) -> list[str]:
        ends = {"primary": "primary-in", "secondary": "secondary-in", "out": "outdev", "notify": "notify-dev"}
        words = [sys.executable, "-m", "colo_proxy.cli.main", "colo-compare"]
        for end, path in paths.items():
            words += [f"--{ends[end]}", f"unix:{path}"]
        words += ["--compare-timeout", str(self.timeout_ms), "--expired-scan-cycle", str(SCAN_MS)]
        return words + (["--vnet-hdr"] if self.vnet else [])
