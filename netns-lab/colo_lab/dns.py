"""DNS as a guest asks it: one query, one answer (RFC 1035, section 4), over UDP from a port that it draws."""

import socket
import struct
from pathlib import Path

from . import kernel
from .namespaces import Namespace

PORT = 53
_RESPONSE = 0x8180  # an answer, recursion desired and available
_QUERY = 0x0100  # recursion desired
_A, _IN, _TTL = 1, 1, 300
_SECONDS = 10.0  # how long anybody waits for anything


def query(number: int, name: str) -> bytes:
    """Ask for the address of a name; `number` is the query's ID, by which an answer is known."""
    labels = b"".join(bytes([len(label)]) + label.encode() for label in name.split("."))
    return struct.pack("!6H", number, _QUERY, 1, 0, 0, 0) + labels + struct.pack("!BHH", 0, _A, _IN)


def answer(asked: bytes, address: str) -> bytes:
    """The answer to a query: this IPv4 address."""
    (number,) = struct.unpack_from("!H", asked)
    head = struct.pack("!6H", number, _RESPONSE, 1, 1, 0, 0)
    found = socket.inet_aton(address)
    return head + asked[12:] + struct.pack("!HHHIH", 0xC00C, _A, _IN, _TTL, len(found)) + found


def server(namespace: Namespace, address: str) -> socket.socket:
    """A socket in a namespace that queries come to; who holds it answers them."""
    sock = namespace.socket(_family(address), socket.SOCK_DGRAM)
    sock.bind((address, PORT))
    sock.settimeout(_SECONDS)
    return sock


def resolver(namespace: Namespace, address: str, *, port: int = 0) -> socket.socket:
    """A guest's socket for one server; its kernel draws the port, unless one is named."""
    sock = namespace.socket(_family(address), socket.SOCK_DGRAM)
    sock.bind(("::" if ":" in address else "0.0.0.0", port))
    sock.connect((address, PORT))
    sock.settimeout(_SECONDS)
    return sock


def unreachable(namespace: Namespace) -> int:
    """How many ICMP and ICMPv6 errors "destination unreachable" a namespace's kernel has sent."""
    with kernel.inside(namespace.fd):  # what /proc shows is that of the thread's namespace
        four = [line.split() for line in Path("/proc/thread-self/net/snmp").read_text().splitlines()]
        six = [line.split() for line in Path("/proc/thread-self/net/snmp6").read_text().splitlines()]
    names, values = (line for line in four if line[0] == "Icmp:")
    counts = {**dict(zip(names, values, strict=True)), **dict(six)}
    return int(counts["OutDestUnreachs"]) + int(counts["Icmp6OutDestUnreachs"])


def _family(address: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in address else socket.AF_INET
