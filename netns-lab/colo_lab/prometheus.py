"""A real Prometheus in the host's namespace of a lab, scraping the proxy there, and its HTTP API."""

import http.client
import json
import shutil
import socket
import subprocess
import time
from contextlib import ExitStack, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlencode

from .errors import LabError, Missing
from .lab import Lab
from .waiting import Deadline, until

METRICS = "127.0.0.1:9308"
NOBODY = "127.0.0.1:9309"  # a second target, where nothing listens
_ADDRESS = ("127.0.0.1", 9090)
_CACHE = Path(__file__).resolve().parents[2] / ".cache" / "prometheus" / "usr" / "bin"


def program(name: str) -> str:
    """The path of `prometheus` or `promtool`. Raises Missing, which names the remedy."""
    found = shutil.which(name) or shutil.which(name, path=str(_CACHE))
    if not found:
        raise Missing(f"{name} is not installed: `make prometheus` fetches Debian's, or install it yourself")
    return found


class Prometheus:
    """Prometheus for the length of a context; `rules` is a file of alerting rules.

    Its job is named as in grafana/prometheus/prometheus.yml, and has a second target, which is down.
    """

    def __init__(self, lab: Lab, rules: Path, *, interval_ms: int = 250) -> None:
        self._host = lab.topology.host
        self._directory = lab.run.directory
        every = f"{interval_ms}ms"
        # JSON is YAML
        configuration = {
            "global": {"scrape_interval": every, "scrape_timeout": every, "evaluation_interval": every},
            "rule_files": [str(rules.resolve())],
            "scrape_configs": [
                {"job_name": "colo-proxy", "static_configs": [{"targets": [METRICS, NOBODY]}]}
            ],
        }
        self._configuration = self._directory / "prometheus.yml"
        self._configuration.write_text(json.dumps(configuration))
        self._log = self._directory / "prometheus.log"

    def __enter__(self) -> Self:
        words = [
            program("prometheus"),
            f"--config.file={self._configuration}",
            f"--storage.tsdb.path={self._directory / 'prometheus'}",
            f"--web.listen-address={_ADDRESS[0]}:{_ADDRESS[1]}",
        ]
        with ExitStack() as stack, self._log.open("ab") as log:
            process = stack.enter_context(
                self._host.running(words, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
            )
            until(lambda: self._ready(process), Deadline(20), "Prometheus")
            until(lambda: self.instant("colo_proxy_info"), Deadline(20), "the first scrape", every=0.05)
            self.started = time.time()
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def range(self, expression: str, end: float, *, step: float = 0.5) -> list[dict[str, Any]]:
        """The series that a query gave at any time from the start to `end`; LabError where it is wrong."""
        window = {"start": self.started, "end": end, "step": step}
        return list(self.get("query_range", query=expression, **window)["result"])

    def instant(self, expression: str) -> list[dict[str, Any]]:
        """What a query gives now."""
        return list(self.get("query", query=expression)["result"])

    def get(self, what: str, **parameters: Any) -> Any:
        """`data` of an answer of /api/v1. Raises LabError with Prometheus' own words."""
        status, body = self._request(f"/api/v1/{what}?{urlencode(parameters, doseq=True)}")
        answer = json.loads(body)
        if status != http.client.OK or answer["status"] != "success":
            raise LabError(f"Prometheus: {answer.get('error')}: {parameters}")
        return answer["data"]

    def _ready(self, process: "subprocess.Popen[bytes]") -> bool:
        if process.poll() is not None:
            raise LabError(f"Prometheus has ended:\n{self._log.read_text()}")
        with suppress(OSError):
            return self._request("/-/ready")[0] == http.client.OK
        return False

    def _request(self, path: str) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection(*_ADDRESS)
        with self._host.socket(socket.AF_INET, socket.SOCK_STREAM) as sock:
            sock.settimeout(10)
            sock.connect(_ADDRESS)
            connection.sock = sock
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, answer.read()
