"""The screen of `colo-proxy top` at the sizes that terminals have."""

import errno
from dataclasses import replace
from typing import Any

import pytest
from fakes.engine import counters

from colo_proxy.checkpoint.machine import Machine
from colo_proxy.engine.messages import NicCounters
from colo_proxy.telemetry.stats import Totals
from colo_proxy.top.rates import History, Look
from colo_proxy.top.recent_events import Line
from colo_proxy.top.screen import screen
from colo_proxy.vocabulary import Divergence, Reason

SLOW = (0,) * 9 + (90, 9) + (0,) * 9 + (1,) + (0,) * 11  # nine tenths below 512 us, one below 1.05 s
HAPPENED = [Line(second, "DIVERGENCE", f"payload at byte {second}", 2) for second in range(50)]


def look(*nics: NicCounters, flows: int = 10, **status: Any) -> Look:
    totals = Totals(lambda: list(nics), Machine(0))
    for port in range(flows):
        for _ in range(2 if port == 3 else 1):
            flow = f"tcp 192.0.2.2:80 > 192.0.2.1:{40000 + port}"
            totals.watch(Divergence(0, flow, "tcp", Reason.PAYLOAD, 0, 0))
    said: dict[str, Any] = {
        "name": "web1", "state": "requested", "epoch": 7, "vmm": "control",
        "vmm_connected": {"control": True}, "reason": None, "alarm": False, "waiting_ms": 12_300,
        "flows": 11, "held_frames": 9, "held_bytes": 9000,
        "bypassing": False, "bypassed_frames": 0, "checkpoints": 7, "divergences": 8,
    }  # fmt: skip
    stats = {**totals.as_json(), "max_held_bytes": 64 << 20, "max_flows": 100_000}
    return Look(0, {**said, **status}, stats)


def drawn(seen: Look, width: int = 80, height: int = 24, happened: list[Line] = HAPPENED) -> list[str]:
    history = History()
    history.add(seen)
    lines = screen(
        seen,
        history.figures(),
        happened,
        name="web1",
        gone=None,
        interval=1,
        width=width,
        height=height,
    )
    assert len(lines) == height
    assert max(line.cell_len for line in lines) <= width
    return [line.plain for line in lines]


def broken(error: int, which: int = 1) -> NicCounters:
    ports = list(counters().ports)
    ports[which] = replace(ports[which], fault=error)
    return replace(counters(), ports=tuple(ports))  # type: ignore[arg-type]


def test_a_fault_is_told_beside_an_alarm_and_says_what_it_is() -> None:
    lines = drawn(look(broken(errno.ENETDOWN), broken(errno.EIO, 2), alarm=True, reason="payload"))
    assert lines[2:4] == [
        " ALARM: a checkpoint has been wanted for 12.3 s; the VMM does not answer",
        " FAULT: pvm0: the interface is down; svm0: Input/output error",
    ]
    lines = drawn(look(broken(errno.ENETDOWN), reason="payload"))
    assert lines[2:4] == [
        " FAULT: pvm0: the interface is down",
        " a checkpoint has been wanted for 12.3 s: the outputs differ (payload)",
    ]
    assert drawn(look(counters()))[2] == ""


def test_what_rules_let_by_is_told() -> None:
    lines = drawn(look(counters(), state="protected", nics=[], bypassing=True, bypassed_frames=1234))
    assert lines[0].startswith(" web1  PROTECTED, except for what rules bypass (1,234 frames so far) ")
    assert lines[2] == " RULES: 0 frames/s are bypassed"


def test_a_leg_that_loses_frames_now_is_named() -> None:
    history = History()
    history.add(look(counters()))
    later = replace(look(replace(counters(), stream_gaps=(13, 37))), at=10)
    history.add(later)
    lines = screen(later, history.figures(), [], name="web1", gone=None, interval=1, width=80, height=24)
    assert lines[2].plain == " frames are lost before the proxy; holes in TCP streams: PVM 0.0/s, SVM 2.3/s"


@pytest.mark.parametrize(
    ("width", "height"), [(1, 1), (10, 3), (40, 12), (79, 23), (80, 24), (123, 40), (200, 60)]
)
@pytest.mark.parametrize("nics", [1, 3, 20])
def test_it_fits_every_terminal(width: int, height: int, nics: int) -> None:
    drawn(look(*[broken(errno.ENETDOWN)] * nics, alarm=True, reason="payload"), width, height)
    drawn(look(*[counters()] * nics, flows=0), width, height, [])


def test_a_small_terminal_has_the_hold_times_and_the_rates() -> None:
    lines = drawn(look(replace(counters(), hold_buckets=SLOW)), 40, 12)
    at = next(n for n, line in enumerate(lines) if line.startswith(" HOLD TIME"))
    assert (lines[at] + lines[at + 1]).split() == [
        *("HOLD", "TIME", "p50", "<512", "µs", "p90", "<512", "µs", "p99", "<1", "ms", "max", "<1", "s")
    ]
    (heading,) = (line for line in lines if line.startswith(" THROUGHPUT"))
    assert heading.split() == ["THROUGHPUT", "in", "out", "of", "SVM"]
    assert lines[lines.index(heading) + 1].split() == ["up0", *("0", "B/s") * 3]


def test_a_big_terminal_is_used() -> None:
    lines = drawn(look(counters()), 200, 60)
    assert lines.count("") == 1, "there is more that has happened than there is room"
    (heading,) = (line for line in lines if line.startswith(" THROUGHPUT"))
    assert "from the PVM" in heading
    (diverging,) = (line for line in lines if line.startswith(" DIVERGENCES"))
    assert diverging.index("SERVICE") < 80, "what belongs together stands together"


def test_flows_that_diverge_most_come_first_and_of_equal_ones_the_latest() -> None:
    lines = drawn(look(counters()))
    at = next(n for n, line in enumerate(lines) if line.startswith(" DIVERGENCES"))
    assert [[line.split()[0], line.split()[4]] for line in lines[at + 1 : at + 4]] == [
        [count, f"192.0.2.1:{port}"] for count, port in (("2", 40003), ("1", 40009), ("1", 40008))
    ]


def test_what_happened_last_is_at_the_end_and_says_how_often() -> None:
    lines = drawn(look(counters()))
    assert lines[-2].split(maxsplit=1)[1] == "DIVERGENCE 2× payload at byte 49"
