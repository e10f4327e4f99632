"""Real interfaces for tests: nameless network namespaces, veth pairs, TAPs and the sockets on them.

A namespace lives as long as its descriptor is open, so nothing is left behind, whatever happens to the test.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import socket
import struct
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
from pyroute2 import IPRoute

CLONE_NEWNET = 0x40000000
SOL_PACKET, PACKET_AUXDATA, PACKET_VNET_HDR, PACKET_IGNORE_OUTGOING = 263, 8, 15, 23
PACKET_ADD_MEMBERSHIP, PACKET_MR_PROMISC = 1, 1
SO_TIMESTAMPNS, SO_SNDBUFFORCE, SO_RCVBUFFORCE = 35, 32, 33
ETH_P_ALL = 3
TUNSETIFF, TUNSETVNETHDRSZ, TUNSETOFFLOAD = 0x400454CA, 0x400454D8, 0x400454D0
IFF_TAP, IFF_NO_PI, IFF_VNET_HDR = 0x0002, 0x1000, 0x4000
TUN_F_CSUM, TUN_F_TSO4, TUN_F_TSO6 = 1, 2, 4
SIOCETHTOOL = 0x8946
ETHTOOL_STXCSUM, ETHTOOL_SSG, ETHTOOL_STSO, ETHTOOL_SGSO = 0x17, 0x19, 0x1F, 0x24
IFA_F_NODAD = 2
_libc = ctypes.CDLL(None, use_errno=True)


def why_not() -> str | None:
    """What keeps these tests from running here, or None."""
    if os.geteuid() != 0:
        return "needs root (or an unprivileged user namespace: unshare -Urn) for network namespaces"
    if not Path("/dev/net/tun").exists():
        return "needs /dev/net/tun"
    return None


needs_wires = pytest.mark.skipif(why_not() is not None and not os.environ.get("CI"), reason=why_not() or "")


def _call(name: str, *arguments: int) -> None:
    if getattr(_libc, name)(*arguments) != 0:
        code = ctypes.get_errno()
        raise OSError(code, f"{name}: {os.strerror(code)}")


class Namespace:
    """A network namespace without a name. Use as a context manager; `inside` enters it.

    Sockets and TAPs opened through it are closed with it.
    """

    def __init__(self) -> None:
        self._opened = ExitStack()
        home = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        try:
            _call("unshare", CLONE_NEWNET)
            self.fd = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
            # Nobody's router solicitations among the frames that a test counts.
            Path("/proc/sys/net/ipv6/conf/default/disable_ipv6").write_text("1")
        finally:
            _call("setns", home, CLONE_NEWNET)
            os.close(home)

    def __enter__(self) -> Namespace:
        return self

    def __exit__(self, *_: object) -> None:
        self._opened.close()
        os.close(self.fd)

    @contextmanager
    def inside(self) -> Iterator[None]:
        """The calling thread is in the namespace for a while."""
        home = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        try:
            _call("setns", self.fd, CLONE_NEWNET)
            yield
        finally:
            _call("setns", home, CLONE_NEWNET)
            os.close(home)

    @contextmanager
    def netlink(self) -> Iterator[Any]:
        """A pyroute2 socket of this namespace."""
        with self.inside():
            ipr = IPRoute()
        try:
            yield ipr
        finally:
            ipr.close()

    def veth(self, name: str, peer: str, other: Namespace | None = None) -> None:
        """Make a veth pair, `peer` in the other namespace if there is one; both ends up and ready to send."""
        with self.netlink() as ipr:
            ipr.link("add", ifname=name, kind="veth", peer=peer)
            if other is not None:
                ipr.link("set", index=ipr.link_lookup(ifname=peer)[0], net_ns_fd=other.fd)
        self.up(name)
        (other or self).up(peer)
        self.wait_for_carrier(name)
        (other or self).wait_for_carrier(peer)

    def wait_for_carrier(self, name: str) -> None:
        """Until the kernel has noticed the carrier, it drops what is sent, silently."""
        deadline = time.monotonic() + 5
        with self.netlink() as ipr:
            index = ipr.link_lookup(ifname=name)[0]
            while ipr.get_links(index)[0].get_attr("IFLA_OPERSTATE") != "UP":
                if time.monotonic() > deadline:
                    raise TimeoutError(f"{name} has no carrier")
                time.sleep(0.005)

    def up(self, name: str, state: str = "up") -> None:
        with self.netlink() as ipr:
            ipr.link("set", index=ipr.link_lookup(ifname=name)[0], state=state)

    def address(self, name: str, address: str, prefix: int = 24) -> None:
        if ":" in address:
            with self.inside():
                Path("/proc/sys/net/ipv6/conf", name, "disable_ipv6").write_text("0")
        with self.netlink() as ipr:
            ipr.addr(
                "add",
                index=ipr.link_lookup(ifname=name)[0],
                address=address,
                prefixlen=prefix,
                flags=IFA_F_NODAD,
            )

    def bridge(self, name: str, *members: str) -> None:
        with self.netlink() as ipr:
            ipr.link("add", ifname=name, kind="bridge")
            bridge = ipr.link_lookup(ifname=name)[0]
            for member in members:
                ipr.link("set", index=ipr.link_lookup(ifname=member)[0], master=bridge)
        self.up(name)

    def remove(self, name: str) -> None:
        with self.netlink() as ipr:
            ipr.link("del", index=ipr.link_lookup(ifname=name)[0])

    def packet(self, name: str, buffers: int = 1 << 24) -> socket.socket:
        """A packet socket as port.pxd wants it; it hears nothing before all options are set."""
        with self.inside():
            sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_NONBLOCK, 0)
            self._opened.callback(sock.close)
            index = socket.if_nametoindex(name)
        for option in (PACKET_VNET_HDR, PACKET_AUXDATA, PACKET_IGNORE_OUTGOING):
            sock.setsockopt(SOL_PACKET, option, 1)
        sock.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        sock.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, buffers)
        sock.setsockopt(socket.SOL_SOCKET, SO_SNDBUFFORCE, buffers)
        membership = struct.pack("iHH8s", index, PACKET_MR_PROMISC, 0, b"")
        sock.setsockopt(SOL_PACKET, PACKET_ADD_MEMBERSHIP, membership)
        with self.inside():
            sock.bind((name, ETH_P_ALL))
        return sock

    def tap(self, name: str) -> int:
        """A TAP as port.pxd wants it, up."""
        request = struct.pack("16sH22x", name.encode(), IFF_TAP | IFF_NO_PI | IFF_VNET_HDR)
        with self.inside():
            fd = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
            self._opened.callback(os.close, fd)
            fcntl.ioctl(fd, TUNSETIFF, request)
        fcntl.ioctl(fd, TUNSETVNETHDRSZ, struct.pack("i", 10))
        fcntl.ioctl(fd, TUNSETOFFLOAD, TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6)
        self.up(name)
        return fd

    def no_offloads(self, name: str) -> None:
        """Frames leave this interface segmented and with their checksums filled in."""
        with self.inside(), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            for command in (ETHTOOL_STSO, ETHTOOL_SGSO, ETHTOOL_SSG, ETHTOOL_STXCSUM):
                value = ctypes.create_string_buffer(struct.pack("II", command, 0))
                request = struct.pack("16sP16x", name.encode(), ctypes.addressof(value))
                try:
                    fcntl.ioctl(sock, SIOCETHTOOL, request)
                except OSError as error:
                    if error.errno != errno.EOPNOTSUPP:
                        raise


@contextmanager
def namespaces(count: int = 1) -> Iterator[list[Namespace]]:
    with ExitStack() as stack:
        yield [stack.enter_context(Namespace()) for _ in range(count)]
