"""Who is who in the lab: names and addresses, one set for each NIC.

IPv4 from the documentation ranges of RFC 5737, IPv6 from that of RFC 3849; MAC addresses are
locally administered. PVM and SVM are the same machine twice, so they share everything.
"""

from dataclasses import dataclass
from ipaddress import IPv6Address

MOST_NICS = 3  # RFC 5737 has three ranges
_NETWORKS = ("192.0.2", "198.51.100", "203.0.113")

HTTP_PORT = 80
ECHO_PORT = 7


@dataclass(frozen=True, slots=True)
class Nic:
    """Names and addresses of the NIC number `index` of the VM, and of the client beyond it."""

    index: int

    # In the client's and the VMs' namespaces.
    @property
    def device(self) -> str:
        return f"eth{self.index}"

    # In the host's namespace.
    @property
    def bridge(self) -> str:
        return f"br{self.index}"

    @property
    def client_port(self) -> str:
        return f"client{self.index}"

    @property
    def uplink(self) -> str:
        return f"colo{self.index}"

    @property
    def uplink_peer(self) -> str:
        """The bridge's end of the veth pair that stands for the TAP where there is no TAP."""
        return f"uplink{self.index}"

    @property
    def primary(self) -> str:
        return f"pvm{self.index}"

    @property
    def secondary(self) -> str:
        return f"svm{self.index}"

    @property
    def client4(self) -> str:
        return f"{_NETWORKS[self.index]}.1"

    @property
    def client6(self) -> str:
        return _ipv6(self.index, 1)

    @property
    def vm4(self) -> str:
        return f"{_NETWORKS[self.index]}.2"

    @property
    def vm6(self) -> str:
        return _ipv6(self.index, 2)

    @property
    def networks(self) -> tuple[str, str]:
        """The IPv4 and the IPv6 prefix that client and VM share."""
        return f"{_NETWORKS[self.index]}.0/24", f"{_ipv6(self.index, 0)}/64"

    @property
    def client_mac(self) -> str:
        return f"02:00:00:00:{self.index:02x}:01"

    @property
    def vm_mac(self) -> str:
        return f"02:00:00:00:{self.index:02x}:02"

    def url(self, path: str, *, version: int = 4) -> str:
        """The replica's URL of `path`, over IP version 4 or 6."""
        host = self.vm4 if version == 4 else f"[{self.vm6}]"
        return f"http://{host}{path}"


def _ipv6(network: int, host: int) -> str:
    """In the shortest form (RFC 5952), as every program prints it."""
    return str(IPv6Address(f"2001:db8:{network:x}::{host:x}"))
