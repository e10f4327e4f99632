"""`colo-proxy colo-compare`: QEMU's colo-compare object as a program of its own.

    filter-redirector --primary-in--> compare --outdev--> filter-redirector
    filter-rewriter ----secondary-in--> |
                                        | <--notify-dev--> libxl

Mirroring and rewriting are QEMU's filters' work here, so of the data path only the comparison is used. It
compares from the first frame on, as the object does. Checkpoints are libxl's (checkpoint/xen.py); without a
`notify_dev` there is nobody to ask, and what differs stays held.
"""

import contextlib
import logging
import os
import socket
import time
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial

import uvloop

from colo_proxy import __version__
from colo_proxy.checkpoint.adapter import Adapter
from colo_proxy.checkpoint.commands import RequestCheckpoint
from colo_proxy.checkpoint.control import Absent
from colo_proxy.checkpoint.coordinator import Coordinator, Occurrence
from colo_proxy.checkpoint.machine import Machine, State
from colo_proxy.checkpoint.xen import Xen
from colo_proxy.daemon.running import Stop, tended, turning
from colo_proxy.endpoints import Tcp, Unix
from colo_proxy.engine.engine import Engine
from colo_proxy.engine.messages import PortFault, PortSpec
from colo_proxy.host import descriptors
from colo_proxy.host.listening import listening
from colo_proxy.host.socket_port import StreamPort
from colo_proxy.telemetry import event_log as events
from colo_proxy.telemetry.storms import Storms
from colo_proxy.vocabulary import Divergence, Mode, Port

log = logging.getLogger("colo_proxy.colo_compare")

_FRAME = 64 << 10  # bytes, of the largest that a guest sends
_LEAST = 1 << 20
_FLOWS_SHARE = 4  # of all that may be held, one side of one flow may hold this part, as in `run`
_MAX_FLOWS = 200_000
_OPEN = 48  # descriptors at once: each port's listener, its peer and one that waits; the loop's own


@dataclass(frozen=True, slots=True)
class Options:
    """The object's properties, by their names; times in milliseconds, `max_queue_size` in frames."""

    primary_in: Unix | Tcp
    secondary_in: Unix | Tcp
    outdev: Unix | Tcp
    notify_dev: Unix | Tcp | None = None
    vnet_hdr: bool = False
    compare_timeout: int = 3000
    expired_scan_cycle: int = 1000
    max_queue_size: int = 1024


def run(options: Options) -> None:
    """Compare until SIGTERM or SIGINT. Raises HostError where an endpoint cannot be listened on."""
    descriptors.provide(_OPEN)
    held = max(options.max_queue_size * _FRAME, _LEAST)
    engine = Engine(
        timeout_ms=options.compare_timeout,
        max_held_bytes=held,
        max_flow_bytes=max(held // _FLOWS_SHARE, _LEAST),
        max_flows=_MAX_FLOWS,
        compare_only=True,
        mode=Mode.COMPARE,
        seed=int.from_bytes(os.urandom(8), "little"),
    )
    ends = {
        Port.UPLINK: ("outdev", options.outdev),
        Port.PRIMARY: ("primary-in", options.primary_in),
        Port.SECONDARY: ("secondary-in", options.secondary_in),
    }
    engine.add_nic(*(PortSpec(-1, "stream", name, vnet=options.vnet_hdr) for name, _ in ends.values()))
    with ExitStack() as undo:
        listeners = {port: undo.enter_context(listening(endpoint)) for port, (_, endpoint) in ends.items()}
        notify = undo.enter_context(listening(options.notify_dev)) if options.notify_dev else None

        named = {port: (name, listeners[port]) for port, (name, _) in ends.items()}

        async def serve() -> None:
            await _serve(options, engine, named, Xen(notify) if notify else Absent())

        uvloop.run(serve())


async def _serve(
    options: Options, engine: Engine, listeners: Mapping[Port, tuple[str, socket.socket]], adapter: Adapter
) -> None:
    stop = Stop()
    stop.on_signals()
    machine = Machine(
        time.monotonic_ns(),
        state=State.PROTECTED,
        repeat_ms=options.expired_scan_cycle,
        period_ms=0,  # who makes the checkpoints makes the idle ones too
    )
    coordinator = Coordinator(engine, machine)
    ports = {
        port: StreamPort(name, listener, partial(coordinator.attach, 0, port))
        for port, (name, listener) in listeners.items()
    }

    said = events.EventLog()
    storms = Storms(said.say)

    def watch(what: Occurrence) -> None:
        if isinstance(what, Divergence):
            storms.take(what)
        else:
            said.say(what)
        if isinstance(what, RequestCheckpoint):
            adapter.request(what)
        elif isinstance(what, PortFault):
            ports[what.port].failed(what)

    coordinator.watchers.append(watch)
    async with contextlib.AsyncExitStack() as opened:
        for each in ports.values():
            opened.callback(each.close)
        opened.callback(storms.close)
        await opened.enter_async_context(turning(coordinator, stop))
        work = {port.name: port.run() for port in ports.values()}
        async with tended(work | {"notify-dev": adapter.run(coordinator)}, stop):
            log.info(
                "colo-proxy %s, colo-compare: primary-in %s, secondary-in %s, outdev %s",
                __version__,
                options.primary_in,
                options.secondary_in,
                options.outdev,
            )
            if options.notify_dev:
                log.info("notify-dev %s: checkpoints are requested from libxl", options.notify_dev)
            else:
                log.warning(
                    "no notify-dev: no checkpoint can be requested, and output that differs stays held"
                )
            await stop.wait()
    [nic] = engine.snapshot()
    log.info(
        "stopped; %d frames released, %d divergences, %d frames dropped by outdev, %d in all",
        nic.released,
        sum(nic.divergences.values()),
        sum(nic.ports[Port.UPLINK].dropped.values()),
        sum(nic.dropped.values()) + sum(sum(port.dropped.values()) for port in nic.ports),
    )
