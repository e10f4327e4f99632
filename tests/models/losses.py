"""What clients send and links lose: each guest receives some of it, in its own order.

Each acknowledges what comes, as a kernel does (RFC 5681, 4.2): at once and again where something is missing,
with SACK blocks if the connection has them (RFC 2018, 4: the latest first). Some acknowledgements are lost on
their way to the proxy. What was lost is repeated until both guests have it, or the conversation goes on.
"""

import random
from collections.abc import Callable

Block = tuple[int, int]


class Receiver:
    """One guest's half of a connection that receives; positions count from the client's ISN."""

    def __init__(self, acked: int) -> None:
        self.acked = acked
        self.blocks: list[Block] = []  # beyond `acked`, the latest first

    def receive(self, begin: int, end: int) -> list[Block]:
        """Bytes come; returns the SACK blocks of the acknowledgement that they are answered with."""
        if end <= self.acked or any(left <= begin and end <= right for left, right in self.blocks):
            duplicate = [(begin, end)]  # RFC 2883
            return [*duplicate, *self.blocks][:3]
        for block in [each for each in self.blocks if each[0] <= end and begin <= each[1]]:
            begin, end = min(begin, block[0]), max(end, block[1])
            self.blocks.remove(block)
        self.blocks.insert(0, (begin, end))
        for block in sorted(self.blocks):
            if block[0] <= self.acked:
                self.acked = max(self.acked, block[1])
                self.blocks.remove(block)
        return self.blocks[:3]


def lossy_upload(
    chance: random.Random,
    receivers: list[Receiver],
    begin: int,
    acknowledge: Callable[[int, Receiver, list[Block]], None],
) -> int:
    """Clients send some segments, often enough that most arrive. Returns where they end.

    `acknowledge` is called with the number of a guest, what it has received and its blocks, for each
    acknowledgement that arrives.
    """
    size, count = chance.choice((1, 100, 1400)), chance.randint(2, 12)
    pieces = [(begin + size * n, begin + size * (n + 1)) for n in range(count)]
    for again in range(chance.randint(1, 3)):
        for first, end in pieces:
            who = chance.sample(range(len(receivers)), len(receivers))
            for guest in who:
                if again and receivers[guest].acked >= end and chance.random() < 0.8:
                    continue  # nobody repeats what was acknowledged, but for what was delayed
                if chance.random() < 0.75:
                    blocks = receivers[guest].receive(first, end)
                    if chance.random() < 0.9:
                        acknowledge(guest, receivers[guest], blocks)
    return begin + size * count
