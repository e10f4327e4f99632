"""`[[policy]]`: a rule from its table. All that is wrong with it is told, and what is right but unwise.

The data path's PolicyRule judges each key by itself; that two keys contradict each other, so that no packet
can ever match, is found here.
"""

import ipaddress
import re
from collections.abc import Iterable, Iterator, Mapping

from colo_proxy.config.problems import meant, shown
from colo_proxy.core.policy import ACTIONS, PROTOCOLS, PolicyRule

_ADDRESSES = ("address", "local", "remote")
_PORTS = ("port", "local_port", "remote_port")
KEYS = ("protocol", *_ADDRESSES, *_PORTS, "vlan", "ethertype")
_LONGEST = 64  # characters of a value; an IPv6 network has fewer
_IP = {0x0800: 4, 0x86DD: 6}  # ethertype: version of IP
_FAMILY = {"icmp": 4, "igmp": 4, "icmpv6": 6}  # the version of IP that carries them alone
_PORTED = ("tcp", "udp")


class PolicyError(ValueError):
    """A rule that cannot be. `faults`: each key (`action`, `match.port`; "": the rule), and what is wrong."""

    def __init__(self, faults: Iterable[tuple[str, str]]) -> None:
        self.faults = tuple(faults)
        super().__init__("; ".join(f"{key}: {what}" if key else what for key, what in self.faults))


def policy_rule(table: object) -> PolicyRule:
    """One rule from its table: `match` (missing: every flow), `action`. Raises PolicyError."""
    if not isinstance(table, dict):
        raise PolicyError([("", f"must be a table with match and action, not {shown(table)}")])
    match, action = table.get("match", {}), table.get("action")
    faults = [
        (key, f"unknown key{meant(key, ('match', 'action'))}")
        for key in table
        if key not in ("match", "action")
    ]
    if "action" not in table:
        faults.append(("action", f"missing; add {', '.join(ACTIONS)}"))
    elif not isinstance(action, str) or action not in ACTIONS:
        faults.append(("action", f"must be one of {', '.join(ACTIONS)}, not {shown(action)}"))
    if not isinstance(match, dict):
        faults.append(("match", f"must be a table, not {shown(match)}"))
    else:
        wrong = [(f"match.{key}", what) for key, value in match.items() if (what := _fault(key, value))]
        faults += wrong or _contradictions(match)
    if faults:
        raise PolicyError(faults)
    assert isinstance(action, str)  # noqa: S101 - else it is a fault
    return PolicyRule(match, action)


def unwise(rules: Iterable[PolicyRule]) -> Iterator[tuple[int, str]]:
    """The numbers, from 1, of rules that leave nothing to compare, and what they do."""
    compares = False  # a rule above
    for number, rule in enumerate(rules, 1):
        if rule.match:
            compares |= rule.action == "compare"
            continue
        if rule.action == "bypass":
            what = "it releases, without a comparison, everything that no earlier rule matches"
            yield number, what if compares else f"{what}: nothing is protected"
        elif rule.action == "drop":
            yield number, "it matches every flow: only what an earlier rule lets through is released"
        return  # no rule behind it is reached


def _fault(key: str, value: object) -> str:
    """What is wrong with one key of `match` by itself, or nothing."""
    if key not in KEYS:
        return f"no such key; the keys are {', '.join(KEYS[:-1])} and {KEYS[-1]}"
    if key in _ADDRESSES:
        if not isinstance(value, str) or len(value) > _LONGEST or "%" in value:
            return f'must be an address or network, such as "192.0.2.0/24", not {shown(value)}'
    elif not isinstance(value, str | int) or isinstance(value, bool) or len(shown(value)) > _LONGEST:
        return f"must be a number or a string, not {shown(value)}"
    if key in _PORTS and isinstance(value, str) and not re.fullmatch(r"[0-9]{1,5}(-[0-9]{1,5})?", value):
        return f'must be a port from 0 to 65535, or a range "LOW-HIGH", not {shown(value)}'
    try:
        PolicyRule({key: value}, "compare")
    except ValueError as error:
        return str(error).removeprefix(f"match.{key}: ")
    return ""


def _contradictions(match: Mapping[str, str | int]) -> list[tuple[str, str]]:
    """Two keys, each of them right, that no packet has both of."""
    found: list[tuple[str, str]] = []
    versions: dict[str, int] = {}  # of IP, by the key that says it
    protocol = _protocol(match["protocol"]) if "protocol" in match else ""
    if protocol in _FAMILY:
        versions["protocol"] = _FAMILY[protocol]
    for key in _ADDRESSES:
        if key in match:
            versions[key] = ipaddress.ip_network(match[key]).version
    if "ethertype" in match:
        kind = match["ethertype"]
        number = int(kind, 0) if isinstance(kind, str) else kind
        if number in _IP:
            versions["ethertype"] = _IP[number]
        else:
            inner = [key for key in ("protocol", *_ADDRESSES, *_PORTS) if key in match]
            found += [
                (f"match.{key}", f"ethertype 0x{number:04x} is not IP and has none; remove one of them")
                for key in inner
            ]
    if len(set(versions.values())) > 1:
        said = " and ".join(f"{key} IPv{version}" for key, version in versions.items())
        found.append(("match", f"{said} in one rule: no packet is both; write a rule for each"))
    if protocol and protocol not in _PORTED:
        found += [
            (f"match.{key}", f"{protocol} has no ports, only tcp and udp have; remove it")
            for key in _PORTS
            if key in match
        ]
    return found


def _protocol(value: str | int) -> str:
    """A protocol's name; of one without a name, `protocol N`."""
    names = {number: name for name, number in PROTOCOLS.items()}
    number = PROTOCOLS[value.lower()] if isinstance(value, str) and not value.isdigit() else int(value)
    return names.get(number, f"protocol {number}")
