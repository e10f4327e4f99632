"""The reference for retransmissions: docs/comparison.md, T14, one connection of the PVM's at a time.

It keeps the bytes themselves, in the pieces in which the comparator keeps digests. Positions count as in
tcp.py; `start` is where stream offsets count from.
"""

from dataclasses import dataclass, field

PIECE = 512


@dataclass
class Span:
    """A segment's place in the stream, and its payload."""

    begin: int  # of the segment
    end: int
    first: int  # of its payload
    data: bytes
    gso: int = 0
    unverified: bool = False  # a retransmission in part, of which not all could be compared

    def part(self, begin: int, end: int) -> bytes:
        """The payload between two positions."""
        return self.data[begin - self.first : end - self.first]

    @property
    def last(self) -> int:
        """One past the payload."""
        return self.first + len(self.data)


@dataclass
class Known:
    """What is known of the agreed bytes that the client has not acknowledged."""

    check: bool
    start: int = 1
    acknowledged: int | None = None
    pieces: list[tuple[int, bytes]] = field(default_factory=list)

    def learn(self, span: Span, begin: int, end: int) -> None:
        """These bytes of a PVM's segment are agreed from now on."""
        begin, end = max(begin, span.first), min(end, span.last)
        while begin < end:
            step = PIECE - (begin - self.start) % PIECE
            if span.gso:
                step = min(step, span.gso - (begin - span.first) % span.gso)
            until = min(begin + step, end)
            self.pieces.append((begin, span.part(begin, until)))
            begin = until

    def replace(self, span: Span) -> None:
        """The segment leaves on a commit: this is what clients know from now on."""
        self.pieces = [
            (at, data) for at, data in self.pieces if at >= span.last or at + len(data) <= span.first
        ]
        self.learn(span, span.first, span.last)

    def acknowledge(self, position: int) -> None:
        """A client has all below."""
        self.acknowledged = position if self.acknowledged is None else max(self.acknowledged, position)

    def differs(self, span: Span, begin: int, end: int, held: list[Span]) -> tuple[int | None, bool]:
        """Compare a retransmission's bytes from `begin` to `end`.

        Returns the position that differs, if any, and whether some of it could not be compared. `held` are
        segments of either guest that wait, and reach from the agreed range beyond it.
        """
        unacknowledged = [
            at for at in range(begin, end) if self.acknowledged is None or at >= self.acknowledged
        ]
        if not unacknowledged:
            return None, False
        if not self.check:
            return None, True
        verified: set[int] = set()
        exact: list[int] = []
        for other in held:
            for at in unacknowledged:
                if other.first <= at < other.last:
                    verified.add(at)
                    if other.part(at, at + 1) != span.part(at, at + 1):
                        exact.append(at)
        pieces: list[int] = []
        only_pieces = set(unacknowledged) - verified
        for at, data in self.pieces:
            if begin <= at and at + len(data) <= end and at + len(data) > unacknowledged[0]:
                verified |= set(range(at, at + len(data)))
                if span.part(at, at + len(data)) != data:
                    pieces.append(at)
        if not exact and not pieces:
            return None, not verified.issuperset(unacknowledged)
        lowest = min(pieces, default=None)
        held_from = min((at for at in unacknowledged if at not in only_pieces), default=end)
        if lowest is not None and (not exact or lowest < held_from):
            return lowest, False
        return min(exact), False
