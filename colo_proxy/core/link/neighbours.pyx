"""Neighbours seen on the uplink: IP address to MAC, from ARP (RFC 826) and neighbour discovery (RFC 4861).

The SVM may request a neighbour's address that the PVM knows already. Nobody outside would answer, since the
SVM's frames are not sent to the network. So the proxy answers from what it has seen.

The table is direct-mapped and has a constant size. A hash of VLAN and address is the index; a new neighbour
replaces the one in its slot. Hostile ARP can displace others, which costs a checkpoint, never a wrong
release.

ARP for IPv4 over Ethernet, 28 bytes: hardware type 1, protocol 0x0800, lengths 6 and 4, operation, then
sender's MAC and address, target's MAC and address. Neighbour discovery: ICMPv6 133 to 136, options in units
of 8 bytes; option 1 carries the sender's MAC, option 2 that of the target.
"""

from libc.stdint cimport int64_t, uint8_t, uint32_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcmp, memcpy, memset

from colo_proxy.core.packet.checksum cimport checksum_of
from colo_proxy.core.packet.parse cimport (
    ET_ARP,
    IP_ICMPV6,
    K_HOUSEKEEPING,
    VNET,
    get16,
    get32,
    parse_exact_copy,
    parse_frame,
    put16,
    put32,
)

cdef enum:
    ARP = 28


cdef Neighbours *neighbours_new() except NULL:
    cdef Neighbours *table = <Neighbours *>calloc(1, sizeof(Neighbours))
    if table == NULL:
        raise MemoryError
    return table


cdef void neighbours_free(Neighbours *table) noexcept nogil:
    free(table)


cdef Neighbour *slot_of(Neighbours *table, uint8_t version, uint32_t vlan,
                        const uint8_t *address) noexcept nogil:
    """The one slot for a neighbour (FNV-1a)."""
    cdef uint32_t hashed = (2166136261U ^ vlan) * 16777619U
    cdef uint32_t at
    for at in range(4 if version == 4 else 16):
        hashed = (hashed ^ address[at]) * 16777619U
    return &table.slots[(hashed ^ (hashed >> 16)) & (NEIGHBOURS - 1)]


cdef bint lies_in(const Neighbour *slot, uint8_t version, uint32_t vlan,
                  const uint8_t *address) noexcept nogil:
    return slot.version == version and slot.vlan == vlan and \
        memcmp(slot.address, address, 4 if version == 4 else 16) == 0


cdef bint neighbours_is_group(uint8_t version, const uint8_t *address) noexcept nogil:
    """Multicast or broadcast: RFC 1112, RFC 4291."""
    return address[0] >= 224 if version == 4 else address[0] == 0xff


cdef void learn(Neighbours *table, uint8_t version, uint32_t vlan, const uint8_t *address,
                const uint8_t *mac, Router router, bint override) noexcept nogil:
    cdef Neighbour *slot = slot_of(table, version, vlan, address)
    cdef uint32_t length = 4 if version == 4 else 16
    # The unspecified address and groups are no neighbours: 0.0.0.0 and :: are used before an address is
    # claimed.
    if memcmp(address, UNSPECIFIED, length) == 0 or memcmp(mac, UNSPECIFIED, 6) == 0 or mac[0] & 1:
        return
    if not lies_in(slot, version, vlan, address):
        memset(slot, 0, sizeof(Neighbour))
        slot.version = version
        slot.vlan = vlan
        memcpy(slot.address, address, length)
    elif not override and memcmp(slot.mac, mac, 6) != 0:
        return
    memcpy(slot.mac, mac, 6)
    if router != ROUTER_UNKNOWN:
        slot.router = router


cdef bint neighbours_is_arp(const Packet *p, const uint8_t *base) noexcept nogil:
    cdef const uint8_t *arp = base + p.l3
    return p.kind == K_HOUSEKEEPING and p.ethertype == ET_ARP and p.end - p.l3 >= ARP and \
        get32(arp) == 0x00010800 and get16(arp + 4) == 0x0604


cdef uint32_t neighbours_discovery(const Packet *p, const uint8_t *base) noexcept nogil:
    """The ICMPv6 type, if it is valid neighbour discovery (RFC 4861, 6.1 and 7.1); else 0."""
    cdef uint32_t room = p.end - p.l4
    if p.kind != K_HOUSEKEEPING or p.version != 6 or p.proto != IP_ICMPV6 or room < 8 or \
            base[p.l3 + 7] != 255 or base[p.l4 + 1] != 0:
        return 0
    if base[p.l4] in (ND_SOLICITATION, ND_ADVERTISEMENT):
        return base[p.l4] if room >= 24 else 0
    if base[p.l4] == ND_ROUTER_ADVERTISEMENT:
        return base[p.l4] if room >= 16 else 0
    return base[p.l4] if base[p.l4] == ND_ROUTER_SOLICITATION else 0


cdef const uint8_t *neighbours_option(const Packet *p, const uint8_t *base, uint32_t at,
                                      uint8_t kind) noexcept nogil:
    """The MAC in the first option of that kind, or NULL; an option of length 0 ends the list."""
    while at + 8 <= p.end and base[at + 1] != 0 and at + base[at + 1] * 8 <= p.end:
        if base[at] == kind:
            return base + at + 2
        at += base[at + 1] * 8
    return NULL


cdef void neighbours_learn(Neighbours *table, const Packet *p, const uint8_t *base) noexcept nogil:
    cdef const uint8_t *mac
    cdef uint32_t kind
    if neighbours_is_arp(p, base):
        learn(table, 4, p.vlan, base + p.l3 + 14, base + p.l3 + 8, ROUTER_UNKNOWN, True)
        return
    kind = neighbours_discovery(p, base)
    if kind == ND_ADVERTISEMENT:
        mac = neighbours_option(p, base, p.l4 + 24, 2)
        if mac != NULL:
            learn(table, 6, p.vlan, base + p.l4 + 8, mac, ROUTER_YES if base[p.l4 + 4] & 0x80 else ROUTER_NO,
                  (base[p.l4 + 4] & 0x20) != 0)
        return
    if kind == ND_SOLICITATION:
        mac = neighbours_option(p, base, p.l4 + 24, 1)
    elif kind == ND_ROUTER_ADVERTISEMENT:
        mac = neighbours_option(p, base, p.l4 + 16, 1)
    elif kind == ND_ROUTER_SOLICITATION:
        mac = neighbours_option(p, base, p.l4 + 8, 1)
    else:
        return
    if mac != NULL:
        learn(table, 6, p.vlan, base + p.l3 + 8, mac,
              ROUTER_YES if kind == ND_ROUTER_ADVERTISEMENT else ROUTER_UNKNOWN, True)


cdef void neighbours_notice(Neighbours *table, const Packet *p, const uint8_t *base) noexcept nogil:
    cdef const uint8_t *address = base + p.l3 + (12 if p.version == 4 else 8)
    cdef const uint8_t *mac = base + VNET + 6
    if p.version and slot_of(table, p.version, p.vlan, address).version == 0 and \
            not neighbours_is_group(p.version, address):
        learn(table, p.version, p.vlan, address, mac, ROUTER_UNKNOWN, False)


cdef int64_t *neighbours_quiet(Neighbours *table, const Packet *p, const uint8_t *base) noexcept nogil:
    cdef uint8_t version = 4 if p.ethertype == ET_ARP else 6
    cdef const uint8_t *target = base + p.l3 + 24 if p.ethertype == ET_ARP else base + p.l4 + 8
    cdef uint32_t place = <uint32_t>(slot_of(table, version, p.vlan, target) - table.slots)
    return &table.asked[place & (ASKED - 1)]


cdef uint32_t begin_answer(const Packet *p, const uint8_t *base, const uint8_t *mac,
                           uint8_t *into) noexcept nogil:
    """Write everything below layer 3, with VLAN tags as in the request. Returns where layer 3 begins."""
    memset(into, 0, VNET)
    memcpy(into + VNET, base + VNET + 6, 6)
    memcpy(into + VNET + 6, mac, 6)
    memcpy(into + VNET + 12, base + VNET + 12, p.l3 - VNET - 12)
    return p.l3


cdef uint32_t answer_arp(Neighbours *table, const Packet *p, const uint8_t *base,
                         uint8_t *into) noexcept nogil:
    cdef const uint8_t *question = base + p.l3
    cdef const uint8_t *sender = question + 14
    cdef const uint8_t *target = question + 24
    cdef const Neighbour *slot = slot_of(table, 4, p.vlan, target)
    cdef uint8_t *arp
    cdef uint32_t at
    # A probe (RFC 5227) or an announcement of the SVM's own address is no request.
    if get16(question + 6) != 1 or memcmp(sender, UNSPECIFIED, 4) == 0 or memcmp(sender, target, 4) == 0 or \
            not lies_in(slot, 4, p.vlan, target):
        return 0
    at = begin_answer(p, base, slot.mac, into)
    arp = into + at
    memcpy(arp, question, 6)
    put16(arp + 6, 2)
    memcpy(arp + 8, slot.mac, 6)
    memcpy(arp + 14, target, 4)
    memcpy(arp + 18, question + 8, 10)
    return at + ARP


cdef uint32_t answer_solicitation(Neighbours *table, const Packet *p, const uint8_t *base,
                                  uint8_t *into) noexcept nogil:
    cdef const uint8_t *asker = base + p.l3 + 8
    cdef const uint8_t *target = base + p.l4 + 8
    cdef const Neighbour *slot = slot_of(table, 6, p.vlan, target)
    cdef uint8_t *ip
    cdef uint8_t *icmp
    cdef uint32_t at
    # From :: it is duplicate address detection (RFC 4862, 5.4).
    if memcmp(asker, UNSPECIFIED, 16) == 0 or not lies_in(slot, 6, p.vlan, target) or \
            slot.router == ROUTER_UNKNOWN:
        return 0
    at = begin_answer(p, base, slot.mac, into)
    ip = into + at
    put32(ip, <uint32_t>6 << 28)
    put16(ip + 4, ND_ADVERTISEMENT_LENGTH)
    ip[6] = IP_ICMPV6
    ip[7] = 255
    memcpy(ip + 8, target, 16)
    memcpy(ip + 24, asker, 16)
    icmp = ip + 40
    put32(icmp, <uint32_t>ND_ADVERTISEMENT << 24)
    # Flags: solicited, and override. Router as the neighbour has reported.
    put32(icmp + 4, <uint32_t>(0xe0 if slot.router == ROUTER_YES else 0x60) << 24)
    memcpy(icmp + 8, target, 16)
    icmp[24] = 2
    icmp[25] = 1
    memcpy(icmp + 26, slot.mac, 6)
    # The pseudo-header (RFC 8200, 8.1): the addresses lie in front; length and protocol are added.
    put16(icmp + 2, checksum_of(ip + 8, 32 + ND_ADVERTISEMENT_LENGTH, ND_ADVERTISEMENT_LENGTH + IP_ICMPV6))
    return at + 40 + ND_ADVERTISEMENT_LENGTH


cdef uint32_t neighbours_answer(Neighbours *table, const Packet *p, const uint8_t *base, uint8_t *into,
                                uint32_t room) noexcept nogil:
    if room < NEIGHBOUR_FRAME:
        return 0
    if neighbours_is_arp(p, base):
        return answer_arp(table, p, base, into)
    if neighbours_discovery(p, base) == ND_SOLICITATION:
        return answer_solicitation(table, p, base, into)
    return 0


cdef class NeighbourTable:
    """The table of one NIC, for tests and tools. Frames begin at the Ethernet header."""

    cdef Neighbours *table

    def __cinit__(self):
        self.table = neighbours_new()

    def __dealloc__(self):
        neighbours_free(self.table)

    def learn(self, frame: bytes) -> None:
        """Learn from a frame seen on the uplink."""
        cdef Packet p
        cdef uint32_t size
        cdef uint8_t *base = parse_exact_copy(frame, None, &size)
        parse_frame(&p, base, size)
        neighbours_learn(self.table, &p, base)
        free(base)

    def answer(self, frame: bytes) -> bytes | None:
        """The answer to a frame of the SVM, or None."""
        cdef Packet p
        cdef uint32_t size
        cdef uint32_t answered
        cdef uint8_t[NEIGHBOUR_FRAME] into
        cdef uint8_t *base = parse_exact_copy(frame, None, &size)
        parse_frame(&p, base, size)
        answered = neighbours_answer(self.table, &p, base, into, sizeof(into))
        free(base)
        return into[VNET:answered] if answered else None
