"""The lab's network: a host namespace with the bridge and the VMs' TAPs, and a client namespace.

    client 192.0.2.1 ── veth ── br0 ─ (the proxy's TAP)      pvm0, svm0: the VMs' TAPs, on no bridge

The proxy runs in the host namespace; both namespaces are removed on exit.
"""

import secrets
from contextlib import suppress
from types import TracebackType

from .debian import LabError, need, run

CLIENT, CLIENT6 = "192.0.2.1", "2001:db8::1"


class Network:
    """Context manager; `host` and `client` are the namespaces' names."""

    def __init__(self) -> None:
        tag = secrets.token_hex(3)
        self.host, self.client = f"colovm-{tag}", f"colovm-{tag}-c"

    def __enter__(self) -> "Network":
        need("ip", "nsenter", "unshare")
        try:
            self._make()
        except LabError:
            self.__exit__(None, None, None)
            raise
        return self

    def _make(self) -> None:
        for name in (self.host, self.client):
            self._ip("netns", "add", name)
            # IPv6's duplicate address detection would delay the start by a second.
            no_dad = "echo 0 >/proc/sys/net/ipv6/conf/default/accept_dad"
            run(self.inside(name, "sh", "-c", no_dad), what="lab")
            self._ip("-n", name, "link", "set", "lo", "up")
        host, client = self.host, self.client
        self._ip("-n", host, "link", "add", "br0", "type", "bridge")
        self._ip("-n", host, "link", "add", "veth0", "type", "veth", "peer", "name", "eth0", "netns", client)
        self._ip("-n", host, "link", "set", "veth0", "master", "br0", "up")
        self._ip("-n", host, "link", "set", "br0", "up")
        self._ip("-n", client, "address", "add", f"{CLIENT}/24", "dev", "eth0")
        self._ip("-n", client, "address", "add", f"{CLIENT6}/64", "dev", "eth0", "nodad")
        self._ip("-n", client, "link", "set", "eth0", "up")
        for tap in ("pvm0", "svm0"):
            self.add_tap(tap)

    def add_tap(self, name: str) -> None:
        """A persistent TAP for a VM, up, with the virtio-net header, on no bridge and with no address."""
        self._ip("-n", self.host, "tuntap", "add", name, "mode", "tap", "vnet_hdr")
        # The host itself must say nothing on a VM's wire: no IPv6 solicitations from its end.
        quiet = f"echo 1 >/proc/sys/net/ipv6/conf/{name}/disable_ipv6"
        run(self.inside(self.host, "sh", "-c", quiet), what="lab")
        self._ip("-n", self.host, "link", "set", name, "up")

    def bridge(self, tap: str) -> None:
        """Put a TAP straight on the bridge: the VM without any proxy."""
        self._ip("-n", self.host, "link", "set", tap, "master", "br0")

    @staticmethod
    def inside(namespace: str, *command: str) -> list[str]:
        """The command line that runs `command` in one of the namespaces."""
        return ["nsenter", f"--net=/run/netns/{namespace}", *command]

    @staticmethod
    def _ip(*arguments: str) -> None:
        run(["ip", *arguments], what="making the lab's network")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for name in (self.client, self.host):
            with suppress(LabError):
                self._ip("netns", "delete", name)
