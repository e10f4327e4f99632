"""Everything at once, for demo, tests and bench: network, VMs, the proxy between them, clients."""

import asyncio
import json
import re
import sys
from contextlib import AsyncExitStack
from pathlib import Path
from types import TracebackType
from typing import Any

from colo_proxy.control.client import Client
from colo_proxy.errors import ControlError

from . import guest
from .debian import LabError
from .network import Network
from .pair import Pair, kvm_works
from .qemu import Qemu, find

HEAD_BYTES = 100  # where a Date header that differs lies, in what httpd answers
URL = f"http://{guest.ADDRESS}"

CONFIG = """
[proxy]
name = "vm"
control = "{home}/colo.sock"
metrics = ""

[[nic]]
uplink = "tap:colo0,bridge=br0"
primary = "packet:{pvm}0"
secondary = {secondary}

[compare]
timeout_ms = {timeout_ms}

[checkpoint]
vmm = "qmp"
primary = "unix:{home}/{pvm}.qmp"
secondary = "unix:{home}/{svm}.qmp"
period_ms = 0

[log]
level = "debug"
"""


class Stage:
    """Async context manager: the parts are built. `pair.start`, `start_proxy`, `pair.protect` do the rest."""

    qemu: Qemu
    accel: str
    network: Network
    pair: Pair

    async def __aenter__(self) -> "Stage":
        self._stack = AsyncExitStack()
        try:
            self.qemu, kernel = find(), guest.build()
            self.network = self._stack.enter_context(Network())
            self.accel = "kvm" if await kvm_works(self.qemu, kernel, self.network) else "tcg"
            self.pair = await self._stack.enter_async_context(
                Pair(self.qemu, kernel, self.network, self.accel)
            )
        except BaseException:
            await self._stack.aclose()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.aclose()

    @property
    def home(self) -> Path:
        """The directory of the run's sockets and logs; removed at the end."""
        return self.pair.directory

    async def start_proxy(self, timeout_ms: str = '"auto"', secondary: str = "") -> None:
        """Run `colo-proxy run` between TAPs (or this `secondary`) and bridge; arguments as TOML has them."""
        config = self.home / "vm.toml"
        pvm, svm = self.pair.names
        secondary = secondary or f'"packet:{svm}0"'
        config.write_text(
            CONFIG.format(home=self.home, pvm=pvm, svm=svm, timeout_ms=timeout_ms, secondary=secondary)
        )
        command = [sys.executable, "-m", "colo_proxy.cli.main", "run", str(config)]
        self.log = self.home / "proxy.log"
        with self.log.open("wb") as log:
            self.proxy = await asyncio.create_subprocess_exec(
                *self.network.inside(self.network.host, *command), stdout=log, stderr=log
            )
        self._stack.push_async_callback(self.end_proxy)
        await self.until_state("protected", "unprotected", "requested")

    async def end_proxy(self) -> None:
        """SIGTERM, as `systemctl stop` does."""
        if self.proxy.returncode is None:
            self.proxy.terminate()
            try:
                await asyncio.wait_for(self.proxy.wait(), 5)
            except TimeoutError:
                self.proxy.kill()
                await self.proxy.wait()

    def status(self) -> dict[str, Any]:
        """The proxy's `query-status`. Raises `ControlError` when it does not answer."""
        with Client(str(self.home / "colo.sock")) as client:
            answer: dict[str, Any] = client.execute("query-status")
            return answer

    def checkpoints(self) -> int:
        """How many there have been so far."""
        count: int = self.status()["checkpoints"]
        return count

    def aligned(self) -> list[str]:
        """The flows that the proxy aligns: a restart after a failover would lose them."""
        with Client(str(self.home / "colo.sock")) as client:
            return [flow["flow"] for flow in client.execute("query-flows") if flow["seq_offset"]]

    def surprises(self) -> list[str]:
        """Divergences so far that the service does not explain, from the proxy's log.

        busybox's httpd writes a Date header into each answer, so PVM and SVM truly differ when they answer
        on different sides of a second.
        """
        said = self.log.read_text(errors="replace")
        found = re.findall(r"divergence: (\S+) at byte ([\d,]+)", said)
        return [
            f"{reason} at byte {at}"
            for reason, at in found
            if reason != "payload" or int(at.replace(",", "")) >= HEAD_BYTES
        ]

    def said(self) -> str:
        """The end of what the proxy, the SVM's QEMU and its guest have written."""
        return self.log.read_text(errors="replace")[-3000:] + self.pair.svm.said()

    async def until_state(self, *states: str, seconds: float = 20) -> None:
        """Wait until the proxy is in one of these states. Raises `LabError` with its log."""
        seen = "no answer"
        end = asyncio.get_running_loop().time() + seconds
        while asyncio.get_running_loop().time() < end and self.proxy.returncode is None:
            try:
                seen = self.status()["state"]
            except ControlError as error:
                seen = str(error)
            if seen in states:
                return
            await asyncio.sleep(0.02)
        said = self.log.read_text(errors="replace")[-3000:]
        raise LabError(f"the proxy is not {' or '.join(states)} but: {seen}\n{said}")

    async def client(self, url: str, *arguments: str) -> asyncio.subprocess.Process:
        """Start a client (client.py) in the client namespace."""
        script = str(Path(__file__).with_name("client.py"))
        command = self.network.inside(self.network.client, sys.executable, script, url, *arguments)
        return await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)

    async def fetch(self, path: str, *arguments: str, seconds: float = 60) -> list[dict[str, Any]]:
        """Have a client fetch a path of the guest and give what it reports."""
        process = await self.client(URL + path, *arguments)
        try:
            out, _ = await asyncio.wait_for(process.communicate(), seconds)
        except TimeoutError:
            process.kill()
            raise LabError(f"the client got no end of {path} within {seconds:g} s") from None
        return [json.loads(line) for line in out.splitlines() if line.startswith(b"{")]
