"""A bounds-checked view of one frame.

Everything the program reads from a packet, it reads through the offsets of `Packet`, which `parse`
has checked against the frame's end; nothing else does arithmetic on hostile lengths.

Layout in memory, offsets from `base`:

    base                 the virtio-net header, VNET bytes (virtio 1.2, 5.1.6; 10 bytes, no mergeable buffers)
    base + VNET          Ethernet: destination, source, up to two VLAN tags, EtherType
    base + l3            the bytes after the EtherType
    base + l4            TCP, UDP, ICMP... header
    base + payload       the layer-4 payload
    base + end           the end that the IP header gives; what follows is Ethernet padding
    base + size          the end of the frame as received
"""

from libc.stdint cimport int32_t, uint8_t, uint16_t, uint32_t

from colo_proxy.datapath.seq cimport Seq

cdef enum:
    VNET = 10
    MAX_FRAME = 69632  # QEMU's largest: 4,096 + 65,536 bytes
    NO_VLAN = 0xffff

cdef enum Kind:
    K_TCP = 0
    K_UDP = 1
    K_IP = 2  # ICMP, ICMPv6 and every other IP protocol, and IP packets whose layer 4 is malformed
    K_FRAGMENT = 3
    K_HOUSEKEEPING = 4
    K_OTHER = 5  # other EtherTypes, and IP whose headers are malformed

cdef enum TcpFlag:
    FIN = 1
    SYN = 2
    RST = 4
    PSH = 8
    ACK = 16
    URG = 32

cdef struct Packet:
    uint32_t size
    uint32_t end
    uint32_t l3
    uint32_t l4
    uint32_t payload
    uint32_t vlan  # outer tag's id << 16 | inner tag's id, NO_VLAN for each that is missing
    uint16_t ethertype
    uint8_t kind
    uint8_t version  # 4, 6, or 0 where it is no (whole) IP packet
    uint8_t proto
    # TCP
    uint8_t flags
    uint16_t window
    Seq seq
    Seq ack
    uint32_t length  # sequence numbers occupied: payload, SYN, FIN
    uint16_t urgent
    uint16_t mss  # 0: absent
    uint8_t wscale  # 255: absent
    uint8_t sack_permitted
    uint8_t sack_blocks  # how many whole ones
    uint32_t timestamps  # offset of the timestamps option's TSval, 0: absent
    uint32_t sack  # offset of the first SACK block
    # fragments
    uint32_t frag_id
    uint32_t frag_offset  # in bytes
    uint8_t frag_more
    uint32_t frag_data  # where the fragment's data begins (after the IPv6 fragment header)
    # a virtio-net header that says the layer-4 checksum is still partial
    uint8_t partial

cdef void parse(Packet *p, const uint8_t *base, uint32_t size) noexcept nogil

cdef inline uint16_t get16(const uint8_t *at) noexcept nogil:
    return (<uint16_t>at[0] << 8) | at[1]

cdef inline uint32_t get32(const uint8_t *at) noexcept nogil:
    return (<uint32_t>at[0] << 24) | (<uint32_t>at[1] << 16) | (<uint32_t>at[2] << 8) | at[3]

cdef inline void put16(uint8_t *at, uint32_t value) noexcept nogil:
    at[0] = <uint8_t>(value >> 8)
    at[1] = <uint8_t>value

cdef inline void put32(uint8_t *at, uint32_t value) noexcept nogil:
    at[0] = <uint8_t>(value >> 24)
    at[1] = <uint8_t>(value >> 16)
    at[2] = <uint8_t>(value >> 8)
    at[3] = <uint8_t>value

# Rewriting, with the checksum kept right incrementally (RFC 1624, equation 3). `at` is an offset from
# base inside the TCP header; a partial checksum covers the pseudo-header alone and is left as it is.
cdef void set16(Packet *p, uint8_t *base, uint32_t at, uint16_t value) noexcept nogil
cdef void set32(Packet *p, uint8_t *base, uint32_t at, uint32_t value) noexcept nogil
