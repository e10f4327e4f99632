"""The lab's network: a client, a host with a bridge, and the two VMs, each a namespace.

    client            host                                     pvm
    eth0 --veth-- client0                       pvm0 --veth-- eth0   192.0.2.2  02:..:02
    192.0.2.1        |                           |
                   [br0]--colo0--{ colo-proxy }--+             svm
                                                 |
                                                svm0 --veth-- eth0   192.0.2.2  02:..:02

`colo0` is a TAP that the proxy makes and puts on the bridge (Uplink.TAP), or one end of a veth
pair whose other end is on the bridge (Uplink.PACKET). With Uplink.BRIDGE there is no proxy: the PVM
hangs on the bridge itself, to compare with.

With `impairable` cables there are two veth pairs from the host to the client or a VM, whose inner ends are in
a namespace `wires`, to be joined there by who impairs what passes (wires.py, which has the picture).
"""

from collections.abc import Mapping
from contextlib import ExitStack
from enum import Enum
from socket import AF_INET, AF_INET6
from types import TracebackType
from typing import Self

from .addresses import MOST_NICS, Nic
from .errors import LabError
from .namespaces import Namespace
from .replica.repair import CARRIED
from .wires import whole_frames

_QUIET = {  # no chatter of the kernel's own on these interfaces
    "ipv6/conf/default/disable_ipv6": 1,
    "ipv6/conf/all/disable_ipv6": 1,
    "ipv4/ip_forward": 0,
}
_ADDRESSED = {  # usable at once: no duplicate address detection, no waiting for a router
    "ipv6/conf/default/accept_dad": 0,
    "ipv6/conf/default/dad_transmits": 0,
    "ipv6/conf/default/accept_ra": 0,
    "ipv6/conf/default/router_solicitations": 0,
    "ipv6/conf/default/use_tempaddr": 0,
}
# One kernel serves both VMs with one secret, so the same SYN gets nearly the same initial sequence number and
# timestamp clock from both. Two real guests agree in neither. SYN cookies give the SVM numbers
# of its own, and timestamps without the per-connection offset (2) a clock of its own.
_STRANGER = {"ipv4/tcp_syncookies": 2, "ipv4/tcp_timestamps": 2}
# On bad links cookies make a difference that guests without a flood do not have: who keeps no state neither
# repeats its SYN/ACK nor knows data that overtakes the handshake's last segment, and resets (RFC 4987, 3.6).
_STRANGER_ON_BAD_LINKS = {"ipv4/tcp_timestamps": 2}

_CARRIED = 100  # routing table
_SEGMENTS = 4096  # some 6 MB


class Uplink(Enum):
    """What the proxy's uplink is."""

    TAP = "tap"
    PACKET = "packet"
    BRIDGE = "bridge"


class Topology:
    """The namespaces and links of one lab; everything ends with the context."""

    def __init__(
        self,
        environment: Mapping[str, str],
        *,
        uplink: Uplink = Uplink.TAP,
        nics: int = 1,
        impairable: bool = False,
    ) -> None:
        if not 1 <= nics <= MOST_NICS:
            raise LabError(f"a lab has 1 to {MOST_NICS} NICs, not {nics}")
        self.uplink = uplink
        self.nics = [Nic(index) for index in range(nics)]
        with ExitStack() as stack:
            self.client = stack.enter_context(Namespace("client", environment))
            self.host = stack.enter_context(Namespace("host", environment))
            self.pvm = stack.enter_context(Namespace("pvm", environment))
            self.svm = stack.enter_context(Namespace("svm", environment))
            self.wires = stack.enter_context(Namespace("wires", environment)) if impairable else None
            self.cut: list[tuple[str, str]] = []  # the ends in `wires` of each cable, the host's first
            for namespace in (self.client, self.pvm, self.svm):
                namespace.sysctl(_ADDRESSED)
            self.host.sysctl(_QUIET)
            self.svm.sysctl(_STRANGER_ON_BAD_LINKS if impairable else _STRANGER)
            if self.wires:
                self.wires.sysctl(_QUIET)
            for nic in self.nics:
                self._wire(nic)
            self._stack = stack.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    @property
    def namespaces(self) -> tuple[Namespace, ...]:
        return (self.client, self.host, self.pvm, self.svm)

    def _wire(self, nic: Nic) -> None:
        bridge = _bridge(self.host, nic.bridge)
        self._lay(nic.client_port, self.client, nic.device, nic.client_mac)
        self._lay(nic.primary, self.pvm, nic.device, nic.vm_mac)
        self._lay(nic.secondary, self.svm, nic.device, nic.vm_mac)
        on_bridge = [nic.client_port]
        if self.uplink is Uplink.PACKET:
            _cable(self.host, nic.uplink_peer, self.host, nic.uplink)
            on_bridge.append(nic.uplink_peer)
        elif self.uplink is Uplink.BRIDGE:
            on_bridge.append(nic.primary)
        for device in on_bridge:
            self.host.route.link("set", index=self.host.index(device), master=bridge)
        _address(self.client, nic.device, nic.client4, nic.client6)
        for vm in (self.pvm, self.svm):
            _address(vm, nic.device, nic.vm4, nic.vm6)
            _start_carried_fast(vm, nic)

    def _lay(self, outer: str, inside: Namespace, inner: str, mac: str) -> None:
        """A cable from the host to a machine; cut in two where it is to be impaired."""
        if not self.wires:
            _cable(self.host, outer, inside, inner, mac)
            return
        near, far = f"{outer}-host", f"{outer}-{inside.name}"
        _cable(self.host, outer, self.wires, near)
        _cable(self.wires, far, inside, inner, mac)
        for space, device in ((self.host, outer), (self.wires, near), (self.wires, far), (inside, inner)):
            whole_frames(space, device)
        self.cut.append((near, far))


def _bridge(host: Namespace, name: str) -> int:
    host.route.link("add", ifname=name, kind="bridge", br_mcast_snooping=0)
    index = host.index(name)
    host.route.link("set", index=index, state="up")
    return index


def _cable(host: Namespace, outer: str, inside: Namespace, inner: str, mac: str | None = None) -> None:
    """A veth pair, up at both ends: `outer` in the host, `inner` in the other namespace."""
    peer = {"ifname": inner, "net_ns_fd": inside.fd}
    if mac:
        peer["address"] = mac
    host.route.link("add", ifname=outer, kind="veth", peer=peer)
    host.route.link("set", index=host.index(outer), state="up")
    inside.route.link("set", index=inside.index(inner), state="up")


def _address(namespace: Namespace, device: str, address4: str, address6: str) -> None:
    index = namespace.index(device)
    namespace.route.addr("add", index=index, address=address4, prefixlen=24)
    namespace.route.addr("add", index=index, address=address6, prefixlen=64)


def _start_carried_fast(vm: Namespace, nic: Nic) -> None:
    """Let connections that a checkpoint brought here start with a large congestion window.

    A real VM brings its congestion state along. TCP_REPAIR does not, and a connection that starts again with
    ten segments says less than one super-frame of the PVM, which can leave only as a whole.
    """
    index = vm.index(nic.device)
    for family, network in zip((AF_INET, AF_INET6), nic.networks, strict=True):
        vm.route.route(
            "add", family=family, dst=network, oif=index, table=_CARRIED, metrics={"initcwnd": _SEGMENTS}
        )
        if not nic.index:
            vm.route.rule("add", family=family, fwmark=CARRIED, table=_CARRIED)
