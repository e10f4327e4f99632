"""A bounds-checked view of one frame.

Packets are hostile input to a privileged process. Each step below first checks that what it reads lies before
the end it was given, and gives the next step an end that is no further away.

How a packet is laid out: parse.pxd.
"""

from libc.stdint cimport uint8_t, uint16_t, uint32_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy, memset

from colo_proxy.core.packet.seq cimport seq


cdef void parse_frame(Packet *p, const uint8_t *base, uint32_t size) noexcept nogil:
    """Describe the frame behind the virtio-net header at `base`; `size` counts both. Never fails."""
    cdef uint32_t at = VNET + ETHERNET
    cdef uint32_t tags = 0
    memset(p, 0, sizeof(Packet))
    p.size = size
    p.kind = K_OTHER
    p.wscale = 255
    p.vlan = <uint32_t>-1  # NO_VLAN twice
    whole(p, size)
    if size < at:
        return
    p.partial = base[0] & NEEDS_CSUM
    p.ethertype = get16(base + at - 2)
    while p.ethertype in (ET_VLAN, ET_QINQ) and tags < 2 and at + 4 <= size:
        if tags == 0:
            p.vlan = (<uint32_t>(get16(base + at) & 0xfff) << 16) | NO_VLAN
        else:
            p.vlan = (p.vlan ^ NO_VLAN) | (get16(base + at) & 0xfff)
        p.ethertype = get16(base + at + 2)
        at += 4
        tags += 1
    whole(p, at)
    if p.ethertype <= LONGEST_8023 and p.ethertype <= size - at:
        p.end = at + p.ethertype  # a length (IEEE 802.3, 3.2.6): what follows is padding
    if p.ethertype == ET_IPV4:
        parse_ipv4(p, base)
    elif p.ethertype == ET_IPV6:
        parse_ipv6(p, base)
    elif p.ethertype in (ET_ARP, ET_LLDP):
        p.kind = K_HOUSEKEEPING


cdef void whole(Packet *p, uint32_t at) noexcept nogil:
    """Only the end of what follows `at` is known."""
    p.l3 = at
    p.l4 = at
    p.payload = at
    p.end = p.size


cdef inline bint super_frame(const uint8_t *base) noexcept nogil:
    """A GSO frame: its length field may be 0 where the length does not fit 16 bits (Linux BIG TCP).

    Whoever segments it uses the frame's length, not that of the IP header. What would be padding elsewhere is
    then sent as payload, so the two lengths must agree.
    """
    return (base[1] & 0x7f) != 0


cdef bint parse_sums_at(const uint8_t *base, uint32_t at, uint32_t field) noexcept nogil:
    """Whether a partial checksum belongs to the header at `at` and lies `field` bytes inside it.

    Whoever completes it writes two bytes wherever the virtio-net header points (virtio 1.2, 5.1.6; host's
    order).
    """
    cdef uint16_t[2] said
    memcpy(said, base + 6, 4)
    return VNET + <uint32_t>said[0] == at and said[1] == field


cdef void parse_ipv4(Packet *p, const uint8_t *base) noexcept nogil:
    """RFC 791, 3.1."""
    cdef const uint8_t *ip = base + p.l3
    cdef uint32_t room = p.size - p.l3
    cdef uint32_t header
    cdef uint32_t total
    cdef uint32_t fragment
    if room < 20 or ip[0] >> 4 != 4:
        return
    header = (ip[0] & 15) * 4
    total = get16(ip + 2)
    if total == 0 and super_frame(base):
        total = room
    if header < 20 or total < header or total > room or (super_frame(base) and total != room):
        return
    p.version = 4
    p.proto = ip[9]
    p.end = p.l3 + total
    fragment = get16(ip + 6)
    if fragment & 0x3fff:
        parse_fragment(p, p.l3 + header, get16(ip + 4), (fragment & 0x1fff) * 8, (fragment & 0x2000) != 0)
    else:
        parse_layer4(p, base, p.l3 + header)


cdef void parse_ipv6(Packet *p, const uint8_t *base) noexcept nogil:
    """RFC 8200, 3 and 4.

    An authentication header ends the walk: what it protects must not be rewritten, so the packet is compared
    as a datagram.
    """
    cdef const uint8_t *ip = base + p.l3
    cdef uint32_t room = p.size - p.l3
    cdef uint32_t end
    cdef uint32_t at
    cdef uint32_t header
    cdef uint32_t fragment
    cdef int left = IPV6_EXTENSIONS
    cdef uint8_t proto
    if room < 40 or ip[0] >> 4 != 6:
        return
    end = p.l3 + 40 + get16(ip + 4)
    if get16(ip + 4) == 0 and super_frame(base):
        end = p.size
    if end > p.size or (super_frame(base) and end != p.size):
        return
    proto = ip[6]
    at = p.l3 + 40
    while parse_is_extension(proto):
        header = parse_extension(base, at, end, proto)
        if left == 0 or header == 0:
            return
        left -= 1
        if proto == IPV6_FRAGMENT:
            fragment = get16(base + at + 2)
            # An atomic fragment is a whole packet (RFC 6946).
            if fragment & 0xfff9:
                p.version = 6
                p.proto = base[at]
                p.end = end
                parse_fragment(p, at + 8, get32(base + at + 4), fragment & 0xfff8, fragment & 1)
                return
            p.frag_data = at + 8
        proto = base[at]
        at += header
    p.version = 6
    p.proto = proto
    p.end = end
    parse_layer4(p, base, at)


cdef uint32_t parse_extension(const uint8_t *base, uint32_t at, uint32_t end, uint8_t proto) noexcept nogil:
    cdef uint32_t header = 8
    if at + 8 > end:
        return 0
    if proto != IPV6_FRAGMENT:
        header += base[at + 1] * 8
    return header if at + header <= end else 0


cdef void parse_fragment(Packet *p, uint32_t at, uint32_t id, uint32_t offset, bint more) noexcept nogil:
    if p.partial:  # no host requests this, and whoever completed it would write into the datagram's data
        p.version = 0
        whole(p, p.l3)
        return
    p.kind = K_FRAGMENT
    p.l4 = at
    p.payload = at
    p.frag_data = at
    p.frag_id = id
    p.frag_offset = offset
    p.frag_more = more


cdef bint parse_first(Packet *p, const uint8_t *base) noexcept nogil:
    if p.kind == K_FRAGMENT and p.frag_offset == 0 and p.proto == IP_TCP:
        parse_tcp(p, base)
    elif p.kind == K_FRAGMENT and p.frag_offset == 0 and p.proto == IP_UDP and p.end >= p.l4 + 8:
        p.kind = K_UDP
        p.payload = p.l4 + 8
    return p.kind == K_TCP or p.kind == K_UDP


cdef void parse_layer4(Packet *p, const uint8_t *base, uint32_t at) noexcept nogil:
    cdef uint32_t room = p.end - at
    cdef uint8_t kind
    p.kind = K_IP
    p.l4 = at
    p.payload = at
    if p.proto == IP_TCP:
        parse_tcp(p, base)
    elif p.proto == IP_UDP:
        # A length shorter than the packet's leaves room for UDP options (RFC 9868) and is valid.
        if room >= 8 and 8 <= get16(base + at + 4) <= room:
            p.kind = K_UDP
            p.payload = at + 8
    elif p.proto == IP_IGMP and p.version == 4:
        p.kind = K_HOUSEKEEPING
    elif p.proto == IP_ICMPV6 and p.version == 6 and room >= 4:
        kind = base[at]
        # MLD (RFC 2710, 3810) and neighbour discovery (RFC 4861).
        if 130 <= kind <= 137 or kind == 143:
            p.kind = K_HOUSEKEEPING


cdef void parse_tcp(Packet *p, const uint8_t *base) noexcept nogil:
    """RFC 9293, 3.1."""
    cdef const uint8_t *tcp = base + p.l4
    cdef uint32_t room = p.end - p.l4
    cdef uint32_t header
    if room < 20:
        return
    header = (tcp[12] >> 4) * 4
    if header < 20 or header > room or (p.partial and not parse_sums_at(base, p.l4, 16)):
        return
    p.kind = K_TCP
    p.payload = p.l4 + header
    p.seq = seq(get32(tcp + 4))
    p.ack = seq(get32(tcp + 8))
    p.flags = tcp[13] & 63
    p.window = get16(tcp + 14)
    p.urgent = get16(tcp + 18)
    p.length = p.end - p.payload + (p.flags & FIN) + ((p.flags & SYN) >> 1)
    parse_options(p, base)


cdef void parse_options(Packet *p, const uint8_t *base) noexcept nogil:
    """TCP options (RFC 9293, 3.2). As in Linux, an option of a wrong length is skipped, and of two equal ones
    the later counts.

    The list ends at a length below 2 or beyond the header.
    """
    cdef uint32_t at = p.l4 + 20
    cdef uint8_t kind
    cdef uint8_t length
    cdef uint8_t index
    cdef bint opens = (p.flags & SYN) != 0
    while at < p.payload and base[at] != 0:
        kind = base[at]
        if kind == 1:
            at += 1
            continue
        if at + 2 > p.payload:
            return
        length = base[at + 1]
        if length < 2 or at + length > p.payload:
            return
        if kind == 2 and length == 4 and opens:
            p.mss = get16(base + at + 2)
        elif kind == 3 and length == 3 and opens:
            p.wscale = min(base[at + 2], 14)
        elif kind == 4 and length == 2 and opens:
            p.sack_permitted = 1
        elif kind == 5 and length >= 10 and length % 8 == 2:
            p.sack = at + 2
            p.sack_blocks = length // 8
        elif kind == 8 and length == 10:
            p.timestamps = at + 2
        elif kind in (19, 29):
            p.signature = 1
        elif kind == OPTION_MULTIPATH and opens:
            p.multipath = 1
        # the cookie of Fast Open commits the guest to nothing (RFC 7413)
        if opens and kind > 5 and kind != 8 and kind != 34:
            for index in range(length):
                p.others = (p.others ^ base[at + index]) * 16777619U + 1
        at += length


KINDS = ("tcp", "udp", "ip", "fragment", "housekeeping", "other")


def dissect(frame: bytes, vnet: bytes | None = None) -> dict[str, int | str]:
    """What `parse_frame` makes of a frame, by the names of `Packet`; offsets count from the virtio-net
    header.

    The frame is copied to memory of exactly its size, so that a sanitizer sees every read beyond it.
    Raises ValueError for a virtio-net header that is not 10 bytes long.
    """
    cdef Packet p
    cdef uint32_t size
    cdef uint8_t *base = parse_exact_copy(frame, vnet, &size)
    parse_frame(&p, base, size)
    free(base)
    fields = dict(p)
    fields.update(kind=KINDS[p.kind], seq=p.seq.n, ack=p.ack.n)
    return fields


cdef uint8_t *parse_exact_copy(bytes frame, bytes vnet, uint32_t *size) except NULL:
    cdef bytes raw = (bytes(VNET) if vnet is None else vnet) + frame
    cdef uint8_t *base
    if vnet is not None and len(vnet) != VNET:
        raise ValueError(f"a virtio-net header of {len(vnet)} bytes; {VNET} expected")
    base = <uint8_t *>malloc(len(raw))
    if base == NULL:
        raise MemoryError
    memcpy(base, <const uint8_t *>raw, len(raw))
    size[0] = len(raw)
    return base
