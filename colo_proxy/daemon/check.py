"""Can this host run this configuration? Each problem in one line, with its remedy; nothing is changed.

`error`: the proxy would not start, or would not keep its promise. `warning`: it would run, with a loss named
here.
"""

import asyncio
import contextlib
import errno
import ipaddress
import os
import platform
import re
import socket
import stat
from collections.abc import Iterator, Set
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from colo_proxy.checkpoint.qemu_versions import Colo
from colo_proxy.config import PORTS, Config, Nic, PairNic, unwise
from colo_proxy.control.client import Client
from colo_proxy.daemon.check_pair import pair_problems
from colo_proxy.daemon.problem import Problem
from colo_proxy.endpoints import Endpoint, Packet, Split, Tap, Tcp, Unix, join_host_port, parts
from colo_proxy.errors import ControlError, HostError, UserError
from colo_proxy.host import guard
from colo_proxy.host.links import Link, Links
from colo_proxy.host.ports import RECEIVE_BUFFER, SO_RCVBUFFORCE, TAP_QUEUE, TUN_DEVICE
from colo_proxy.telemetry.report_writer import prove

if TYPE_CHECKING:
    from colo_proxy.checkpoint.follower import Snapshot

OLDEST_KERNEL = (5, 12)  # tables with an owner (guard.py)
_CAPABILITIES = {"CAP_NET_ADMIN": 12, "CAP_NET_RAW": 13}  # linux/capability.h
_SHORT_QUEUE = 500  # frames; the kernel's default is 1000
_PROC_NET = Path("/proc/sys/net")
RUNTIME = Path("/run/colo-proxy")  # RuntimeDirectory= of the unit
_ANSWER_S = 2.0  # a proxy answers in a millisecond
_AUTOMATIC = ipaddress.ip_network("fe80::/10")  # the kernel gives it by itself to what is up; nobody uses it
# Frames merged so that no virtio-net header can describe them; a packet socket gets EINVAL in their place.
_MERGING = {"rx-lro": "lro", "rx-gro-list": "rx-gro-list"}


def running(config: Config) -> dict[str, Any] | None:
    """The answer to `query-status` of the proxy that runs with this configuration; None where none does."""
    with contextlib.suppress(ControlError), Client(config.proxy.control, _ANSWER_S) as client:
        if client.greeting.get("name") == config.proxy.name:
            status: dict[str, Any] = client.execute("query-status")
            return status
    return None


def problems(config: Config, status: dict[str, Any] | None = None) -> list[Problem]:
    """Everything that stands in the way, errors first. Blocks for some milliseconds.

    `status`: of this proxy, where it is running. What it has made or taken is then no problem.
    """
    owned = {nic[port] for nic in status["nics"] for port in PORTS} if status else set()
    nics = _nics(config)
    endpoints = [endpoint for nic in nics for endpoint in nic.ports.values()]
    found = [*_kernel(endpoints), *_privileges(endpoints), *_buffers()]
    with Links() as links:
        for number, nic in enumerate(nics):
            found += _nic(f"[[nic]] {number}", nic, links, owned)
    found += _sockets(config, owned, status)
    found += _reached(status) if status else _qemus(config)
    found += [
        Problem("warning", what, f"[[policy]] {number}", "give it a match, or remove it")
        for number, what in unwise(config.policies)
    ]
    if not status:
        found += _metrics(config.proxy.metrics)
    if config.two_hosts:
        listen = Tcp(*config.two_hosts.pair.listen)
        found += _tcp(listen, f"[pair] listen {listen.host}", "give an address of this host and a free port")
        found += pair_problems(config.two_hosts, config.proxy.name)
    if config.proxy.reports:
        found += _reports(config.proxy.reports)
    return sorted(dict.fromkeys(found), key=lambda problem: problem.level)


def _nics(config: Config) -> tuple[Nic | PairNic, ...]:
    return config.two_hosts.nics if config.two_hosts else config.nics


def _reached(status: dict[str, Any]) -> Iterator[Problem]:
    """Whom a running proxy does not reach: it alone can say, for a QMP socket serves one client."""
    for side, up in status["vmm_connected"].items():
        if not up:
            yield Problem("warning", "the running proxy cannot reach it", f"VMM {side}", "look at its log")


def _qemus(config: Config) -> Iterator[Problem]:
    """A QEMU whose COLO is known not to work, or that does not answer."""
    if config.checkpoint.vmm != "qmp":
        return
    from colo_proxy.checkpoint import qmp  # noqa: PLC0415 - qemu.qmp takes its time to import

    for side in ("primary", "secondary", "vm"):
        endpoint = getattr(config.checkpoint, side)
        if endpoint is None or (isinstance(endpoint, Unix) and not Path(endpoint.path).exists()):
            continue  # `_sockets` says so
        try:
            verdict, state = asyncio.run(qmp.inspect(endpoint))
        except ConnectionError as error:
            remedy = (
                "start QEMU with a QMP socket there; a QMP socket serves one client, perhaps a running proxy"
            )
            yield Problem("warning", str(error), f"[checkpoint] {side}", remedy)
        else:
            if verdict.colo is not Colo.WORKS:
                level: Literal["error", "warning"] = "error" if verdict.colo is Colo.BROKEN else "warning"
                yield Problem(level, verdict.what, f"[checkpoint] {side}", verdict.remedy)
            if state and side != "vm":  # which half of a pair that one is, is decided while they run
                yield from _colo_state(side, state)


def _colo_state(side: str, state: "Snapshot") -> Iterator[Problem]:
    """Which half of a pair a QEMU is, if it is one yet."""
    where = f"[checkpoint] {side}"
    if state.mode == "none":
        what = "this QEMU is not in the COLO state; until it is, output passes unprotected"
        remedy = "set the capabilities return-path and x-colo on both, and migrate (docs/qemu.md)"
        yield Problem("warning", what, where, remedy)
    elif state.mode != side:
        what = f"this QEMU is the {state.mode} of its pair"
        yield Problem("error", what, where, "exchange the two QMP sockets, and the NICs' ports likewise")


def _kernel(endpoints: list[Endpoint]) -> Iterator[Problem]:
    release = platform.release()
    version = re.match(r"(\d+)\.(\d+)", release)
    if version and (int(version[1]), int(version[2])) < OLDEST_KERNEL:
        oldest = ".".join(map(str, OLDEST_KERNEL))
        yield Problem("error", f"Linux {release} is too old", "kernel", f"use Linux {oldest} or newer")
    if any(isinstance(endpoint, Packet) for endpoint in endpoints):
        try:
            guard.probe()
        except HostError as error:
            _, _, text = str(error).partition(": ")
            what, _, remedy = text.partition("; ")
            yield Problem("error", what, "nftables", remedy)
    if any(isinstance(endpoint, Tap) for endpoint in endpoints):
        try:
            os.close(os.open(TUN_DEVICE, os.O_RDWR | os.O_CLOEXEC))
        except OSError as error:
            privilege = error.errno in (errno.EACCES, errno.EPERM)
            remedy = "run as root" if privilege else "load the module (modprobe tun)"
            what = f"cannot be opened: {error.strerror}"
            yield Problem("error", what, str(TUN_DEVICE), f"{remedy}, or hand it to the container")


def _privileges(endpoints: list[Endpoint]) -> Iterator[Problem]:
    status = Path("/proc/thread-self/status").read_text()
    held = int(re.findall(r"^CapEff:\s*([0-9a-f]+)$", status, re.MULTILINE)[0], 16)
    needed = {"CAP_NET_ADMIN": Packet | Tap, "CAP_NET_RAW": Packet}
    for name, kinds in needed.items():
        if any(isinstance(endpoint, kinds) for endpoint in endpoints) and not held >> _CAPABILITIES[name] & 1:
            remedy = f"run as root, or with AmbientCapabilities={name} in the service's unit"
            yield Problem("error", f"{name} is missing", "privileges", remedy)


def _buffers() -> Iterator[Problem]:
    """In a user namespace CAP_NET_ADMIN may not lift the limit on socket buffers."""
    limit = _PROC_NET / "core/rmem_max"
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as trial:
        try:
            trial.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, RECEIVE_BUFFER)
        except PermissionError:
            largest = int(limit.read_text()) if limit.exists() else 0
            if largest < RECEIVE_BUFFER:
                yield Problem(
                    "warning",
                    f"{largest} bytes are too few for a burst of frames; some may be lost",
                    "net.core.rmem_max",
                    f"sysctl -w net.core.rmem_max={RECEIVE_BUFFER}",
                )


def _nic(where: str, nic: Nic | PairNic, links: Links, owned: Set[str]) -> Iterator[Problem]:
    mtus: dict[str, int] = {}
    if isinstance(nic, PairNic) and nic.carrier and links.find(nic.carrier) is None:
        remedy = "name the interface towards the clients"
        yield Problem("error", "there is no such interface", f"{where} carrier {nic.carrier}", remedy)
    for port, endpoint in nic.ports.items():
        key = f"{where} {port} {endpoint}"
        match endpoint:
            case Tap():
                yield from _tap(key, endpoint, links, owned=str(endpoint) in owned)
                bridge = links.find(endpoint.bridge) if endpoint.bridge else None
                mtus[port] = bridge.mtu if bridge else 1500
            case Packet():
                link = links.find(endpoint.name)
                if link is None:
                    remedy = "make it first (a VM's TAP appears when its VMM starts), or correct the name"
                    yield Problem("error", "there is no such interface", key, remedy)
                else:
                    mtus[port] = link.mtu
                    ours = str(endpoint) in owned
                    yield from _packet(key, link, links, uplink=port == "uplink", owned=ours)
            case Unix() | Tcp() | Split():
                pass
    if len(set(mtus.values())) > 1:
        shown = ", ".join(f"{port} {mtu}" for port, mtu in mtus.items())
        remedy = "set them equal (ip link set IFNAME mtu N), or frames of the larger are lost at the smaller"
        yield Problem("error", f"the MTUs differ: {shown}", where, remedy)


def _tap(key: str, endpoint: Tap, links: Links, *, owned: bool) -> Iterator[Problem]:
    if not owned and links.find(endpoint.name):
        remedy = "give the TAP another name, or stop the program that uses it"
        yield Problem("error", f"an interface {endpoint.name!r} exists already", key, remedy)
    if endpoint.bridge is None:
        return
    bridge = links.find(endpoint.bridge)
    if bridge is None:
        remedy = f"ip link add {endpoint.bridge} type bridge, or correct the name"
        yield Problem("error", f"there is no bridge {endpoint.bridge!r}", key, remedy)
        return
    if bridge.kind != "bridge":
        remedy = "name the bridge that clients are on"
        yield Problem("error", f"{endpoint.bridge!r} is not a bridge", key, remedy)
        return
    if not bridge.up:
        remedy = f"ip link set {endpoint.bridge} up"
        yield Problem("warning", f"the bridge {endpoint.bridge!r} is down", key, remedy)
    settings = links.bridge(bridge)
    if settings.spanning_tree and settings.forward_delay:
        remedy = f"ip link set {endpoint.bridge} type bridge stp_state 0, or forward_delay 0"
        wait = f"{2 * settings.forward_delay:g} s"
        what = f"the bridge uses the spanning tree protocol and forwards nothing for {wait} after a start"
        yield Problem("warning", what, key, remedy)
    if settings.multicast_snooping:
        remedy = f"ip link set {endpoint.bridge} type bridge mcast_snooping 0"
        what = (
            "the bridge snoops multicast: after a start IPv6 clients may not find the VM until it is asked "
            "for its groups again (MLD, up to 125 s)"
        )
        yield Problem("warning", what, key, remedy)
    filters = [_PROC_NET / f"bridge/bridge-nf-call-{family}tables" for family in ("ip", "ip6", "arp")]
    on = [setting.name for setting in filters if setting.exists() and setting.read_text().strip() == "1"]
    if on:
        what = f"net.bridge.{', '.join(on)}: the host's firewall filters bridged frames"
        remedy = f"sysctl -w {' '.join(f'net.bridge.{name}=0' for name in on)}, unless the rules allow for it"
        yield Problem("warning", what, key, remedy)


def _packet(key: str, link: Link, links: Links, *, uplink: bool, owned: bool) -> Iterator[Problem]:
    if not link.ethernet:
        yield Problem("error", "the interface carries no Ethernet frames", key, "use an Ethernet interface")
        return
    if link.bridge:
        remedy = f"ip link set {link.name} nomaster, and use tap:NAME,bridge=BR as the uplink"
        what = "it is a port of a bridge, which would pass frames around the proxy"
        yield Problem("error", what, key, remedy)
    for address in links.addresses(link):
        if ipaddress.ip_address(address) in _AUTOMATIC:
            continue
        remedy = f"remove it (ip addr flush dev {link.name}) or move it to another interface"
        what = f"the host's address {address} is not reached through it while the proxy runs"
        yield Problem("warning", what, key, remedy)
    if not link.up:
        remedy = f"ip link set {link.name} up" + ("" if owned else ", or let the proxy do so when it starts")
        yield Problem("warning", "it is down", key, remedy)
    elif not link.carrier:
        reason = "the cable is unplugged or the other end is down" if uplink else "its VM is not running"
        yield Problem("warning", "it has no carrier", key, f"nothing to do here, but {reason}")
    if 0 < link.queue < _SHORT_QUEUE:
        what = f"its queue of {link.queue} frames is short for a burst; some may be lost"
        yield Problem("warning", what, key, f"ip link set {link.name} txqueuelen {TAP_QUEUE}")
    for feature in sorted(links.features(link) & _MERGING.keys()):
        remedy = f"ethtool -K {link.name} {_MERGING[feature]} off"
        yield Problem("error", f"{feature} merges frames beyond repair; they would be lost", key, remedy)
    if owned:
        return
    try:
        guard.probe(link.name)
    except HostError as error:
        _, _, text = str(error).partition(": ")
        what, _, remedy = text.partition("; ")
        if "another" in what:
            yield Problem("error", what, key, remedy)


def _sockets(config: Config, owned: Set[str], status: dict[str, Any] | None) -> Iterator[Problem]:
    control = config.proxy.control
    if not status:
        yield from _listening(Unix(control), f"[proxy] control {control}")
    for number, nic in enumerate(_nics(config)):
        for port, endpoint in nic.ports.items():
            for part in parts(endpoint):
                if isinstance(part, Unix | Tcp) and str(endpoint) not in owned:
                    yield from _listening(part, f"[[nic]] {number} {port} {part}")
    notify_dev = config.checkpoint.notify_dev
    if notify_dev and not (status and status["vmm"] == "xen"):
        yield from _listening(notify_dev, f"[checkpoint] notify_dev {notify_dev}")
    for key in ("primary", "secondary", "vm"):
        endpoint = getattr(config.checkpoint, key)
        if isinstance(endpoint, Unix) and not Path(endpoint.path).exists():
            remedy = "start the VM; the proxy goes on trying"
            yield Problem("warning", "there is no such socket yet", f"[checkpoint] {key} {endpoint}", remedy)


def _listening(endpoint: Unix | Tcp, where: str) -> Iterator[Problem]:
    """Can it be listened on?"""
    if isinstance(endpoint, Tcp):
        yield from _tcp(endpoint, where, "use another address or port")
        return
    path = Path(endpoint.path)
    yield from _directory(path.parent, where)
    if path.exists():
        if not stat.S_ISSOCK(path.stat().st_mode):
            yield Problem("error", "it exists and is not a socket", where, "remove the file, or name another")
        elif _listens(path):
            remedy = "stop it, or name another socket"
            yield Problem("error", "a proxy is listening on it", where, remedy)


def _tcp(address: Tcp, where: str, remedy: str) -> Iterator[Problem]:
    try:
        found = socket.getaddrinfo(
            address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
        family, kind, protocol, _, name = found[0]
        with socket.socket(family, kind, protocol) as trial:
            trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            trial.bind(name)
    except OSError as error:
        yield Problem("error", f"nothing can listen on it: {error.strerror}", where, remedy)


def _listens(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as trial:
        trial.settimeout(1)
        try:
            trial.connect(str(path))
        except OSError:
            return False
        return True


def _directory(path: Path, where: str) -> Iterator[Problem]:
    if not path.is_dir() and path == RUNTIME:
        remedy = f"the service's unit makes it (RuntimeDirectory=); without the unit, mkdir -p {path}"
        yield Problem("warning", f"there is no directory {path} yet", where, remedy)
    elif not path.is_dir():
        yield Problem("error", f"there is no directory {path}", where, f"mkdir -p {path}")
    elif not os.access(path, os.W_OK | os.X_OK):
        remedy = "run as its owner, or give the proxy's user the right to write"
        yield Problem("error", f"{path} is not writable", where, remedy)


def _reports(directory: str) -> Iterator[Problem]:
    try:
        prove(directory)
    except UserError as error:
        where, _, text = str(error).partition(": ")
        what, _, remedy = text.partition("; ")
        yield Problem("error", what, where, remedy)


def _metrics(address: tuple[str, int] | None) -> Iterator[Problem]:
    if address is None:
        return
    where = f"[proxy] metrics {join_host_port(*address)}"
    yield from _tcp(Tcp(*address), where, 'use another port, or metrics = "" to turn it off')
