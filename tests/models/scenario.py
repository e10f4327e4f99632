"""What a generated conversation contains: drawn from one seed, and found again by it."""

import random
from dataclasses import dataclass

from hypothesis import strategies as st

from colo_proxy.core.policy import PolicyRule

OPENINGS = ("client", "vm", "vm-other-port", "vm-crossing-ports", "simultaneous", "midstream")
DIFFERENCES = ("", "", "", "flip", "tail", "extra", "syn-options", "rst-for-fin")


@dataclass(frozen=True)
class Event:
    """One call of a comparator's method at a time in nanoseconds."""

    kind: str
    now: int
    frame: bytes | None = None
    vnet: bytes | None = None  # a virtio-net header that says that the checksum is still partial
    rules: tuple[PolicyRule, ...] = ()  # of `set_policies`


@dataclass(frozen=True)
class Scenario:
    """What a simulation is to contain. Everything else follows from the seed."""

    seed: int
    connections: int = 1
    opening: str = "client"
    difference: str = ""
    checkpoints: bool = False
    failover: bool = False
    datagrams: bool = False
    drawn: bool = False  # the guest begins UDP, from ports that it draws
    fragments: bool = False
    offload: bool = False
    early: bool = False
    extensions: bool = False
    disorder: bool = False
    bulk: bool = False
    urgent: bool = False
    reuse: bool = False
    fewer: bool = False  # options, when a SYN is repeated
    ipv6: bool = False
    vlans: int = 0
    steps: int = 60
    observe: bool = False
    stuck: bool = False
    idle: bool = False
    again: bool = False  # the PVM repeats itself with other bytes, and in other pieces
    acknowledged: bool = False  # clients are heard
    check: bool = False  # retransmissions are compared
    scattered: bool = False
    super_frames: bool = False  # of UDP
    changes: bool = False  # of the rules that decide what is compared
    tries: bool = False  # a SYN/ACK is repeated with other ISNs (SYN cookies)
    sacks: bool = False
    lossy: bool = False  # each guest receives some of what clients send, and FINs are lost


def drawn(seed: int) -> Scenario:
    """The scenario of this seed: all kinds come up, the simple ones more often."""
    choose = random.Random(f"scenario {seed}").choice
    return Scenario(
        seed=seed,
        connections=choose((1, 1, 1, 2, 0)),
        opening=choose(OPENINGS),
        difference=choose(DIFFERENCES),
        checkpoints=choose((False, True)),
        failover=choose((False, False, False, True)),
        datagrams=choose((False, False, True)),
        fragments=choose((False, True)),
        offload=choose((False, True)),
        early=choose((False, False, False, True)),
        extensions=choose((False, True)),
        disorder=choose((False, True)),
        bulk=choose((False,) * 15 + (True,)),
        urgent=choose((False, False, False, True)),
        reuse=choose((False, False, True)),
        fewer=choose((False, False, True)),
        ipv6=choose((False, True)),
        vlans=choose((0, 1, 2)),
        steps=choose(range(4, 121)),
        observe=choose((False, False, False, True)),
        stuck=choose((False, True)),
        idle=choose((False, True)),
        again=choose((False, True)),
        acknowledged=choose((False, True)),
        check=choose((False, True)),
        drawn=choose((False, False, True)),
        scattered=choose((False, False, True)),
        tries=choose((False, False, True)),
        super_frames=choose((False, False, True)),
        sacks=choose((False, True)),
        lossy=choose((False, False, True)),
        changes=choose((False, False, False, True)),
    )


def conversations() -> st.SearchStrategy[Scenario]:
    """Scenarios of all kinds, each of a seed that finds it again."""
    return st.integers(0, 2**48 - 1).map(drawn)
