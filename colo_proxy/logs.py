"""Logs on standard error: plain lines for people and the journal, or a JSON object a line."""

import json
import logging
import sys

_PLAIN = "%(levelname)s %(message)s"


class _Json(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        """One JSON object: time (seconds since the epoch), level, logger, message, and the trace if any."""
        entry = {
            "time": round(record.created, 6),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            entry["trace"] = self.formatException(record.exc_info)
        return json.dumps(entry)


def set_up(*, as_json: bool, verbose: bool) -> None:
    """Configure logging for the process."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Json() if as_json else logging.Formatter(_PLAIN))
    logging.basicConfig(level=logging.DEBUG if verbose else logging.INFO, handlers=[handler], force=True)
    for library in ("asyncio", "pyroute2"):
        logging.getLogger(library).setLevel(logging.WARNING)
