"""PVM and SVM: two unmodified QEMUs with plain TAPs, brought into the COLO state over QMP.

Each VM has two QMP sockets: one for the proxy and one for the lab, since a QMP socket serves
one client. No filter objects, no disks: the guest lives in its initramfs.
"""

import asyncio
import logging
import os
import shutil
import signal
import tempfile
import time
from collections.abc import Callable
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from types import TracebackType

from qemu.qmp import QMPClient, QMPError

from . import guest
from .debian import CACHE, LabError, say
from .network import Network
from .qemu import Qemu

logging.getLogger("qemu.qmp").setLevel(logging.CRITICAL)  # a VM killed on purpose is no news

MEMORY_MB = 256


class Vm:
    """One QEMU process. `qmp` is the socket kept free for the proxy; `execute` uses the lab's own."""

    def __init__(self, name: str, directory: Path) -> None:
        self.name = name
        self.qmp = directory / f"{name}.qmp"
        self.console = directory / f"{name}.console"
        self.log = directory / f"{name}.log"
        self.process: asyncio.subprocess.Process | None = None
        self.events: list[tuple[float, str]] = []  # wall-clock seconds and the event's name
        self._lab = directory / f"{name}.lab.qmp"
        self._client = QMPClient(name)
        self._client.events.accept = self._note  # type: ignore[method-assign]

    def _note(self, event: object) -> bool:
        assert hasattr(event, "__getitem__")
        stamp = event["timestamp"]
        self.events.append((stamp["seconds"] + stamp["microseconds"] / 1e6, event["event"]))
        return False  # qemu.qmp keeps what a listener accepts for ever

    async def start(self, command: list[str], extra: list[str]) -> None:
        """Start QEMU and connect the lab's QMP socket."""
        sockets = []
        for path, name in ((self.qmp, "proxy"), (self._lab, "lab")):
            sockets += ["-chardev", f"socket,id={name},path={path},server=on,wait=off"]
            sockets += ["-mon", f"chardev={name},mode=control"]
        console = ["-chardev", f"file,id=console,path={self.console}", "-serial", "chardev:console"]
        with self.log.open("wb") as log:
            self.process = await asyncio.create_subprocess_exec(
                *command, *sockets, *console, *extra, stdin=asyncio.subprocess.DEVNULL, stdout=log, stderr=log
            )
        await self.until(self._lab.exists, 20, "the QMP socket")
        end = time.monotonic() + 20
        while True:
            try:
                await self._client.connect(str(self._lab))
                return
            except QMPError:  # bound and not yet listening, or already gone: `until` knows which
                await self.until(lambda: True, 1, "the QMP socket")
                if time.monotonic() > end:
                    raise
                await asyncio.sleep(0.02)

    async def execute(self, command: str, **arguments: object) -> object:
        """One QMP command; argument names with `_` for `-`."""
        named = {key.replace("_", "-"): value for key, value in arguments.items()}
        return await asyncio.wait_for(self._client.execute(command, named), 20)

    async def until(self, true: Callable[[], object], seconds: float, what: str) -> None:
        """Wait for a condition; `LabError` with QEMU's own output when it does not come or QEMU ends."""
        end = time.monotonic() + seconds
        while (dead := self.process is not None and self.process.returncode is not None) or not true():
            if dead or time.monotonic() > end:
                why = "QEMU ended" if dead else f"none after {seconds} s"
                raise LabError(f"{self.name}: waiting for {what}: {why}\n{self.said()}")
            await asyncio.sleep(0.02)

    def said(self) -> str:
        """The end of what QEMU and its guest have written."""
        return self.log.read_text(errors="replace")[-2000:] + self._tail()

    def _tail(self) -> str:
        return self.console.read_text(errors="replace")[-1000:] if self.console.exists() else ""

    def ready(self) -> bool:
        """Whether the guest has finished its start."""
        return "GUEST READY" in self._tail()

    def kill(self) -> None:
        """SIGKILL, as a host's death looks from the other side."""
        if self.process is not None and self.process.returncode is None:
            os.kill(self.process.pid, signal.SIGKILL)

    async def end(self) -> None:
        """Kill and reap."""
        self.kill()
        if self.process is not None:
            await self.process.wait()
        with suppress(Exception):
            await self._client.disconnect()


def _arguments(accel: str, kernel: guest.Guest, tap: str) -> list[str]:
    return [
        *("-accel", accel, "-cpu", "host" if accel == "kvm" else "qemu64"),
        *("-m", str(MEMORY_MB), "-smp", "1", "-nodefaults", "-nographic"),
        *("-kernel", str(kernel.kernel), "-initrd", str(kernel.initramfs), "-append", guest.APPEND),
        *("-netdev", f"tap,id=hn0,ifname={tap},script=no,downscript=no,vhost=off"),
        *("-device", f"virtio-net-pci,netdev=hn0,mac={guest.MAC},romfile="),
    ]


class Pair:
    """Async context manager: `start`, `protect`, then use `pvm` and `svm`."""

    def __init__(self, qemu: Qemu, kernel: guest.Guest, network: Network, accel: str = "tcg") -> None:
        self.qemu, self.kernel, self.network, self.accel = qemu, kernel, network, accel
        self.pvm_extra: list[
            str
        ] = []  # more arguments for QEMU, for those who compare us with its own filters
        self.svm_extra: list[str] = []
        self.names = ("pvm", "svm")  # of the VM that is PVM and of the one that is SVM

    async def __aenter__(self) -> "Pair":
        self._stack = AsyncExitStack()
        CACHE.mkdir(parents=True, exist_ok=True)
        # Short, since a UNIX socket's path may have 107 bytes.
        self.directory = Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="colovm-")))
        for part in self.kernel:  # a chrooted QEMU sees this directory and no other
            shutil.copy(part, self.directory)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.aclose()

    async def _vm(self, name: str, extra: list[str]) -> Vm:
        vm = Vm(name, self.directory)
        self._stack.push_async_callback(vm.end)
        here = guest.Guest(*(self.directory / part.name for part in self.kernel))
        command = self.network.inside(self.network.host, *self.qemu.command(self.directory))
        await vm.start([*command, *_arguments(self.accel, here, f"{name}0")], extra)
        return vm

    async def start(self) -> None:
        """Start the PVM and wait until its guest serves."""
        self.pvm = await self._vm(self.names[0], self.pvm_extra)
        await self.pvm.until(self.pvm.ready, 120, "the guest to start")

    async def start_svm(self) -> str:
        """Start an SVM that waits for the state of a PVM; returns the migration address it listens on.

        A UNIX socket: over TCP each checkpoint takes 40 ms longer, QEMU's small messages
        waiting for delayed acknowledgements (seen with 11.1.2, Nagle's algorithm on).
        """
        name = self.names[1]
        address = f"unix:{self.directory / name}.migration"
        self.svm = await self._vm(name, ["-incoming", address, *self.svm_extra])
        return address

    async def exchange_roles(self) -> None:
        """After a failover: the SVM is the PVM now; the next SVM gets name and TAP of the dead PVM."""
        await self.pvm.end()
        end = time.monotonic() + 20
        while await mode(self.svm) != "none":  # told to take over, it leaves COLO some milliseconds later
            if time.monotonic() > end:
                raise LabError("the SVM does not leave the COLO state")
            await asyncio.sleep(0.05)
        self.pvm = self.svm
        self.names = self.names[::-1]

    async def protect(self, period_ms: int = 100_000) -> None:
        """Start an SVM and bring both into the COLO state. `period_ms`: QEMU's own idle checkpoints."""
        address = await self.start_svm()
        await colo(self.pvm, self.svm, address, period_ms)


async def mode(vm: Vm) -> str:
    """A VM's COLO mode: `none`, `primary` or `secondary`."""
    answer = await vm.execute("query-colo-status")
    return str(answer["mode"]) if isinstance(answer, dict) else ""


async def colo(primary: Vm, secondary: Vm, address: str, period_ms: int) -> None:
    """Bring two VMs into the COLO state; returns when both report it."""
    # x-colo is refused unless return-path is set in the same call, on both sides (QEMU 11.1).
    wanted = [{"capability": name, "state": True} for name in ("return-path", "x-colo")]
    for vm in (secondary, primary):
        await vm.execute("migrate-set-capabilities", capabilities=wanted)
    await primary.execute("migrate-set-parameters", x_checkpoint_delay=period_ms)
    await primary.execute("migrate", uri=address)
    end = time.monotonic() + 60
    while True:
        if [await mode(vm) for vm in (primary, secondary)] == ["primary", "secondary"]:
            return
        state = await primary.execute("query-migrate")
        status = state.get("status") if isinstance(state, dict) else state
        if status in {"failed", "completed", "cancelled"} or time.monotonic() > end:
            raise LabError(f"the pair did not enter the COLO state: the migration is {status!r}")
        await asyncio.sleep(0.05)


async def kvm_works(qemu: Qemu, kernel: guest.Guest, network: Network) -> bool:
    """Try whether a guest gets going with KVM here: /dev/kvm alone does not promise it.

    The answer is remembered until the machine's next start; a "no" only where TCG starts a guest in the same
    time, since a machine that is too busy for either has said nothing about KVM.
    """
    if not os.access("/dev/kvm", os.R_OK | os.W_OK):
        return False
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    known = CACHE / f"kvm-{boot}"
    if not known.exists():
        say("trying KVM")
        why = await _boots(qemu, kernel, network, "kvm")
        if why:
            say(f"KVM does not start a guest here; using TCG ({why})")
        if not why or not await _boots(qemu, kernel, network, "tcg"):
            known.write_text("no" if why else "yes")
            return not why
        return False
    return known.read_text() == "yes"


async def _boots(qemu: Qemu, kernel: guest.Guest, network: Network, accel: str) -> str:
    """Empty when a guest starts within 10 s, else the reason."""
    async with Pair(qemu, kernel, network, accel) as pair:
        try:
            vm = await pair._vm("pvm", [])
            await vm.until(vm.ready, 10, "the guest to start")
        except (LabError, QMPError) as error:
            return str(error).splitlines()[0]
    return ""
