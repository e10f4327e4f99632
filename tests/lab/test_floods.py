"""What strangers and operators may do to a proxy thousands of times does not disturb the service.

Meanwhile a client downloads, and another's request makes the VMM do a checkpoint. Every byte is right, the
VMM keeps its connection, and the log has a line of each kind.
"""

import re
import resource
import signal
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import Any

import pytest
from colo_lab import kernel
from colo_lab.control import Disconnected
from colo_lab.errors import LabError, Missing
from colo_lab.lab import Lab, best_uplink
from colo_lab.protected import Protected
from colo_lab.proxy import COMMAND, Proxy
from colo_lab.replica.content import Content
from colo_lab.transfer import MIB, Transfer
from colo_lab.vmm import Vmm
from colo_lab.waiting import Deadline, until

SIZE = 16 * MIB
METRICS = ("127.0.0.1", 9308)
STAMP = re.compile(r"^\S+ (?=[A-Z]+ )")  # of a log line


@contextmanager
def service(made: Protected) -> Iterator[None]:
    """A client's download goes on, whatever is done to the proxy meanwhile; so do checkpoints."""
    nic = made.lab.topology.nics[0]
    with Transfer(made.lab, nic.url(f"/bytes/{SIZE}"), rate=6e6, marks=MIB) as download:
        download.reach(MIB)
        yield
        with Transfer(made.lab, nic.url("/clock")) as differs:
            assert differs.result()["status"] == 200
        assert download.result()["sha256"] == Content().sha256(SIZE)
    assert made.vmm.sessions == 1
    assert made.proxy.process
    assert made.proxy.process.poll() is None


def recovered(made: Protected) -> bool:
    """Whether an operator is served (again)."""
    try:
        return bool(made.proxy.status()["state"] == "protected")
    except (Disconnected, LabError):
        return False


@contextmanager
def told(made: Protected) -> Iterator[list[str]]:
    """What the log tells meanwhile, without checkpoints, in the end; once operators are served again."""
    before = len(made.proxy.log.read_text())
    lines: list[str] = []
    yield lines
    until(lambda: recovered(made), Deadline(30), "the proxy serves operators")
    assert "payload" in made.later
    said = made.proxy.log.read_text()[before:]
    assert "Traceback" not in said
    for line in said.splitlines():
        text = STAMP.sub("", line)
        if not re.match(r"INFO (state|checkpoint|divergence)", text):
            lines.append(text)


@contextmanager
def connections(made: Protected, count: int, data: bytes = b"") -> Iterator[None]:
    """So many connections to the control socket at once, each of which sends `data` and stays."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if hard != resource.RLIM_INFINITY and hard < count + 100:
        raise Missing(f"needs {count + 100} descriptors (ulimit -n)")
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    with ExitStack() as stack:
        for _ in range(count):
            client = stack.enter_context(socket.socket(socket.AF_UNIX))
            client.connect(str(made.proxy.control))
            with suppress(OSError):  # where it is refused already
                client.sendall(data)
        yield


@pytest.mark.parametrize(("count", "data"), [(1000, b'{"execute": "query-st'), (5000, b"")])
def test_clients(pair: Protected, count: int, data: bytes) -> None:
    with told(pair) as lines, service(pair), connections(pair, count, data):
        pass
    assert lines == ["WARNING 64 clients are connected; another is refused (1 so far)"]


def test_slow_scrapers(protect: Callable[..., Any]) -> None:
    metrics = {"metrics": "{}:{}".format(*METRICS)}
    with protect(proxy=metrics) as pair, told(pair) as lines, service(pair), ExitStack() as stack:
        stack.enter_context(kernel.inside(pair.lab.topology.host.fd))
        for _ in range(200):
            scraper = stack.enter_context(socket.create_connection(METRICS, timeout=30))
            with suppress(OSError):  # where it is refused already
                scraper.sendall(b"GET /met")
    assert lines == ["WARNING 16 scrapes of the metrics are under way; another is refused (1 so far)"]


def test_a_storm_of_signals(pair: Protected) -> None:
    """Once a second the file is read, and the log says so."""
    over = threading.Event()
    process = pair.proxy.process
    assert process

    def storm() -> None:
        while not over.wait(0.0005):
            process.send_signal(signal.SIGHUP)

    thread = threading.Thread(target=storm)
    with told(pair) as lines:
        thread.start()
        try:
            with service(pair):
                pass
        finally:
            over.set()
            thread.join()
    assert set(lines) == {f"INFO reloaded {pair.proxy.config}: 0 policies, log level info"}
    stamps = re.findall(r"T([\d:]+)\.\d+Z INFO reloaded", pair.proxy.log.read_text())
    # Two may fall into one second of the clock, where one of them was delayed by what else the machine does.
    assert len(stamps) <= len(set(stamps)) + 1


@contextmanager
def pair_behind(prelude: str, lab: Lab, **proxy: str) -> Iterator[Protected]:
    """A protected pair, whose proxy a shell starts after a prelude, in a mount namespace of its own."""
    shell = ["/usr/bin/env", "unshare", "-m", "/bin/sh", "-c", f'{prelude} && exec "$0" "$@"', *COMMAND]
    with (
        Proxy(lab, command=shell, proxy=proxy, compare={"timeout_ms": 3000}) as started,
        Vmm(started, lab.pvm, lab.svm) as vmm,
    ):
        vmm.wait(lambda vmm: bool(vmm.checkpoints), 10, "the first checkpoint")
        yield Protected(lab, started, vmm)


def test_a_full_disk_for_reports() -> None:
    with Lab(uplink=best_uplink()) as lab:
        reports = lab.run.directory / "small"
        reports.mkdir()
        mount = f"mount -t tmpfs -o size=4k none {reports}"
        with pair_behind(mount, lab, reports=str(reports)) as made, told(made) as lines:
            with service(made):
                # The file system takes one. Divergences of one second have one report.
                while made.proxy.log.read_text().count("divergence: ") < 5:
                    with Transfer(lab, lab.topology.nics[0].url("/clock")) as differs:
                        assert differs.result()["status"] == 200
            assert made.proxy.process
            seen = f"/proc/{made.proxy.process.pid}/root{reports}"
            kept = subprocess.run(["ls", "-A", seen], capture_output=True, text=True, check=True).stdout
            assert len(kept.splitlines()) == 1, kept
    assert len(lines) == 1
    assert re.fullmatch(
        r"WARNING divergence report: .*: cannot be written: No space left on device; make room there "
        r"\(1 have failed\)",
        lines[0],
    )


def test_few_descriptors() -> None:
    """A proxy that would lack some says so, and does not start; one that starts lacks none in a flood."""
    with Lab(uplink=best_uplink()) as lab:
        with pytest.raises(LabError) as refused, pair_behind("ulimit -n 24", lab):
            pass
        log = str(refused.value)
        found = re.search(r"colo-proxy: the limit of open files is 24, and the proxy needs (\d+); raise", log)
        assert found, log
        assert log.count("colo-proxy: ") == 1
        assert "Traceback" not in log
        enough = pair_behind(f"ulimit -n {found[1]}", lab)
        with enough as made, told(made) as lines, service(made), connections(made, 1000, b"{"):
            pass
    assert lines == ["WARNING 64 clients are connected; another is refused (1 so far)"]
