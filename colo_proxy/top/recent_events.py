"""What has happened, for the few lines that a screen has for it. No I/O, no clock.

A checkpoint says five events from its request to its commit; here its life is one line. What repeats (a flow
that diverges again, a checkpoint for the same reason) is one line too, which says how often and moves to
the end: so a storm of checkpoints pushes out nothing that one has to see.
"""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any

from colo_proxy.telemetry.sentences import sentence

_MOST = 50
_NOW = "now"  # the key of the checkpoint that is wanted or being made
# States that the lines of checkpoints, or of a failover, tell as well.
_TOLD = ("protected", "requested", "stopped", "failed-over")


@dataclass(frozen=True, slots=True)
class Line:
    """What happened last of its kind, when (seconds since 1970), and how often it has happened."""

    at: float
    kind: str
    said: str
    times: int = 1


class Happened:
    """The events of a running proxy, told for people."""

    def __init__(self) -> None:
        self._lines: dict[Hashable, Line] = {}  # in order of time
        self._asked: tuple[float, str] | None = None  # the checkpoint that is under way: since when, and why
        self._count = 0

    def take(self, event: dict[str, Any]) -> None:
        """Take in an event as the control socket says it."""
        name, data, stamp = event["event"], event["data"], event["timestamp"]
        at = stamp["seconds"] + stamp["microseconds"] / 1e6
        match name, data:
            case "CHECKPOINT_REQUEST", {"reason": reason, "attempt": attempt}:
                self._asked = self._asked or (at, reason)
                self._put(_NOW, at, f"{reason}: requested" + (f", attempt {attempt}" if attempt > 1 else ""))
            case "CHECKPOINT_BEGIN", _:
                self._asked = self._asked or (at, "vmm")
                self._put(_NOW, at, f"{self._asked[1]}: being made")
            case "CHECKPOINT_COMMIT" | "CHECKPOINT_ABORT", {"reason": reason, "seconds": seconds}:
                took = max(0.0, at - self._asked[0]) if self._asked else seconds
                end = "committed" if name == "CHECKPOINT_COMMIT" else "aborted"
                self.interrupted()
                again = (name, reason) in self._lines
                self._put((name, reason), at, f"{reason}: {end}{', the last' * again} after {_ms(took)}")
            case "STATE_CHANGE", {"to": state} if state in _TOLD:
                if state == "failed-over":
                    self.interrupted()
            case "DIVERGENCE", {"nic": nic, "flow": flow, "reason": reason}:
                self._put((nic, flow, reason), at, sentence(name, data), name, data.get("count", 1))
            case _:
                if name == "STATE_CHANGE":
                    self.interrupted()
                self._count += 1
                self._put(self._count, at, sentence(name, data), name)

    def interrupted(self) -> None:
        """The checkpoint that was under way is so no more: ended, or the proxy that told of it is gone."""
        self._asked = None
        self._lines.pop(_NOW, None)

    def latest(self) -> Sequence[Line]:
        """The last lines, the latest at the end."""
        return list(self._lines.values())

    def _put(self, key: Hashable, at: float, said: str, kind: str = "CHECKPOINT", times: int = 1) -> None:
        before = self._lines.pop(key, None)
        times += before.times if before and key != _NOW else 0
        self._lines[key] = Line(at, kind, said, times)
        while len(self._lines) > _MOST:
            del self._lines[next(iter(self._lines))]


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:.1f} ms" if seconds < 1 else f"{seconds:.1f} s"
