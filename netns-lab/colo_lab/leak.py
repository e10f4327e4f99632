"""A VM's leg that loses frames for a while, as the VM's kernel cannot know: it has sent them.

A rule routes what goes to the client into a veth pair on which nobody listens. (A frame that a filter
drops on its way out is no loss to TCP: the kernel is told, and sends it when it may, in order.)
"""

from ipaddress import IPv4Network

from .addresses import Nic
from .namespaces import Namespace
from .waiting import Deadline, until

_TABLE, _PRIORITY = 101, 1  # before the lab's own rules (topology.py)
_PERMANENT = 0x80  # NUD_PERMANENT, linux/neighbour.h


class Leak:
    """The way to nowhere in a VM's namespace; it ends with that."""

    def __init__(self, vm: Namespace, nic: Nic) -> None:
        self._vm, self._client = vm, nic.client4
        vm.route.link("add", ifname="nowhere", kind="veth", peer="nobody")
        self._index = vm.index("nowhere")
        for device in ("nobody", "nowhere"):
            vm.route.link("set", index=vm.index(device), state="up")
        vm.route.neigh("add", dst=self._client, lladdr=nic.client_mac, ifindex=self._index, state=_PERMANENT)
        vm.route.route("add", dst=str(IPv4Network(self._client)), oif=self._index, table=_TABLE)

    def burst(self) -> None:
        """Lose at least one frame to the client over IPv4; whoever sends must go on sending."""
        before = self._lost()
        self._rule("add")
        until(lambda: self._lost() > before, Deadline(5), f"a frame of the {self._vm.name}", every=0.001)
        self._rule("del")

    def _rule(self, command: str) -> None:
        self._vm.route.rule(command, dst=self._client, dst_len=32, table=_TABLE, priority=_PRIORITY)

    def _lost(self) -> int:
        (link,) = self._vm.route.get_links(self._index)
        return int(link.get_attr("IFLA_STATS64")["tx_packets"])
