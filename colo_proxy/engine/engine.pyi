from collections.abc import Sequence

from colo_proxy.core.policy import PolicyRule
from colo_proxy.engine.messages import Done as Done
from colo_proxy.engine.messages import NicCounters as NicCounters
from colo_proxy.engine.messages import PortCounters as PortCounters
from colo_proxy.engine.messages import PortFault as PortFault
from colo_proxy.engine.messages import PortSpec as PortSpec
from colo_proxy.vocabulary import Divergence, Exhausted, Mode, Port
from colo_proxy.vocabulary import Word as Word

__all__ = ["Done", "Engine", "NicCounters", "PortCounters", "PortFault", "PortSpec", "Word"]

FAULTS: dict[int, str]  # in words, by errno

class Engine:
    def __init__(
        self,
        *,
        timeout_ms: int = 3000,
        reorder_ms: int = 5,
        max_held_bytes: int = ...,
        max_flow_bytes: int = ...,
        max_flows: int = 100_000,
        observe: bool = False,
        passthrough: bool = False,
        compare_only: bool = False,
        mode: Mode = ...,
        retransmissions: str = "trust",
        seed: int = 0,
    ) -> None: ...
    def add_nic(self, uplink: PortSpec, primary: PortSpec, secondary: PortSpec) -> int: ...
    def run(self) -> None: ...
    def stop(self) -> None: ...
    @property
    def event_fd(self) -> int: ...
    @property
    def beat(self) -> int: ...
    def events(self) -> list[Divergence | Exhausted | Done | PortFault]: ...
    def command(self, word: Word, stamp_ns: int = 0) -> int: ...
    def attach(self, nic: int, port: Port, fd: int, *, out: bool = False) -> int: ...
    def set_policies(self, rules: Sequence[PolicyRule]) -> int: ...
    def policy_frames(self) -> list[tuple[PolicyRule, int]]: ...
    def request_flows(self, after: int = 0, most: int = 512) -> int: ...
    def snapshot(self) -> list[NicCounters]: ...
