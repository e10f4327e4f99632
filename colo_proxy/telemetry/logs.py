"""Logs on standard error: plain lines or a JSON object a line, with priorities where the journal reads."""

import json
import logging
import os
import sys
from typing import Any

from colo_proxy.dates import rfc3339

# sd-daemon(3): what a line may begin with, for the journal to know how bad it is. Levels of syslog(3).
_PRIORITIES = (
    (logging.ERROR, "<3>"),
    (logging.WARNING, "<4>"),
    (logging.INFO, "<6>"),
    (logging.DEBUG, "<7>"),
)


class _Plain(logging.Formatter):
    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(message)s")

    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:  # noqa: ARG002
        """The record's time, to a millisecond."""
        return rfc3339(int(record.created), int(record.msecs), 3)


class _Json(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        """One JSON object: time (RFC 3339), level, logger, message; the event and trace if any."""
        entry: dict[str, Any] = {
            "time": rfc3339(*divmod(int(record.created * 1_000_000), 1_000_000), 6),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        for key in ("event", "data"):  # events.EventLog
            if hasattr(record, key):
                entry[key] = getattr(record, key)
        if record.exc_info:
            entry["trace"] = self.formatException(record.exc_info)
        return json.dumps(entry)


class _Journal(logging.Formatter):
    """Another formatter's lines, each with its priority: the journal takes every line by itself."""

    def __init__(self, inner: logging.Formatter, *, names: bool) -> None:
        super().__init__()
        self._inner = inner if names else logging.Formatter("%(message)s")

    def format(self, record: logging.LogRecord) -> str:
        priority = next((text for level, text in _PRIORITIES if record.levelno >= level), "<7>")
        return "\n".join(priority + line for line in self._inner.format(record).splitlines())


def set_up(*, level: str, form: str) -> None:
    """Configure logging for the process, or change it: `[log] level` and `format`."""
    formatter: logging.Formatter = _Json() if form == "json" else _Plain()
    if to_journal():
        formatter = _Journal(formatter, names=form == "json")
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(formatter)
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    for library in ("asyncio", "pyroute2"):
        logging.getLogger(library).setLevel(logging.WARNING)


def to_journal() -> bool:
    """Whether the journal reads our standard error (systemd.exec(5), JOURNAL_STREAM)."""
    said = os.environ.get("JOURNAL_STREAM", "")
    try:
        about = os.fstat(sys.stderr.fileno())
    except (OSError, ValueError):  # closed, or no file
        return False
    return said == f"{about.st_dev}:{about.st_ino}"
