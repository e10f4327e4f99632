"""Keep the host's own network stack away from an interface whose frames are the proxy's.

What a VM sends must reach nobody before it may: a host that answers ARP or ping for it, or forwards it by its
own routes, would break the promise behind the proxy's back. So each `packet:` interface gets an nftables
chain on its netdev ingress hook with the policy `drop`. A packet socket sees a frame before that hook does
(Linux, __netif_receive_skb_core: packet taps, then tc and nftables ingress, then VLANs, bridges and
protocols).

The table belongs to our netlink socket (NFT_TABLE_F_OWNER, Linux 5.12): the kernel removes it when that
socket closes, kill -9 included, and nobody else can change it. Its name is the interface's, so it is also the
lock that keeps two proxies off one interface. nft(8) shows it: `nft list table netdev colo-proxy-IFNAME`.

The messages are few and fixed, so they are packed here by hand (linux/netfilter/nf_tables.h): integers inside
attributes are big endian, headers are in the byte order of the host.
"""

import errno
import os
import socket
import struct

from colo_proxy.errors import HostError

_NETLINK_NETFILTER = 12
_SUBSYS_NFTABLES = 10
_NFPROTO_NETDEV = 5
_BATCH_BEGIN, _BATCH_END = 0x10, 0x11
_NEWTABLE = _SUBSYS_NFTABLES << 8
_NEWCHAIN = _SUBSYS_NFTABLES << 8 | 3
_NLMSG_ERROR = 2
_REQUEST, _ACK, _EXCL, _CREATE = 0x1, 0x4, 0x200, 0x400
_NESTED = 0x8000
_OWNER = 0x2  # NFT_TABLE_F_OWNER
_INGRESS = 0  # NF_NETDEV_INGRESS
_DROP, _ACCEPT = 0, 1  # NF_DROP, NF_ACCEPT
_FIRST = -(1 << 31)  # the chain's priority
_ANSWER_SECONDS = 5.0


class Guard:
    """The rule on one interface, for as long as this object is open.

    Raises HostError where it cannot be made.
    """

    def __init__(self, interface: str) -> None:
        self._socket = _transact(f"packet:{interface}", _table(interface), _chain(interface, interface))

    def close(self) -> None:
        """Take the rule away."""
        self._socket.close()


def probe(interface: str | None = None) -> None:
    """Whether there can be a guard at all, or one on this interface; no frame is dropped by asking.

    Raises HostError that says why not: no privilege, too old a kernel, another proxy on the interface.
    """
    if interface is None:
        _transact("packet:", _table("?"), _chain("?", "lo", policy=_ACCEPT)).close()
    else:
        _transact(f"packet:{interface}", _table(interface)).close()


def _transact(what: str, *messages: bytes) -> socket.socket:
    """Have the kernel carry out all messages or none. What they make belongs to the socket returned."""
    try:
        netlink = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _NETLINK_NETFILTER)
    except OSError as error:
        raise HostError(f"{what}: {_explain(error.errno or 0)}") from None
    try:
        netlink.bind((0, 0))
        netlink.settimeout(_ANSWER_SECONDS)
        begin = _message(_BATCH_BEGIN, _REQUEST, 0, _SUBSYS_NFTABLES)
        end = _message(_BATCH_END, _REQUEST, 0, _SUBSYS_NFTABLES)
        netlink.send(b"".join((begin, *messages, end)))
        for _ in messages:
            _answer(netlink)
    except TimeoutError:
        netlink.close()
        raise HostError(
            f"{what}: nftables does not answer; check the kernel's log, then start again"
        ) from None
    except OSError as error:
        netlink.close()
        raise HostError(f"{what}: {_explain(error.errno or 0)}") from None
    return netlink


def _answer(netlink: socket.socket) -> None:
    """Read one acknowledgement. Raises OSError where it says that something went wrong."""
    answer = netlink.recv(8192)
    if len(answer) < 20:
        raise OSError(errno.EPROTO, os.strerror(errno.EPROTO))
    kind, sequence, code = struct.unpack_from("=4xH2xI4xi", answer)
    number = -code if kind == _NLMSG_ERROR else errno.EPROTO
    if number == errno.EPERM and sequence == _NEWTABLE:  # a privilege is refused to the batch as a whole
        number = errno.EEXIST  # so this is a table that another socket owns
    if number:
        raise OSError(number, os.strerror(number))


def _explain(number: int) -> str:
    match number:
        case errno.EEXIST:
            return "another colo-proxy uses this interface; stop that one, or name another interface"
        case errno.EPERM | errno.EACCES:
            return (
                "no privilege to keep the host's stack off the interface; run as root or with CAP_NET_ADMIN"
            )
        case errno.ENODEV | errno.ENOENT:
            return "the interface has just disappeared; make it, then start again"
        case errno.EOPNOTSUPP | errno.EAFNOSUPPORT | errno.EINVAL | errno.EPROTONOSUPPORT:
            return (
                "this kernel cannot keep the host's stack off the interface; it needs Linux 5.12 with "
                "nf_tables and CONFIG_NF_TABLES_NETDEV (try: modprobe nf_tables)"
            )
        case _:
            return f"the host's stack cannot be kept off the interface: {os.strerror(number)}"


def _table(interface: str) -> bytes:
    """Make the table; it must not exist, and is ours."""
    flags = _REQUEST | _ACK | _CREATE | _EXCL
    attributes = _text(1, _table_name(interface)) + _u32(2, _OWNER)
    return _message(_NEWTABLE, flags, _NFPROTO_NETDEV, 0, attributes)


def _chain(interface: str, device: str, policy: int = _DROP) -> bytes:
    """Make the chain on the device's ingress hook, before every other."""
    hook = _u32(1, _INGRESS) + _u32(2, _FIRST & 0xFFFFFFFF) + _text(3, device)
    attributes = _text(1, _table_name(interface)) + _text(3, "ingress") + _attribute(4 | _NESTED, hook)
    attributes += _u32(5, policy) + _text(7, "filter")
    return _message(_NEWCHAIN, _REQUEST | _ACK | _CREATE | _EXCL, _NFPROTO_NETDEV, 0, attributes)


def _table_name(interface: str) -> str:
    return f"colo-proxy-{interface}"


def _message(kind: int, flags: int, family: int, resource: int, attributes: bytes = b"") -> bytes:
    """A netlink message with nfnetlink's header: family, version 0, resource (big endian).

    The kind is the sequence number too: an error repeats it, and so tells which message it is about.
    """
    body = struct.pack("=BB", family, 0) + struct.pack(">H", resource) + attributes
    return struct.pack("=IHHII", 16 + len(body), kind, flags, kind, 0) + body


def _attribute(kind: int, value: bytes) -> bytes:
    return struct.pack("=HH", 4 + len(value), kind) + value + bytes(-len(value) % 4)


def _u32(kind: int, value: int) -> bytes:
    return _attribute(kind, struct.pack(">I", value))


def _text(kind: int, value: str) -> bytes:
    return _attribute(kind, value.encode() + b"\0")
