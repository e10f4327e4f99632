"""What a comparison of two captures has found, as a program and a person read it."""

from dataclasses import dataclass, field
from typing import Any

from colo_proxy.capture.reader import NS
from colo_proxy.vocabulary import Divergence


@dataclass(frozen=True, slots=True)
class NotCompared:
    """Something that the comparison has not looked at; None where it is not known.

    `what` is `dropped` (frames that make no sense, or could not be kept), `cut` (frames of which the capture
    has only the beginning) or `missing` (bytes of a stream that the PVM's capture does not have, though the
    client has acknowledged them). `bytes` are those that were not looked at, `begin` and `end` their stream
    offsets: the first and one past the last.
    """

    what: str
    frames: int | None = None
    bytes: int | None = None
    flow: str | None = None
    begin: int | None = None
    end: int | None = None

    def as_json(self) -> dict[str, Any]:
        return {
            "what": self.what,
            "frames": self.frames,
            "bytes": self.bytes,
            "flow": self.flow,
            "from": self.begin,
            "to": self.end,
        }


@dataclass(slots=True)
class Result:
    """What `colo-proxy compare` reports. Frames count what the VM sent; times are those of the primary's
    capture.
    """

    vms: tuple[bytes, ...] = ()  # the VM's MAC addresses; none where the captures are empty
    flows: int = 0
    primary_frames: int = 0
    secondary_frames: int = 0
    released_frames: int = 0
    held_frames: int = 0
    looked_at: bool = False  # both captures have frames of the VM that are compared
    divergences: list[Divergence] = field(default_factory=list)
    not_compared: list[NotCompared] = field(default_factory=list)
    notices: list[str] = field(default_factory=list)

    @property
    def vm(self) -> bytes | None:
        """The first of the VM's addresses."""
        return self.vms[0] if self.vms else None

    @property
    def verdict(self) -> str:
        """A difference is one, whatever was not looked at; without one, all must have been looked at."""
        if self.divergences:
            return "diverged"
        return "identical" if self.looked_at and not self.not_compared else "incomplete"

    def as_json(self) -> dict[str, Any]:
        """The object that `--json` prints; programs rely on its names."""
        return {
            "verdict": self.verdict,
            "flows": self.flows,
            "primary_frames": self.primary_frames,
            "secondary_frames": self.secondary_frames,
            "released_frames": self.released_frames,
            "held_frames": self.held_frames,
            "divergences": [
                {
                    "flow": divergence.flow,
                    "reason": divergence.reason.label,
                    "stream_offset": divergence.stream_offset,
                    "time": divergence.time / NS,
                }
                for divergence in self.divergences
            ],
            "not_compared": [each.as_json() for each in self.not_compared],
            "notices": self.notices,
        }
