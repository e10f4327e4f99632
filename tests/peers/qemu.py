"""QEMU's own colo-compare: the object alone, in a QEMU without a machine."""

from pathlib import Path
from typing import Any

from .scenarios import SCAN_MS
from .sockets import Comparator


class ColoCompare(Comparator):
    """One QEMU with one colo-compare. `qemu`: how to start it."""

    def __init__(self, qemu: list[str], directory: Path, **settings: Any) -> None:
        super().__init__(directory, **settings)
        self._qemu = qemu

    def command(self, paths: dict[str, str]) -> list[str]:
        words = [*self._qemu, "-machine", "none", "-nodefaults", "-nographic", "-object", "iothread,id=io"]
        for end, path in paths.items():
            words += ["-chardev", f"socket,id={end},path={path},server=on,wait=off"]
        return [
            *words,
            "-object",
            "colo-compare,id=compare,primary_in=primary,secondary_in=secondary,outdev=out,iothread=io,"
            f"notify_dev=notify,compare_timeout={self.timeout_ms},expired_scan_cycle={SCAN_MS}"
            + (",vnet_hdr_support=on" if self.vnet else ""),
        ]
