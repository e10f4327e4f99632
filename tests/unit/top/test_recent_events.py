"""What the events of a proxy become in the few lines of a screen."""

from typing import Any

import pytest

from colo_proxy.checkpoint.commands import Alarm, Began, FailedOver, Finished, RequestCheckpoint, StateChanged
from colo_proxy.engine.messages import PortFault
from colo_proxy.telemetry import event_log as events
from colo_proxy.top.recent_events import Happened
from colo_proxy.vocabulary import Divergence, Port, Reason

WEB = "tcp 192.0.2.2:80 > 192.0.2.1:40000"


def told(happened: Happened, *what: Any, at: float = 0.0) -> list[str]:
    """Take in these, a millisecond apart; returns the lines."""
    for number, each in enumerate(what):
        made = events.event_of(each)
        assert made
        microseconds = round(at * 1e6) + 1000 * number
        stamp = {"seconds": microseconds // 1_000_000, "microseconds": microseconds % 1_000_000}
        happened.take({"event": made[0], "data": made[1], "timestamp": stamp})
    return [f"{line.times} {line.kind} {line.said}" for line in happened.latest()]


def differs(flow: str = WEB) -> Divergence:
    return Divergence(0, flow, "tcp", Reason.PAYLOAD, 8192, 0)


def life(reason: str = "payload", result: str = "committed") -> tuple[Any, ...]:
    after = "protected" if result == "committed" else "requested"
    return (
        StateChanged("protected", "requested", reason),
        RequestCheckpoint(1, reason, WEB, 8192, 0),
        Began(1),
        StateChanged("requested", "stopped", "the VMM"),
        StateChanged("stopped", after, "the VMM"),
        Finished(result, 2, reason, 3_000_000),
    )


def test_a_checkpoint_is_one_line_from_its_request_to_its_end() -> None:
    happened = Happened()
    assert told(happened, *life()[:2]) == ["1 CHECKPOINT payload: requested"]
    again = RequestCheckpoint(1, "payload", WEB, 8192, 0, attempt=2)
    assert told(happened, again, at=0.5) == ["1 CHECKPOINT payload: requested, attempt 2"]
    assert told(happened, *life()[2:4], at=0.6) == ["1 CHECKPOINT payload: being made"]
    assert told(happened, *life()[4:], at=0.7) == ["1 CHECKPOINT payload: committed after 700.0 ms"]


def test_what_was_not_asked_for_took_what_it_says() -> None:
    end = Finished("committed", 2, "vmm", 1_500_000_000)
    assert told(Happened(), end) == ["1 CHECKPOINT vmm: committed after 1.5 s"]


def test_one_that_comes_to_nothing_does_not_pass_for_a_commit() -> None:
    happened = Happened()
    assert told(happened, *life(result="aborted")) == ["1 CHECKPOINT payload: aborted after 4.0 ms"]
    assert told(happened, *life()[1:], at=1)[1:] == ["1 CHECKPOINT payload: committed after 4.0 ms"]


def test_a_storm_is_counted_and_pushes_nothing_out() -> None:
    happened = Happened()
    told(happened, PortFault(0, Port.UPLINK, 100, "eth0: the interface is down"), differs("icmp a > b"))
    for second in range(200):
        told(happened, differs(), *life(), at=second)
    assert told(happened) == [
        "1 PORT_FAULT nic 0 eth0: the interface is down",
        "1 DIVERGENCE payload at byte 8,192 of icmp a > b",
        f"200 DIVERGENCE payload at byte 8,192 of {WEB}",
        "200 CHECKPOINT payload: committed, the last after 4.0 ms",
    ]


def test_each_of_many_flows_is_kept_within_bounds() -> None:
    happened = Happened()
    told(happened, *(differs(f"tcp a:{port} > b") for port in range(1000)))
    assert len(happened.latest()) == 50
    assert happened.latest()[-1].said.endswith("a:999 > b")


@pytest.mark.parametrize(
    ("what", "line"),
    [
        (StateChanged("requested", "unprotected", "replica-lost"), "STATE_CHANGE requested -> unprotected"),
        (Alarm(active=True, held_ns=12_340_000_000), "ALARM a checkpoint has been wanted"),
    ],
)
def test_what_deserves_a_look_is_told_each_time(what: Any, line: str) -> None:
    lines = told(Happened(), what, what)
    assert len(lines) == 2
    assert all(line in said for said in lines)


@pytest.mark.parametrize(
    "end",
    [
        (StateChanged("stopped", "unprotected", "replica-lost"),),
        (StateChanged("stopped", "failed-over", "operator"), FailedOver(1, "operator")),
    ],
)
def test_a_checkpoint_that_is_given_up_is_not_shown_for_ever(end: tuple[Any, ...]) -> None:
    happened = Happened()
    assert "CHECKPOINT" in told(happened, *life()[:4])[0]
    (line,) = told(happened, *end)
    assert "CHECKPOINT" not in line
    assert told(happened, *life()[:2])[1:] == ["1 CHECKPOINT payload: requested"]
    happened.interrupted()
    assert told(happened) == [line]
