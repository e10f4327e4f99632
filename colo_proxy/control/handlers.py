"""The commands of the control socket: what each takes, does and returns."""

import dataclasses
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from colo_proxy.checkpoint.coordinator import Coordinator
from colo_proxy.checkpoint.events import (
    Aborted,
    Committed,
    Event,
    Failover,
    PvmStopped,
    ReplicaLost,
    SvmStopped,
    Wanted,
)
from colo_proxy.checkpoint.machine import IllegalWord, State
from colo_proxy.config import Config, policy_rule, unwise
from colo_proxy.control.protocol import CommandError
from colo_proxy.core.policy import PolicyRule
from colo_proxy.engine.messages import NicCounters
from colo_proxy.telemetry.stats import Totals, by_guest
from colo_proxy.vocabulary import FlowInfo

log = logging.getLogger("colo_proxy.control.commands")

MAX_POLICIES = 1000
MAX_FLOWS = 10_000  # in one reply
# For the same as `dataclasses.asdict` gives, which copies each value deeply and takes far longer.
_FLOW = [field.name for field in dataclasses.fields(FlowInfo)]
VMM_WORDS = ("vmm-ready", "checkpoint-begin", "checkpoint-commit", "checkpoint-abort", "replica-lost")


class Commands:
    """Carries out commands for one proxy."""

    def __init__(
        self, config: Config, coordinator: Coordinator, totals: Totals, quit_: Callable[[], None]
    ) -> None:
        self._config = config
        self._coordinator = coordinator
        self._machine = coordinator.machine
        self._totals = totals
        self._quit = quit_
        # By name: what it does, and the arguments it takes.
        self._table: dict[str, tuple[Callable[..., Awaitable[object]], dict[str, type]]] = {
            "query-status": (self._query_status, {}),
            "query-flows": (self._query_flows, {"limit": int, "after": int}),
            "query-stats": (self._query_stats, {}),
            "query-policy": (self._query_policy, {}),
            "query-commands": (self._query_commands, {}),
            "set-policy": (self._set_policy, {"policies": list}),
            "checkpoint": (self._checkpoint, {}),
            "vmm-ready": (self._vmm, {}),
            "checkpoint-begin": (self._begin, {}),
            "checkpoint-commit": (self._commit, {}),
            "checkpoint-abort": (self._abort, {}),
            "replica-lost": (self._replica_lost, {}),
            "failover": (self._failover, {}),
            "quit": (self._stop, {}),
            "qmp_capabilities": (self._nothing, {}),  # QMP tools begin with it
        }

    async def execute(self, command: str, arguments: dict[str, Any]) -> object:
        """Carry out one command. Raises CommandError."""
        if command not in self._table:
            raise CommandError(
                "CommandNotFound", f"there is no command {command[:100]!r}; see query-commands"
            )
        action, parameters = self._table[command]
        for name, value in arguments.items():
            if name not in parameters:
                raise CommandError("BadArguments", f"{command} takes no argument {name[:100]!r}")
            if not isinstance(value, parameters[name]) or isinstance(value, bool):
                raise CommandError("BadArguments", f"{name!r} must be {_KINDS[parameters[name]]}")
        for name in parameters:
            if name not in arguments and name not in _OPTIONAL:
                raise CommandError("BadArguments", f"{command} needs the argument {name!r}")
        try:
            return await action(**arguments)
        except IllegalWord as error:
            raise CommandError("WrongState", str(error)) from None
        except BlockingIOError:
            raise CommandError("GenericError", "the data path is busy; try again") from None

    async def _query_status(self) -> object:
        counters = self._coordinator.engine.snapshot()
        return {
            "name": self._config.proxy.name,
            "vmm": self._config.checkpoint.vmm,
            "vmm_connected": self._totals.connected(),
            "nics": [self._nic(index, nic) for index, nic in enumerate(counters)],
            **self._summary(counters),
        }

    def summary(self) -> dict[str, Any]:
        """State and counters: what a client needs that has lost events (`EVENTS_LOST`)."""
        return self._summary(self._coordinator.engine.snapshot())

    def _summary(self, counters: Sequence[NicCounters]) -> dict[str, Any]:
        machine = self._machine
        return {
            "state": machine.state.label,
            "epoch": machine.epoch,
            "reason": machine.reason,
            "alarm": machine.alarm,
            "waiting_ms": self._coordinator.waiting_ns() // 1_000_000,
            "flows": sum(nic.flows for nic in counters),
            "held_frames": sum(nic.held_frames for nic in counters),
            "held_bytes": sum(nic.held_bytes for nic in counters),
            "bypassing": self._totals.bypassing(),
            "bypassed_frames": self._totals.bypassed(),
            "checkpoints": machine.checkpoints,
            "divergences": sum(sum(nic.divergences.values()) for nic in counters),
        }

    def _nic(self, index: int, counters: NicCounters) -> dict[str, Any]:
        nic = self._config.nics[index]
        return {
            "nic": index,
            "uplink": str(nic.uplink),
            "primary": str(nic.primary),
            "secondary": str(nic.secondary),
            "faults": [port.name for port in counters.ports if port.fault],
            "flows": counters.flows,
            "held_frames": counters.held_frames,
            "held_bytes": counters.held_bytes,
            "timeout_ms": counters.timeout_ns // 1_000_000,
            "stream_gaps": by_guest(counters.stream_gaps),
            "retransmitted_segments": by_guest(counters.retransmitted),
        }

    async def _query_flows(self, limit: int = MAX_FLOWS, after: int = 0) -> object:
        if not 1 <= limit <= MAX_FLOWS:
            raise CommandError("BadArguments", f"'limit' must be from 1 to {MAX_FLOWS}")
        if not 0 <= after < 1 << 63:
            raise CommandError("BadArguments", "'after' must be the 'id' of a flow, or 0")
        found = await self._coordinator.flows(after, limit)
        return [{name: getattr(flow, name) for name in _FLOW} for flow in found]

    async def _query_stats(self) -> object:
        bounds = self._config.compare
        return {
            **self._totals.as_json(),
            "max_held_bytes": bounds.max_held_bytes,
            "max_flows": bounds.max_flows,
        }

    async def _query_commands(self) -> object:
        return [{"name": name} for name in self._table]

    async def _query_policy(self) -> object:
        return [
            {"match": dict(rule.match), "action": rule.action, "frames": frames}
            for rule, frames in self._totals.policies()
        ]

    async def _set_policy(self, policies: list[Any]) -> object:
        if len(policies) > MAX_POLICIES:
            raise CommandError(
                "BadArguments", f"{len(policies)} policies; at most {MAX_POLICIES} are accepted"
            )
        rules = []
        for number, table in enumerate(policies, 1):
            try:
                rules.append(policy_rule(_without_frames(table)))
            except ValueError as error:
                raise CommandError(
                    "BadArguments", f"policy {number}: {error}; the rules were not changed"
                ) from None
        warnings = self._warnings(rules)
        await self.use_policies(rules)
        return {"warnings": warnings}

    async def use_policies(self, rules: Sequence[PolicyRule]) -> None:
        """Let these rules decide from now on."""
        warnings = self._warnings(rules)
        self._totals.before_policies()
        await self._coordinator.set_policies(rules)
        for warning in warnings:
            log.warning("%s", warning)

    def _warnings(self, rules: Sequence[PolicyRule]) -> list[str]:
        """What is unwise about rules, and is not so already."""
        known = {what for _, what in unwise(rule for rule, _ in self._totals.policies())}
        return [f"policy {number}: {what}" for number, what in unwise(rules) if what not in known]

    async def _checkpoint(self) -> object:
        epoch = self._machine.epoch
        await self._coordinator.say(Wanted())
        return {"epoch": epoch}

    async def _failover(self) -> object:
        if self._machine.state is State.FAILED_OVER:
            return {}  # what is wanted is so already
        await self._coordinator.say(Failover())
        return {}

    async def _begin(self) -> object:
        return await self._vmm(SvmStopped(), PvmStopped())

    async def _commit(self) -> object:
        return await self._vmm(Committed())

    async def _abort(self) -> object:
        return await self._vmm(Aborted("the VMM gave up the checkpoint"))

    async def _replica_lost(self) -> object:
        return await self._vmm(ReplicaLost("the VMM reported that the replica is lost"))

    async def _vmm(self, *words: Event) -> object:
        """The VMM's own words; the reply goes out when the data path has done them."""
        if self._config.checkpoint.vmm != "control":
            raise CommandError(
                "WrongState",
                'this command is for a VMM on the control socket, with vmm = "control"; '
                f'this proxy has vmm = "{self._config.checkpoint.vmm}"',
            )
        await self._coordinator.say(*words)
        return {"epoch": self._machine.epoch}

    async def _stop(self) -> object:
        self._quit()
        return {}

    async def _nothing(self) -> object:
        return {}


def _without_frames(rule: object) -> object:
    """A rule as `query-policy` tells it may be given back: the count is not part of it."""
    if not isinstance(rule, dict):
        return rule
    return {key: value for key, value in rule.items() if key != "frames"}


def warn_of(rules: Sequence[PolicyRule]) -> None:
    """Say in the log which rules leave nothing to compare."""
    for number, what in unwise(rules):
        log.warning("policy %d: %s", number, what)


_OPTIONAL = ("limit", "after")
_KINDS = {list: "a JSON array", dict: "a JSON object", str: "a JSON string", int: "a whole number"}
