"""Which flow a frame belongs to: the 5-tuple seen from the VM, plus VLAN (docs/comparison.md, section 2).

A key is compared and hashed as plain bytes, so every byte that a kind of flow does not use is zero.
"""

from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcmp, memcpy

from colo_proxy.core.packet.parse cimport Packet

cdef enum:
    KEY_TEXT = 128  # room for any key's text
    KEY_PROTOCOL = 16

cdef struct Key:
    uint8_t[16] local  # the VM's address: 16 bytes of IPv6, 4 of IPv4, 6 of a MAC
    uint8_t[16] remote
    uint32_t vlan  # as in Packet
    uint16_t local_port  # ports of TCP and UDP
    uint16_t remote_port
    uint16_t ethertype
    uint8_t version  # 4, 6, or 0: the addresses are MACs
    uint8_t proto
    uint8_t kind  # K_TCP, K_UDP, K_IP or K_OTHER
    uint8_t[3] zero

cdef inline bint key_equal(const Key *a, const Key *b) noexcept nogil:
    cdef uint64_t one, other
    cdef uint32_t at = 0
    while at < sizeof(Key):  # word by word, as key_of writes
        memcpy(&one, <const uint8_t *>a + at, 8)
        memcpy(&other, <const uint8_t *>b + at, 8)
        if one != other:
            return False
        at += 8
    return True

# Whether two keys of one protocol differ at most in the VM's port, which a guest may choose.
cdef inline bint key_alike(const Key *a, const Key *b) noexcept nogil:
    return a.remote_port == b.remote_port and a.vlan == b.vlan and a.version == b.version and \
        memcmp(a.remote, b.remote, sizeof(a.remote)) == 0 and memcmp(a.local, b.local, sizeof(a.local)) == 0

# The key of a parsed frame at `base`; `from_vm`: the VM is its source, else its destination.
cdef void key_of(Key *key, const Packet *p, const uint8_t *base, bint from_vm) noexcept nogil
# SipHash-1-3: whoever does not know the seed cannot choose flows that collide.
cdef uint64_t key_hash(const Key *key, uint64_t seed) noexcept nogil
# The key as people read it, `tcp 192.0.2.2:80 > 192.0.2.1:40000 vlan 10`, NUL-terminated, cut at `size`.
cdef void key_text(const Key *key, char *into, size_t size) noexcept nogil
# Its first word: tcp, udp, icmp, icmpv6, ip-47, ethertype.
cdef void key_protocol(const Key *key, char *into, size_t size) noexcept nogil
# A keyed digest of some bytes; 0 where there are none, and only there.
cdef uint64_t key_text_hash(const uint8_t *text, uint32_t length, uint64_t seed) noexcept nogil
