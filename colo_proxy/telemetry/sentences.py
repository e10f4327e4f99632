"""Events in words for people, the same in the log, in `colo-proxy events` and in `colo-proxy top`."""

import json
from typing import Any


def sentence(name: str, data: dict[str, Any]) -> str:  # noqa: PLR0911
    """The data of an event as a sentence; of an event that this program does not know, as JSON."""
    match name, data:
        case "CHECKPOINT_REQUEST", {"reason": reason, "flow": flow, "stream_offset": at, "attempt": attempt}:
            where = f" at byte {at:,} of {flow}" if flow else ""
            return f"{reason}{where}" + (f", attempt {attempt}" if attempt > 1 else "")
        case "CHECKPOINT_BEGIN", {"epoch": epoch}:
            return f"epoch {epoch:,} ends"
        case "CHECKPOINT_COMMIT" | "CHECKPOINT_ABORT", {"epoch": epoch, "reason": reason, "seconds": seconds}:
            return f"epoch {epoch:,} ({reason}), {seconds * 1000:.1f} ms"
        case "DIVERGENCE", {"reason": reason, "stream_offset": at, "flow": flow, "report": report}:
            more = f" and {data['count'] - 1:,} more" if data.get("count", 1) > 1 else ""
            return f"{reason} at byte {at:,} of {flow}{more}" + (
                f"; the report will be {report}" if report else ""
            )
        case "EVENTS_LOST", {"lost": lost, "state": state}:
            return f"{lost:,} events were not read in time; the state is now {state}"
        case "STATE_CHANGE", {"from": old, "to": new, "why": why}:
            return f"{old} -> {new}: {why}"
        case "FAILOVER", {"epoch": epoch, "why": why}:
            return f"epoch {epoch:,}: {why}"
        case "ALARM", {"active": active, "held_ms": held}:
            if not active:
                return f"the checkpoint is no longer wanted, after {held / 1000:.1f} s"
            return f"a checkpoint has been wanted for {held / 1000:.1f} s; output that differs is held"
        case "PORT_FAULT", {"nic": nic, "text": text}:
            return f"nic {nic} {text}"
        case _:
            return json.dumps(data)
