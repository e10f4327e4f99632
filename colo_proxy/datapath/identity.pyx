# See identity.pxd.

from libc.stdint cimport uint8_t, uint32_t
from libc.string cimport memcmp, memcpy, memset

from colo_proxy.datapath.neighbour cimport (
    ADVERTISED,
    ADVERTISEMENT,
    NOBODY,
    ROUTER_ADVERTISEMENT,
    ROUTER_NO,
    ROUTER_SOLICITATION,
    ROUTER_UNKNOWN,
    ROUTER_YES,
    SOLICITATION,
    discovery,
    is_arp,
    option,
)
from colo_proxy.datapath.wire cimport IP_ICMPV6, VNET, Packet, checksum, put16, put32

cdef uint8_t[16] ALL_NODES = [0xff, 0x02, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]


cdef bint read_claim(Claim *claim, const Packet *p, const uint8_t *base) noexcept nogil:
    """What a housekeeping frame claims for its sender, if it does."""
    cdef const uint8_t *address
    cdef const uint8_t *mac
    cdef uint32_t kind = 0
    memset(claim, 0, sizeof(Claim))
    claim.version = 6
    if is_arp(p, base):
        claim.version = 4
        address = base + p.l3 + 14
        mac = base + p.l3 + 8
    else:
        kind = discovery(p, base)
        address = base + p.l3 + 8
        if kind == ADVERTISED:
            address = base + p.l4 + 8
            if not base[p.l4 + 4] & 0x20:
                return False  # no override: it speaks for another (RFC 4861, 7.2.8), or for an anycast group
            mac = option(p, base, p.l4 + 24, 2)
            claim.router = ROUTER_YES if base[p.l4 + 4] & 0x80 else ROUTER_NO
        elif kind == SOLICITATION:
            mac = option(p, base, p.l4 + 24, 1)
        elif kind == ROUTER_ADVERTISEMENT:
            mac = option(p, base, p.l4 + 16, 1)
            claim.router = ROUTER_YES
        elif kind == ROUTER_SOLICITATION:
            mac = option(p, base, p.l4 + 8, 1)
        else:
            return False
    claim.tags = p.l3 - VNET - 12
    if mac == NULL or memcmp(address, NOBODY, length_of(claim)) == 0 or memcmp(mac, NOBODY, 6) == 0 or \
            mac[0] & 1 or claim.tags > sizeof(claim.between):
        return False
    claim.vlan = p.vlan
    memcpy(claim.address, address, length_of(claim))
    memcpy(claim.mac, mac, 6)
    memcpy(claim.between, base + VNET + 12, claim.tags)
    return True


cdef inline uint32_t length_of(const Claim *claim) noexcept nogil:
    return 4 if claim.version == 4 else 16


cdef Claim *find(Identity *identity, const Claim *claim) noexcept nogil:
    cdef int index
    cdef Claim *known
    for index in range(CLAIMS):
        known = &identity.claims[index]
        if known.version == claim.version and known.vlan == claim.vlan and \
                memcmp(known.address, claim.address, 16) == 0:
            return known
    return NULL


cdef void identity_learn(Identity *identity, const Packet *p, const uint8_t *base) noexcept nogil:
    cdef Claim claim
    cdef Claim *known
    if not read_claim(&claim, p, base):
        return
    known = find(identity, &claim)
    if known == NULL:
        known = &identity.claims[identity.next]
        identity.next = (identity.next + 1) % CLAIMS
    elif claim.router == ROUTER_UNKNOWN:
        claim.router = known.router
    known[0] = claim


cdef void identity_forget(Identity *identity, const Packet *p, const uint8_t *base) noexcept nogil:
    cdef Claim claim
    cdef Claim *known
    if read_claim(&claim, p, base):
        known = find(identity, &claim)
        if known != NULL and memcmp(known.mac, claim.mac, 6) != 0:
            memset(known, 0, sizeof(Claim))


cdef uint32_t identity_write(const Identity *identity, uint32_t index, uint8_t *into) noexcept nogil:
    cdef const Claim *claim = &identity.claims[index]
    cdef uint8_t *frame = into + VNET
    # Hosts that hear of a router that it is none give up their route (RFC 4861, 7.2.5).
    if claim.version == 0 or (claim.version == 6 and claim.router == ROUTER_UNKNOWN):
        return 0
    memset(into, 0, VNET)
    memcpy(frame + 6, claim.mac, 6)
    memcpy(frame + 12, claim.between, claim.tags)
    if claim.version == 4:
        memset(frame, 0xff, 6)
        return VNET + 12 + claim.tags + write_arp(claim, frame + 12 + claim.tags)
    put16(frame, 0x3333)  # the group's MAC (RFC 2464, 7)
    memcpy(frame + 2, ALL_NODES + 12, 4)
    return VNET + 12 + claim.tags + write_advertisement(claim, frame + 12 + claim.tags)


cdef uint32_t write_arp(const Claim *claim, uint8_t *arp) noexcept nogil:
    put32(arp, 0x00010800)
    put32(arp + 4, 0x06040001)
    memcpy(arp + 8, claim.mac, 6)
    memcpy(arp + 14, claim.address, 4)
    memset(arp + 18, 0, 6)
    memcpy(arp + 24, claim.address, 4)
    return 28


cdef uint32_t write_advertisement(const Claim *claim, uint8_t *ip) noexcept nogil:
    cdef uint8_t *icmp = ip + 40
    put32(ip, <uint32_t>6 << 28)
    put16(ip + 4, ADVERTISEMENT)
    ip[6] = IP_ICMPV6
    ip[7] = 255
    memcpy(ip + 8, claim.address, 16)
    memcpy(ip + 24, ALL_NODES, 16)
    put32(icmp, <uint32_t>ADVERTISED << 24)
    put32(icmp + 4, <uint32_t>(0xa0 if claim.router == ROUTER_YES else 0x20) << 24)
    memcpy(icmp + 8, claim.address, 16)
    icmp[24] = 2
    icmp[25] = 1
    memcpy(icmp + 26, claim.mac, 6)
    # The pseudo-header (RFC 8200, 8.1): the addresses lie before, length and protocol are added.
    put16(icmp + 2, checksum(ip + 8, 32 + ADVERTISEMENT, ADVERTISEMENT + IP_ICMPV6))
    return 40 + ADVERTISEMENT
