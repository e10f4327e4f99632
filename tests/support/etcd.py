"""Three members of etcd with TLS, on the loopback."""

import json
import os
import shutil
import signal
import socket
import subprocess
from contextlib import ExitStack
from pathlib import Path
from urllib.request import Request, urlopen

import pytest

from colo_proxy.pair.etcd import Member, context
from colo_proxy.pair.store import EtcdPlace

KEY = "/colo-proxy/1/default/web1/right"

_CACHE = Path(__file__).parents[2] / ".cache" / "etcd" / "usr" / "bin"
_ETCD = shutil.which("etcd") or shutil.which("etcd", path=str(_CACHE))
needs_etcd = pytest.mark.skipif(
    _ETCD is None and not os.environ.get("CI"),
    reason="etcd is not installed: `make etcd` fetches Debian's, or install it yourself",
)


def openssl(folder: Path, *words: str) -> None:
    """Run a command of openssl there."""
    subprocess.run(["openssl", *words], cwd=folder, check=True, capture_output=True)


def certificates(folder: Path) -> None:
    """An authority `ca`, a certificate `host` for 127.0.0.1, and one, `stranger`, of another authority."""
    new = ("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2")
    openssl(folder, *new, "-keyout", "ca.key", "-out", "ca.crt", "-subj", "/CN=authority")
    openssl(folder, *new, "-keyout", "stranger.key", "-out", "stranger.crt", "-subj", "/CN=stranger")
    names = ("-addext", "subjectAltName=IP:127.0.0.1")
    signed = ("-CA", "ca.crt", "-CAkey", "ca.key", "-subj", "/CN=host", *names)
    openssl(folder, *new, "-keyout", "host.key", "-out", "host.crt", *signed)


class Cluster:
    """Three members, with client certificates, on ports of the loopback that the kernel has given."""

    def __init__(self, folder: Path, stack: ExitStack, ports: list[int]) -> None:
        self._folder = folder
        self.endpoints = [f"https://127.0.0.1:{port}" for port in ports[:3]]
        peers = [f"http://127.0.0.1:{port}" for port in ports[3:]]
        tls = (
            "--cert-file",
            "host.crt",
            "--key-file",
            "host.key",
            "--client-cert-auth",
            "--trusted-ca-file",
            "ca.crt",
        )
        cluster = ",".join(f"n{n}={peer}" for n, peer in enumerate(peers))
        self._members = []
        for n, (endpoint, peer) in enumerate(zip(self.endpoints, peers, strict=True)):
            words = {
                "--name": f"n{n}",
                "--data-dir": f"data{n}",
                "--listen-client-urls": endpoint,
                "--advertise-client-urls": endpoint,
                "--listen-peer-urls": peer,
                "--initial-advertise-peer-urls": peer,
                "--initial-cluster": cluster,
                "--initial-cluster-state": "new",
                "--heartbeat-interval": "100",
                "--election-timeout": "1000",
            }
            log = stack.enter_context((folder / f"log{n}").open("wb"))
            command = [str(_ETCD), *(word for pair in words.items() for word in pair), *tls]
            process = subprocess.Popen(command, cwd=folder, stdout=log, stderr=log)
            stack.callback(process.wait)
            stack.callback(process.kill)
            self._members.append(process)

    def member(self, n: int, name: str = "host") -> Member:
        """A client of the n-th member, with this certificate."""
        files = [str(self._folder / file) for file in (f"{name}.crt", f"{name}.key", "ca.crt")]
        return Member(self.endpoints[n], KEY, timeout=20, tls=context(*files))

    def kill(self, n: int) -> None:
        """End a member at once."""
        self._members[n].kill()
        self._members[n].wait()

    def place(self, n: int) -> EtcdPlace:
        """The record, by the n-th member."""
        files = [str(self._folder / file) for file in ("host.crt", "host.key", "ca.crt")]
        return EtcdPlace(self.endpoints[n], KEY, *files)

    def pause(self, n: int) -> None:
        """Stop a member: it takes connections and answers nothing."""
        self._members[n].send_signal(signal.SIGSTOP)

    def resume(self, n: int) -> None:
        """The opposite of `pause`."""
        self._members[n].send_signal(signal.SIGCONT)

    def leader(self) -> int:
        """The member that leads."""
        tls = context(*(str(self._folder / file) for file in ("host.crt", "host.key", "ca.crt")))
        status = []
        for endpoint in self.endpoints:
            request = Request(f"{endpoint}/v3/maintenance/status", data=b"{}", method="POST")
            with urlopen(request, context=tls, timeout=20) as answer:
                status.append(json.load(answer))
        return [each["header"]["member_id"] for each in status].index(status[0]["leader"])


def three_members(folder: Path, stack: ExitStack) -> Cluster:
    """On ports that the kernel has given; they have a leader when one of them answers."""
    sockets = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(6)]
    ports = [held.getsockname()[1] for held in sockets]
    for held in sockets:
        held.close()
    return Cluster(folder, stack, ports)
