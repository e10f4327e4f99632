"""What a comparator did with a scenario, and whether that was right."""

from dataclasses import dataclass

from scapy.layers.inet import TCP
from scapy.layers.l2 import Ether

from .scenarios import MUST_HOLD, Say, Scenario, State


@dataclass(frozen=True)
class Outcome:
    """The fate of each named PVM frame, the checkpoints asked for, and whether the order was kept."""

    fates: dict[str, State]
    asks: int
    in_order: bool

    def faults(self, scenario: Scenario) -> list[str]:
        """What is not as the right answer says, in words; empty when all is."""
        wrong: dict[str, list[str]] = {}
        for name, fate in self.fates.items():
            if fate not in scenario.right.get(name, {State.LEFT}):
                wrong.setdefault(fate.value, []).append(name)
        faults = [f"{_some(names)} {fate}" for fate, names in wrong.items()]
        # Where a difference is real, asking again does no harm; elsewhere each request is one too many.
        if self.asks != scenario.asks and not (scenario.group == MUST_HOLD and 0 < scenario.asks < self.asks):
            plural = "" if self.asks == 1 else "s"
            faults.append(f"{self.asks} checkpoint{plural} requested, not {scenario.asks}")
        if scenario.in_order and not self.in_order:
            faults.append("order not kept")
        return faults


def _some(names: list[str]) -> str:
    return ", ".join(f"“{name}”" for name in names) if len(names) < 4 else f"{len(names)} frames"


def _clamped(released: bytes, sent: bytes) -> bool:
    """Whether `released` is `sent` but for a lower acknowledgement or window (and checksum)."""
    ours, theirs = Ether(released), Ether(sent)
    if TCP not in ours or TCP not in theirs:
        return False
    for packet in (ours, theirs):
        packet[TCP].ack = packet[TCP].window = packet[TCP].chksum = 0
    return bytes(ours) == bytes(theirs)


def outcome(scenario: Scenario, released: list[bytes], asks: int) -> Outcome:
    """Match what left, in order, with what the PVM sent."""
    sent = [(step.name, step.frame) for step in scenario.steps if isinstance(step, Say) and step.primary]
    fates = {name: State.HELD for name, _ in sent}
    order = []
    exact = {frame: (place, name) for place, (name, frame) in enumerate(sent)}
    for frame in released:
        if frame in exact:
            place, name = exact[frame]
            fates[name] = State.LEFT
            order.append(place)
            continue
        for name, original in sent:
            if fates[name] is State.HELD and _clamped(frame, original):
                fates[name] = State.CLAMPED
                break
    return Outcome(fates, asks, order == sorted(order))
