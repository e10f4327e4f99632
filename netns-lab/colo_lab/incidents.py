"""Some twenty seconds in which a proxy meets everything that its metrics tell of, one after the other.

For the dashboard's test and for the picture of it: every panel and every alert has something to show.
"""

import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from .addresses import HTTP_PORT
from .leak import Leak
from .prometheus import METRICS
from .protected import Protected, protected
from .transfer import MIB, Transfer
from .waiting import Deadline, until

STORM = 300  # checkpoints
_PAUSE = 1.0  # s; a few scrapes, so that each incident is seen
SECTIONS: Mapping[str, Any] = {
    "proxy": {"metrics": METRICS},
    "compare": {"max_held_bytes": 2 * MIB, "max_flow_bytes": MIB // 4},
    "checkpoint": {"min_interval_ms": 0, "max_hold_ms": 500, "repeat_ms": 500},
}


@contextmanager
def watched() -> Iterator[Protected]:
    """A protected lab whose proxy has metrics, and short patience."""
    with protected(**SECTIONS) as made:
        yield made


def play(made: Protected) -> None:
    """Let it all happen. Ends with a failover."""
    uncompared(made)
    downloads(made)
    losing_leg(made)
    unknown_neighbour(made)
    storm(made)
    slow_svm(made)
    lost_vmm(made)
    failing_checkpoints(made)
    broken_port(made)
    no_replica_then_failover(made)


def uncompared(made: Protected) -> None:
    """A rule bypasses everything for a while."""
    with made.proxy.connect() as control:
        control.execute("set-policy", policies=[{"action": "bypass"}])
        time.sleep(_PAUSE)
        with Transfer(made.lab, made.lab.topology.nics[0].url(f"/bytes/{MIB}")) as download:
            download.results()
        time.sleep(_PAUSE)
        control.execute("set-policy", policies=[])


def downloads(made: Protected) -> None:
    """Over IPv4 and IPv6; both VMs say the same."""
    for version in (4, 6):
        url = made.lab.topology.nics[0].url(f"/bytes/{24 * MIB}", version=version)
        with Transfer(made.lab, url, rate=24e6) as download:
            download.results()


def losing_leg(made: Protected) -> None:
    """What the SVM sends is lost now and then on its way to the proxy."""
    leak = Leak(made.lab.topology.svm, made.lab.topology.nics[0])
    with Transfer(
        made.lab, made.lab.topology.nics[0].url(f"/bytes/{24 * MIB}"), rate=8e6, marks=MIB
    ) as download:
        before = _gaps(made)
        download.reach(MIB)
        deadline = Deadline(10)
        while _gaps(made) == before and not deadline.passed:  # a last frame that is lost leaves no hole
            leak.burst()
            time.sleep(_PAUSE / 10)
    time.sleep(_PAUSE)


def unknown_neighbour(made: Protected) -> None:
    """The SVM asks for somebody of whom nobody has heard."""
    with made.lab.topology.svm.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.sendto(b"hello", (made.lab.topology.nics[0].networks[0].replace("0/24", "77"), 9))
    time.sleep(_PAUSE)


def storm(made: Protected) -> None:
    """The VMs' clocks are asked for, and each answer differs: a checkpoint each."""
    for _ in range(STORM):
        _get(made, "/clock")


def slow_svm(made: Protected) -> None:
    """The SVM answers late, so the PVM's answers wait for it."""
    _settle(made)
    made.lab.svm.fault(delay=0.18)
    with Transfer(made.lab, made.lab.topology.nics[0].url("/bytes/1000"), parallel=100) as transfers:
        transfers.results()
    _settle(made)
    made.lab.svm.fault()


def lost_vmm(made: Protected) -> None:
    """The VMM goes away, and then the VMs differ: output is held, later dropped, and the alarm comes."""
    url = made.lab.topology.nics[0].url(f"/bytes/{64 * MIB}")
    made.lab.svm.fault(flip=24 * MIB)
    with Transfer(made.lab, url):
        made.vmm.__exit__(None, None, None)
        until(lambda: _dropped(made, "memory") and made.proxy.status()["alarm"], Deadline(15), "the alarm")
        time.sleep(_PAUSE)


def failing_checkpoints(made: Protected) -> None:
    """Begun, and given up, four times."""
    with made.proxy.connect() as control:
        for _ in range(4):
            control.execute("checkpoint-begin")
            control.execute("checkpoint-abort")
    time.sleep(_PAUSE)


def broken_port(made: Protected) -> None:
    """The SVM's interface goes down and comes back."""
    host, port = made.lab.topology.host, made.lab.topology.nics[0].secondary
    host.route.link("set", index=host.index(port), state="down")
    until(lambda: made.proxy.status()["nics"][0]["faults"], Deadline(5), "the port's fault")
    time.sleep(_PAUSE)
    host.route.link("set", index=host.index(port), state="up")
    until(lambda: not made.proxy.status()["nics"][0]["faults"], Deadline(5), "the port's return")


def no_replica_then_failover(made: Protected) -> None:
    """The SVM is lost; another one is attached; it takes over."""
    with made.proxy.connect() as control:
        control.execute("replica-lost")
        time.sleep(_PAUSE)
        control.execute("checkpoint-begin")
        control.execute("checkpoint-commit")
        time.sleep(_PAUSE)
        made.lab.pvm.power_off()
        control.execute("failover")
    time.sleep(_PAUSE)


def _settle(made: Protected) -> None:
    """Return when no checkpoint is under way: the lab's VMM and we talk to a VM over the same channel."""
    epoch = made.proxy.status()["epoch"]
    made.vmm.wait(lambda vmm: len(vmm.checkpoints) >= epoch, 5, "the end of a checkpoint")


def _get(made: Protected, path: str) -> None:
    """One small answer, heard by a client of no more than a socket: a process would take longer."""
    host = made.lab.topology.nics[0].vm4
    with made.lab.topology.client.socket(socket.AF_INET, socket.SOCK_STREAM) as sock:
        sock.settimeout(10)
        sock.connect((host, HTTP_PORT))
        sock.sendall(f"GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
        answer = b""
        while b"\r\n\r\n" not in answer:
            data = sock.recv(4096)
            assert data, "the connection ended early"
            answer += data


def _dropped(made: Protected, reason: str) -> int:
    return sum(nic["dropped_frames"][reason] for nic in _stats(made))


def _gaps(made: Protected) -> int:
    """Holes in the streams of the SVM."""
    return sum(nic["stream_gaps"]["secondary"] for nic in _stats(made))


def _stats(made: Protected) -> list[dict[str, Any]]:
    with made.proxy.connect() as control:
        return list(control.execute("query-stats")["nics"])
