"""The addresses that the VM has claimed, and their announcement to neighbours after a failover.

The SVM answers to the same addresses, but bridges, switches and neighbours may have to learn anew where they
are. So the claims that either guest has made by ARP (RFC 826) or neighbour discovery (RFC 4861) are sent from
the uplink as announcements (RFC 5227, 2.3) and unsolicited advertisements (RFC 4861, 7.2.6), in rounds.

The last IDENTITY_CLAIMS addresses are kept. An address that somebody outside has claimed since is no longer
the VM's. It is forgotten, because an announcement would take it back.
"""

from libc.stdint cimport uint8_t, uint32_t
from libc.string cimport memcmp, memcpy, memset

from colo_proxy.core.link.neighbours cimport (
    ND_ADVERTISEMENT,
    ND_ADVERTISEMENT_LENGTH,
    ND_ROUTER_ADVERTISEMENT,
    ND_ROUTER_SOLICITATION,
    ND_SOLICITATION,
    ROUTER_NO,
    ROUTER_UNKNOWN,
    ROUTER_YES,
    UNSPECIFIED,
    neighbours_discovery,
    neighbours_is_arp,
    neighbours_is_group,
    neighbours_option,
)
from colo_proxy.core.packet.checksum cimport checksum_of
from colo_proxy.core.packet.parse cimport IP_ICMPV6, VNET, Packet, get16, put16, put32

cdef uint8_t[13] SOLICITED_NODE = [0xff, 0x02, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff]
cdef uint8_t[16] ALL_NODES = [0xff, 0x02, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]


cdef bint read_claim(Claim *claim, const Packet *p, const uint8_t *base) noexcept nogil:
    """Read what a housekeeping frame claims for its sender; false: it claims nothing."""
    cdef const uint8_t *address
    cdef const uint8_t *mac
    cdef uint32_t kind = 0
    memset(claim, 0, sizeof(Claim))
    claim.version = 6
    if neighbours_is_arp(p, base):
        claim.version = 4
        address = base + p.l3 + 14
        mac = base + p.l3 + 8
    else:
        kind = neighbours_discovery(p, base)
        address = base + p.l3 + 8
        if kind == ND_ADVERTISEMENT:
            address = base + p.l4 + 8
            if not base[p.l4 + 4] & 0x20:
                # no override flag: it answers for another node (RFC 4861, 7.2.8), or for an anycast group
                return False
            mac = neighbours_option(p, base, p.l4 + 24, 2)
            claim.router = ROUTER_YES if base[p.l4 + 4] & 0x80 else ROUTER_NO
        elif kind == ND_SOLICITATION:
            mac = neighbours_option(p, base, p.l4 + 24, 1)
        elif kind == ND_ROUTER_ADVERTISEMENT:
            mac = neighbours_option(p, base, p.l4 + 16, 1)
            claim.router = ROUTER_YES
        elif kind == ND_ROUTER_SOLICITATION:
            mac = neighbours_option(p, base, p.l4 + 8, 1)
        else:
            return False
    claim.tags = p.l3 - VNET - 12
    if mac == NULL or memcmp(address, UNSPECIFIED, length_of(claim)) == 0 or \
            memcmp(mac, UNSPECIFIED, 6) == 0 or \
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
    for index in range(IDENTITY_CLAIMS):
        known = &identity.claims[index]
        if known.version == claim.version and known.vlan == claim.vlan and \
                memcmp(known.address, claim.address, 16) == 0:
            return known
    return NULL


cdef void identity_learn(Identity *identity, const Packet *p, const uint8_t *base, bint pvm) noexcept nogil:
    cdef Claim claim
    cdef Claim *known
    if not read_claim(&claim, p, base):
        return
    known = find(identity, &claim)
    if known == NULL:
        known = &identity.claims[identity.next]
        memset(known, 0, sizeof(Claim))
        identity.next = (identity.next + 1) % IDENTITY_CLAIMS
    elif claim.router == ROUTER_UNKNOWN:
        claim.router = known.router
    # What the SVM repeats stays the PVM's claim; a different claim is the SVM's own.
    claim.by_pvm = pvm or (known.by_pvm and memcmp(known.mac, claim.mac, 6) == 0 and
                           memcmp(known.address, claim.address, 16) == 0)
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
    # Hosts that learn that a router is no router any more remove their default route (RFC 4861, 7.2.5).
    if claim.version == 0 or (claim.version == 6 and claim.router == ROUTER_UNKNOWN):
        return 0
    memset(into, 0, VNET)
    memcpy(frame + 6, claim.mac, 6)
    memcpy(frame + 12, claim.between, claim.tags)
    if claim.version == 4:
        memset(frame, 0xff, 6)
        return VNET + 12 + claim.tags + write_arp(claim, claim.address, frame + 12 + claim.tags)
    put16(frame, 0x3333)  # the group's MAC (RFC 2464, 7)
    memcpy(frame + 2, ALL_NODES + 12, 4)
    return VNET + 12 + claim.tags + write_advertisement(claim, frame + 12 + claim.tags)


cdef bint identity_asks(const Packet *p, const uint8_t *base, Claim *asker) noexcept nogil:
    cdef const uint8_t *address
    memset(asker, 0, sizeof(Claim))
    asker.tags = p.l3 - VNET - 12
    asker.vlan = p.vlan
    if neighbours_is_arp(p, base) and get16(base + p.l3 + 6) == 1:
        asker.version = 4
        address = base + p.l3 + 14
    elif neighbours_discovery(p, base) == ND_SOLICITATION:
        asker.version = 6
        address = base + p.l3 + 8
    else:
        return False
    if asker.tags > sizeof(asker.between) or memcmp(address, UNSPECIFIED, length_of(asker)) == 0:
        return False
    memcpy(asker.address, address, length_of(asker))
    memcpy(asker.between, base + VNET + 12, asker.tags)
    return is_neighbour(asker, target_of(p, base))


cdef const uint8_t *target_of(const Packet *p, const uint8_t *base) noexcept nogil:
    return base + p.l3 + 24 if neighbours_is_arp(p, base) else base + p.l4 + 8


cdef bint is_neighbour(const Claim *asker, const uint8_t *target) noexcept nogil:
    """False for no address, a group, or the VM itself."""
    cdef uint32_t length = length_of(asker)
    return memcmp(target, UNSPECIFIED, length) != 0 and memcmp(target, asker.address, length) != 0 and \
        not neighbours_is_group(asker.version, target)


cdef bint identity_mac(const Identity *identity, Claim *asker) noexcept nogil:
    cdef const Claim *claim
    cdef int index
    for index in range(IDENTITY_CLAIMS):
        claim = &identity.claims[index]
        if claim.by_pvm and claim.version == asker.version and claim.vlan == asker.vlan and \
                memcmp(claim.address, asker.address, 16) == 0:
            memcpy(asker.mac, claim.mac, 6)
            return True
    return False


cdef uint32_t identity_ask(const Claim *asker, const Packet *p, const uint8_t *base,
                           uint8_t *into) noexcept nogil:
    cdef uint8_t *frame = into + VNET
    memset(into, 0, VNET)
    memcpy(frame + 6, asker.mac, 6)
    memcpy(frame + 12, asker.between, asker.tags)
    if asker.version == 4:
        memset(frame, 0xff, 6)
        return VNET + 12 + asker.tags + write_arp(asker, target_of(p, base), frame + 12 + asker.tags)
    return VNET + 12 + asker.tags + write_solicitation(asker, target_of(p, base), frame)


cdef uint32_t write_solicitation(const Claim *claim, const uint8_t *target, uint8_t *frame) noexcept nogil:
    """To the target's solicited-node group (RFC 4861, 7.2.2; RFC 4291, 2.7.1; RFC 2464, 7)."""
    cdef uint8_t *ip = frame + 12 + claim.tags
    cdef uint8_t *icmp = ip + 40
    put16(frame, 0x3333)
    frame[2] = 0xff
    memcpy(frame + 3, target + 13, 3)
    put32(ip, <uint32_t>6 << 28)
    put16(ip + 4, ND_ADVERTISEMENT_LENGTH)  # the same length: header, target, one option
    ip[6] = IP_ICMPV6
    ip[7] = 255
    memcpy(ip + 8, claim.address, 16)
    memcpy(ip + 24, SOLICITED_NODE, 13)
    memcpy(ip + 37, target + 13, 3)
    put32(icmp, <uint32_t>ND_SOLICITATION << 24)
    put32(icmp + 4, 0)
    memcpy(icmp + 8, target, 16)
    icmp[24] = 1
    icmp[25] = 1
    memcpy(icmp + 26, claim.mac, 6)
    put16(icmp + 2, checksum_of(ip + 8, 32 + ND_ADVERTISEMENT_LENGTH, ND_ADVERTISEMENT_LENGTH + IP_ICMPV6))
    return 40 + ND_ADVERTISEMENT_LENGTH


cdef uint32_t write_arp(const Claim *claim, const uint8_t *target, uint8_t *arp) noexcept nogil:
    """A request for the target; an announcement where that is the claim's own address (RFC 5227, 2.3)."""
    put32(arp, 0x00010800)
    put32(arp + 4, 0x06040001)
    memcpy(arp + 8, claim.mac, 6)
    memcpy(arp + 14, claim.address, 4)
    memset(arp + 18, 0, 6)
    memcpy(arp + 24, target, 4)
    return 28


cdef uint32_t write_advertisement(const Claim *claim, uint8_t *ip) noexcept nogil:
    cdef uint8_t *icmp = ip + 40
    put32(ip, <uint32_t>6 << 28)
    put16(ip + 4, ND_ADVERTISEMENT_LENGTH)
    ip[6] = IP_ICMPV6
    ip[7] = 255
    memcpy(ip + 8, claim.address, 16)
    memcpy(ip + 24, ALL_NODES, 16)
    put32(icmp, <uint32_t>ND_ADVERTISEMENT << 24)
    put32(icmp + 4, <uint32_t>(0xa0 if claim.router == ROUTER_YES else 0x20) << 24)
    memcpy(icmp + 8, claim.address, 16)
    icmp[24] = 2
    icmp[25] = 1
    memcpy(icmp + 26, claim.mac, 6)
    # The pseudo-header (RFC 8200, 8.1): the addresses lie in front; length and protocol are added.
    put16(icmp + 2, checksum_of(ip + 8, 32 + ND_ADVERTISEMENT_LENGTH, ND_ADVERTISEMENT_LENGTH + IP_ICMPV6))
    return 40 + ND_ADVERTISEMENT_LENGTH
