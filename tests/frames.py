"""Frames for tests, made by scapy: the second opinion on every header and checksum.

The VM is 192.0.2.2 and 2001:db8::2, the client 192.0.2.1 and 2001:db8::1.
"""

from typing import Any

from scapy.layers.inet import IP, in4_chksum
from scapy.layers.inet6 import IPv6, in6_chksum
from scapy.layers.l2 import Dot1AD, Dot1Q, Ether
from scapy.packet import Packet
from scapy.utils import checksum

VNET = 10  # bytes of the virtio-net header, from which dissect counts
VM_MAC = "52:54:00:00:00:02"
CLIENT_MAC = "52:54:00:00:00:01"
CHECKSUM_AT = {"TCP": 16}  # where the checksum lies; 2 for ICMP
# Virtio-net headers: VIRTIO_NET_HDR_F_NEEDS_CSUM for TCP in an untagged IPv4 frame (little-endian host)...
PARTIAL = b"\x01" + bytes(5) + bytes([34, 0, 16, 0])
GSO = b"\x00\x01" + bytes(8)  # ... of a TCPv4 super-frame


def link(to_vm: bool = False, vlans: tuple[int, ...] = ()) -> Packet:
    """Ethernet, with the VLAN tags given, outermost first."""
    frame = Ether(src=CLIENT_MAC, dst=VM_MAC) if to_vm else Ether(src=VM_MAC, dst=CLIENT_MAC)
    for index, vlan in enumerate(vlans):
        frame /= Dot1AD(vlan=vlan) if len(vlans) == 2 and index == 0 else Dot1Q(vlan=vlan)
    return frame


def ip4(to_vm: bool = False, **fields: Any) -> Packet:
    ends = {"src": "192.0.2.1", "dst": "192.0.2.2"} if to_vm else {"src": "192.0.2.2", "dst": "192.0.2.1"}
    given: dict[str, Any] = {**ends, **fields}
    return IP(**given)


def ip6(to_vm: bool = False, **fields: Any) -> Packet:
    ends = {"src": "2001:db8::1", "dst": "2001:db8::2"}
    if not to_vm:
        ends = {"src": ends["dst"], "dst": ends["src"]}
    given: dict[str, Any] = {**ends, **fields}
    return IPv6(**given)


def with_right_checksum(frame: bytes) -> bytes:
    """The frame, without padding, with the checksum of its outer layer 4 computed from scratch by scapy."""
    packet = Ether(frame)
    network = packet[IP] if IP in packet else packet[IPv6]
    transport = next(layer for layer in packet.iterpayloads() if layer.name in CHECKSUM_AT or is_icmp(layer))
    segment = bytearray(transport.original)
    at = CHECKSUM_AT.get(transport.name or "", 2)
    segment[at : at + 2] = bytes(2)
    if transport.name == "ICMP":
        value = checksum(bytes(segment))
    elif network.version == 4:
        value = in4_chksum(network.proto, network, bytes(segment))
    else:
        value = in6_chksum(58 if is_icmp(transport) else 6, network, bytes(segment))
    segment[at : at + 2] = value.to_bytes(2, "big")
    return frame[: len(frame) - len(segment)] + bytes(segment)


def is_icmp(layer: Packet) -> bool:
    name = layer.name or ""
    return name == "ICMP" or name.startswith("ICMPv6")
