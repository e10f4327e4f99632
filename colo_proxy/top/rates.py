"""Rates and percentiles from two or more looks at a running proxy. No I/O, no clock."""

from collections import Counter, deque
from dataclasses import dataclass
from typing import Any

WINDOW = 10  # seconds that hold times are taken over: one second has too few, all time says nothing of now
MINUTE = 60  # seconds that checkpoints are counted over: a protected VM may make one in 20 s


@dataclass(frozen=True, slots=True)
class Look:
    """What `query-status` and `query-stats` said, and when (seconds, any clock that does not go back)."""

    at: float
    status: dict[str, Any]
    stats: dict[str, Any]


@dataclass(frozen=True, slots=True)
class PortRate:
    """Of one port: bytes and frames a second, received and sent."""

    bytes_in: float
    frames_in: float
    bytes_out: float
    frames_out: float


@dataclass(frozen=True, slots=True)
class Figures:
    """What changes between looks. `hold_us` by percentile: its bucket's bound, None where nothing left."""

    ports: list[dict[str, PortRate]]  # by NIC and role
    hold_us: dict[int, int | None]
    gaps: dict[str, float]  # by the guest's port: holes in its TCP streams a second, all NICs together
    drops: float  # frames a second
    checkpoints: float  # a minute
    divergences: float  # a minute
    bypassed: float  # frames a second that rules let leave uncompared


PERCENTILES = (50, 90, 99, 100)


class History:
    """The looks of one connection; another proxy begins another."""

    def __init__(self) -> None:
        self._looks: deque[Look] = deque()
        self._counts: deque[tuple[float, int, int]] = deque()  # when; checkpoints and divergences until then

    def add(self, look: Look) -> None:
        """Take a look in, and forget those that are older than the window."""
        self._looks.append(look)
        while len(self._looks) > 2 and self._looks[1].at <= look.at - WINDOW:
            self._looks.popleft()
        self._counts.append((look.at, look.status["checkpoints"], look.status["divergences"]))
        while len(self._counts) > 2 and self._counts[1][0] <= look.at - MINUTE:
            self._counts.popleft()

    def figures(self) -> Figures:
        """The rates since the look before the last, hold times over the window, checkpoints over the last
        minute; all 0 after a first look.
        """
        last = self._looks[-1]
        before = self._looks[-2] if len(self._looks) > 1 else last
        seconds = (last.at - before.at) or 1.0

        def rate(new: float, old: float) -> float:
            return max(0.0, new - old) / seconds

        since, checkpoints, divergences = self._counts[0]
        # As long as less is known: a single one of the first second must not look like sixty.
        minutes = max(last.at - since, WINDOW) / 60
        nics = list(zip(last.stats["nics"], before.stats["nics"], strict=True))
        return Figures(
            ports=[
                {
                    role: PortRate(
                        rate(port["received_bytes"], old["ports"][role]["received_bytes"]),
                        rate(port["received"], old["ports"][role]["received"]),
                        rate(port["sent_bytes"], old["ports"][role]["sent_bytes"]),
                        rate(port["sent"], old["ports"][role]["sent"]),
                    )
                    for role, port in new["ports"].items()
                }
                for new, old in nics
            ],
            hold_us=percentiles(_holds(self._looks[0], last)),
            gaps={
                port: sum(rate(new["stream_gaps"][port], old["stream_gaps"][port]) for new, old in nics)
                for port in ("primary", "secondary")
            },
            drops=rate(lost(last.stats).total(), lost(before.stats).total()),
            checkpoints=max(0, last.status["checkpoints"] - checkpoints) / minutes,
            divergences=max(0, last.status["divergences"] - divergences) / minutes,
            bypassed=rate(last.status["bypassed_frames"], before.status["bypassed_frames"]),
        )


def lost(stats: dict[str, Any]) -> Counter[str]:
    """Frames dropped, by reason, that one might want back: no rule's, and not the SVM's of an old epoch."""
    reasons: Counter[str] = Counter()
    for nic in stats["nics"]:
        reasons.update(nic["dropped_frames"])
    return Counter(
        {
            why: count
            for why, count in reasons.items()
            if count and why not in ("policy", "old-epoch", "closed")
        }
    )


def percentiles(buckets: list[int]) -> dict[int, int | None]:
    """Of holds counted in buckets, bucket k those under 2**k microseconds: the bound of each percentile's."""
    total = sum(buckets)
    found: dict[int, int | None] = dict.fromkeys(PERCENTILES)
    for percentile in PERCENTILES:
        need, seen = total * percentile / 100, 0
        for k, count in enumerate(buckets):
            seen += count
            if count and seen >= need:
                found[percentile] = 1 << k
                break
    return found


def _holds(first: Look, last: Look) -> list[int]:
    """Over the window, all NICs together; since the start where there is one look only."""

    def added(look: Look) -> list[int]:
        return [
            sum(bucket) for bucket in zip(*(nic["hold_buckets"] for nic in look.stats["nics"]), strict=True)
        ]

    if first is last:
        return added(last)
    return [new - old for new, old in zip(added(last), added(first), strict=True)]
