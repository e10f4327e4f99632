"""Which of many like log lines are logged."""

import time
from collections.abc import Callable

_ATTEMPTS = frozenset(1 << power for power in range(7))
_MINUTE = 60.0  # s


class Seldom:
    """Which of many like lines, of attempts that count from 1, are said.

    Attempts 1, 2, 4, 8, … up to 64, and beyond a minute after the last line. Of a `flood`, which strangers
    may cause, thousands in a moment: the first, and then one a minute.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic, *, flood: bool = False) -> None:
        self._clock = clock
        self._attempts = frozenset({1}) if flood else _ATTEMPTS
        self._said = 0.0

    def due(self, attempt: int) -> bool:
        """Whether this one is said."""
        now = self._clock()
        if attempt in self._attempts or now - self._said >= _MINUTE:
            self._said = now
            return True
        return False
