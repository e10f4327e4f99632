"""Counts of many keys in bounded memory, of which the largest are wanted: which flows and ports diverge most.

Space-Saving (Metwally, Agrawal, El Abbadi: Efficient Computation of Frequent and Top-k Elements in Data
Streams, ICDT 2005): a key that finds no room takes the place, and the count, of the smallest. What it took
over is its possible error, so `count - error` was certainly counted; that is what is told. While there have
been no more keys than there is room, every count is exact.
"""


class Tally:
    """Counts of at most `room` keys."""

    def __init__(self, room: int) -> None:
        self._room = room
        # By key, the one added last at the end: the count, and how much of it may be others'.
        self._counts: dict[str, tuple[int, int]] = {}

    def add(self, key: str) -> None:
        """Count one."""
        if key in self._counts:
            count, error = self._counts.pop(key)
        elif len(self._counts) < self._room:
            count = error = 0
        else:
            smallest = min(self._counts, key=lambda other: self._counts[other][0])
            count, _ = self._counts.pop(smallest)
            error = count
        self._counts[key] = count + 1, error

    def most(self, wanted: int) -> list[tuple[str, int]]:
        """The keys counted most, and what was certainly counted of each; of equal counts the latest first."""
        certain = [(key, count - error) for key, (count, error) in reversed(self._counts.items())]
        return sorted(certain, key=lambda item: -item[1])[:wanted]


def service(flow: str) -> str:
    """What a flow's divergences are counted under besides it: `tcp/80`, or the protocol.

    Of two ports the lower is taken for the service's: who connects gets his from the high ones (RFC 6335, 6).
    """
    protocol, *words = flow.split()
    if protocol == "ethertype":
        return f"{protocol} {words[0]}"
    if protocol not in ("tcp", "udp"):
        return protocol
    ports = [int(word.rpartition(":")[2]) for word in (words[0], words[2])]
    return f"{protocol}/{min(ports)}"
