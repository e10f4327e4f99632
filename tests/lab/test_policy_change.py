"""Rules that change while both guests serve clients: what either sent before is not missing after."""

import socket
from collections.abc import Callable
from typing import Any

from colo_lab.control import Control
from colo_lab.protected import Protected
from colo_lab.replica.content import Content
from colo_lab.transfer import MIB, Transfer
from colo_lab.waiting import Deadline, until

BYPASS = [{"action": "bypass"}]
DROP = [{"match": {"protocol": "tcp", "port": 80}, "action": "drop"}]
COMPARE: list[dict[str, str]] = []


def _nothing_waits_any_more(made: Protected) -> None:
    """A datagram that only the PVM sends is missing after the timeout; whatever else was, is by then."""
    nic, before = made.lab.topology.nics[0], len(made.vmm.checkpoints)
    with made.lab.topology.pvm.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.sendto(b"alone", (nic.client4, 9999))
    made.vmm.wait(lambda vmm: len(vmm.checkpoints) > before, 10, "the last checkpoint")


def test_requests_while_rules_change(protect: Callable[..., Any]) -> None:
    with protect(compare={"timeout_ms": 400}) as made, made.proxy.connect() as control:
        url = made.lab.topology.nics[0].url("/bytes/20000")
        for turn in range(12):
            with Transfer(made.lab, url, parallel=20) as requests:
                control.execute("set-policy", policies=BYPASS if turn % 2 else COMPARE)
                hashes = {each["sha256"] for each in requests.results()}
            assert hashes == {Content().sha256(20000)}
        control.execute("set-policy", policies=COMPARE)
        _nothing_waits_any_more(made)
        assert "missing-primary" not in made.later, made.later


def test_a_download_while_rules_change(protect: Callable[..., Any]) -> None:
    size = 48 * MIB
    with protect(compare={"timeout_ms": 400}) as made, made.proxy.connect() as control:
        url = made.lab.topology.nics[0].url(f"/bytes/{size}")
        with Transfer(made.lab, url, rate=30e6, marks=MIB) as download:
            for turn in range(10):
                download.reach((turn + 1) * 4 * MIB)
                control.execute("set-policy", policies=COMPARE if turn % 2 else BYPASS)
            assert download.result()["sha256"] == Content().sha256(size)
        _nothing_waits_any_more(made)
        assert "missing-primary" not in made.later, made.later


def test_downloads_go_on_after_they_were_dropped(protect: Callable[..., Any]) -> None:
    """Both guests send again what was dropped, by timers of their own, and it is compared as usual."""
    size = 8 * MIB
    with protect(compare={"timeout_ms": 400}) as made, made.proxy.connect() as control:
        url = made.lab.topology.nics[0].url(f"/bytes/{size}")
        with Transfer(made.lab, url, rate=8e6, marks=MIB) as download:
            for turn in range(3):
                download.reach((turn + 1) * MIB)
                control.execute("set-policy", policies=DROP)
                dropped = _dropped(control)
                until(lambda: _dropped(control) > dropped, Deadline(10), "dropped frames")  # noqa: B023
                control.execute("set-policy", policies=COMPARE)
            assert download.result()["sha256"] == Content().sha256(size)
        _nothing_waits_any_more(made)
        assert "payload" not in made.later, made.later
        assert "control" not in made.later, made.later


def _dropped(control: Control) -> int:
    return int(control.execute("query-stats")["nics"][0]["dropped_frames"]["policy"])
