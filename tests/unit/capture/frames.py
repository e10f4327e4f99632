"""A client and a VM that speak HTTP, as frames with times; PVM and SVM choose other sequence numbers."""

import struct
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.l2 import Ether

VM, CLIENT = "52:54:00:00:00:02", "02:00:00:00:00:01"
MAC = "02:00:00:00:00:02"  # the VM of models.packets
VM_IP, CLIENT_IP = "192.0.2.2", "192.0.2.1"
SECOND = 1_000_000_000
START = 1_700_000_000 * SECOND

Timed = tuple[int, bytes]
Compared = Callable[..., tuple[int, dict[str, Any]]]  # what the fixture `compared` gives


def http(isn: int, answer: bytes, start: int = START, port: int = 40000, vm: str = VM) -> list[Timed]:
    """One request and its answer, as seen at the port of the VM with this initial sequence number."""
    out: list[Timed] = []

    def add(from_vm: bool, **fields: Any) -> None:
        payload = fields.pop("payload", b"")
        ends = (
            (vm, CLIENT, VM_IP, CLIENT_IP, 80, port) if from_vm else (CLIENT, vm, CLIENT_IP, VM_IP, port, 80)
        )
        frame = (
            Ether(src=ends[0], dst=ends[1])
            / IP(src=ends[2], dst=ends[3])
            / TCP(sport=ends[4], dport=ends[5], window=1000, **fields)
            / payload
        )
        out.append((start + len(out) * 1_000_000, bytes(frame)))

    request = b"GET / HTTP/1.1\r\nHost: vm\r\n\r\n"
    add(False, flags="S", seq=100, options=[("MSS", 1460)])
    add(True, flags="SA", seq=isn, ack=101, options=[("MSS", 1460)])
    add(False, flags="A", seq=101, ack=isn + 1)
    add(False, flags="PA", seq=101, ack=isn + 1, payload=request)
    add(True, flags="PA", seq=isn + 1, ack=101 + len(request), payload=answer)
    add(False, flags="A", seq=101 + len(request), ack=isn + 1 + len(answer))
    return out


def udp(payload: bytes, at: int, port: int = 5353, vm: str = VM) -> Timed:
    """A datagram of the VM."""
    frame = Ether(src=vm, dst=CLIENT) / IP(src=VM_IP, dst=CLIENT_IP) / UDP(sport=port, dport=9) / payload
    return at, bytes(frame)


def timed(frames: Iterable[bytes], start: int = START) -> list[Timed]:
    """One a millisecond."""
    return [(start + at * 1_000_000, frame) for at, frame in enumerate(frames)]


def pcap(frames: Iterable[Timed], order: str = "<", nano: bool = False, link: int = 1) -> bytes:
    """A pcap, by hand."""
    out = struct.pack(order + "IHHiIII", 0xA1B23C4D if nano else 0xA1B2C3D4, 2, 4, 0, 0, 262144, link)
    for time, data in frames:
        fraction = time % SECOND if nano else time % SECOND // 1000
        out += struct.pack(order + "IIII", time // SECOND, fraction, len(data), len(data)) + data
    return out


def save(path: Path, frames: Iterable[Timed], form: Callable[..., bytes] = pcap, **options: object) -> Path:
    path.write_bytes(form(frames, **options))
    return path
