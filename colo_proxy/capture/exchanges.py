"""A flow's last exchanges as a list for a person: when, who, what, and what became of it.

TCP numbers count from each direction's first that is known, 0 for a SYN and 1 for the first byte, as
Wireshark's do. The SVM's are moved by the flow's offset, so that the same byte has the same number on both.
"""

from collections.abc import Iterator, Sequence

from colo_proxy.capture.difference import TCP, Segment, carried, flag_names
from colo_proxy.vocabulary import Divergence, Exchange, Fate, Port

_WHO = {Port.UPLINK: "client", Port.PRIMARY: "PVM", Port.SECONDARY: "SVM"}
_PSH, _SYN, _ACK = 8, 2, 16


def listed(divergence: Divergence) -> Iterator[str]:
    """One line each, oldest first, under a heading."""
    exchanges = divergence.exchanges
    segments = [carried(each.data) for each in exchanges]
    bases = _bases(exchanges, segments, divergence.seq_offset)
    if all(segment and segment.protocol == TCP for segment in segments):
        yield f"  {'ms':>10} {'from':6} {'flags':11} {'seq':>10} {'ack':>10} {'bytes':>6}"
    else:
        yield f"  {'ms':>10} {'from':6} {'bytes':>6}"
    for each, segment in zip(exchanges, segments, strict=True):
        begin = f"  {(each.time - divergence.time) / 1e6:+10.3f} {_WHO[each.port]:6} "
        if segment is not None and segment.protocol == TCP:
            yield (begin + _tcp(each, segment, bases, divergence.seq_offset) + _fate(each)).rstrip()
        else:
            yield (begin + f"{each.size:>6,}" + _fate(each)).rstrip()


def _fate(exchange: Exchange) -> str:
    match exchange.fate:
        case Fate.WAITS:
            return "  held" if exchange.port is Port.PRIMARY else ""
        case fate:
            return f"  {fate.label} {(exchange.fate_time - exchange.time) / 1e6:+.3f}"


def _bases(
    exchanges: Sequence[Exchange], segments: Sequence[Segment | None], seq_offset: int
) -> dict[bool, int]:
    """What numbers count from: of the VM's stream (True), and of the client's. A SYN's own is the best."""
    bases: dict[bool, int] = {}
    for best in (True, False):
        for each, segment in zip(exchanges, segments, strict=True):
            if segment is None or segment.protocol != TCP or (best and not segment.flags & _SYN):
                continue
            vm = each.port is not Port.UPLINK
            ours = seq_offset if each.port is Port.SECONDARY else 0
            # `seq` is that of the first byte, so one more than a SYN's own.
            bases.setdefault(vm, segment.seq - 1 - ours)
            if segment.flags & _ACK:
                bases.setdefault(not vm, segment.ack - 1)
    return bases


def _tcp(exchange: Exchange, segment: Segment, bases: dict[bool, int], seq_offset: int) -> str:
    vm = exchange.port is not Port.UPLINK
    ours = seq_offset if exchange.port is Port.SECONDARY else 0
    seq = segment.seq - bool(segment.flags & _SYN) - ours - bases.get(vm, 0)
    ack = _signed(segment.ack - bases.get(not vm, 0)) if segment.flags & _ACK else "-"
    return f"{flag_names(segment.flags & ~_PSH)[:11]:11} {_signed(seq):>10} {ack:>10} {segment.length:>6,}"


def _signed(number: int) -> str:
    return str((number + (1 << 31)) % (1 << 32) - (1 << 31))
