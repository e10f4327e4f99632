"""The events of the control socket, and their log lines, from what the coordinator's watchers are told."""

import logging
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
from colo_proxy.words import Divergence, Exhausted

log = logging.getLogger(__name__)

NAMES = (
    "ALARM",
    "CHECKPOINT_ABORT",
    "CHECKPOINT_BEGIN",
    "CHECKPOINT_COMMIT",
    "CHECKPOINT_REQUEST",
    "DIVERGENCE",
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


def log_event(what: Command | Divergence | Exhausted | PortFault, report: Path | None = None) -> None:
    """Say in the log what an operator would want to find there later."""
    match what:
        case Divergence():
            log.info(
                "divergence: %s at byte %d of %s%s",
                what.reason.label,
                what.stream_offset,
                what.flow,
                f"; report {report}" if report else "",
            )
        case RequestCheckpoint(reason=reason, attempt=attempt):
            log.log(
                logging.INFO if attempt == 1 else logging.WARNING,
                "checkpoint requested: %s%s",
                reason,
                "" if attempt == 1 else f" (attempt {attempt}; the VMM has not reacted)",
            )
        case Finished("aborted", epoch, reason):
            log.warning("checkpoint aborted in epoch %d (%s); output stays held", epoch, reason)
        case Finished("committed", epoch, reason, duration_ns):
            log.info("checkpoint committed: epoch %d (%s), %.1f ms", epoch, reason, duration_ns / 1e6)
        case StateChanged(old, new, why):
            level = logging.WARNING if new in ("unprotected", "failed-over") else logging.INFO
            log.log(level, "state %s -> %s: %s", old, new, why)
        case Alarm(True, held_ns):
            log.error("output has been held for %.1f s; the VMM does not answer", held_ns / 1e9)
        case Alarm(False, held_ns):
            log.warning("output is no longer held, after %.1f s", held_ns / 1e9)
        case Exhausted(nic, drop):
            log.warning("nic %d is at its bound: %s", nic, drop.label)
        case PortFault():
            log.log(logging.WARNING if what.errno else logging.INFO, "nic %d %s", what.nic, what.text)
        case _:
            pass
