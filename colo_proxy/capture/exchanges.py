"""A flow's last exchanges as a list for a person: when, who, what, and what became of it.

TCP numbers are relative, as Wireshark's are: 0 for a SYN, 1 for the first byte behind it. Without its SYN the
lowest number that is shown counts as the first byte. The SVM's are moved by the flow's offset, so that
the same byte has the same number on both. Several connections can be among the exchanges (a port is used
again), and the offset can be unknown (the flow was not compared before), so a number counts from the nearest
beginning below it, and what lies near none has a beginning of its own.
"""

from collections.abc import Iterator, Sequence

from colo_proxy.capture.difference import TCP, Segment, carried, flag_names
from colo_proxy.vocabulary import Divergence, Exchange, Fate, Port

_WHO = {Port.UPLINK: "client", Port.PRIMARY: "PVM", Port.SECONDARY: "SVM"}
_PSH, _SYN, _ACK = 8, 2, 16
_NEAR = 1 << 26  # of one connection: 32 frames and a window behind them span less


def listed(divergence: Divergence) -> Iterator[str]:
    """One line each, oldest first, under a heading."""
    exchanges = sorted(divergence.exchanges, key=lambda each: each.time)
    segments = [carried(each.data) for each in exchanges]
    numbers = _numbers(exchanges, segments, divergence.seq_offset)
    if all(segment and segment.protocol == TCP for segment in segments):
        yield f"  {'ms':>10} {'from':6} {'flags':11} {'seq':>10} {'ack':>10} {'bytes':>6}"
    else:
        yield f"  {'ms':>10} {'from':6} {'bytes':>6}"
    for each, segment in zip(exchanges, segments, strict=True):
        begin = f"  {(each.time - divergence.time) / 1e6:+10.3f} {_WHO[each.port]:6} "
        if segment is not None and segment.protocol == TCP:
            yield (begin + _tcp(each, segment, numbers, divergence.seq_offset) + _fate(each)).rstrip()
        else:
            yield (begin + f"{each.size:>6,}" + _fate(each)).rstrip()


def _fate(exchange: Exchange) -> str:
    match exchange.fate:
        case Fate.WAITS:
            return "  held" if exchange.port is Port.PRIMARY else ""
        case fate:
            return f"  {fate.label} {(exchange.fate_time - exchange.time) / 1e6:+.3f}"


class _Numbers:
    """The sequence numbers of one direction, and what they count from."""

    def __init__(self) -> None:
        self.begins: list[int] = []  # numbers of SYNs
        self.shown: list[int] = []  # the others

    def settle(self) -> None:
        """Give what lies near no beginning one of its own, below the lowest."""
        left = [number for number in self.shown if self.relative(number) >= _NEAR]
        while left:
            apart = {number: (number - left[0] + _HALF) % _WHOLE - _HALF for number in left}
            near = [number for number in left if abs(apart[number]) < _NEAR]
            self.begins.append(min(near, key=apart.__getitem__) - 1)
            left = [number for number in left if number not in near]

    def relative(self, number: int) -> int:
        """The distance from the nearest beginning below."""
        return min(((number - begin) % _WHOLE for begin in self.begins), default=_WHOLE)


_WHOLE, _HALF = 1 << 32, 1 << 31


def _numbers(
    exchanges: Sequence[Exchange], segments: Sequence[Segment | None], seq_offset: int
) -> dict[bool, _Numbers]:
    """Those of the VM's stream (True), and of the client's."""
    numbers = {True: _Numbers(), False: _Numbers()}
    for each, segment in zip(exchanges, segments, strict=True):
        if segment is not None and segment.protocol == TCP:
            vm, seq = _sent(each, segment, seq_offset)
            (numbers[vm].begins if segment.flags & _SYN else numbers[vm].shown).append(seq)
            if segment.flags & _ACK:
                numbers[not vm].shown.append(segment.ack)
    for stream in numbers.values():
        stream.settle()
    return numbers


def _sent(exchange: Exchange, segment: Segment, seq_offset: int) -> tuple[bool, int]:
    """Whether the VM sent it, and its sequence number, a SYN's own, in the PVM's space."""
    ours = seq_offset if exchange.port is Port.SECONDARY else 0
    return exchange.port is not Port.UPLINK, segment.seq - bool(segment.flags & _SYN) - ours


def _tcp(exchange: Exchange, segment: Segment, numbers: dict[bool, _Numbers], seq_offset: int) -> str:
    vm, number = _sent(exchange, segment, seq_offset)
    seq = numbers[vm].relative(number)
    ack = str(numbers[not vm].relative(segment.ack)) if segment.flags & _ACK else "-"
    return f"{flag_names(segment.flags & ~_PSH)[:11]:11} {seq:>10} {ack:>10} {segment.length:>6,}"
