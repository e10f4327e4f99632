"""Every metric of the design, with its labels, from counters that are all different."""

import socket
import struct
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from contextlib import ExitStack, closing, suppress
from http.client import HTTPConnection

import pytest
from fakes.engine import counters
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families

from colo_proxy.checkpoint.commands import Finished
from colo_proxy.checkpoint.machine import LABELS, Machine
from colo_proxy.core.policy import PolicyRule
from colo_proxy.errors import HostError
from colo_proxy.telemetry import metrics
from colo_proxy.telemetry.metrics import MAX_SCRAPES, MetricsServer, ProxyCollector
from colo_proxy.telemetry.stats import Totals


@pytest.fixture
def totals() -> Totals:
    made = Totals(lambda: [counters(), counters(2)], Machine(0))
    made.connected = lambda: {"primary": True, "secondary": False}
    made.policies = lambda: [(PolicyRule({}, "bypass"), 51), (PolicyRule({}, "drop"), 1 << 40)]
    made.watch(Finished("committed", 1, "start", 30_000_000))
    made.watch(Finished("committed", 2, "payload", 130_000_000))
    made.watch(Finished("aborted", 2, "payload", 9_000_000_000))
    return made


Value = Callable[..., float | None]


@pytest.fixture
def value(totals: Totals) -> Value:
    registry = CollectorRegistry(auto_describe=False)
    registry.register(ProxyCollector("web1", "control", totals))

    def get(name: str, **labels: str) -> float | None:
        return registry.get_sample_value(f"colo_proxy_{name}", labels)

    return get


def test_traffic(value: Value) -> None:
    assert value("frames_total", nic="0", port="uplink", direction="in") == 10
    assert value("frames_total", nic="1", port="uplink", direction="in") == 20
    assert value("frames_total", nic="0", port="secondary", direction="out") == 31
    assert value("bytes_total", nic="0", port="primary", direction="in") == 2000
    assert value("bytes_total", nic="0", port="primary", direction="out") == 2001
    assert value("released_frames_total") == 82
    assert value("port_up", nic="0", port="uplink") == 1


def test_divergences_and_drops(value: Value) -> None:
    assert value("divergences_total", nic="0", reason="payload", protocol="tcp") == 5
    assert value("divergences_total", nic="1", reason="missing-secondary", protocol="udp") == 6
    assert value("divergences_total", nic="0", reason="control", protocol="other") == 0
    assert value("dropped_frames_total", nic="0", reason="memory") == 7
    assert value("dropped_frames_total", nic="0", reason="old-epoch") == 8
    assert value("dropped_frames_total", nic="0", reason="send") == 9  # three ports
    assert value("dropped_frames_total", nic="0", reason="overrun") == 12 + 22 + 32
    assert value("retransmissions_unverified_total", nic="1") == 12
    assert value("neighbours_asked_total", nic="1") == 17
    assert value("stream_gaps_total", nic="0", port="primary") == 13
    assert value("stream_gaps_total", nic="1", port="secondary") == 28
    assert value("retransmitted_segments_total", nic="1", port="primary") == 15
    assert value("retransmitted_segments_total", nic="0", port="secondary") == 16


def test_rules_count_from_1(value: Value) -> None:
    assert value("policy_frames_total", rule="1", action="bypass") == 51
    assert value("policy_frames_total", rule="2", action="drop") == 1 << 40
    assert value("policy_frames_total", rule="0", action="bypass") is None


def test_held(value: Value) -> None:
    assert (value("held_frames"), value("held_bytes"), value("flows")) == (18, 18_000, 22)
    assert value("timeout_seconds", nic="1") == 0.12


def test_hold_histogram_is_cumulative(value: Value) -> None:
    # Each NIC: 1 under 1 us, 2 under 2 us, 4 under 4 us, 3 beyond all bounds.
    assert value("hold_seconds_bucket", le="1e-06") == 2
    assert value("hold_seconds_bucket", le="2e-06") == 6
    assert value("hold_seconds_bucket", le="4e-06") == 14
    assert value("hold_seconds_bucket", le="+Inf") == value("hold_seconds_count") == 20
    assert value("hold_seconds_sum") == 5


def test_checkpoints(value: Value) -> None:
    assert [value("checkpoints_total", result=r) for r in ("committed", "aborted", "assumed")] == [2, 1, 0]
    assert value("checkpoint_seconds_count") == 2
    assert value("checkpoint_seconds_sum") == pytest.approx(0.16)
    assert value("checkpoint_seconds_bucket", le="0.05") == 1
    assert [value("state", state=label) for label in LABELS] == [0, 0, 1, 0, 0]
    assert (value("epoch"), value("alarm")) == (0, 0)
    assert (value("vmm_connected", side="primary"), value("vmm_connected", side="secondary")) == (1, 0)


def test_over_http_on_the_one_address(totals: Totals) -> None:
    server = MetricsServer(("127.0.0.1", 0))
    try:
        server.start("web1", "control", totals)
        text = urllib.request.urlopen(f"http://127.0.0.1:{server.port}/metrics").read().decode()
        assert "_created" not in text
        families = {family.name for family in text_string_to_metric_families(text)}
        assert {"colo_proxy_frames", "colo_proxy_hold_seconds", "colo_proxy_checkpoint_seconds"} <= families
        with pytest.raises(urllib.error.URLError):
            urllib.request.urlopen(f"http://127.0.0.2:{server.port}/metrics")
        with pytest.raises(HostError, match="Address already in use; free it"):
            MetricsServer(("127.0.0.1", server.port))
    finally:
        server.close()
    MetricsServer(("127.0.0.1", 0)).close()  # one that never served closes too


def test_head_and_other_paths(totals: Totals) -> None:
    server = MetricsServer(("127.0.0.1", 0))
    try:
        server.start("web1", "control", totals)
        for method, path, status in (
            ("GET", "/metrics", 200),
            ("GET", "/metrics?x=1", 200),
            ("HEAD", "/metrics", 200),
            ("GET", "/", 404),
            ("HEAD", "/metrics/more", 404),
            ("GET", "/metricsx", 404),
        ):
            with closing(HTTPConnection("127.0.0.1", server.port, timeout=10)) as client:
                client.request(method, path)
                answer = client.getresponse()
                body = answer.read()
            assert (answer.status, bool(body)) == (status, method == "GET"), (method, path)
            if status == 200:
                assert answer.headers["Content-Type"].startswith("text/plain")
            else:
                assert b"/metrics" in body or method == "HEAD"
    finally:
        server.close()


def test_what_is_no_url_is_answered_and_no_fault(totals: Totals, caplog: pytest.LogCaptureFixture) -> None:
    server = MetricsServer(("127.0.0.1", 0))
    try:
        server.start("web1", "control", totals)
        with socket.create_connection(("127.0.0.1", server.port), timeout=10) as client:
            client.sendall(b"GET http://[ HTTP/1.0\r\n\r\n")
            assert client.recv(100).startswith(b"HTTP/1.0 404 ")
    finally:
        server.close()
    assert not caplog.records


def test_an_address_that_is_not_ours() -> None:
    with pytest.raises(HostError, match=r"metrics 192\.0\.2\.1:9308: "):
        MetricsServer(("192.0.2.1", 9308))


def scrape_in_the_end(server: MetricsServer) -> None:
    """Scrapes that are over give their places back a moment later."""
    deadline = time.monotonic() + 10
    while True:
        try:
            assert urllib.request.urlopen(f"http://127.0.0.1:{server.port}/metrics").status == 200
            return
        except OSError:
            assert time.monotonic() < deadline


def test_scrapers_that_hang_up_or_stall_leave_no_trace(
    totals: Totals, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    server = MetricsServer(("127.0.0.1", 0))
    try:
        server.start("web1", "control", totals)
        with ExitStack() as slow:
            stalled = [
                slow.enter_context(socket.create_connection(("127.0.0.1", server.port)))
                for _ in range(MAX_SCRAPES + 1)
            ]
            # Who finds no place is hung up on at once.
            stalled[-1].settimeout(8)
            assert stalled[-1].recv(1) == b""
            for each in stalled:
                with suppress(OSError):
                    each.sendall(b"GET /metrics HTTP/1.1\r\n\r\n")
                each.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # a reset
        scrape_in_the_end(server)
    finally:
        server.close()
    assert "Traceback" not in caplog.text + capsys.readouterr().err


def test_a_scraper_that_sends_ever_so_slowly_keeps_no_place(
    totals: Totals, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(metrics, "SCRAPE_S", 0.2)
    server = MetricsServer(("127.0.0.1", 0))
    try:
        server.start("web1", "control", totals)
        with ExitStack() as slow:
            tricklers = [
                slow.enter_context(socket.create_connection(("127.0.0.1", server.port), timeout=10))
                for _ in range(MAX_SCRAPES + 20)
            ]
            deadline = time.monotonic() + 10
            while tricklers:
                assert time.monotonic() < deadline, f"{len(tricklers)} are still served"
                for each in list(tricklers):
                    try:
                        each.sendall(b"G")  # more of its request line, well within the socket's own time
                        each.settimeout(0.01)
                        over = each.recv(1) == b""
                    except TimeoutError:
                        over = False
                    except OSError:
                        over = True
                    if over:
                        tricklers.remove(each)
        scrape_in_the_end(server)
    finally:
        server.close()
    refused = [record.message for record in caplog.records]
    assert refused == [f"{MAX_SCRAPES} scrapes of the metrics are under way; another is refused (1 so far)"]
