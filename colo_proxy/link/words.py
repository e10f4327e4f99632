"""What records say: one class for each kind of word, and their bytes.

`wire` has judged length, flags and NIC already; here the content is read, and what has no meaning is
refused. Each `encode` gives what `Channel.send_word` takes; `decode` takes what `Channel.receive` returns.
"""

import ipaddress
import re
import struct
from collections.abc import Callable
from enum import IntEnum
from typing import Any, NamedTuple
from uuid import UUID

from colo_proxy.link.wire import BadRecord, header

IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address
VNET = 10  # bytes of a virtio-net header
_FLOW = struct.Struct(">BBxxIHH16s16s")
_TEXT = re.compile(rb"[\x20-\x7e]+")  # what a person may be shown of a stranger's words


class Kind(IntEnum):
    """The type of a record, as docs/link.md names it."""

    FRAME = 0x01
    DROPPED = 0x02
    CLOSE = 0x03
    HEARTBEAT = 0x08
    HEARTBEAT_ACK = 0x09
    STOPPED = 0x10
    LOADED = 0x11
    COMMITTED = 0x12
    ABORTED = 0x13
    STOPPED_LATE = 0x14
    CHECKPOINT_WANTED = 0x15
    PORT_FAULT = 0x16
    VM_GONE = 0x17
    DATAGRAMS_SENT = 0x20
    SYN_ACK_SENT = 0x21
    ADDRESS = 0x22
    OFFSET = 0x23
    POLICIES = 0x24
    YIELD = 0x30
    PLEASE_YIELD = 0x31
    RELINQUISH = 0x32
    ASK = 0x33
    NO_VM = 0x34
    ASK_INIT = 0x35
    CONSENT = 0x36
    BEGIN = 0x37


class Source(IntEnum):
    """Who has sent a frame."""

    CLIENT = 0
    PVM = 1
    SVM = 2


class Claim(IntEnum):
    """What is known of an address."""

    OWN = 0  # the VM's
    NEIGHBOUR = 1  # of another station, as the VM knows it
    GROUP = 2  # a multicast group that the VM listens to


class Frame(NamedTuple):
    """A frame, without or with its virtio-net header."""

    nic: int
    source: Source
    data: bytes
    vnet: bytes | None = None


class Dropped(NamedTuple):
    """So many frames of this stream have been dropped until now."""

    frames: int
    bytes_: int


class Heartbeat(NamedTuple):
    """A heartbeat, or (`ack`) its acknowledgement; `sent` is of the clock of who sent the heartbeat."""

    number: int
    sent: int
    ack: bool = False


class Mark(NamedTuple):
    """A step of the checkpoint that ends `epoch`: STOPPED, LOADED, COMMITTED, ABORTED, STOPPED_LATE."""

    kind: Kind
    epoch: int


class CheckpointWanted(NamedTuple):
    """The sender needs a checkpoint."""

    epoch: int
    why: str


class Notice(NamedTuple):
    """CLOSE, PORT_FAULT (of `nic`) or VM_GONE, and why."""

    kind: Kind
    why: str
    nic: int = 0


class Flow(NamedTuple):
    """A flow as the VM sees it; `vlan` holds both tags (`core/packet/parse.pxd`)."""

    protocol: int
    vlan: int
    address: IPAddress  # the VM's, as is `port`
    port: int
    peer: IPAddress
    peer_port: int


class DatagramsSent(NamedTuple):
    """The datagrams of these of the receiver's frames have left; frames count from 1 in a stream."""

    nic: int
    frames: tuple[int, ...]


class SynAckSent(NamedTuple):
    """The SYN/ACK of this connection has left."""

    nic: int
    flow: Flow


class Address(NamedTuple):
    """An address that the VM claims or knows."""

    nic: int
    claim: Claim
    address: IPAddress
    mac: bytes


class Offset(NamedTuple):
    """What clients know of this flow is the PVM's plus this; `port` is the one that clients see."""

    nic: int
    flow: Flow
    sequence: int
    clock: int
    port: int


class Policies(NamedTuple):
    """The list of policies from now on, as JSON."""

    text: str


class Right(NamedTuple):
    """A word of the right to speak (docs/pair-protocol.md): YIELD to BEGIN."""

    kind: Kind
    pairing: UUID


Word = (
    Frame
    | Dropped
    | Heartbeat
    | Mark
    | CheckpointWanted
    | Notice
    | DatagramsSent
    | SynAckSent
    | Address
    | Offset
    | Policies
    | Right
)
Parts = tuple[int, int, int, bytes]  # type, flags, NIC, body
MARKS = (Kind.STOPPED, Kind.LOADED, Kind.COMMITTED, Kind.ABORTED, Kind.STOPPED_LATE)
RIGHTS = tuple(kind for kind in Kind if kind >= Kind.YIELD)


def encode(word: Word) -> Parts:
    """The record's parts. Raises BadRecord where a value does not fit."""
    try:
        parts = _parts(word)
        header(*parts[:3], len(parts[3]))
    except (struct.error, UnicodeEncodeError) as error:
        raise BadRecord(f"{type(word).__name__}: {error}") from None
    return parts


def _parts(word: Word) -> Parts:  # noqa: PLR0911 - one case for each class
    match word:
        case Frame(nic, source, data, vnet):
            return Kind.FRAME, source | (4 if vnet is not None else 0), nic, (vnet or b"") + data
        case Dropped(frames, bytes_):
            return Kind.DROPPED, 0, 0, struct.pack(">QQ", frames, bytes_)
        case Heartbeat(number, sent, ack):
            return Kind.HEARTBEAT_ACK if ack else Kind.HEARTBEAT, 0, 0, struct.pack(">QQ", number, sent)
        case Mark(kind, epoch):
            return kind, 0, 0, struct.pack(">Q", epoch)
        case CheckpointWanted(epoch, why):
            return Kind.CHECKPOINT_WANTED, 0, 0, struct.pack(">Q", epoch) + why.encode("ascii")
        case Notice(kind, why, nic):
            return kind, 0, nic, why.encode("ascii")
        case DatagramsSent(nic, frames):
            return Kind.DATAGRAMS_SENT, 0, nic, struct.pack(f">{len(frames)}Q", *frames)
        case SynAckSent(nic, flow):
            return Kind.SYN_ACK_SENT, 0, nic, _flow_bytes(flow)
        case Address(nic, claim, address, mac):
            packed = struct.pack(">BB6s", claim, address.version, mac)
            return Kind.ADDRESS, 0, nic, packed + address.packed.ljust(16, b"\0")
        case Offset(nic, flow, sequence, clock, port):
            return Kind.OFFSET, 0, nic, _flow_bytes(flow) + struct.pack(">IIHxx", sequence, clock, port)
        case Policies(text):
            return Kind.POLICIES, 0, 0, text.encode()
        case Right(kind, pairing):
            return kind, 0, 0, pairing.bytes


def decode(kind: int, flags: int, nic: int, body: bytes) -> Word:
    """What a record says. Raises BadRecord."""
    header(kind, flags, nic, len(body))  # so that the length is right
    try:
        word: Word = _READERS[Kind(kind)](Kind(kind), flags, nic, body)
        if encode(word) != (kind, flags, nic, body):
            raise BadRecord("bytes that must be zero are not")
    except ValueError as error:
        raise BadRecord(f"it has sent a record whose content has no meaning: {error}") from None
    return word


def _frame(_: Kind, flags: int, nic: int, body: bytes) -> Frame:
    head = VNET if flags & 4 else 0
    return Frame(nic, Source(flags & 3), body[head:], body[:head] if head else None)


def _heartbeat(kind: Kind, _: int, __: int, body: bytes) -> Heartbeat:
    number, sent = struct.unpack(">QQ", body)
    if number == 0:
        raise ValueError("heartbeats count from 1")
    return Heartbeat(number, sent, kind is Kind.HEARTBEAT_ACK)


def _offset(_: Kind, __: int, nic: int, body: bytes) -> Offset:
    return Offset(nic, _flow(body[: _FLOW.size]), *struct.unpack(">IIHxx", body[_FLOW.size :]))


def _address(_: Kind, __: int, nic: int, body: bytes) -> Address:
    claim, version, mac = struct.unpack(">BB6s", body[:8])
    return Address(nic, Claim(claim), _ip(version, body[8:]), mac)


def _flow(body: bytes) -> Flow:
    version, protocol, vlan, port, peer_port, address, peer = _FLOW.unpack(body)
    return Flow(protocol, vlan, _ip(version, address), port, _ip(version, peer), peer_port)


def _flow_bytes(flow: Flow) -> bytes:
    if flow.address.version != flow.peer.version:
        raise BadRecord("the addresses of a flow are of two kinds")
    addresses = flow.address.packed.ljust(16, b"\0"), flow.peer.packed.ljust(16, b"\0")
    return _FLOW.pack(flow.address.version, flow.protocol, flow.vlan, flow.port, flow.peer_port, *addresses)


def _ip(version: int, data: bytes) -> IPAddress:
    match version:
        case 4:
            return ipaddress.IPv4Address(data[:4])
        case 6:
            return ipaddress.IPv6Address(data)
        case _:
            raise ValueError(f"there is no version {version} of IP")


def _text(body: bytes) -> str:
    if not _TEXT.fullmatch(body):
        raise ValueError("a text is not printable ASCII")
    return body.decode("ascii")


_READERS: dict[Kind, Callable[[Kind, int, int, bytes], Any]] = {
    Kind.FRAME: _frame,
    Kind.DROPPED: lambda _, __, ___, body: Dropped(*struct.unpack(">QQ", body)),
    Kind.HEARTBEAT: _heartbeat,
    Kind.HEARTBEAT_ACK: _heartbeat,
    Kind.CHECKPOINT_WANTED: lambda _, __, ___, body: CheckpointWanted(
        int.from_bytes(body[:8]), _text(body[8:])
    ),
    Kind.DATAGRAMS_SENT: lambda _, __, nic, body: DatagramsSent(
        nic, struct.unpack(f">{len(body) // 8}Q", body)
    ),
    Kind.SYN_ACK_SENT: lambda _, __, nic, body: SynAckSent(nic, _flow(body)),
    Kind.ADDRESS: _address,
    Kind.OFFSET: _offset,
    Kind.POLICIES: lambda _, __, ___, body: Policies(body.decode()),
    **{kind: lambda k, _, __, body: Mark(k, int.from_bytes(body)) for kind in MARKS},
    **{
        kind: lambda k, _, nic, body: Notice(k, _text(body), nic)
        for kind in (Kind.CLOSE, Kind.PORT_FAULT, Kind.VM_GONE)
    },
    **{kind: lambda k, _, __, body: Right(k, UUID(bytes=body)) for kind in RIGHTS},
}
