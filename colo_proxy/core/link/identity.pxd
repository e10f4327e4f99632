"""The addresses that the VM has claimed, and their announcement to neighbours after a failover."""

from libc.stdint cimport int64_t, uint8_t, uint32_t

from colo_proxy.core.flow.flow cimport truth
from colo_proxy.core.link.neighbours cimport Router
from colo_proxy.core.packet.parse cimport Packet

cdef enum:
    IDENTITY_CLAIMS = 64
    HEADER = 22  # Ethernet with two VLAN tags

cdef struct Claim:
    uint8_t[16] address
    uint8_t[6] mac
    uint8_t version  # 4 or 6; 0: none
    Router router
    truth by_pvm  # the PVM has made the claim, and perhaps the SVM too
    uint32_t vlan
    uint32_t tags  # bytes between the MAC addresses and layer 3
    uint8_t[HEADER - 12] between  # VLAN tags and EtherType, as the VM uses them

cdef struct Identity:
    Claim[IDENTITY_CLAIMS] claims
    uint32_t next  # where the next claim is stored: it replaces the oldest
    uint32_t rounds  # announcements left
    int64_t due  # when the next one is due, ns

# Learn from a housekeeping frame of a guest.
cdef void identity_learn(Identity *identity, const Packet *p, const uint8_t *base, bint pvm) noexcept nogil
# Whether a frame of the SVM asks for a neighbour, from an address of its own (a probe for duplicate addresses
# has none). `asker` then has the sender's address, without its MAC.
cdef bint identity_asks(const Packet *p, const uint8_t *base, Claim *asker) noexcept nogil
# The MAC for which the PVM has claimed the same address; false: it has claimed none.
cdef bint identity_mac(const Identity *identity, Claim *asker) noexcept nogil
# Write the request, virtio-net header first, to `into`, which has room for NEIGHBOUR_FRAME; return its size.
cdef uint32_t identity_ask(const Claim *asker, const Packet *p, const uint8_t *base,
                           uint8_t *into) noexcept nogil
# Forget an address that a housekeeping frame of the uplink claims for another MAC.
cdef void identity_forget(Identity *identity, const Packet *p, const uint8_t *base) noexcept nogil
# Write the announcement of a claim, virtio-net header first, to `into`, which has room for NEIGHBOUR_FRAME.
# Returns its size, 0 where there is none.
cdef uint32_t identity_write(const Identity *identity, uint32_t index, uint8_t *into) noexcept nogil
