"""`/metrics` for Prometheus, served by a thread that only reads: a scrape never delays a packet."""

import errno
import io
import logging
import socket
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from http.server import ThreadingHTTPServer
from itertools import accumulate
from socketserver import TCPServer
from typing import Any
from urllib.parse import urlsplit

from prometheus_client import CollectorRegistry, MetricsHandler
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from colo_proxy import __version__
from colo_proxy.checkpoint.machine import LABELS
from colo_proxy.endpoints import join_host_port
from colo_proxy.engine.messages import NicCounters
from colo_proxy.errors import HostError
from colo_proxy.seldom import Seldom
from colo_proxy.telemetry.stats import Totals, by_guest, dropped

log = logging.getLogger("colo_proxy.metrics")

_PATH = "/metrics"
_PORTS = ("uplink", "primary", "secondary")
MAX_SCRAPES = 16  # at a time, each in a thread; who comes while there are as many is hung up on
SCRAPE_S = 10.0  # in all, however slowly a scraper sends and reads


class ProxyCollector(Collector):
    """Makes the metrics of docs/metrics.md from one snapshot of the counters at each scrape."""

    def __init__(self, name: str, vmm: str, totals: Totals) -> None:
        self._labels = {"name": name, "version": __version__, "vmm": vmm}
        self._totals = totals

    def collect(self) -> Iterable[Metric]:
        """All metrics. Called by the registry, in the metrics' thread."""
        nics = self._totals.snapshot()
        yield InfoMetricFamily(
            "colo_proxy", "The proxy's name, its version and its kind of VMM", self._labels
        )
        yield from _traffic(nics)
        yield from _held(nics)
        yield from self._checkpoints()
        yield self._policies()

    def _policies(self) -> Metric:
        frames = CounterMetricFamily(
            "colo_proxy_policy_frames",
            "Frames of the PVM that a rule decided on, since the rules were set",
            labels=["rule", "action"],
        )
        for position, (rule, count) in enumerate(self._totals.policies(), 1):
            frames.add_metric([str(position), rule.action], count)
        return frames

    def _checkpoints(self) -> Iterator[Metric]:
        machine, totals = self._totals.machine, self._totals
        made = CounterMetricFamily("colo_proxy_checkpoints", "Checkpoints that have ended", labels=["result"])
        for result, count in totals.checkpoints.items():
            made.add_metric([result], count)
        yield made
        yield from totals.checkpoint_seconds.collect()
        state = GaugeMetricFamily(
            "colo_proxy_state", "1 for the state that the proxy is in", labels=["state"]
        )
        now = machine.state.label
        for label in LABELS:
            state.add_metric([label], float(label == now))
        yield state
        yield GaugeMetricFamily("colo_proxy_epoch", "The epoch: checkpoints committed so far", machine.epoch)
        yield GaugeMetricFamily(
            "colo_proxy_alarm",
            "1 while a checkpoint has been wanted for longer than max_hold_ms",
            float(machine.alarm),
        )
        connected = GaugeMetricFamily(
            "colo_proxy_vmm_connected", "1 while the VMM can be reached", labels=["side"]
        )
        for side, up in totals.connected().items():
            connected.add_metric([side], float(up))
        yield connected


def _traffic(nics: list[NicCounters]) -> Iterator[Metric]:
    labels = ["nic", "port", "direction"]
    frames = CounterMetricFamily(
        "colo_proxy_frames", "Frames received (in) and sent (out) by a port", labels=labels
    )
    size = CounterMetricFamily("colo_proxy_bytes", "Their bytes, from the Ethernet header", labels=labels)
    faults = GaugeMetricFamily("colo_proxy_port_up", "1 while the port works", labels=["nic", "port"])
    diverged = CounterMetricFamily(
        "colo_proxy_divergences",
        "Differences found between the outputs",
        labels=["nic", "reason", "protocol"],
    )
    lost = CounterMetricFamily("colo_proxy_dropped_frames", "Frames dropped", labels=["nic", "reason"])
    unverified = CounterMetricFamily(
        "colo_proxy_retransmissions_unverified",
        "The PVM's retransmissions that were released although not all of their bytes had been compared",
        labels=["nic"],
    )
    asked = CounterMetricFamily(
        "colo_proxy_neighbours_asked",
        "Questions of the SVM for neighbours that the proxy has asked, as the PVM would",
        labels=["nic"],
    )
    gaps = CounterMetricFamily(
        "colo_proxy_stream_gaps",
        "TCP segments of a guest beyond what it had sent before: what is between was lost or reordered",
        labels=["nic", "port"],
    )
    resent = CounterMetricFamily(
        "colo_proxy_retransmitted_segments",
        "TCP segments of a guest that began before the end of what it had sent: retransmitted or reordered",
        labels=["nic", "port"],
    )
    for index, nic in enumerate(nics):
        for family, counts in ((gaps, nic.stream_gaps), (resent, nic.retransmitted)):
            for role, count in by_guest(counts).items():
                family.add_metric([str(index), role], count)
        for role, port in zip(_PORTS, nic.ports, strict=True):
            frames.add_metric([str(index), role, "in"], port.received)
            frames.add_metric([str(index), role, "out"], port.sent)
            size.add_metric([str(index), role, "in"], port.received_bytes)
            size.add_metric([str(index), role, "out"], port.sent_bytes)
            faults.add_metric([str(index), role], float(port.fault == 0))
        for (reason, protocol), count in nic.divergences.items():
            diverged.add_metric([str(index), reason.label, protocol], count)
        for reason_label, count in dropped(nic).items():
            lost.add_metric([str(index), reason_label], count)
        unverified.add_metric([str(index)], nic.retransmissions_unverified)
        asked.add_metric([str(index)], nic.neighbours_asked)
    yield from (frames, size, faults, diverged, lost, gaps, resent, asked, unverified)
    yield CounterMetricFamily(
        "colo_proxy_released_frames", "Output frames released to clients", sum(nic.released for nic in nics)
    )


def _held(nics: list[NicCounters]) -> Iterator[Metric]:
    yield GaugeMetricFamily("colo_proxy_held_frames", "Output held now", sum(nic.held_frames for nic in nics))
    yield GaugeMetricFamily(
        "colo_proxy_held_bytes", "Its bytes, from the Ethernet header", sum(nic.held_bytes for nic in nics)
    )
    yield GaugeMetricFamily("colo_proxy_flows", "Flows known now", sum(nic.flows for nic in nics))
    timeout = GaugeMetricFamily(
        "colo_proxy_timeout_seconds", "When missing output is a divergence, in force now", labels=["nic"]
    )
    for index, nic in enumerate(nics):
        timeout.add_metric([str(index)], nic.timeout_ns / 1e9)
    yield timeout
    hold = HistogramMetricFamily("colo_proxy_hold_seconds", "How long released output was held")
    counts = list(accumulate(sum(bucket) for bucket in zip(*(nic.hold_buckets for nic in nics), strict=True)))
    # Bucket k counts holds under 2**k microseconds; the last also those beyond.
    bounds = [str(2**k / 1e6) for k in range(len(counts) - 1)] + ["+Inf"]
    hold.add_metric([], list(zip(bounds, counts, strict=True)), sum(nic.hold_sum_ns for nic in nics) / 1e9)
    yield hold


class _Handler(MetricsHandler):
    timeout = SCRAPE_S  # a client that says nothing keeps no thread

    def do_GET(self) -> None:
        """Answer a scrape."""
        try:
            path = urlsplit(self.path).path
        except ValueError:  # no URL
            path = ""
        if path == _PATH:
            super().do_GET()
        else:
            self.send_error(404, explain=f"The metrics are at {_PATH}.")

    do_HEAD = do_GET

    def end_headers(self) -> None:
        """Send them; what follows on HEAD goes nowhere."""
        super().end_headers()
        if self.command == "HEAD":
            self.wfile = io.BytesIO()


class _Server(ThreadingHTTPServer):
    request_queue_size = 64

    def __init__(self, family: socket.AddressFamily, address: tuple[Any, ...]) -> None:
        self.address_family = family
        self._faults = 0
        self._faults_told = Seldom(flood=True)
        self._refusals = 0
        self._refusals_told = Seldom(flood=True)
        self._lock = threading.Lock()
        self._began: dict[socket.socket, float] = {}  # scrapes under way
        super().__init__(address[:2], _Handler)

    def handle_error(self, *_: Any) -> None:
        """A scraper that hangs up ends its own scrape and nothing else; so does a limit of descriptors."""
        fault = sys.exc_info()[1]
        if not isinstance(fault, ConnectionError | TimeoutError):
            self._faults += 1
            if self._faults_told.due(self._faults):
                log.warning("a scrape of the metrics failed: %s (%d so far)", fault, self._faults)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Answer in a thread of its own, if there are not too many."""
        with self._lock:
            full = len(self._began) >= MAX_SCRAPES
            if not full:
                self._began[request] = time.monotonic()
        if full:
            self._refuse(request)
            return
        try:
            super().process_request(request, client_address)
        except BaseException:
            self._ended(request)
            raise

    def _refuse(self, request: socket.socket) -> None:
        self._refusals += 1
        if self._refusals_told.due(self._refusals):
            log.warning(
                "%d scrapes of the metrics are under way; another is refused (%d so far)",
                MAX_SCRAPES,
                self._refusals,
            )
        self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """The thread's body."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._ended(request)

    def _ended(self, request: socket.socket) -> None:
        with self._lock:
            self._began.pop(request, None)

    def service_actions(self) -> None:
        """Twice a second: a scrape that has lasted for too long ends, and its thread with it."""
        with self._lock:
            for request, began in self._began.items():
                if time.monotonic() - began > SCRAPE_S:
                    with suppress(OSError):
                        request.shutdown(socket.SHUT_RDWR)

    def server_bind(self) -> None:
        """Bind, and do not ask the name service who we are, as HTTPServer does."""
        TCPServer.server_bind(self)
        self.server_name, self.server_port = "", self.server_address[1]


class MetricsServer:
    """An HTTP server on the one address that the configuration names; bound at once, serving from `start`."""

    def __init__(self, address: tuple[str, int]) -> None:
        """Raises HostError where the address cannot be had."""
        host, port = address
        where = join_host_port(host, port)
        try:
            family, _, _, _, sockaddr = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
            self._server = _Server(family, sockaddr)
        except OSError as error:
            remedy = "free it, or set" if error.errno == errno.EADDRINUSE else "set"
            raise HostError(
                f"metrics {where}: {error.strerror}; {remedy} another address in [proxy] metrics"
            ) from None
        self._thread: threading.Thread | None = None

    @property
    def port(self) -> int:
        """The port that is listened on."""
        return int(self._server.server_address[1])

    def start(self, name: str, vmm: str, totals: Totals) -> None:
        """Answer scrapes from now on."""
        registry = CollectorRegistry(auto_describe=False)
        registry.register(ProxyCollector(name, vmm, totals))
        self._server.RequestHandlerClass = _Handler.factory(registry)
        self._thread = threading.Thread(target=self._server.serve_forever, name="metrics", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Give the address back."""
        if self._thread:
            self._server.shutdown()
            self._thread.join()
        self._server.server_close()
