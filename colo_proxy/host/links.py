"""Look at and change network interfaces: the part of rtnetlink that the proxy needs, with errors for
people.
"""

import errno
import socket
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Self

from colo_proxy.errors import HostError

_ARPHRD_ETHER = 1
_IFF_UP = 1
_IN6_ADDR_GEN_MODE_NONE = 1


@dataclass(frozen=True, slots=True)
class Link:
    """One interface, as it was when it was looked at."""

    index: int
    name: str
    up: bool
    mtu: int
    kind: str  # "bridge", "veth", "tun"...; "" for hardware
    ethernet: bool
    bridge: int  # index of the bridge it is a port of, 0: none
    carrier: bool
    queue: int  # frames that may wait to be sent (txqueuelen)


@dataclass(frozen=True, slots=True)
class Bridge:
    """What a bridge does besides forwarding."""

    spanning_tree: bool
    forward_delay: float  # seconds in each of the two states before forwarding; matters with a spanning tree
    multicast_snooping: bool


class Links:
    """A connection to rtnetlink. A context; synchronous, so outside any running event loop's thread."""

    def __init__(self) -> None:
        from pyroute2 import IPRoute  # noqa: PLC0415 - 0.1 s to import, and most commands do not need it

        self._route: Any = IPRoute()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._route.close()

    def find(self, name: str) -> Link | None:
        """The interface of this name in our network namespace."""
        index = next(iter(self._route.link_lookup(ifname=name)), None)
        if index is None:
            return None
        found = self._call(name, lambda: self._route.get_links(index))
        return _link(found[0]) if found else None

    def bridge_of(self, link: Link) -> str:
        """The name of the bridge it is a port of, "" if of none."""
        return next((other.name for other in self.all() if other.index == link.bridge), "")

    def all(self) -> list[Link]:
        """Every interface of our network namespace."""
        return [_link(message) for message in self._call("", self._route.get_links)]

    def addresses(self, link: Link) -> list[str]:
        """The IP addresses that the host has on it."""
        found = self._call(link.name, lambda: list(self._route.get_addr(index=link.index)))
        return [str(message.get_attr("IFA_ADDRESS")) for message in found]

    def bridge(self, link: Link) -> Bridge:
        """How a bridge is set."""
        found = self._call(link.name, lambda: self._route.get_links(link.index))
        info = found[0].get_attr("IFLA_LINKINFO") if found else None
        data = info.get_attr("IFLA_INFO_DATA") if info else None

        def setting(name: str) -> int:
            return (data.get_attr(name) if data else None) or 0

        return Bridge(
            spanning_tree=bool(setting("IFLA_BR_STP_STATE")),
            forward_delay=setting("IFLA_BR_FORWARD_DELAY") / 100,  # USER_HZ
            multicast_snooping=bool(setting("IFLA_BR_MCAST_SNOOPING")),
        )

    def features(self, link: Link) -> set[str]:
        """The offloads that are on, by ethtool's names."""
        from pyroute2 import Ethtool  # noqa: PLC0415
        from pyroute2.ethtool.ioctl import EthtoolError  # noqa: PLC0415

        ethtool: Any = Ethtool()
        try:
            found = self._call(link.name, lambda: ethtool.get_features(link.name).features)
        except EthtoolError:  # a driver without any, or an interface that has just gone
            return set()
        finally:
            ethtool.close()
        return {name for name, feature in found.items() if feature.enable}

    def change(self, what: str, link: Link, **changes: object) -> None:
        """Change an interface: `state`, `mtu`, `address`, `master`... Raises HostError that begins with
        `what`.
        """
        self._call(what, lambda: self._route.link("set", index=link.index, **changes))

    def no_ipv6_address(self, link: Link) -> None:
        """Have the kernel give it no link-local address of its own when it comes up.

        What the host would say from it (router solicitations, duplicate address detection) would reach one VM
        only.
        """
        inet6 = {"attrs": [["IFLA_INET6_ADDR_GEN_MODE", _IN6_ADDR_GEN_MODE_NONE]]}
        try:
            self.change(link.name, link, IFLA_AF_SPEC={"attrs": [["AF_INET6", inet6]]})
        except HostError:
            if socket.has_dualstack_ipv6():  # a host without IPv6 has nothing to turn off
                raise

    def _call(self, what: str, call: Callable[[], Any]) -> Any:
        from pyroute2.netlink.exceptions import NetlinkError  # noqa: PLC0415

        try:
            return call()
        except NetlinkError as error:
            if error.code in (errno.EPERM, errno.EACCES):
                raise HostError(
                    f"{what}: no privilege to change interfaces; run as root or with CAP_NET_ADMIN"
                ) from None
            raise HostError(f"{what}: the kernel refuses: {error.args[1]}") from None


def _link(message: Any) -> Link:
    info = message.get_attr("IFLA_LINKINFO")
    kind = info.get_attr("IFLA_INFO_KIND") if info else None
    master = message.get_attr("IFLA_MASTER") or 0
    slave = info.get_attr("IFLA_INFO_SLAVE_KIND") if info else None
    return Link(
        index=message["index"],
        name=message.get_attr("IFLA_IFNAME"),
        up=bool(message["flags"] & _IFF_UP),
        mtu=message.get_attr("IFLA_MTU"),
        kind=kind or "",
        ethernet=message["ifi_type"] == _ARPHRD_ETHER,
        bridge=master if slave == "bridge" else 0,
        carrier=bool(message.get_attr("IFLA_CARRIER")),
        queue=message.get_attr("IFLA_TXQLEN") or 0,
    )
