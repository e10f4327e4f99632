"""The compiled core against the oracle, and both against the promise, on generated conversations."""

from typing import Any

import pytest
from hypothesis import Phase, given, settings
from models.oracle import Oracle
from models.packets import SYN, finished, on_the_wire, parse
from models.promise import Promise
from models.scenario import Event, Scenario, conversations
from models.stacks import Simulation

from colo_proxy.vocabulary import Divergence, Frame, Port

SETTINGS = {"timeout_ms": 3000, "reorder_ms": 5}
DIGESTS = 1 << 20


def make(kind: str, **settings: Any) -> Any:
    """The oracle or the compiled core."""
    if kind == "oracle":
        return Oracle(**settings)
    from colo_proxy.core.comparator import Comparator  # noqa: PLC0415

    return Comparator(**settings)


def tell(comparator: Any, event: Event) -> None:
    """One event, after the time up to it."""
    comparator.tick(event.now)
    if event.frame is not None and isinstance(comparator, Oracle):
        getattr(comparator, event.kind)(finished(event.frame, event.vnet), event.now, event.vnet)
    elif event.frame is not None:
        getattr(comparator, event.kind)(event.frame, event.now, event.vnet)
    elif event.kind == "set_policies":
        comparator.set_policies(event.rules)
    elif event.kind != "tick":
        getattr(comparator, event.kind)(event.now)


def pass_time(core: Any, oracle: Oracle, until: int) -> None:
    """Let the time pass in both, stopping wherever something may be due."""
    while (due := min(oracle.deadline(), core.tick(oracle.now))) < until:
        due = max(due, oracle.now + 1)
        core.tick(due)
        oracle.tick(due)


def answers(comparator: Any) -> list[tuple[Any, ...]]:
    """What came out, in a form that compares and prints well; divergences of one call in any order."""
    frames: list[tuple[Any, ...]] = []
    divergences: list[tuple[Any, ...]] = []
    for item in comparator.take():
        if isinstance(item, Frame) and item.port == Port.UPLINK:
            frames.append(("frame", finished(item.data, item.vnet)))
        elif isinstance(item, Divergence):
            divergences.append((item.reason.label, item.stream_offset, item.time, item.protocol))
    return [*frames, *sorted(divergences)]


def shown(item: tuple[Any, ...]) -> str:
    """A frame in a line."""
    if item[0] != "frame":
        return f"! {item}"
    return brief(item[1])


def brief(frame: bytes) -> str:
    """A frame in a line."""
    p = parse(frame)
    if p.kind != "tcp":
        return f"{p.kind} {p.protocol} id {frame[p.l3 + 4 : p.l3 + 6].hex()} {frame[p.l4 : p.end][:24].hex()}"
    flags = "".join(letter for bit, letter in enumerate("FSRP.U") if p.flags >> bit & 1)
    urgent = f" urg {p.urgent}" if p.urgent else ""
    ends = f"{p.sport}>{p.dport}"
    return (
        f"{ends} {flags} {p.seq}:{p.seq + len(p.payload)} ack {p.ack} win {p.window}{urgent} opts {p.options}"
    )


def unverified(comparator: Any) -> int:
    """How many retransmissions left of which not all was compared (T14)."""
    if isinstance(comparator, Oracle):
        return comparator.unverified
    return int(comparator.counters["retransmissions_unverified"])


def options_of(scenario: Scenario) -> dict[str, Any]:
    """How a comparator judges this conversation."""
    return {**SETTINGS, "observe": scenario.observe, "digest_bytes": DIGESTS if scenario.check else 0}


def disagreement(events: list[Event], options: dict[str, Any]) -> str | None:
    """The first event after which core and oracle differ, told to a person."""
    core, oracle = make("core", **options), make("oracle", **options)
    for number, event in enumerate(events):
        pass_time(core, oracle, event.now)
        tell(core, event)
        tell(oracle, event)
        ours, theirs = answers(core), answers(oracle)
        ours.append(("unverified", unverified(core)))
        theirs.append(("unverified", unverified(oracle)))
        if ours != theirs:
            told = [
                f"  {e.now:>12} {e.kind} {brief(e.frame) if e.frame else ''}" for e in events[: number + 1]
            ]
            lines = [*told, "core:", *map(shown, ours), "oracle:", *map(shown, theirs)]
            return "\n".join(lines)
    return None


def frames_the_rest(event: Event) -> bool:
    """A SYN or a checkpoint word is kept: without it the rest is another kind of conversation."""
    if event.frame is None:
        return event.kind != "tick"
    packet = parse(event.frame)
    return packet.kind == "tcp" and bool(packet.flags & SYN)


def shrink(events: list[Event], options: dict[str, Any]) -> list[Event]:
    """Leave out events as long as core and oracle still disagree."""
    size = max(len(events) // 2, 1)
    while True:
        at = 0
        while at < len(events):
            fewer = [e for n, e in enumerate(events) if not at <= n < at + size or frames_the_rest(e)]
            if len(fewer) < len(events) and disagreement(fewer, options):
                events = fewer
            else:
                at += size
        if size == 1:
            return events
        size //= 2


@pytest.mark.timeout(0)
@settings(phases=[Phase.explicit, Phase.generate], database=None)  # `shrink` does better than hypothesis here
@given(scenario=conversations())
def test_the_core_agrees_with_the_oracle(scenario: Scenario) -> None:
    """Released frames are equal in order and content, divergences in flow, reason, offset and time."""
    events = Simulation(scenario).run()
    options = options_of(scenario)
    if disagreement(events, options):
        pytest.fail(f"{scenario}\n{disagreement(shrink(events, options), options)}", pytrace=False)


@pytest.mark.timeout(0)
@pytest.mark.parametrize("kind", ["oracle", "core"])
@settings(max_examples=settings().max_examples // 4)
@given(scenario=conversations())
def test_the_promise(kind: str, scenario: Scenario) -> None:
    """No released byte, ack or flag that the SVM has not made."""
    if scenario.observe:
        return  # it follows each divergence as if a checkpoint had been made, and so promises nothing
    if scenario.again and not scenario.check:
        return  # nothing is promised of retransmissions that are trusted (T14)
    comparator = make(kind, **options_of(scenario))
    promise = Promise()
    simulation = Simulation(scenario)
    promise.ports = simulation.ports()
    sent_as: dict[bytes, bytes] = {}
    for event in simulation.run():
        if event.kind == "primary" and event.frame is not None and event.vnet and event.vnet[1] == 5:
            sent_as[finished(event.frame, event.vnet)] = event.vnet
        before = unverified(comparator)
        tell(comparator, event)
        if event.kind == "set_policies":
            promise.set_policies(event.rules)
        for frame in on_the_wire(event.frame, event.vnet) if event.frame is not None else [None]:
            promise.event(event.kind, frame)
        promise.unverified = unverified(comparator) > before
        for item in comparator.take():
            if isinstance(item, Frame):
                vnet = sent_as.get(item.data, item.vnet)  # the oracle lets frames go, not their headers
                for frame in on_the_wire(item.data, vnet):
                    promise.check(Frame(item.port, frame))
