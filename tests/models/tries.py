"""The reference for T10a of docs/comparison.md: SYN/ACKs repeated with another ISN, and what goes astray."""

from typing import TYPE_CHECKING

from models.packets import ACK, FIN, RST, SYN, URG, Packet

if TYPE_CHECKING:
    from models.tcp import Side

TRIES = 4
PATIENCE = 100_000_000  # ns
NEAR = 2**20


class Tries:
    """The part of a connection that knows which ISN a side goes on with. Its SYN is position 0 with any."""

    p: "Side"
    s: "Side"
    low: int | None
    matched: int
    astray: bool
    time: int  # of the segment that is placed
    named_at: int
    from_capture: bool

    def _goes_astray(self, segment: Packet, position: int, unknown: bool) -> bool:
        """3.1: are these bytes of the PVM that have no place behind its SYN?"""
        if self.p.syn is None or self.low is None or not segment.length or segment.flags & (SYN | RST):
            return False
        if unknown or self.astray or position < 0:
            return True
        keep_alive = segment.length == 1 and (segment.flags & FIN or self.p.end == 1)
        return position == 0 and not keep_alive

    @staticmethod
    def tries_again(side: "Side", segment: Packet) -> bool:
        """Does it repeat the side's SYN/ACK with another ISN?"""
        if segment.flags & (SYN | ACK | RST | FIN | URG) != SYN | ACK or segment.payload:
            return False
        alike = side.syn is not None and syn_options(segment)[:-1] == side.syn[:-1]
        return (
            alike
            and side.irs == segment.ack
            and side.end == 1
            and not side.reset
            and side.base != segment.seq
        )

    def take_try(self, side: "Side", segment: Packet) -> None:
        """Take in such a SYN/ACK. Clients take one of the PVM's ISNs, and acknowledge one of the SVM's."""
        if not self.tries_again(side, segment):
            return
        late = side is self.s and self.time - self.named_at >= PATIENCE
        moves = not side.shown and (late or not side.chosen)
        assert side.base is not None
        side.tries = side.tries or [(side.base, side.timestamp)]
        if segment.seq not in dict(side.tries):
            stamp = segment.options.get(8, b"")
            side.tries.append((segment.seq, int.from_bytes(stamp[:4]) if len(stamp) == 8 else None))
        if moves:
            self._move(side, segment.seq)
            side.chosen = False
        if len(side.tries) > TRIES:
            side.tries.remove(next(each for each in side.tries if each[0] != side.base))

    @staticmethod
    def _move(side: "Side", isn: int) -> None:
        side.base, side.timestamp = isn, dict(side.tries)[isn]

    def _goes_on(self, side: "Side", segment: Packet) -> bool:
        """Is it known where this segment of a side with several ISNs lies? It may be the first behind one."""
        if side.end != 1:
            return True
        isn = (segment.seq - 1) % 2**32
        if side is self.p:
            if not side.chosen and self._choose(side, isn):
                self._follow_pvm()
            return side.chosen
        if side.shown:
            return True
        named = side.named & {each for each, _ in side.tries}
        if not any(0 < (isn - each) % 2**32 < NEAR for each in named) and self._choose(side, isn):
            side.shown = True
            return True
        return side.chosen and len(named) <= 1

    def _choose(self, side: "Side", isn: int) -> bool:
        if isn not in dict(side.tries):
            return False
        self._move(side, isn)
        side.chosen = True
        return True

    def _follow_pvm(self) -> None:
        """After a commit the SVM may have the PVM's ISN, too."""
        if self.s.syn is not None and self.s.end == 1 and not self.s.chosen and self.p.base is not None:
            self._choose(self.s, self.p.base)

    def acknowledged(self, ack: int, now: int) -> None:
        """A client acknowledges: the PVM's SYN, perhaps, and so this one of its ISNs. The SVM gets it too."""
        p, s = self.p, self.s
        if p.irs is None:
            return
        if not p.chosen and p.end == 1:
            isn = (ack - 1) % 2**32
            if isn != p.base and not self._choose(p, isn):
                return
            p.chosen = True
            self._follow_pvm()
        if s.syn is not None and s.end == 1 and not self.from_capture:
            self._name(now)

    def received(self, ack: int, now: int) -> None:
        """The SVM's capture shows a client's acknowledgement: it alone says which ISN is named."""
        s, isn = self.s, (ack - 1) % 2**32
        if s.irs is None or s.end != 1 or s.shown or (isn != s.base and not self._choose(s, isn)):
            return
        if not self.from_capture:
            self.from_capture = True
            s.named.clear()
        self._name(now)

    def _name(self, now: int) -> None:
        self.s.chosen, self.named_at = True, now
        if self.s.base is not None:  # unknown after a copy of a PVM that had sent nothing yet
            self.s.named.add(self.s.base)

    def adopt(self) -> None:
        """The SVM has the PVM's numbers."""
        p, s = self.p, self.s
        self.from_capture = False
        s.base, s.syn, s.timestamp = p.base, p.syn, p.timestamp
        s.tries, s.chosen, s.shown = list(p.tries), p.chosen, False
        s.named = {p.base} if p.chosen and p.base is not None else set()
        if p.tries:
            s.end = p.end


def syn_options(segment: Packet) -> tuple[object, ...]:
    """A form of a SYN, what binds a connection: MSS, window scale, SACK permitted, timestamps (T3)."""
    mss, scale = segment.options.get(2, b""), segment.options.get(3, b"")
    return (
        "SYN",
        int.from_bytes(mss) if len(mss) == 2 else None,
        min(scale[0], 14) if len(scale) == 1 else None,  # RFC 7323, section 2.3
        4 in segment.options,
        len(segment.options.get(8, b"")) == 8,
        tuple(sorted(option for option in segment.options.items() if option[0] not in {2, 3, 4, 5, 8, 34})),
    )
