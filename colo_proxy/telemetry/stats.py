"""What has been counted: the data path's counters, and the checkpoints. Read by metrics and `query-stats`."""

from collections.abc import Callable
from typing import Any

from prometheus_client import Histogram, disable_created_metrics

from colo_proxy.checkpoint.commands import Finished
from colo_proxy.checkpoint.coordinator import Occurrence
from colo_proxy.checkpoint.machine import Machine
from colo_proxy.core.policy import PolicyRule
from colo_proxy.engine.messages import NicCounters
from colo_proxy.telemetry.tally import Tally, service
from colo_proxy.vocabulary import Divergence

disable_created_metrics()  # type: ignore[no-untyped-call] # series of when each was made; none asks

RESULTS = ("committed", "aborted", "assumed")
TOLD = 10  # flows and services that diverge most
_ROOM = 256  # counted, so that those are right


class Totals:
    """One proxy's counts. The metrics' thread only reads: integers, and a Histogram that locks itself."""

    def __init__(
        self,
        snapshot: Callable[[], list[NicCounters]],
        machine: Machine,
        policies: Callable[[], list[tuple[PolicyRule, int]]] = list,
    ) -> None:
        """`policies`: the rules, each with the frames that it has decided on."""
        self.snapshot = snapshot
        self.machine = machine
        self.policies = policies
        self.checkpoints = dict.fromkeys(RESULTS, 0)
        self.reasons: dict[str, int] = {}  # of checkpoints that were committed, or assumed
        self.committed_ns = [0, 0]  # how long checkpoints took: all that were committed, and the last
        self.flows = Tally(_ROOM)
        self.services = Tally(_ROOM)
        # What former rules have bypassed since the last commit, and whether they could.
        self._bypassed_before = 0
        self._bypassing_before = False
        self.connected: Callable[[], dict[str, bool]] = dict
        self.checkpoint_seconds = Histogram(
            "colo_proxy_checkpoint_seconds",
            "From the begin of a checkpoint, when the VMs stop, to its commit",
            buckets=(0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10),
            registry=None,
        )

    def watch(self, what: Occurrence) -> None:
        """A watcher of the coordinator."""
        if isinstance(what, Finished):
            self.checkpoints[what.result] += 1
            if what.result != "aborted":
                self.reasons[what.reason] = self.reasons.get(what.reason, 0) + 1
            if what.result == "committed":
                self._bypassed_before, self._bypassing_before = 0, False
                self.checkpoint_seconds.observe(what.duration_ns / 1e9)
                self.committed_ns = [self.committed_ns[0] + what.duration_ns, what.duration_ns]
        elif isinstance(what, Divergence):
            self.flows.add(what.flow)
            self.services.add(service(what.flow))

    def before_policies(self) -> None:
        """Other rules will follow: what these have bypassed stays uncompared until a commit."""
        self._bypassing_before = self.bypassing()
        self._bypassed_before = self.bypassed()

    def bypassing(self) -> bool:
        """Whether a rule bypasses, or one has since the last commit."""
        return self._bypassing_before or any(rule.action == "bypass" for rule, _ in self.policies())

    def bypassed(self) -> int:
        """Frames that rules have let leave uncompared since they were set; of former ones, since a commit."""
        now = sum(frames for rule, frames in self.policies() if rule.action == "bypass")
        return self._bypassed_before + now

    def as_json(self) -> dict[str, Any]:
        """`query-stats`: every counter, by its name in the design. Its size is bounded."""
        total, last = self.committed_ns
        return {
            "checkpoints": dict(self.checkpoints),
            "checkpoint_reasons": dict(self.reasons),
            "checkpoint_seconds_sum": total / 1e9,
            "checkpoint_seconds_last": last / 1e9,
            "diverging_flows": [
                {"flow": flow, "divergences": count} for flow, count in self.flows.most(TOLD)
            ],
            "diverging_services": [
                {"service": name, "divergences": count} for name, count in self.services.most(TOLD)
            ],
            "nics": [_nic(index, nic) for index, nic in enumerate(self.snapshot())],
        }


def dropped(nic: NicCounters) -> dict[str, int]:
    """Frames of a NIC that were dropped, by reason; `overrun`: the kernel did, before they were read."""
    counts = {drop.label: count for drop, count in nic.dropped.items()}
    for port in nic.ports:
        for drop, count in port.dropped.items():
            counts[drop.label] += count
    return {**counts, "overrun": sum(port.overruns for port in nic.ports)}


def by_guest(counts: tuple[int, int]) -> dict[str, int]:
    """A count of the PVM's and of the SVM's, by the port that they come from."""
    return dict(zip(("primary", "secondary"), counts, strict=True))


def _nic(index: int, nic: NicCounters) -> dict[str, Any]:
    divergences: dict[str, dict[str, int]] = {}
    for (reason, protocol), count in nic.divergences.items():
        divergences.setdefault(reason.label, {})[protocol] = count
    return {
        "nic": index,
        "ports": {
            role: {
                "name": port.name,
                "received": port.received,
                "received_bytes": port.received_bytes,
                "sent": port.sent,
                "sent_bytes": port.sent_bytes,
                "overruns": port.overruns,
                "fault": port.fault,
            }
            for role, port in zip(("uplink", "primary", "secondary"), nic.ports, strict=True)
        },
        "released_frames": nic.released,
        "released_bytes": nic.released_bytes,
        "divergences": divergences,
        "dropped_frames": dropped(nic),
        "held_frames": nic.held_frames,
        "held_bytes": nic.held_bytes,
        "flows": nic.flows,
        "mode": nic.mode.name.lower().replace("_", "-"),
        "hold_seconds_sum": nic.hold_sum_ns / 1e9,
        "hold_buckets": list(nic.hold_buckets),
        "timeout_ms": nic.timeout_ns / 1e6,
        "stream_gaps": by_guest(nic.stream_gaps),
        "retransmitted_segments": by_guest(nic.retransmitted),
        "neighbours_asked": nic.neighbours_asked,
        "retransmissions_unverified": nic.retransmissions_unverified,
    }
