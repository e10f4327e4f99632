"""Policies: an ordered list of rules that decide whether a flow is compared, bypassed or dropped."""

from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t

from colo_proxy.core.packet.key cimport Key

cdef enum Action:
    P_DEFAULT = 0  # no rule matches: the caller decides
    P_COMPARE = 1
    P_BYPASS = 2
    P_DROP = 3

cdef struct Net:
    uint8_t[16] address
    uint8_t version  # 0: any
    uint8_t bits

cdef struct Ports:
    uint16_t low
    uint16_t high
    uint8_t set  # 0: any port, and flows without ports too

cdef struct Rule:
    uint64_t hits  # frames of the PVM that matched
    uint32_t action
    int32_t proto  # -1: any
    int32_t ethertype  # -1: any
    uint32_t vlan  # as in Key, masked with vlan_mask
    uint32_t vlan_mask
    Net either  # either end of the flow
    Net local
    Net remote
    Ports either_ports
    Ports local_ports
    Ports remote_ports

cdef struct Policies:
    uint32_t count
    Rule *rules

cdef enum:
    FORMER = 4  # replaced lists that are remembered (rules.pxd)

cdef struct Former:
    Policies *policies
    int64_t until  # ns

cdef struct Replaced:
    Former[FORMER] former  # a ring
    uint32_t count  # replaced since the last commit

# `policies` may be NULL: no rules. `frames` is added to the count of the rule that decides.
cdef Action policy_match(Policies *policies, const Key *key, uint64_t frames) noexcept nogil

cdef class PolicyRule:
    cdef Rule rule
    cdef readonly dict match
    cdef readonly str action

cdef class PolicyTable:
    cdef Policies *policies  # lives as long as the table
    cdef readonly tuple rules
