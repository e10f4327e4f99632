"""Divergences of one reason that follow each other closely on one NIC are reported as one.

Thirty thousand flows that diverge at once would be as many events, log lines and report files, and bury
what an operator has to see. So the first of a reason is reported at once (`count` 1). Those of the same
reason that follow within `WINDOW_S` are reported together when it is over: the first of them, with their
`count`. The counters and `query-stats` count each one as it comes.
"""

import asyncio
from collections.abc import Callable
from dataclasses import replace

from colo_proxy.vocabulary import Divergence, Reason

WINDOW_S = 1.0


class Storms:
    """Passes divergences on to `report`, gathered. Belongs to the event loop's thread."""

    def __init__(self, report: Callable[[Divergence], None]) -> None:
        self._report = report
        self._gathered: dict[tuple[int, Reason], Divergence | None] = {}
        self._timers: dict[tuple[int, Reason], asyncio.TimerHandle] = {}

    def take(self, divergence: Divergence) -> None:
        """Report a divergence now, or with others within a second."""
        key = divergence.nic, divergence.reason
        if key not in self._timers:
            self._report(divergence)
            self._open(key)
        elif (first := self._gathered.get(key)) is not None:
            self._gathered[key] = replace(first, count=first.count + divergence.count)
        else:
            self._gathered[key] = divergence

    def _open(self, key: tuple[int, Reason]) -> None:
        self._timers[key] = asyncio.get_running_loop().call_later(WINDOW_S, self._over, key)

    def _over(self, key: tuple[int, Reason]) -> None:
        del self._timers[key]
        gathered = self._gathered.pop(key, None)
        if gathered:
            self._report(gathered)
            self._open(key)

    def close(self) -> None:
        """Report what has been gathered; nothing follows."""
        for timer in self._timers.values():
            timer.cancel()
        for gathered in self._gathered.values():
            if gathered:
                self._report(gathered)
        self._timers.clear()
        self._gathered.clear()
