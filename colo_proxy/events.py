"""The events of the control socket, and their log lines, from what the coordinator's watchers are told."""

import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from colo_proxy.checkpoint.commands import (
    Alarm,
    Began,
    Command,
    FailedOver,
    Finished,
    RequestCheckpoint,
    StateChanged,
    Tell,
)
from colo_proxy.datapath.messages import PortFault
from colo_proxy.logs import Seldom
from colo_proxy.words import Divergence, Exhausted

log = logging.getLogger(__name__)

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
    what: Command | Divergence | Exhausted | PortFault, report: Path | None = None
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

    A request that is repeated while the VMM is away is said ever less often.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._requests = Seldom(clock)

    def say(self, what: Command | Divergence | Exhausted | PortFault, report: Path | None = None) -> None:
        """Say what a watcher of the coordinator has been told. `report`: where a divergence's is written."""
        if isinstance(what, RequestCheckpoint) and not self._requests.due(what.attempt):
            return
        said = _sentence(what, report)
        if said:
            level, text = said
            event = event_of(what, report)
            log.log(level, "%s", text, extra={"event": event[0], "data": event[1]} if event else None)


def _sentence(  # noqa: PLR0911
    what: Command | Divergence | Exhausted | PortFault, report: Path | None
) -> tuple[int, str] | None:
    match what:
        case Divergence():
            where = f"{what.reason.label} at byte {what.stream_offset} of {what.flow}"
            more = f" and {what.count - 1:,} more within a second" if what.count > 1 else ""
            return logging.INFO, f"divergence: {where}{more}" + (f"; report {report}" if report else "")
        case RequestCheckpoint(reason=reason, attempt=1):
            return logging.INFO, f"checkpoint requested: {reason}"
        case RequestCheckpoint(reason=reason, attempt=attempt):
            why = f"(attempt {attempt}; the VMM has not reacted)"
            return logging.WARNING, f"checkpoint requested: {reason} {why}"
        case Finished("aborted", epoch, reason):
            return logging.WARNING, f"checkpoint aborted in epoch {epoch} ({reason}); output stays held"
        case Finished("committed", epoch, reason, duration_ns):
            took = f"{duration_ns / 1e6:.1f} ms"
            return logging.INFO, f"checkpoint committed: epoch {epoch} ({reason}), {took}"
        case StateChanged(old, new, why):
            level = logging.WARNING if new in ("unprotected", "failed-over") else logging.INFO
            return level, f"state {old} -> {new}: {why}"
        case Alarm(True, held_ns):
            held = f"{held_ns / 1e9:.1f} s"
            return logging.ERROR, f"a checkpoint has been awaited for {held}; output is held meanwhile"
        case Alarm(False, held_ns):
            return logging.WARNING, f"no checkpoint is awaited any more, after {held_ns / 1e9:.1f} s"
        case Exhausted(nic, drop):
            return logging.WARNING, f"nic {nic} is at its bound: {drop.label}"
        case PortFault():
            return logging.WARNING if what.errno else logging.INFO, f"nic {what.nic} {what.text}"
        case _:
            return None
