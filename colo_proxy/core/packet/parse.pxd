"""A bounds-checked view of one frame.

The program reads a packet only through the offsets of `Packet`, which `parse_frame` has checked against the
frame's end. No other code does arithmetic on lengths that a packet contains.

Layout in memory, offsets from `base`:

    base                 the virtio-net header, VNET bytes (virtio 1.2, 5.1.6; 10 bytes, no mergeable buffers)
    base + VNET          Ethernet: destination, source, up to two VLAN tags, EtherType
    base + l3            the bytes after the EtherType
    base + l4            TCP, UDP, ICMP... header
    base + payload       the layer-4 payload of TCP and UDP; l4 for all others
    base + end           the end that the IP header gives, or the length field of 802.3; padding follows
    base + size          the end of the frame as received

Always l3 <= l4 <= payload <= end <= size. Where a part is missing, its offset is that of the next. The fields
of a protocol that the packet does not carry are zero.
"""

from libc.stdint cimport uint8_t, uint16_t, uint32_t

from colo_proxy.core.packet.seq cimport Seq, seq

cdef enum:
    VNET = 10
    MAX_FRAME = 69632  # QEMU's largest: 4,096 + 65,536 bytes
    MAX_CAPTURED = 1048576  # in captures: Linux's largest super-frame has 512 KiB (GSO_MAX_SIZE of 6.1)
    NO_VLAN = 0xffff
    LONGEST_8023 = 1500  # an EtherType up to this is the frame's length
    NEEDS_CSUM = 1  # in the flags, byte 0 of the virtio-net header (virtio 1.2, 5.1.6)
    ETHERNET = 14  # bytes of an untagged Ethernet header, and so of the shortest valid frame
    OPTION_MULTIPATH = 30  # the kind of Multipath TCP's option (RFC 8684)

    IPV6_FRAGMENT = 44  # the IPv6 fragment header
    # IPv6 extension headers that are walked at most; normal hosts send a handful (RFC 8200, 4.1)
    IPV6_EXTENSIONS = 16

cdef enum EtherType:
    ET_IPV4 = 0x0800
    ET_ARP = 0x0806
    ET_VLAN = 0x8100
    ET_IPV6 = 0x86dd
    ET_QINQ = 0x88a8
    ET_LLDP = 0x88cc

cdef enum Protocol:  # IANA's numbers
    IP_ICMP = 1
    IP_IGMP = 2
    IP_TCP = 6
    IP_UDP = 17
    IP_ICMPV6 = 58

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
    uint8_t version  # 4, 6, or 0 where it is not a (whole) IP packet
    uint8_t proto
    # TCP
    uint8_t flags
    uint16_t window
    Seq seq
    Seq ack
    uint32_t length  # sequence numbers occupied: payload, SYN, FIN
    uint16_t urgent
    uint16_t mss  # of a SYN, like wscale and sack_permitted; 0: absent
    uint8_t wscale  # 255: absent; at most 14 (RFC 7323, 2.3)
    uint8_t sack_permitted
    uint32_t others  # a digest of the SYN's other options, without timestamps
    uint8_t signature  # of RFC 2385 or RFC 5925: covers header and payload, which must stay unchanged
    uint8_t multipath  # in a SYN: Multipath TCP is offered or accepted (RFC 8684)
    uint8_t sack_blocks  # how many whole blocks
    uint32_t timestamps  # offset of the timestamps option's TSval, 0: absent
    uint32_t sack  # offset of the first SACK block
    # fragments
    uint32_t frag_id
    uint32_t frag_offset  # in bytes
    uint8_t frag_more
    uint32_t frag_data  # where the fragment's data begins (after the IPv6 fragment header); 0: no such header
    # the virtio-net header marks the layer-4 checksum as partial
    uint8_t partial

cdef void parse_frame(Packet *p, const uint8_t *base, uint32_t size) noexcept nogil
# From now on, treat a fragment that begins a TCP segment or a UDP datagram and holds its whole header as that
# segment or datagram, cut short. Its checksum, which covers all fragments, can still be updated. True for
# such a fragment, and for a whole packet.
cdef bint parse_first(Packet *p, const uint8_t *base) noexcept nogil

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

# IPv6 extension headers that are walked: hop-by-hop, routing, fragment, destination options.
cdef inline bint parse_is_extension(uint8_t proto) noexcept nogil:
    return proto == 0 or proto == 43 or proto == IPV6_FRAGMENT or proto == 60

# The size of the extension header at `at`, or 0 if it does not end by `end`.
cdef uint32_t parse_extension(const uint8_t *base, uint32_t at, uint32_t end, uint8_t proto) noexcept nogil
# Whether a partial checksum belongs to the header at `at` and lies `field` bytes inside it.
cdef bint parse_sums_at(const uint8_t *base, uint32_t at, uint32_t field) noexcept nogil
# Read the TCP options between p.l4 + 20 and p.payload.
cdef void parse_options(Packet *p, const uint8_t *base) noexcept nogil

# For Python's callers: a frame behind its virtio-net header in memory of exactly their size, to be freed.
cdef uint8_t *parse_exact_copy(bytes frame, bytes vnet, uint32_t *size) except NULL
