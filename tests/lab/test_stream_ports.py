"""The SVM on another host, its frames on QEMU's net streams over kernel TCP."""

import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager

import pytest
from colo_lab import kernel, relay, topology, vm
from colo_lab.namespaces import Namespace
from colo_lab.nic import Nic
from colo_lab.protected import Protected, protected
from colo_lab.replica.content import Content
from colo_lab.transfer import MIB, Transfer
from colo_vm import qemu
from colo_vm.debian import CACHE

A, B = "198.51.100.11", "198.51.100.12"


Carry = Callable[[Namespace, str, str, str], AbstractContextManager[object]]


def relays(space: Namespace, port: str, into: str, out: str) -> AbstractContextManager[object]:
    """The lab's own carrier: with virtio-net headers and super-frames."""
    return space.running([sys.executable, relay.__file__, port, into, out, "--vnet-hdr"])


@contextmanager
def filters(space: Namespace, port: str, into: str, out: str) -> Iterator[None]:
    """A QEMU without a machine between an interface and the proxy: a TAP, a hub, and two redirectors.

    The TAP stands for a guest's netdev, seen from its other end: what it sends (tx) is what the guest says.
    """
    command = qemu.find().command(CACHE)  # reconnect-ms is of QEMU 9.2
    tap, bridge = f"t{port}", f"b{port}"
    with kernel.inside(space.fd):
        for line in (
            f"tuntap add {tap} mode tap",
            f"link add {bridge} type bridge mcast_snooping 0",
            f"link set {tap} master {bridge} up",
            f"link set {port} master {bridge}",
            f"link set {bridge} up",
        ):
            subprocess.run(["ip", *line.split()], check=True, timeout=10)
    command += ["-machine", "none", "-nodefaults", "-nographic"]
    command += ["-netdev", f"tap,id=n0,ifname={tap},script=no,downscript=no,vnet_hdr=off"]
    command += ["-netdev", "hubport,id=h0,hubid=0,netdev=n0"]
    for name, address in (("in", into), ("out", out)):
        host, _, number = address.rpartition(":")
        command += ["-chardev", f"socket,id={name},host={host},port={number},nodelay=on,reconnect-ms=10"]
    command += ["-object", "filter-redirector,id=f0,netdev=n0,queue=tx,outdev=in"]
    command += ["-object", "filter-redirector,id=f1,netdev=n0,queue=rx,indev=out"]
    with space.running(command):
        yield


@contextmanager
def two_hosts(
    monkeypatch: pytest.MonkeyPatch, carriers: Mapping[str, Carry], **nic: object
) -> Iterator[Protected]:
    """A protected pair, its SVM on another host; `carriers` join interfaces and the proxy's sockets."""
    plain, plugged = topology._cable, Nic
    ends = {"pvm0": (9103, 9104), "svm0": (9101, 9102)}
    roles = {"pvm0": "primary", "svm0": "secondary"}
    ports = {
        roles[port]: {"in": f"tcp:{A}:{ends[port][0]}", "out": f"tcp:{A}:{ends[port][1]}"}
        for port in carriers
    }
    with ExitStack() as stack:
        far = stack.enter_context(Namespace("far", {}))
        far.sysctl({"ipv6/conf/default/disable_ipv6": 1})

        def cable(host: Namespace, outer: str, inside: Namespace, inner: str, mac: str | None = None) -> None:
            """The SVM's cable goes to host B, the others as ever."""
            space = far if outer == "svm0" else host
            plain(space, outer, inside, inner, mac)
            if space is far:
                plain(host, "eth1", far, "eth1")
                for each, address in ((host, A), (far, B)):
                    with kernel.inside(each.fd):
                        subprocess.run(f"ip addr add {address}/24 dev eth1".split(), check=True, timeout=10)
            if outer in carriers:
                into, out = ends[outer]
                stack.enter_context(carriers[outer](space, outer, f"{A}:{into}", f"{A}:{out}"))

        def plug(namespace: Namespace, device: str, host: Namespace, port: str) -> Nic:
            return plugged(namespace, device, far if port == "svm0" else host, port)

        monkeypatch.setattr(topology, "_cable", cable)
        monkeypatch.setattr(vm, "Nic", plug)
        made = stack.enter_context(protected(nic={**ports, **nic}, compare={"timeout_ms": 3000}))
        try:
            yield made
        except BaseException:
            print(made.proxy.log.read_text())  # pytest shows it with the failure
            raise


def download(made: Protected, size: int, version: int = 4) -> None:
    with Transfer(made.lab, made.lab.topology.nics[0].url(f"/bytes/{size}", version=version)) as transfer:
        assert transfer.result()["sha256"] == Content().sha256(size)


def test_downloads_and_a_divergence(monkeypatch: pytest.MonkeyPatch) -> None:
    with two_hosts(monkeypatch, {"svm0": relays}, vnet_hdr=True) as made:
        for version in (4, 6):
            download(made, 16 * MIB, version)
        assert made.later == []
        made.lab.svm.fault(flip=MIB)
        download(made, 16 * MIB)
        assert made.later[0] == "payload"
        download(made, 16 * MIB)  # the SVM's stream is another since the checkpoint
        before = len(made.later)
        download(made, 16 * MIB)
        assert made.later[before:] == []


def test_qemus_filter_objects(monkeypatch: pytest.MonkeyPatch) -> None:
    """Both guests behind a stock QEMU's redirectors, without virtio-net headers."""
    with two_hosts(monkeypatch, {"pvm0": filters, "svm0": filters}) as made:
        download(made, 4 * MIB)
        made.lab.svm.fault(flip=MIB)
        download(made, 4 * MIB)
        assert made.later[0] == "payload"
