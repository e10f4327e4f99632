"""`colo-proxy run`: puts the parts together, keeps them alive, and undoes everything in reverse order.

The order matters. What can be refused (configuration, socket, address, interfaces) comes first, each undone
by the exit stack if a later one fails; then privileges go; then threads start, which inherit what is left.
"""

import contextlib
import errno
import logging
import os
import socket
import time
from collections.abc import Coroutine, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import uvloop

from colo_proxy import __version__
from colo_proxy.checkpoint.adapter import Adapter
from colo_proxy.checkpoint.commands import FailedOver, RequestCheckpoint
from colo_proxy.checkpoint.control import Absent, Control
from colo_proxy.checkpoint.coordinator import Coordinator, DataPath, Occurrence, Watcher
from colo_proxy.checkpoint.machine import Machine, State
from colo_proxy.checkpoint.qmp import Qmp
from colo_proxy.checkpoint.xen import Xen
from colo_proxy.config import Config
from colo_proxy.control.handlers import VMM_WORDS, Commands, warn_of
from colo_proxy.control.server import MAX_CLIENTS, Server
from colo_proxy.daemon import privileges, service
from colo_proxy.daemon.reload import Reloader
from colo_proxy.daemon.running import Stop, tended, turning
from colo_proxy.endpoints import Split, Tap, Tcp, Unix, parts
from colo_proxy.engine.messages import PortFault
from colo_proxy.errors import HostError
from colo_proxy.host import descriptors
from colo_proxy.host.listening import listen, listening
from colo_proxy.host.packet_port import PacketPort
from colo_proxy.host.ports import PacketSocket, open_ports
from colo_proxy.host.socket_port import StreamPort
from colo_proxy.telemetry import event_log as events
from colo_proxy.telemetry import report_writer as reporting
from colo_proxy.telemetry.metrics import MAX_SCRAPES, MetricsServer
from colo_proxy.telemetry.stats import Totals
from colo_proxy.telemetry.storms import Storms
from colo_proxy.vocabulary import Divergence, Mode, Port

log = logging.getLogger("colo_proxy.daemon")

# Descriptors that are open at once, at most. An idle proxy with one NIC has 27; besides there are clients and
# scrapes at their bounds, one of each that is being refused, connections to VMMs, and files. Each port of a
# NIC has a listener, a peer, one that waits, and what the data path keeps.
_OPEN = 48 + MAX_CLIENTS + MAX_SCRAPES
_OPEN_BY_NIC = 16


def run(config: Config) -> None:
    """Run the proxy until SIGTERM, SIGINT or `quit`. Raises UserError where it cannot start or go on."""
    # Imported here: `colo-proxy check` reads this module's package without a compiled data path's needs.
    from colo_proxy.engine.engine import Engine  # noqa: PLC0415

    observe = config.checkpoint.vmm == "none"
    descriptors.provide(_OPEN + _OPEN_BY_NIC * len(config.nics))
    if config.proxy.reports:
        reporting.prove(config.proxy.reports)
    with ExitStack() as undo:
        mode = int(config.proxy.control_mode, 8)
        listener = listen(Unix(config.proxy.control), config.proxy.control_group, mode)
        undo.callback(_remove_socket, listener, config.proxy.control)
        metrics = None
        if config.proxy.metrics:
            metrics = MetricsServer(config.proxy.metrics)
            undo.callback(metrics.close)
        nics, packets = undo.enter_context(open_ports(config.nics))
        sockets = undo.enter_context(open_sockets(config))
        compare = config.compare.model_dump()
        if observe and "max_flow_bytes" not in config.compare.model_fields_set:
            # Nobody waits for the SVM, so one flow may have all there is to be ahead of it.
            compare["max_flow_bytes"] = config.compare.max_held_bytes
        engine = Engine(
            **compare,
            observe=observe,
            passthrough=observe,
            mode=Mode.COMPARE if observe else Mode.HOLD,
            seed=int.from_bytes(os.urandom(8), "little"),
        )
        for nic in nics:
            engine.add_nic(*nic)
        try:
            privileges.drop()
        except OSError as error:
            log.warning("capabilities could not be dropped: %s", error)
        uvloop.run(serve(config, engine, listener, metrics, sockets, packets=packets))


def _remove_socket(listener: socket.socket, path: str) -> None:
    if listener.fileno() >= 0:  # the server did not get to it
        listener.close()
        with contextlib.suppress(OSError):
            Path(path).unlink()


@dataclass(frozen=True, slots=True)
class ListeningPort:
    """A port that is a socket, or the one that is read (or, `out`, written) of two."""

    nic: int
    port: Port
    out: bool
    endpoint: Unix | Tcp
    listener: socket.socket


@dataclass(frozen=True, slots=True)
class Sockets:
    """What is listened on besides the control socket."""

    ports: Sequence["ListeningPort"] = ()
    notify_dev: socket.socket | None = None


@contextlib.contextmanager
def open_sockets(config: Config) -> Iterator[Sockets]:
    """Listen on the NICs' ports that are sockets, and for libxl. Raises HostError, with all undone."""
    with ExitStack() as opened:
        ports = [
            ListeningPort(index, port, out, endpoint, opened.enter_context(listening(endpoint)))
            for index, nic in enumerate(config.nics)
            for port, whole in zip(Port, nic.endpoints, strict=True)
            for out, endpoint in zip((False, True), parts(whole), strict=False)
            if isinstance(endpoint, Unix | Tcp)
        ]
        notify_dev = config.checkpoint.notify_dev
        yield Sockets(ports, opened.enter_context(listening(notify_dev)) if notify_dev else None)


async def serve(
    config: Config,
    engine: DataPath,
    listener: socket.socket,
    metrics: MetricsServer | None,
    sockets: Sockets,
    *,
    packets: Mapping[tuple[int, Port], PacketSocket],
) -> None:
    """Run the control plane, and the engine in its thread, until told to stop. Raises UserError."""
    stop = Stop()
    stop.on_signals()
    plane = _ControlPlane(config, engine, listener, sockets, packets=packets, stop=stop)
    try:
        async with turning(plane.coordinator, stop):
            await plane.serve(metrics, stop)
    finally:
        await plane.close()
    log.info("stopped")


class _ControlPlane:
    """The parts of the control plane, each made with those that it uses, and who is told what happens."""

    def __init__(
        self,
        config: Config,
        engine: DataPath,
        listener: socket.socket,
        sockets: Sockets,
        *,
        packets: Mapping[tuple[int, Port], PacketSocket],
        stop: Stop,
    ) -> None:
        self._config = config
        self._where = f"control socket {config.proxy.control}"
        machine = _machine(config)
        self.coordinator = coordinator = Coordinator(engine, machine)
        self._totals = Totals(engine.snapshot, machine, engine.policy_frames)
        commands = Commands(config, coordinator, self._totals, stop)
        observes = config.checkpoint.vmm == "none"
        self._status = service.Status(config.proxy.name, self._where, machine.state.label, observes=observes)
        Reloader(config, commands.use_policies, coordinator, self._status).on_signals()
        self._server = _server(config, listener, commands)
        self._adapter = adapter = make_adapter(config, self._server, sockets.notify_dev)
        self._totals.connected = lambda: adapter.connected
        self._telling = _Telling(self._server, _reporter(config, machine))
        self._ports = _stream_ports(sockets, coordinator, renew=config.checkpoint.vmm != "xen")
        self._removable = _packet_ports(packets, coordinator)
        coordinator.watchers += [
            self._totals.watch,
            _to_adapter(adapter),
            _to_ports({**self._ports, **self._removable}),
            _to_end(config, stop),
            self._telling.watch,
            self._status.watch,
        ]
        if config.policies:
            warn_of(config.policies)
            engine.set_policies(config.policies)  # the first thing that its thread will do

    async def serve(self, metrics: MetricsServer | None, stop: Stop) -> None:
        """Serve clients, scrapes and the VMM until told to stop. Raises UserError."""
        try:
            await self._server.start()
            if metrics:
                metrics.start(self._config.proxy.name, self._config.checkpoint.vmm, self._totals)
            async with tended(self._work(), stop):
                log.info("colo-proxy %s, %s: %s", __version__, self._config.proxy.name, self._where)
                self._status.ready()
                await stop.wait()
        finally:
            self._status.close()
            service.stopping()
            await self._server.close()

    def _work(self) -> dict[str, Coroutine[None, None, None]]:
        """What runs for as long as the proxy does, by its name."""
        work = {"VMM adapter": self._adapter.run(self.coordinator)}
        work |= {f"port {port.name}": port.run() for port in self._ports.values()}
        work |= {f"port {port.name}": port.run() for port in self._removable.values()}
        if patience := service.watchdog_s():
            work["watchdog"] = service.feed_watchdog(self.coordinator.engine, patience)
        return work

    async def close(self) -> None:
        """Close the ports that are sockets, and wait until everything has been reported."""
        for port in self._ports.values():
            port.close()
        await self._telling.close()


def _reporter(config: Config, machine: Machine) -> reporting.Reporter | None:
    if not config.proxy.reports:
        return None
    return reporting.Reporter(config.proxy.reports, config.proxy.max_reports, machine)


def _server(config: Config, listener: socket.socket, commands: Commands) -> Server:
    return Server(
        listener,
        config.proxy.name,
        __version__,
        commands.execute,
        vmm_words=VMM_WORDS if config.checkpoint.vmm == "control" else (),
        summary=commands.summary,
    )


Place = tuple[int, Port, bool]  # number of the NIC, role, whether it is only written


def _stream_ports(sockets: Sockets, coordinator: Coordinator, *, renew: bool) -> dict[Place, StreamPort]:
    """The ports that are sockets. `renew`: an SVM that is heard over TCP connects anew at its stop.

    (libxl tells of a stop when it is over, and its SVM's new words are here.)
    """
    ports = {
        (each.nic, each.port, each.out): StreamPort(
            str(each.endpoint), each.listener, partial(coordinator.attach, each.nic, each.port, out=each.out)
        )
        for each in sockets.ports
    }
    coordinator.before_svm_stop += [
        ports[each.nic, each.port, each.out].renew
        for each in sockets.ports
        if renew and each.port is Port.SECONDARY and not each.out and isinstance(each.endpoint, Tcp)
    ]
    return ports


def _packet_ports(
    packets: Mapping[tuple[int, Port], PacketSocket], coordinator: Coordinator
) -> dict[Place, PacketPort]:
    """The ports that are interfaces, which may be removed and made again."""
    return {
        # What was lost at the uplink, both guests had said or neither has heard: no checkpoint mends that.
        (nic, port, False): PacketPort(
            packet,
            partial(coordinator.attach, nic, port),
            None if port is Port.UPLINK else coordinator.doubt,
        )
        for (nic, port), packet in packets.items()
    }


def _machine(config: Config) -> Machine:
    checkpoint = config.checkpoint
    return Machine(
        time.monotonic_ns(),
        state=State.OBSERVING if checkpoint.vmm == "none" else State.REQUESTED,
        min_interval_ms=checkpoint.min_interval_ms,
        repeat_ms=checkpoint.repeat_ms,
        max_hold_ms=checkpoint.max_hold_ms,
        period_ms=checkpoint.period_ms,
    )


def make_adapter(config: Config, server: Server, notify_dev: socket.socket | None) -> Adapter:
    """The adapter of the VMM that is configured; `notify_dev`: where libxl is listened for."""
    checkpoint = config.checkpoint
    match checkpoint.vmm:
        case "control":
            return Control(lambda: server.vmms)
        case "none":
            return Absent()
        case "qmp" if checkpoint.primary and checkpoint.secondary:
            sockets = any(isinstance(nic.secondary, Unix | Tcp | Split) for nic in config.nics)
            return Qmp(
                checkpoint.primary, checkpoint.secondary, period_ms=checkpoint.period_ms, filters=sockets
            )
        case "xen" if notify_dev:
            return Xen(notify_dev)
        case vmm:
            raise NotImplementedError(f"config.py lets no {vmm} through")


def _to_adapter(adapter: Adapter) -> Watcher:
    def watch(what: Occurrence) -> None:
        if isinstance(what, RequestCheckpoint):
            adapter.request(what)
        elif isinstance(what, FailedOver):
            adapter.fail_over(what)

    return watch


def _to_ports(
    ports: Mapping[tuple[int, Port, bool], StreamPort | PacketPort],
) -> Watcher:
    def watch(what: Occurrence) -> None:
        if isinstance(what, PortFault) and (what.nic, what.port, what.out) in ports:
            ports[what.nic, what.port, what.out].failed(what)

    return watch


def _to_end(config: Config, stop: Stop) -> Watcher:
    """A TAP that somebody has removed is gone with all that was set on it: the next start makes another."""

    def watch(what: Occurrence) -> None:
        if isinstance(what, PortFault) and what.errno == errno.EBADFD:
            endpoint = config.nics[what.nic].endpoints[what.port]
            if isinstance(endpoint, Tap):
                stop(
                    HostError(
                        f"{endpoint}: the TAP has been removed; start the proxy again, it makes the TAP"
                    )
                )

    return watch


class _Telling:
    """Tells the log and the clients what happens, and has reports written."""

    def __init__(self, server: Server, reporter: reporting.Reporter | None) -> None:
        self._server = server
        self._reporter = reporter
        self._log = events.EventLog()
        self._storms = Storms(self._tell)

    def watch(self, what: Occurrence) -> None:
        """A watcher of the coordinator."""
        if isinstance(what, Divergence):
            self._storms.take(what)
        else:
            self._tell(what)

    def _tell(self, what: Occurrence) -> None:
        report = self._reporter.report(what) if self._reporter and isinstance(what, Divergence) else None
        self._log.say(what)
        event = events.event_of(what, report)
        if event:
            self._server.broadcast(*event)

    async def close(self) -> None:
        """Tell what has been gathered, and wait until all reports are written."""
        self._storms.close()
        if self._reporter:
            await self._reporter.close()
