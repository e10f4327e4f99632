"""What a person sees of a running proxy: one screen, aligned."""

from typing import Any

import pytest

from colo_proxy.cli.status import exit_status, lines

NIC = {
    "nic": 0,
    "uplink": "tap:colo0,bridge=br0",
    "primary": "packet:pvm0",
    "secondary": "packet:svm0",
    "faults": [],
    "flows": 11,
    "held_frames": 9,
    "held_bytes": 9000,
    "timeout_ms": 120,
    "stream_gaps": {"primary": 0, "secondary": 0},
    "retransmitted_segments": {"primary": 0, "secondary": 0},
}
STATUS: dict[str, Any] = {
    "name": "web1",
    "state": "protected",
    "epoch": 3,
    "vmm": "qmp",
    "vmm_connected": {"primary": True, "secondary": True},
    "reason": None,
    "alarm": False,
    "waiting_ms": 0,
    "nics": [NIC],
    "flows": 11,
    "held_frames": 9,
    "held_bytes": 9000,
    "bypassing": False,
    "bypassed_frames": 0,
    "checkpoints": 3,
    "divergences": 11,
}


def test_protected() -> None:
    assert (
        "\n".join(lines(STATUS))
        == """\
proxy        web1
state        protected: the SVM can take over at any time
epoch        3
VMM          qmp (primary up, secondary up)
checkpoints  3
divergences  11
flows        11
held         9 frames, 8.8 KiB

NIC  UPLINK                PRIMARY      SECONDARY    FLOWS  HELD  TIMEOUT
0    tap:colo0,bridge=br0  packet:pvm0  packet:svm0     11     9   120 ms"""
    )


def test_protected_but_for_what_rules_let_by() -> None:
    shown = lines({**STATUS, "bypassing": True, "bypassed_frames": 1234})
    assert shown[1] == "state        protected, except for what rules bypass (1,234 frames so far)"
    assert "bypass" not in "".join(shown[2:])
    before = lines({**STATUS, "bypassing": True})
    assert before[1].endswith("protected, except for what rules bypass (0 frames so far)")
    held = lines({**STATUS, "state": "requested", "bypassing": True, "bypassed_frames": 1})
    assert held[1].endswith(": what differs is held until the VMM has made a checkpoint")
    assert held[2].startswith("uncompared   1 frame bypassed by rules")


def test_one_is_one() -> None:
    assert "held         1 frame, 60 B" in lines({**STATUS, "held_frames": 1, "held_bytes": 60})


def test_requested_with_an_alarm_and_a_side_that_is_down() -> None:
    shown = lines(
        {
            **STATUS,
            "state": "requested",
            "reason": "payload",
            "alarm": True,
            "waiting_ms": 12_340,
            "vmm_connected": {"primary": True, "secondary": False},
        }
    )
    assert shown[1] == "state        requested: what differs is held until the VMM has made a checkpoint"
    assert shown[2] == "ALARM        a checkpoint has been wanted for 12.3 s; what differs is held"
    assert "checkpoint   wanted for 12.3 s: the outputs differ (payload)" in shown
    assert "VMM          qmp (primary up, secondary DOWN)" in shown


def test_columns_line_up_for_several_nics_and_a_fault_stands_under_its_nic() -> None:
    second = {**NIC, "nic": 1, "uplink": "packet:up1", "primary": "tap:a", "faults": ["pvm1", "svm1"]}
    table = lines({**STATUS, "nics": [NIC, {**second, "held_frames": 123_456}]})[-4:]
    assert table[3] == "     FAULT: pvm1, svm1 (see the log)"
    for column in ("PRIMARY", "SECONDARY"):
        place = table[0].index(column)
        assert all(line[place - 2 : place] == "  " and line[place] != " " for line in table[:3])
    assert len({len(line) for line in table[:3]}) == 1
    assert "123,456" in table[2]


def test_a_leg_that_loses_frames_is_named_under_its_nic() -> None:
    losing = {**NIC, "nic": 1, "stream_gaps": {"primary": 0, "secondary": 1200}}
    losing["retransmitted_segments"] = {"primary": 1, "secondary": 34}
    assert lines({**STATUS, "nics": [NIC, losing]})[-1] == (
        "     lost or reordered before the proxy: PVM 0 holes, 1 segment retransmitted; "
        "SVM 1,200 holes, 34 segments retransmitted"
    )


def test_each_state_is_explained() -> None:
    for state in ("unprotected", "protected", "requested", "stopped", "failed-over"):
        assert lines({**STATUS, "state": state})[1].partition(": ")[2]
    observing = lines({**STATUS, "state": "unprotected", "vmm": "none", "vmm_connected": {}})
    assert observing[1] == "state        observing: the PVM's output is released; divergences are counted"
    assert "VMM          none" in observing


@pytest.mark.parametrize(
    ("secondary", "fault"),
    [
        ("packet:svm0", "svm0"),
        ("tap:svm0,bridge=br0", "svm0"),
        ("unix:/run/svm", "unix:/run/svm"),
        ("in unix:/a out unix:/b", "in unix:/a out unix:/b"),
    ],
)
def test_an_svm_whose_port_has_a_fault_cannot_take_over(secondary: str, fault: str) -> None:
    broken = {**NIC, "nic": 1, "secondary": secondary, "faults": ["up0", fault]}
    for nics in ([broken], [NIC, broken]):
        state = lines({**STATUS, "nics": nics})[1]
        assert state == "state        protected, but the SVM cannot take over while its port has a fault"
        assert exit_status({**STATUS, "nics": nics}) == 3
    other = {**NIC, "faults": ["pvm0", "colo0"]}
    assert lines({**STATUS, "nics": [other]})[1].endswith(": the SVM can take over at any time")
    assert exit_status({**STATUS, "nics": [other]}) == 0
    observed = {**STATUS, "nics": [broken], "vmm": "none", "state": "unprotected"}
    assert lines(observed)[1].startswith("state        observing: the PVM's")


def test_it_fits_a_terminal() -> None:
    for line in lines({**STATUS, "state": "requested", "alarm": True, "waiting_ms": 99_999, "reason": "x"}):
        assert len(line) <= 80
        assert "{" not in line


@pytest.mark.parametrize("reason", ["start", "aborted"])
def test_after_a_start_or_an_abort_everything_is_held(reason: str) -> None:
    state = lines({**STATUS, "state": "requested", "reason": reason})[1]
    assert state == "state        requested: all output is held until the VMM has made a checkpoint"


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({}, 0),
        ({"vmm_connected": {"primary": False, "secondary": True}}, 0),  # the SVM can take over
        ({"state": "requested"}, 0),
        ({"state": "requested", "alarm": True}, 3),
        ({"state": "requested", "vmm_connected": {"primary": True, "secondary": False}}, 3),
        ({"state": "requested", "checkpoints": 0}, 3),
        ({"state": "stopped", "checkpoints": 0}, 0),
        ({"state": "stopped", "vmm_connected": {"control": False}}, 3),
        ({"state": "unprotected"}, 3),
        ({"state": "failed-over", "alarm": True}, 4),
    ],
)
def test_the_exit_status(changes: dict[str, Any], status: int) -> None:
    assert exit_status({**STATUS, **changes}) == status
