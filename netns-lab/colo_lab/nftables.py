"""A switch in a NIC: two nftables chains of the netdev family whose policy is accept or drop.

pyroute2 has no netdev chains, so the five messages are written here (linux/netfilter/nf_tables.h;
numbers inside attributes are big-endian). Changing a policy takes some 50 µs, keeps addresses,
routes and neighbours, and tells no protocol anything, which taking the link down would.
"""

import errno
import os
import socket
import struct

from .errors import Missing
from .namespaces import Namespace

_NETLINK_NETFILTER = 12
_NETDEV = 5  # NFPROTO_NETDEV
_BATCH_BEGIN, _BATCH_END = 0x10, 0x11
_SUBSYSTEM = 10  # NFNL_SUBSYS_NFTABLES
_NEWTABLE, _NEWCHAIN = 0xA00, 0xA03
_REQUEST, _ACK, _CREATE = 1, 4, 0x400
_CHAINS = {b"in\0": 0, b"out\0": 1}  # NF_NETDEV_INGRESS, NF_NETDEV_EGRESS
_DROP, _ACCEPT = 0, 1


class Switch:
    """Lets everything through a device, or nothing. Both directions; the device stays up."""

    def __init__(self, namespace: Namespace, device: str) -> None:
        try:
            self._socket = namespace.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_NETFILTER)
        except OSError as error:
            raise Missing(
                f"this kernel has no nftables ({error.strerror}): it needs CONFIG_NF_TABLES"
            ) from None
        self._table = _attribute(1, device.encode() + b"\0")
        messages = [_message(_NEWTABLE, self._table, _CREATE)]
        for name, hook in _CHAINS.items():
            where = (
                _attribute(1, _u32(hook)) + _attribute(2, _u32(0)) + _attribute(3, device.encode() + b"\0")
            )
            body = _attribute(0x8004, where) + _attribute(5, _u32(_ACCEPT)) + _attribute(7, b"filter\0")
            messages.append(_message(_NEWCHAIN, self._table + _attribute(3, name) + body, _CREATE))
        try:
            self._commit(messages)
        except OSError as error:
            self._socket.close()
            if error.errno not in (errno.EOPNOTSUPP, errno.EAFNOSUPPORT, errno.ENOENT, errno.EINVAL):
                raise
            raise Missing(
                f"nftables does not take a netdev chain on {device} ({error.strerror}): the kernel needs "
                "CONFIG_NF_TABLES_NETDEV and netdev egress (Linux 5.16)"
            ) from None

    def set(self, *, open_: bool) -> None:
        """Let everything through, or nothing, from the return of this call on."""
        policy = _attribute(5, _u32(_ACCEPT if open_ else _DROP))
        self._commit([_message(_NEWCHAIN, self._table + _attribute(3, name) + policy, 0) for name in _CHAINS])

    def close(self) -> None:
        self._socket.close()

    def _commit(self, messages: list[bytes]) -> None:
        """One transaction: all of it, or OSError."""
        begin = _message(_BATCH_BEGIN, b"", 0, ack=False)
        end = _message(_BATCH_END, b"", 0, ack=False)
        self._socket.send(begin + b"".join(messages) + end)
        for _ in messages:
            answer = self._socket.recv(65536)
            (code,) = struct.unpack_from("=i", answer, 16)
            if code:
                raise OSError(-code, os.strerror(-code))


def _u32(value: int) -> bytes:
    return struct.pack(">I", value)


def _attribute(kind: int, data: bytes) -> bytes:
    return struct.pack("=HH", len(data) + 4, kind) + data + bytes(-len(data) % 4)


def _message(kind: int, body: bytes, flags: int, *, ack: bool = True) -> bytes:
    batch = kind in (_BATCH_BEGIN, _BATCH_END)
    payload = struct.pack(">BBH", 0 if batch else _NETDEV, 0, _SUBSYSTEM if batch else 0) + body
    flags |= _REQUEST | (_ACK if ack else 0)
    return struct.pack("=IHHII", 16 + len(payload), kind, flags, 0, 0) + payload
