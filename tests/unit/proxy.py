"""A whole control plane around a fake data path, for tests."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fakes.engine import FakeEngine

from colo_proxy import config
from colo_proxy.control.client import Client
from colo_proxy.daemon import run as daemon
from colo_proxy.endpoints import Unix
from colo_proxy.host.listening import listen
from colo_proxy.telemetry.metrics import MetricsServer

NIC = '[[nic]]\nuplink = "packet:up0"\nprimary = "packet:pvm0"\nsecondary = "packet:svm0"\n'


@dataclass
class Running:
    """A proxy that runs in this event loop; the blocking client goes to a thread."""

    engine: FakeEngine
    socket: str
    config: config.Config
    task: "asyncio.Task[None]"
    metrics: MetricsServer | None

    async def execute(self, command: str, **arguments: object) -> Any:
        def call() -> Any:
            with Client(self.socket) as client:
                return client.execute(command, **arguments)

        return await asyncio.to_thread(call)

    async def events(self, *wanted: str) -> "Events":
        events = Events(self.socket, wanted)
        await events.open()
        return events


class Events:
    """A client that collects the events of these names."""

    def __init__(self, path: str, wanted: tuple[str, ...]) -> None:
        self._path, self._wanted = path, wanted
        self.client: Client | None = None

    async def open(self) -> None:
        self.client = await asyncio.to_thread(Client, self._path)

    async def next(self) -> dict[str, Any]:
        assert self.client
        stream = self.client.events(10)
        while True:
            event = await asyncio.to_thread(next, stream)
            if event["event"] in self._wanted:
                return {"event": event["event"], **event["data"]}

    def close(self) -> None:
        if self.client:
            self.client.close()


@contextlib.asynccontextmanager
async def running(
    directory: Path,
    text: str = "",
    *,
    engine: FakeEngine | None = None,
    metrics: bool = False,
    reports: Path | str = "",
    max_reports: int = 100,
) -> AsyncIterator[Running]:
    """Start a proxy; `text` is its configuration below `[proxy]` and the one NIC."""
    path = directory / "ctl.sock"
    proxy = f'[proxy]\nname = "web1"\ncontrol = "{path}"\nmetrics = ""\n'
    proxy += f'reports = "{reports}"\nmax_reports = {max_reports}\n'
    read = config.parse(proxy + NIC + text, directory / "web1.toml")
    engine = engine or FakeEngine()
    server = MetricsServer(("127.0.0.1", 0)) if metrics else None
    opened = contextlib.ExitStack()
    sockets = opened.enter_context(daemon.open_sockets(read))
    task = asyncio.create_task(
        daemon.serve(read, engine, listen(Unix(str(path))), server, sockets, packets={})
    )
    while not task.done():
        try:
            (await asyncio.to_thread(Client, str(path))).close()
            break
        except Exception:
            await asyncio.sleep(0.01)
    proxy_running = Running(engine, str(path), read, task, server)
    try:
        yield proxy_running
    finally:
        if not task.done():
            with contextlib.suppress(Exception):
                await proxy_running.execute("quit")
        with contextlib.suppress(Exception):
            await asyncio.wait_for(task, 10)
        opened.close()
        if server:
            server.close()
