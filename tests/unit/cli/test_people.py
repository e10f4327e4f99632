"""What people read of flows and events."""

from typing import Any

import pytest

from colo_proxy.checkpoint.commands import Alarm, Began, FailedOver, Finished, RequestCheckpoint, StateChanged
from colo_proxy.cli.events import line
from colo_proxy.cli.flows import lines
from colo_proxy.cli.main import parser
from colo_proxy.display.tables import size
from colo_proxy.engine.messages import PortFault
from colo_proxy.telemetry import event_log as events
from colo_proxy.vocabulary import Divergence, Port, Reason

WEB = "tcp 192.0.2.2:80 > 192.0.2.1:40000"


def flow(text: str, held: int, **more: Any) -> dict[str, Any]:
    plain = {
        "nic": 0,
        "held_frames": held,
        "held_bytes": 1500 * held,
        "matched_bytes": 5_000_000,
        "divergences": 0,
    }
    return {**plain, "flow": text, "blocked": False, "idle_ms": 1500, **more}


def test_flows_line_up_and_those_that_hold_most_come_first() -> None:
    shown = lines([flow("udp a > b", 0), flow(WEB, 1234, blocked=True, divergences=7), flow("icmp c > d", 2)])
    assert (
        "\n".join(shown)
        == f"""\
NIC   HELD     SIZE  MATCHED  DIVERGED   IDLE  FLOW
0    1,234  1.8 MiB  4.8 MiB         7  1.5 s  {WEB} (waits for a checkpoint)
0        2  2.9 KiB  4.8 MiB         0  1.5 s  icmp c > d
0        0      0 B  4.8 MiB         0  1.5 s  udp a > b"""
    )
    assert lines([]) == ["no flows"]


@pytest.mark.parametrize(
    ("what", "said"),
    [
        (RequestCheckpoint(1, "payload", WEB, 8192, 0), f"payload at byte 8,192 of {WEB}"),
        (RequestCheckpoint(1, "period", attempt=3), "period, attempt 3"),
        (Began(4), "epoch 4 ends"),
        (Finished("committed", 5, "payload", 5_500_000), "epoch 5 (payload), 5.5 ms"),
        (Divergence(0, WEB, "tcp", Reason.PAYLOAD, 8192, 0), f"payload at byte 8,192 of {WEB}"),
        (StateChanged("protected", "requested", "operator"), "protected -> requested: operator"),
        (FailedOver(5, "operator"), "epoch 5: operator"),
        (
            Alarm(active=True, held_ns=12_340_000_000),
            "a checkpoint has been wanted for 12.3 s; output that differs is held",
        ),
        (Alarm(active=False, held_ns=12_340_000_000), "the checkpoint is no longer wanted, after 12.3 s"),
        (PortFault(1, Port.UPLINK, 100, "eth0: the interface is down"), "nic 1 eth0: the interface is down"),
    ],
)
def test_an_event_is_a_sentence(what: Any, said: str) -> None:
    made = events.event_of(what)
    assert made
    event = {"event": made[0], "data": made[1], "timestamp": {"seconds": 0, "microseconds": 7000}}
    clock, name, rest = line(event).split(maxsplit=2)
    assert (clock, name, rest) == ("1970-01-01T00:00:00.007Z", made[0], said)


def test_an_event_of_tomorrow_and_one_that_a_terminal_would_obey() -> None:
    stamp = {"seconds": 0, "microseconds": 0}
    assert line({"event": "NEW", "data": {"a": 1}, "timestamp": stamp}).endswith(' {"a": 1}')
    told = line({"event": "ALARM", "data": {"a": "x"}, "timestamp": stamp})
    assert told.endswith('{"a": "x"}')
    change = {"from": "a", "to": "b", "why": "\x1b[31mred"}
    assert "\x1b" not in line({"event": "STATE_CHANGE", "data": change, "timestamp": stamp})


def test_sizes() -> None:
    assert [size(n) for n in (0, 999, 1024, 102_400, 1 << 20, 1 << 40)] == [
        "0 B",
        "999 B",
        "1.0 KiB",
        "100 KiB",
        "1.0 MiB",
        "1.0 TiB",
    ]
    assert size(12_345_678, 1000) == "12.3 MB"


@pytest.mark.parametrize("order", ["RULE --first web1", "--first RULE web1", "RULE web1 --first"])
def test_options_may_stand_anywhere(order: str) -> None:
    found = parser().parse_args(["policy", "add", *order.split()])
    assert (found.rule, found.first, found.config) == ("RULE", True, "web1")
