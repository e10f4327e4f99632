"""Policies: ordered rules that say of a flow whether it is compared, bypassed or dropped."""

from collections.abc import Iterable, Mapping
from typing import Literal

ACTIONS: dict[str, int]
PROTOCOLS: dict[str, int]

class PolicyRule:
    """One rule: what it matches, and `compare`, `bypass` or `drop`.

    `match` may have these keys, all of which must agree; an empty one matches every flow:

    - `protocol`: a name (tcp, udp, icmp, icmpv6, gre...) or IANA's number
    - `address`: an address or network in CIDR notation, of either end; `local` (the VM's), `remote` likewise
    - `port`: a port, or "low-high", of either end; `local_port` and `remote_port` likewise
    - `vlan`: the id of the outer (or only) tag, or "outer.inner"
    - `ethertype`: a number, or its text in hexadecimal ("0x88b5")

    Raises ValueError that names the key and what is wrong with it.
    """

    @property
    def match(self) -> dict[str, object]: ...
    @property
    def action(self) -> Literal["compare", "bypass", "drop"]: ...
    def __init__(self, match: Mapping[str, object], action: str) -> None: ...

class PolicyTable:
    """Rules compiled for the data path, in order: the first that matches wins."""

    def __init__(self, rules: Iterable[PolicyRule] = ()) -> None: ...
    @property
    def rules(self) -> tuple[PolicyRule, ...]: ...
    @property
    def hits(self) -> list[int]:
        """How many frames of the PVM each rule has decided on."""

    def decide(self, frame: bytes, from_vm: bool = True) -> Literal["compare", "bypass", "drop"] | None:
        """The action for a frame (from its Ethernet header), counted; None where no rule matches."""
