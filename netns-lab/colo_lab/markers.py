"""Run markers: how leftovers of a crashed run are told from everything else on the machine.

A run is a directory `/tmp/colo-lab-CHECKOUT-XXXXXXXX` with a file `owner.json` that names the process that
made it (pid, its start time, the boot), and an environment variable that every process of the run carries.
CHECKOUT is a digest of the path of this checkout: `up`, `down` and `exec` see the labs of their own checkout
alone. A run whose owner is gone, of whatever checkout, is swept: its processes are killed, its directory is
removed. TMPDIR does not count, since two terminals may differ in it; COLO_LAB_DIRECTORY names another place.
Namespaces and links need no sweeping: they end with the processes.
Nothing without both marks is ever touched.
"""

import hashlib
import json
import os
import shutil
import signal
import tempfile
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from .waiting import Deadline, wait_readable

PREFIX = "colo-lab-"
VARIABLE = "COLO_LAB_RUN"
PACKAGE_ROOT = Path(__file__).resolve().parent.parent
CHECKOUT = hashlib.sha256(os.fsencode(PACKAGE_ROOT)).hexdigest()[:8]
_OWNER = "owner.json"


@dataclass(frozen=True, slots=True)
class Owner:
    """A process, named so that a later one with the same number is not mistaken for it."""

    pid: int
    start: int  # clock ticks since boot, field 22 of /proc/PID/stat
    boot: str

    @classmethod
    def of(cls, pid: int) -> Self:
        """Raises FileNotFoundError or ProcessLookupError when there is no such process."""
        stat = Path(f"/proc/{pid}/stat").read_text()
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return cls(pid, int(stat.rpartition(")")[2].split()[19]), boot)

    @property
    def alive(self) -> bool:
        try:
            return Owner.of(self.pid) == self
        except (FileNotFoundError, ProcessLookupError):
            return False


class Run:
    """One run of the lab: a directory for its sockets, configuration and logs, removed at the end."""

    def __init__(self) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix=f"{PREFIX}{CHECKOUT}-", dir=_place()))
        self.id = self.directory.name.removeprefix(PREFIX)
        (self.directory / _OWNER).write_text(json.dumps(asdict(Owner.of(os.getpid()))))

    @property
    def environment(self) -> dict[str, str]:
        """The environment for a process of this run: marked, and able to import the lab."""
        path = os.pathsep.join(filter(None, (str(PACKAGE_ROOT), os.environ.get("PYTHONPATH"))))
        return {**os.environ, VARIABLE: self.id, "PYTHONPATH": path}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        _kill(_processes(self.id))
        shutil.rmtree(self.directory, ignore_errors=True)


def _place() -> Path:
    return Path(os.environ.get("COLO_LAB_DIRECTORY", "/tmp"))


def runs(checkout: str = "") -> list[tuple[Path, Owner]]:
    """The run directories of this user, of all checkouts or of one, with their owners; oldest first."""
    found = []
    for directory in _place().glob(f"{PREFIX}{checkout}*"):
        with suppress(OSError, ValueError, TypeError):
            if directory.is_symlink() or directory.stat().st_uid != os.geteuid():
                continue
            owner = Owner(**json.loads((directory / _OWNER).read_text()))
            found.append((directory.stat().st_mtime, directory, owner))
    return [(directory, owner) for _, directory, owner in sorted(found, key=lambda item: item[0])]


def sweep() -> list[str]:
    """Remove what crashed runs left; returns one line for each run."""
    removed = []
    for directory, owner in runs():
        if owner.alive:
            continue
        killed = _kill(_processes(directory.name.removeprefix(PREFIX)))
        shutil.rmtree(directory, ignore_errors=True)
        removed.append(f"{directory}: removed, {killed} processes killed")
    return removed


def _processes(run: str) -> list[int]:
    """Pid descriptors of the processes that carry the mark of this run, save the caller."""
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        with suppress(OSError):
            fd = os.pidfd_open(int(entry.name))
            if _carries(entry, run):  # read after the descriptor: the number cannot have changed hands
                found.append(fd)
            else:
                os.close(fd)
    return found


def _carries(process: Path, run: str) -> bool:
    with suppress(OSError):
        return f"{VARIABLE}={run}".encode() in (process / "environ").read_bytes().split(b"\0")
    return False


def _kill(processes: list[int]) -> int:
    """Kill these processes, wait until they are gone, close their descriptors; returns how many."""
    for fd in processes:
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(fd, signal.SIGKILL)
    for fd in processes:
        wait_readable(fd, Deadline(5), "a process of the lab does not die")
        os.close(fd)
    return len(processes)
