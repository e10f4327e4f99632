"""Open the ports of the proxy: TAPs that it makes, packet sockets on interfaces that exist.

    with open_ports(config.nics) as (nics, packets):
        for uplink, primary, secondary in nics:
            engine.add_nic(uplink, primary, secondary)

All that was made or changed is undone when the context ends, and when opening fails half way. A TAP vanishes
with its descriptor, and the rule that keeps the host's stack away (guard.py) with its socket: after a kill
-9, too. An interface may go, and come back as another: packet_port.py then opens its socket again.
These calls block for milliseconds; from asyncio, use `asyncio.to_thread`.
"""

import errno
import fcntl
import os
import secrets
import socket
import struct
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import NamedTuple, Protocol

from colo_proxy.endpoints import Endpoint, Packet, Split, Tap, Tcp, Unix
from colo_proxy.engine.messages import PortSpec
from colo_proxy.errors import HostError
from colo_proxy.host.guard import Guard
from colo_proxy.host.links import Link, Links
from colo_proxy.vocabulary import Port

TUN_DEVICE = Path("/dev/net/tun")
VNET_SIZE = 10  # the virtio-net header without num_buffers (virtio 1.2, 5.1.6)

# linux/if_tun.h
_TUNSETIFF = 0x400454CA
_TUNSETOFFLOAD = 0x400454D0
_TUNSETVNETHDRSZ = 0x400454D8
_IFF_TAP, _IFF_NO_PI, _IFF_VNET_HDR, _IFF_TUN_EXCL = 0x0002, 0x1000, 0x4000, 0x8000
_TUN_F_CSUM, _TUN_F_TSO4, _TUN_F_TSO6, _TUN_F_TSO_ECN = 0x01, 0x02, 0x04, 0x08
TAP_QUEUE = 1000  # frames towards the proxy; at most 64 MiB, and a burst of a bridge's clients fits

# linux/if_packet.h, asm-generic/socket.h
_SOL_PACKET = 263
_PACKET_ADD_MEMBERSHIP, _PACKET_AUXDATA, _PACKET_VNET_HDR, _PACKET_IGNORE_OUTGOING = 1, 8, 15, 23
_PACKET_MR_PROMISC = 1
_ETH_P_ALL = 3
SO_SNDBUFFORCE, SO_RCVBUFFORCE, SO_TIMESTAMPNS = 32, 33, 35
RECEIVE_BUFFER = 32 << 20  # bytes, skb overhead included: some 14,000 full frames, 10 ms at 10 Gbit/s
SEND_BUFFER = 8 << 20


class NicEndpoints(Protocol):
    """A `[[nic]]` of the configuration."""

    @property
    def endpoints(self) -> tuple[Endpoint, Endpoint, Endpoint]: ...
    @property
    def vnet_hdr(self) -> bool: ...


class OpenPorts(NamedTuple):
    """What the engine is given, by NIC; and the packet sockets among it, by NIC and port."""

    nics: list[tuple[PortSpec, PortSpec, PortSpec]]
    packets: "dict[tuple[int, Port], PacketSocket]"


@contextmanager
def open_ports(nics: Iterable[NicEndpoints]) -> Iterator[OpenPorts]:
    """Open uplink, primary and secondary of each NIC. A socket endpoint is given as a stream with no peer
    yet.

    Raises HostError, with all undone, where the host does not let us.
    """
    with ExitStack() as opened:
        links = opened.enter_context(Links())
        with ExitStack() as changes:  # what stays as it is once all is open
            specs: list[tuple[PortSpec, PortSpec, PortSpec]] = []
            packets: dict[tuple[int, Port], PacketSocket] = {}
            for number, nic in enumerate(nics):
                ports, sockets = _open_nic(nic, links, opened, changes)
                specs.append(ports)
                packets |= {(number, port): packet for port, packet in sockets.items()}
            changes.pop_all()
        yield OpenPorts(specs, packets)


def _open_nic(
    nic: NicEndpoints, links: Links, opened: ExitStack, changes: ExitStack
) -> tuple[tuple[PortSpec, PortSpec, PortSpec], "dict[Port, PacketSocket]"]:
    packets: dict[Port, PacketSocket] = {}
    sockets = any(isinstance(endpoint, Unix | Tcp | Split) for endpoint in nic.endpoints)

    def open_port(port: Port, endpoint: Endpoint) -> PortSpec:
        match endpoint:
            case Tap():
                offloads = nic.vnet_hdr or not sockets  # else the sockets could not say what is left to do
                return PortSpec(open_tap(endpoint, links, opened, offloads), "tap", endpoint.name)
            case Packet():
                packet = packets[port] = PacketSocket(endpoint)
                opened.callback(packet.close)
                packet.open(links, changes)
                return PortSpec(packet.fd, "packet", endpoint.name)
            case _:
                split = isinstance(endpoint, Split)
                return PortSpec(-1, "stream", str(endpoint), vnet=nic.vnet_hdr, split=split)

    uplink, primary, secondary = map(open_port, Port, nic.endpoints)
    return (uplink, primary, secondary), packets


def open_tap(endpoint: Tap, links: Links, opened: ExitStack, offloads: bool = True) -> int:
    """Make a TAP, up and on its bridge; `opened` closes it. Returns its descriptor. Raises HostError.

    Without `offloads` all frames come whole: checksums made, none longer than the MTU.
    """
    bridge = _bridge(endpoint, links) if endpoint.bridge else None
    try:
        fd = os.open(TUN_DEVICE, os.O_RDWR | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        raise HostError(f"{endpoint}: {_tun_problem(error)}") from None
    opened.callback(os.close, fd)
    flags = _IFF_TAP | _IFF_NO_PI | _IFF_VNET_HDR | _IFF_TUN_EXCL
    try:
        fcntl.ioctl(fd, _TUNSETIFF, struct.pack("=16sH22x", endpoint.name.encode(), flags))
        fcntl.ioctl(fd, _TUNSETVNETHDRSZ, struct.pack("=i", VNET_SIZE))
        wanted = _TUN_F_CSUM | _TUN_F_TSO4 | _TUN_F_TSO6 | _TUN_F_TSO_ECN if offloads else 0
        fcntl.ioctl(fd, _TUNSETOFFLOAD, wanted)
    except OSError as error:
        raise HostError(f"{endpoint}: {_tap_problem(endpoint, error)}") from None
    link = links.find(endpoint.name)
    if link is None:
        raise HostError(f"{endpoint}: the TAP disappeared while it was being set up; start again")
    links.change(
        str(endpoint),
        link,
        # The bridge takes the lowest address of its ports; like libvirt, never offer it one.
        address="fe:" + secrets.token_bytes(5).hex(":"),
        mtu=bridge.mtu if bridge else link.mtu,
        txqlen=TAP_QUEUE,
    )
    links.no_ipv6_address(link)
    if bridge:
        links.change(str(endpoint), link, master=bridge.index)
    links.change(str(endpoint), link, state="up")
    return fd


def _bridge(endpoint: Tap, links: Links) -> Link:
    bridge = links.find(endpoint.bridge or "")
    if bridge is None:
        raise HostError(
            f"{endpoint}: there is no bridge {endpoint.bridge!r}; "
            f"make it (ip link add {endpoint.bridge} type bridge) or correct the name"
        )
    if bridge.kind != "bridge":
        raise HostError(f"{endpoint}: {endpoint.bridge!r} is not a bridge; name the one that clients are on")
    return bridge


def _tun_problem(error: OSError) -> str:
    match error.errno:
        case errno.ENOENT | errno.ENODEV | errno.ENXIO:
            return f"there is no {TUN_DEVICE}; load the module (modprobe tun), or hand it to the container"
        case errno.EPERM | errno.EACCES:
            return f"no privilege to open {TUN_DEVICE}; run as root or with CAP_NET_ADMIN"
        case _:
            return f"{TUN_DEVICE} cannot be opened: {error.strerror}"


def _tap_problem(endpoint: Tap, error: OSError) -> str:
    match error.errno:
        case errno.EBUSY | errno.EEXIST:
            return f"an interface {endpoint.name!r} exists already; give the TAP another name"
        case errno.EPERM | errno.EACCES:
            return "no privilege to make a TAP; run as root or with CAP_NET_ADMIN"
        case _:
            return f"the TAP cannot be made: {error.strerror}"


class PacketSocket:
    """The packet socket on an interface that exists, and what keeps the host's stack off it."""

    def __init__(self, endpoint: Packet) -> None:
        self.endpoint = endpoint
        self.fd = -1
        self._opened = ExitStack()

    def open(self, links: Links, changes: ExitStack) -> None:
        """Open it. The interface is set up if it was down, which `changes` undoes. Raises HostError."""
        with ExitStack() as opened:
            self.fd = _open_packet(self.endpoint, links, opened, changes)
            self._opened = opened.pop_all()

    def open_again(self) -> None:
        """Open it on the interface that has the name now. Raises HostError, with all undone."""
        with Links() as links, ExitStack() as changes:
            self.open(links, changes)
            changes.pop_all()

    def close(self) -> None:
        """Close the socket and lift the rule."""
        self._opened.close()
        self.fd = -1

    @property
    def lost(self) -> bool:
        """The interface has been removed, and the socket is without one for ever."""
        if self.fd < 0:
            return True
        with socket.socket(fileno=os.dup(self.fd)) as port:
            return not port.getsockname()[0]


def _open_packet(endpoint: Packet, links: Links, opened: ExitStack, changes: ExitStack) -> int:
    link = links.find(endpoint.name)
    if link is None:
        raise HostError(
            f"{endpoint}: there is no interface {endpoint.name!r} here; make it first (a VM's TAP appears "
            "when its VMM starts), or correct the name"
        )
    if not link.ethernet:
        raise HostError(
            f"{endpoint}: {endpoint.name!r} carries no Ethernet frames; use an Ethernet interface"
        )
    if link.bridge:  # its own frames to the VM would pass around the proxy
        raise HostError(
            f"{endpoint}: {endpoint.name!r} is in use as a port of the bridge {links.bridge_of(link)!r}; "
            f"take it out (ip link set {endpoint.name} nomaster), and use tap:NAME,bridge=BR as the uplink"
        )
    guard = Guard(endpoint.name)
    opened.callback(guard.close)
    try:
        # Protocol 0: no frame arrives before all is set and the socket is bound.
        port = socket.socket(
            socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC, 0
        )
    except PermissionError:
        raise HostError(
            f"{endpoint}: no privilege to open a packet socket; run as root or with CAP_NET_RAW"
        ) from None
    opened.callback(port.close)
    try:
        _set_up(port, link)
    except OSError as error:
        raise HostError(f"{endpoint}: the packet socket cannot be set up: {error.strerror}") from None
    if not link.up:
        links.no_ipv6_address(link)
        changes.callback(_quietly, lambda: links.change(str(endpoint), link, state="down"))
        links.change(str(endpoint), link, state="up")
        port.getsockopt(
            socket.SOL_SOCKET, socket.SO_ERROR
        )  # forget that it was down when we were bound to it
    return port.fileno()


def _set_up(port: socket.socket, link: Link) -> None:
    # PACKET_QDISC_BYPASS stays off: with it, what a full device queue does not take is lost at once; without,
    # the interface's qdisc is the buffer (and a veth or TAP has none to pass through).
    for option in (_PACKET_VNET_HDR, _PACKET_AUXDATA, _PACKET_IGNORE_OUTGOING):
        port.setsockopt(_SOL_PACKET, option, 1)
    port.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
    _buffer(port, SO_RCVBUFFORCE, socket.SO_RCVBUF, RECEIVE_BUFFER)
    _buffer(port, SO_SNDBUFFORCE, socket.SO_SNDBUF, SEND_BUFFER)
    # Frames for a VM carry the VM's MAC address, not the interface's.
    membership = struct.pack("=iHH8s", link.index, _PACKET_MR_PROMISC, 0, b"")
    port.setsockopt(_SOL_PACKET, _PACKET_ADD_MEMBERSHIP, membership)
    port.bind((link.name, _ETH_P_ALL))


def _buffer(port: socket.socket, force: int, ordinary: int, size: int) -> None:
    """Past net.core.rmem_max where CAP_NET_ADMIN allows it, else up to it (`colo-proxy check` says so)."""
    try:
        port.setsockopt(socket.SOL_SOCKET, force, size)
    except PermissionError:
        port.setsockopt(socket.SOL_SOCKET, ordinary, size)


def _quietly(undo: Callable[[], None]) -> None:
    """Undo a change on the way out of an error, which is what the user must hear of."""
    with suppress(HostError):
        undo()
