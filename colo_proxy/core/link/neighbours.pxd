"""Neighbours seen on the uplink: IP address to MAC, from ARP (RFC 826) and neighbour discovery (RFC 4861)."""

from libc.stdint cimport int64_t, uint8_t, uint32_t

from colo_proxy.core.packet.parse cimport Packet

cdef enum:
    NEIGHBOURS = 4096  # a power of two
    ASKED = 64  # a power of two: places for the times of requests, indexed in the same way
    NEIGHBOUR_FRAME = 128  # room for any answer, the virtio-net header included

cdef enum:
    # ICMPv6 types, and the length of an advertisement: ICMPv6 header, target, one option.
    ND_ADVERTISEMENT_LENGTH = 32
    ND_ROUTER_SOLICITATION = 133
    ND_ROUTER_ADVERTISEMENT = 134
    ND_SOLICITATION = 135
    ND_ADVERTISEMENT = 136

cdef uint8_t[16] UNSPECIFIED  # zero, like all static memory

cdef enum Router:
    # An advertisement must state whether its sender is a router, and a host that receives "no" removes its
    # default route (RFC 4861, 7.2.5). So as long as this is not known, no answer is sent.
    ROUTER_UNKNOWN = 0
    ROUTER_NO = 1
    ROUTER_YES = 2

cdef struct Neighbour:
    uint8_t[16] address
    uint32_t vlan
    uint8_t version  # 4 or 6; 0: the slot is empty
    uint8_t router  # of IPv6: whether it is a router
    uint8_t[6] mac

cdef struct Neighbours:
    Neighbour[NEIGHBOURS] slots
    int64_t[ASKED] asked  # ns: no request is sent earlier for a target with this index

cdef bint neighbours_is_arp(const Packet *p, const uint8_t *base) noexcept nogil
# The ICMPv6 type if the packet is valid neighbour discovery, else 0; and the MAC in the first option of a
# kind, or NULL.
cdef uint32_t neighbours_discovery(const Packet *p, const uint8_t *base) noexcept nogil
cdef const uint8_t *neighbours_option(const Packet *p, const uint8_t *base, uint32_t at,
                                      uint8_t kind) noexcept nogil
# Whether an address is multicast or broadcast.
cdef bint neighbours_is_group(uint8_t version, const uint8_t *address) noexcept nogil
cdef Neighbours *neighbours_new() except NULL
cdef void neighbours_free(Neighbours *table) noexcept nogil
# Learn from a housekeeping frame of the uplink.
cdef void neighbours_learn(Neighbours *table, const Packet *p, const uint8_t *base) noexcept nogil
# Learn from any other frame of the uplink, if nothing else is known.
cdef void neighbours_notice(Neighbours *table, const Packet *p, const uint8_t *base) noexcept nogil
# When the proxy may send the next request for the target, ns; the caller that sends one sets it.
cdef int64_t *neighbours_quiet(Neighbours *table, const Packet *p, const uint8_t *base) noexcept nogil
# If the frame is the SVM's request for a known neighbour, write the answer, virtio-net header first, to
# `into`. Returns its size, 0 if there is no answer.
cdef uint32_t neighbours_answer(Neighbours *table, const Packet *p, const uint8_t *base, uint8_t *into,
                                uint32_t room) noexcept nogil
