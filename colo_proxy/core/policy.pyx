"""Policies: an ordered list of rules that decide whether a flow is compared, bypassed or dropped.

The first rule that matches decides. Rules are checked (`PolicyRule`) and compiled to a flat array
(`PolicyTable`) once; the data path walks it and counts the frames of the PVM that each rule has decided on.
All NICs share one table, whose counts one thread writes and any thread may read.
"""

from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcmp, memcpy, memset

from colo_proxy.core.atomic cimport atomic_load
from colo_proxy.core.packet.key cimport key_of
from colo_proxy.core.packet.parse cimport K_TCP, K_UDP, Packet, parse_exact_copy, parse_frame

import ipaddress

ACTIONS = {"compare": P_COMPARE, "bypass": P_BYPASS, "drop": P_DROP}
PROTOCOLS = {
    "icmp": 1, "igmp": 2, "tcp": 6, "udp": 17, "gre": 47, "esp": 50, "ah": 51, "icmpv6": 58, "ospf": 89,
    "vrrp": 112, "sctp": 132,
}


cdef bint in_net(const Net *net, const Key *key, const uint8_t *address) noexcept nogil:
    cdef int whole = net.bits // 8
    cdef int rest = net.bits % 8
    if net.version != key.version or memcmp(net.address, address, whole) != 0:
        return False
    return rest == 0 or (net.address[whole] ^ address[whole]) >> (8 - rest) == 0


cdef inline bint in_ports(const Ports *ports, uint16_t port) noexcept nogil:
    return ports.low <= port <= ports.high


cdef bint matches(const Rule *rule, const Key *key) noexcept nogil:
    cdef bint ported = key.kind == K_TCP or key.kind == K_UDP
    if rule.proto >= 0 and (rule.proto != key.proto or key.version == 0):
        return False
    if rule.ethertype >= 0 and rule.ethertype != key.ethertype:
        return False
    if (key.vlan ^ rule.vlan) & rule.vlan_mask:
        return False
    if rule.local.version and not in_net(&rule.local, key, key.local):
        return False
    if rule.remote.version and not in_net(&rule.remote, key, key.remote):
        return False
    if rule.either.version and not in_net(&rule.either, key, key.local) and \
            not in_net(&rule.either, key, key.remote):
        return False
    if rule.local_ports.set and not (ported and in_ports(&rule.local_ports, key.local_port)):
        return False
    if rule.remote_ports.set and not (ported and in_ports(&rule.remote_ports, key.remote_port)):
        return False
    return not rule.either_ports.set or (ported and (
        in_ports(&rule.either_ports, key.local_port) or in_ports(&rule.either_ports, key.remote_port)))


cdef Action policy_match(Policies *policies, const Key *key, uint64_t frames) noexcept nogil:
    cdef uint32_t index
    if policies == NULL:
        return P_DEFAULT
    for index in range(policies.count):
        if matches(&policies.rules[index], key):
            policies.rules[index].hits += frames
            return <Action>policies.rules[index].action
    return P_DEFAULT


cdef Net net_of(key, value) except *:
    cdef Net net
    cdef bytes packed
    memset(&net, 0, sizeof(Net))
    if not isinstance(value, str):
        raise ValueError(f"match.{key}: {value!r} is not an address; write it as \"192.0.2.0/24\"")
    try:
        network = ipaddress.ip_network(value)
    except ValueError as error:
        raise ValueError(f"match.{key}: {error}") from None
    packed = network.network_address.packed
    memcpy(net.address, <const uint8_t *>packed, len(packed))
    net.version = network.version
    net.bits = network.prefixlen
    return net


def number(key, value, low, high, base=10):
    """An integer, or its text, within bounds; a ValueError names the key."""
    if isinstance(value, str):
        try:
            value = int(value, base)
        except ValueError:
            value = repr(value)
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
        raise ValueError(f"match.{key}: {value} is not a number from {low} to {high}")
    return value


cdef Ports ports_of(key, value) except *:
    cdef Ports ports
    low = high = value
    if isinstance(value, str) and "-" in value:
        low, _, high = value.partition("-")
    ports.low = number(key, low, 0, 65535)
    ports.high = number(key, high, 0, 65535)
    ports.set = 1
    if ports.low > ports.high:
        raise ValueError(f"match.{key}: {value} is empty; write the lower port first")
    return ports


def protocol_number(value):
    """IANA's number of a protocol given by name or number."""
    if isinstance(value, str) and value.lower() in PROTOCOLS:
        return PROTOCOLS[value.lower()]
    if isinstance(value, str) and not value.isdigit():
        known = ", ".join(PROTOCOLS)
        raise ValueError(f"match.protocol: {value!r} is not known; use a number, or one of {known}")
    return number("protocol", value, 0, 255)


def vlan_bits(value):
    """A VLAN as (value, mask) of Key.vlan: one id for the outer tag, or `outer.inner`."""
    if isinstance(value, str) and "." in value:
        outer, _, inner = value.partition(".")
        return number("vlan", outer, 0, 4095) << 16 | number("vlan", inner, 0, 4095), 0xffffffff
    return number("vlan", value, 0, 4095) << 16, 0xffff0000


cdef take(Rule *rule, key, value):
    if key == "protocol":
        rule.proto = protocol_number(value)
    elif key == "ethertype":
        rule.ethertype = number(key, value, 0, 65535, 0)
    elif key == "vlan":
        rule.vlan, rule.vlan_mask = vlan_bits(value)
    elif key == "address":
        rule.either = net_of(key, value)
    elif key == "local":
        rule.local = net_of(key, value)
    elif key == "remote":
        rule.remote = net_of(key, value)
    elif key == "port":
        rule.either_ports = ports_of(key, value)
    elif key == "local_port":
        rule.local_ports = ports_of(key, value)
    elif key == "remote_port":
        rule.remote_ports = ports_of(key, value)
    else:
        raise ValueError(
            f"match.{key}: no such key; there are protocol, address, local, remote, port, local_port, "
            "remote_port, vlan and ethertype")


cdef class PolicyRule:
    """One rule: what it matches, and `compare`, `bypass` or `drop`.

    `match` may have these keys, all of which must match; an empty one matches every flow:

    - `protocol`: a name (tcp, udp, icmp, icmpv6, gre...) or IANA's number
    - `address`: an address or network in CIDR notation, of either end; `local` (the VM's), `remote` likewise
    - `port`: a port, or "low-high", of either end; `local_port` and `remote_port` likewise
    - `vlan`: the id of the outer (or only) tag, or "outer.inner"
    - `ethertype`: a number, or its text in hexadecimal ("0x88b5")

    Raises ValueError that names the key and what is wrong with it.
    """

    def __init__(self, match, action):
        self.match = dict(match)
        self.action = action
        if action not in ACTIONS:
            raise ValueError(f"action: {action!r} is not one of {', '.join(ACTIONS)}")
        memset(&self.rule, 0, sizeof(Rule))
        self.rule.action = ACTIONS[action]
        self.rule.proto = -1
        self.rule.ethertype = -1
        for key, value in self.match.items():
            take(&self.rule, key, value)

    def __eq__(self, other):
        if not isinstance(other, PolicyRule):
            return NotImplemented
        return self.match == other.match and self.action == other.action

    __hash__ = None

    def __repr__(self):
        return f"PolicyRule({self.match!r}, {self.action!r})"


cdef class PolicyTable:
    """Rules compiled for the data path, in order. The table must exist as long as the data path uses it."""

    def __cinit__(self, rules=()):
        cdef PolicyRule rule
        cdef uint32_t index
        self.rules = tuple(rules)
        self.policies = <Policies *>calloc(1, sizeof(Policies) + len(self.rules) * sizeof(Rule))
        if self.policies == NULL:
            raise MemoryError
        self.policies.rules = <Rule *>(self.policies + 1)
        for index in range(<uint32_t>len(self.rules)):
            rule = self.rules[index]
            self.policies.rules[index] = rule.rule
        self.policies.count = <uint32_t>len(self.rules)

    def __dealloc__(self):
        free(self.policies)

    @property
    def hits(self):
        """How many frames of the PVM each rule has decided on; one word for each rule, so any thread may read
        it.
        """
        return [atomic_load(&self.policies.rules[index].hits) for index in range(self.policies.count)]

    def decide(self, frame: bytes, from_vm: bool = True) -> str | None:
        """The action for a frame (from its Ethernet header), counted as the data path does; None: no rule."""
        cdef Packet p
        cdef Key key
        cdef uint32_t size
        cdef uint8_t *base = parse_exact_copy(frame, None, &size)
        parse_frame(&p, base, size)
        key_of(&key, &p, base, from_vm)
        free(base)
        action = policy_match(self.policies, &key, 1)
        return next((name for name, value in ACTIONS.items() if value == action), None)
