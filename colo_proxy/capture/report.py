"""Divergence reports: one pcapng each, bounded in size and number, that Wireshark and `explain` read.

The section's comment is a JSON object with what is known of the divergence; the frames are the flow's last
exchanges, where they begin, commented with what became of each, then the two packets that show the difference
as a whole, commented `primary` and `secondary`. Interfaces are the ports.
"""

import json
import logging
import re
import time as clock
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from colo_proxy.capture.reader import NS, Capture, Captured
from colo_proxy.capture.writer import PcapngWriter, whole_file
from colo_proxy.errors import UserError
from colo_proxy.vocabulary import Divergence, Exchange, Fate, Port, Reason

log = logging.getLogger(__name__)

MOST_EXCHANGES = 32  # frames, the latest
MOST_BYTES = 256 << 10  # of exchanges
_NAME = re.compile(r"divergence-\d{8}T\d{6}\.\d{9}Z-nic\d+-[a-z-]+\.pcapng")
_FATE = re.compile(r"(left|dropped) after (\d{1,18}) ns")
_FORMAT = 1


@dataclass(frozen=True, slots=True)
class Report:
    """A divergence, and the epoch and the state of the proxy that it met."""

    divergence: Divergence
    epoch: int = 0
    state: str = ""


class Reports:
    """The directory of one proxy's reports: beyond `most`, the oldest go."""

    def __init__(self, directory: str | Path, most: int = 100) -> None:
        self.directory = Path(directory)
        self.most = most

    def path(self, divergence: Divergence) -> Path:
        """The name that the report of a divergence has, or will have. Names sort by time."""
        seconds, fraction = divmod(divergence.time, NS)
        stamp = clock.strftime("%Y%m%dT%H%M%S", clock.gmtime(seconds))
        name = f"divergence-{stamp}.{fraction:09d}Z-nic{divergence.nic}-{divergence.reason.label}.pcapng"
        return self.directory / name

    def write(self, report: Report) -> Path:
        """Write a report and remove the oldest. Raises UserError if the directory cannot be written."""
        divergence = report.divergence
        path = self.path(divergence)
        with whole_file(path, mode=0o640) as file:  # packets are the VM's clients' business
            writer = PcapngWriter(file, [port.name.lower() for port in Port], json.dumps(_facts(report)))
            for each in _latest(divergence.exchanges):
                writer.write(each.time, each.data, each.port, _fate_text(each), each.size)
            if divergence.primary is not None:
                writer.write(divergence.time, divergence.primary, Port.PRIMARY, "primary")
            if divergence.secondary is not None:
                writer.write(divergence.time, divergence.secondary, Port.SECONDARY, "secondary")
        self._forget()
        return path

    def _forget(self) -> None:
        names = sorted(path.name for path in self.directory.iterdir() if _NAME.fullmatch(path.name))
        for name in names[: max(len(names) - self.most, 0)]:
            try:
                (self.directory / name).unlink(missing_ok=True)
            except OSError as error:
                log.warning("%s: an old report cannot be removed: %s", self.directory / name, error.strerror)


def _fate_text(exchange: Exchange) -> str:
    """What became of a frame, as its comment says it."""
    if exchange.fate is not Fate.WAITS:
        return f"{exchange.fate.label} after {exchange.fate_time - exchange.time} ns"
    return "held" if exchange.port is Port.PRIMARY else ""


def _exchange(frame: Captured) -> Exchange:
    """A frame of a report and its comment."""
    fate, when = Fate.WAITS, 0
    if found := _FATE.fullmatch(frame.comment):
        fate, when = Fate[found[1].upper()], frame.time + int(found[2])
    return Exchange(frame.time, Port(frame.interface), frame.data, frame.size or len(frame.data), fate, when)


def _latest(exchanges: Sequence[Exchange]) -> list[Exchange]:
    """The last exchanges that fit."""
    kept: list[Exchange] = []
    size = 0
    for exchange in reversed(exchanges[-MOST_EXCHANGES:]):
        size += len(exchange.data)
        if size > MOST_BYTES:
            break
        kept.append(exchange)
    return kept[::-1]


def _facts(report: Report) -> dict[str, Any]:
    divergence = report.divergence
    return {
        "colo-proxy": _FORMAT,
        "nic": divergence.nic,
        "flow": divergence.flow,
        "protocol": divergence.protocol,
        "reason": divergence.reason.label,
        "stream_offset": divergence.stream_offset,
        "time": divergence.time,
        "seq_offset": divergence.seq_offset,
        "count": divergence.count,
        "epoch": report.epoch,
        "state": report.state,
    }


def load(path: str | Path) -> Report:
    """Read a report. Raises UserError (CaptureError where the file itself is damaged) that says what is
    wrong.
    """
    capture = Capture(path, cut=True)
    frames: list[Captured] = []
    size = 0
    for frame in capture:
        frames.append(frame)
        size += len(frame.data)
        if len(frames) > 2 * MOST_EXCHANGES or size > 8 * MOST_BYTES:
            raise UserError(f"{path}: too big for a divergence report; 'colo-proxy compare' reads captures")
    try:
        facts = json.loads(capture.comment)
    except (ValueError, RecursionError):
        facts = None
    if not isinstance(facts, dict) or "colo-proxy" not in facts:
        raise UserError(f"{path}: is not a divergence report; 'colo-proxy compare' reads captures")
    if facts["colo-proxy"] != _FORMAT:
        raise UserError(f"{path}: is a report of another version; read it with the colo-proxy that wrote it")
    packets = {frame.comment: frame.data for frame in frames if frame.comment in ("primary", "secondary")}
    divergence = Divergence(
        nic=_number(path, facts, "nic"),
        flow=_text(path, facts, "flow"),
        protocol=_text(path, facts, "protocol"),
        reason=_reason(path, facts),
        stream_offset=_number(path, facts, "stream_offset"),
        time=_number(path, facts, "time"),
        primary=packets.get("primary"),
        secondary=packets.get("secondary"),
        exchanges=tuple(
            _exchange(frame)
            for frame in frames
            if frame.comment not in ("primary", "secondary") and frame.interface < len(Port)
        ),
        seq_offset=_number(path, facts, "seq_offset"),
        count=_number(path, {"count": 1} | facts, "count"),  # older reports have none
    )
    return Report(divergence, _number(path, facts, "epoch"), _text(path, facts, "state"))


def _reason(path: str | Path, facts: dict[str, Any]) -> Reason:
    label = _text(path, facts, "reason")
    for reason in Reason:
        if reason.label == label:
            return reason
    raise UserError(f"{path}: {label!r} is not a reason for a divergence; the report is damaged")


def _number(path: str | Path, facts: dict[str, Any], key: str) -> int:
    value = facts.get(key)
    if type(value) is not int or not -(1 << 63) <= value < 1 << 63:
        raise UserError(f"{path}: {key!r} is not a number; the report is damaged")
    return value


def _text(path: str | Path, facts: dict[str, Any], key: str) -> str:
    value = facts.get(key)
    if not isinstance(value, str) or len(value) > 256 or not (value.isprintable()):
        raise UserError(f"{path}: {key!r} is not a valid string; the report is damaged")
    return value
