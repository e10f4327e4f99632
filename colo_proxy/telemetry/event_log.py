"""The events of the control socket, and their log lines, from what the coordinator's watchers are told."""

import logging
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from colo_proxy.checkpoint.commands import (
    Alarm,
    Began,
    FailedOver,
    Finished,
    RequestCheckpoint,
    StateChanged,
    Tell,
)
from colo_proxy.checkpoint.coordinator import Occurrence
from colo_proxy.engine.messages import PortFault
from colo_proxy.seldom import Seldom
from colo_proxy.telemetry.sentences import sentence
from colo_proxy.vocabulary import Divergence, Drop, Exhausted

log = logging.getLogger("colo_proxy.events")

NAMES = (
    "ALARM",
    "CHECKPOINT_ABORT",
    "CHECKPOINT_BEGIN",
    "CHECKPOINT_COMMIT",
    "CHECKPOINT_REQUEST",
    "DIVERGENCE",
    "EVENTS_LOST",
    "FAILOVER",
    "PORT_FAULT",
    "STATE_CHANGE",
)


def event_of(  # noqa: PLR0911
    what: Occurrence, report: Path | None = None
) -> tuple[str, dict[str, Any]] | None:
    """The event's name and data, or None where there is none. `report`: where a divergence's is written."""
    match what:
        case RequestCheckpoint(epoch, reason, flow, stream_offset, nic, attempt):
            return "CHECKPOINT_REQUEST", {
                "epoch": epoch,
                "reason": reason,
                "flow": flow,
                "stream_offset": stream_offset,
                "nic": nic,
                "attempt": attempt,
            }
        case Began(epoch):
            return "CHECKPOINT_BEGIN", {"epoch": epoch}
        case Finished("assumed"):
            return None  # the DIVERGENCE says it
        case Finished(result, epoch, reason, duration_ns):
            name = "CHECKPOINT_COMMIT" if result == "committed" else "CHECKPOINT_ABORT"
            return name, {"epoch": epoch, "reason": reason, "seconds": duration_ns / 1e9}
        case StateChanged(old, new, why):
            return "STATE_CHANGE", {"from": old, "to": new, "why": why}
        case FailedOver(epoch, why):
            return "FAILOVER", {"epoch": epoch, "why": why}
        case Alarm(active, held_ns):
            return "ALARM", {"active": active, "held_ms": held_ns // 1_000_000}
        case _:
            return _from_data_path(what, report)


def _from_data_path(
    what: Tell | Divergence | Exhausted | PortFault, report: Path | None
) -> tuple[str, dict[str, Any]] | None:
    match what:
        case Divergence():
            return "DIVERGENCE", {
                "nic": what.nic,
                "flow": what.flow,
                "protocol": what.protocol,
                "reason": what.reason.label,
                "stream_offset": what.stream_offset,
                "count": what.count,
                "report": str(report) if report else None,
            }
        case PortFault():
            return "PORT_FAULT", {
                "nic": what.nic,
                "port": what.port.name.lower(),
                "errno": what.errno,
                "text": what.text,
            }
        case _:
            return None


class EventLog:
    """Says in the log what an operator would want to find there later; with its event, for `[log] format`.

    A request that is repeated while the VMM is away is said ever less often; a bound that is met again and
    again, as in a flood of new flows, once a minute.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._requests = Seldom(clock)
        # By NIC, and which bound.
        self._met: Counter[tuple[int, Drop]] = Counter()
        self._bounds: dict[tuple[int, Drop], Seldom] = {}

    def say(self, what: Occurrence) -> None:
        """Say what a watcher of the coordinator has been told. (Reports are named by their writer.)"""
        if isinstance(what, RequestCheckpoint) and not self._requests.due(what.attempt):
            return
        if isinstance(what, Exhausted) and not self._due(what):
            return
        begins = _begins(what)
        if begins:
            level, text = begins
            event = event_of(what)
            text += sentence(*event) if event else ""
            log.log(level, "%s", text, extra={"event": event[0], "data": event[1]} if event else None)

    def _due(self, what: Exhausted) -> bool:
        key = what.nic, what.drop
        self._met[key] += 1
        return self._bounds.setdefault(key, Seldom(self._clock, flood=True)).due(self._met[key])


def _begins(what: Occurrence) -> tuple[int, str] | None:  # noqa: PLR0911
    """How bad it is, and how its line begins: `sentence` says the rest. None: it is not logged."""
    match what:
        case Divergence():
            return logging.INFO, "divergence: "
        case RequestCheckpoint(attempt=1):
            return logging.INFO, "checkpoint requested: "
        case RequestCheckpoint():
            return logging.WARNING, "checkpoint requested; the VMM has not reacted: "
        case Finished("aborted"):
            return logging.WARNING, "checkpoint aborted; output stays held: "
        case Finished("committed"):
            return logging.INFO, "checkpoint committed: "
        case StateChanged(_, new):
            return logging.WARNING if new in ("unprotected", "failed-over") else logging.INFO, "state "
        case Alarm(active):
            return logging.ERROR if active else logging.WARNING, ""
        case Exhausted(nic, drop):
            return logging.WARNING, f"nic {nic} has reached its bound: {drop.label}"
        case PortFault():
            return logging.WARNING if what.errno else logging.INFO, ""
        case _:
            return None
