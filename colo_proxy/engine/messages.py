"""What passes between the control plane and the engine: plain values, no references into the data path."""

from dataclasses import dataclass
from typing import Literal, NamedTuple

from colo_proxy.vocabulary import Drop, FlowInfo, Mode, Port, Reason

PROTOCOLS = ("tcp", "udp", "icmp", "other")


class PortSpec(NamedTuple):
    """An open descriptor that becomes a port; port.pxd says what it must be.

    The descriptor stays its opener's, who keeps it open while the engine has it. `fd` may be -1 for a stream
    that has no peer yet. `vnet`: the stream carries virtio-net headers (a TAP and a packet socket always do).
    `split`: it is two sockets, one to read and one to write, neither of which is open yet.
    """

    fd: int
    kind: Literal["tap", "packet", "stream"]
    name: str
    vnet: bool = True
    split: bool = False


@dataclass(frozen=True, slots=True)
class Done:
    """The command of this ticket has been applied to all NICs.

    `late`: a frame that the kernel stamped after the command's `stamp_ns` had already been judged, as one
    from before the stop. `flows`: the answer to `request_flows`, and `after`: what to ask with for those that
    follow; None: there are no more.
    """

    ticket: int
    late: bool = False
    flows: tuple[FlowInfo, ...] = ()
    after: int | None = None


@dataclass(frozen=True, slots=True)
class PortFault:
    """A port has failed, or (`errno` 0) works again. Each change is reported once.

    ENETDOWN: the interface is down. ENODEV, EBADFD: it has been removed; attach another. Of a stream, whose
    descriptor the engine has shut down and does not use any more: ENOTCONN: the peer closed the connection;
    EMSGSIZE, EPROTO: it sent a length that no frame can have; others as the system says. `out`: it was the
    socket that a split port writes to.
    """

    nic: int
    port: Port
    errno: int
    text: str
    out: bool = False


@dataclass(frozen=True, slots=True)
class PortCounters:
    """Counted since the engine was made. Bytes count from the Ethernet header."""

    name: str
    received: int
    received_bytes: int
    sent: int
    sent_bytes: int
    overruns: int  # frames that the kernel dropped because they were not read in time
    dropped: dict[Drop, int]
    fault: int  # errno, 0: none


@dataclass(frozen=True, slots=True)
class NicCounters:
    """One NIC's counters and gauges. Words are read one by one: two of them may be a packet apart."""

    ports: tuple[PortCounters, PortCounters, PortCounters]  # by Port
    released: int  # frames of the PVM (after a failover the SVM) that left
    released_bytes: int
    divergences: dict[tuple[Reason, str], int]  # by reason and protocol: tcp, udp, icmp, other
    dropped: dict[Drop, int]  # by the comparator; what ports drop is in their counters
    mode: Mode
    held_frames: int
    held_bytes: int
    flows: int
    hold_buckets: tuple[
        int, ...
    ]  # of frames that left: bucket k held for less than 2**k microseconds, no lower one
    hold_sum_ns: int
    timeout_ns: int  # in force now
    # TCP segments of the PVM and of the SVM: beyond what their side had sent before, so something between was
    # lost or overtaken; and beginning before its end, so sent again or overtaken.
    stream_gaps: tuple[int, int]
    retransmitted: tuple[int, int]
    neighbours_asked: int  # questions of the SVM that the proxy has asked, as the PVM would
    retransmissions_unverified: int  # of the PVM, let through without all their bytes having been compared
