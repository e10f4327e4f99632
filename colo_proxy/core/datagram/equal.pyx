"""When two datagrams are equal, and where they differ (docs/comparison.md, D2 and D3).

Frames are compared by their datagrams: a super-frame of UDP has several (uso.pxd), any other frame has one.
"""

from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcmp

from colo_proxy.core.align.aligner cimport aligner_move_udp_port
from colo_proxy.core.datagram.uso cimport GSO_UDP_FRAGMENTS, Part, uso_count, uso_first, uso_part, uso_size
from colo_proxy.core.flow.flow cimport Flow
from colo_proxy.core.flow.pool cimport Node
from colo_proxy.core.packet.checksum cimport checksum_of
from colo_proxy.core.packet.parse cimport IP_ICMP, K_OTHER, K_UDP, Packet, get16, get32, parse_sums_at


cdef uint32_t equal_content(const Packet *p) noexcept nogil:
    """Where the bytes that `stream_offset` counts begin (D3)."""
    if p.kind == K_OTHER or p.version == 0:
        return p.l3
    return p.payload if p.kind == K_UDP else p.l4


cdef uint32_t checksum_at(const Packet *p) noexcept nogil:
    """The offset of a layer-4 checksum that may be partial, or 0."""
    if p.kind == K_UDP:
        return p.l4 + 6
    if p.version and p.proto in (1, 58) and p.end >= p.l4 + 4:
        return p.l4 + 2
    return 0


cdef bint ordinary(const Node *node) noexcept nogil:
    """Whether a checksum that is still partial is that of the outermost layer-4 header."""
    cdef const Packet *p = &node.packet
    cdef uint32_t at = checksum_at(p)
    return not p.partial or (at != 0 and parse_sums_at(node.data, p.l4, at - p.l4))


cdef bint sums_up(const Node *node) noexcept nogil:
    """Whether a whole layer-4 checksum is right (RFC 768, 792, 4443)."""
    cdef const Packet *p = &node.packet
    cdef uint32_t at = p.l3 + (12 if p.version == 4 else 8)
    cdef uint32_t pseudo = 0
    if p.kind == K_UDP and get16(node.data + checksum_at(p)) == 0:
        return False  # there is none
    if p.proto != IP_ICMP:
        pseudo = p.proto + p.end - p.l4 + <uint16_t>~checksum_of(node.data + at, 8 if p.version == 4 else 32,
                                                                 0)
    return checksum_of(node.data + p.l4, p.end - p.l4, pseudo) == 0


cdef uint64_t offload(const Node *node) noexcept nogil:
    """What the device does with the frame because of its virtio-net header (virtio 1.2, 5.1.6), 0 for
    nothing.

    Completing a checksum and cutting into IP fragments are not counted: they do not change the datagram.
    """
    cdef const uint8_t *vnet = node.data
    cdef uint64_t words = 0
    if vnet[1] and vnet[1] & 0x7f != GSO_UDP_FRAGMENTS:
        words = <uint64_t>vnet[1] << 48 | <uint64_t>get16(vnet + 4) << 32
    if not ordinary(node):
        words |= <uint64_t>1 << 56 | get32(vnet + 6)
    return words


cdef bint equal_frames(const Node *a, const Node *b) noexcept nogil:
    """D2: everything above layer 2 is compared, except what two correct guests choose freely."""
    cdef const Packet *p = &a.packet
    cdef const Packet *q = &b.packet
    cdef const uint8_t *x = a.data + p.l3
    cdef const uint8_t *y = b.data + q.l3
    cdef uint32_t size = p.end - p.l3
    cdef uint32_t at = 0
    cdef uint32_t skip
    if size != q.end - q.l3 or p.kind != q.kind or p.version != q.version or offload(a) != offload(b):
        return False
    if p.version == 4:
        # Skip the identification (bytes 4 and 5) and with it the header checksum (10 and 11).
        if memcmp(x, y, 4) != 0 or memcmp(x + 6, y + 6, 4) != 0:
            return False
        at = 12
    elif p.version == 6:
        # The flow label (20 bits): Linux draws one for each connected UDP socket (RFC 6437).
        if x[0] != y[0] or (x[1] ^ y[1]) & 0xf0:
            return False
        at = 4
        if p.frag_data != 0:  # an atomic fragment (RFC 6946): each guest chooses an identification
            skip = p.frag_data - p.l3 - 4
            if q.frag_data != q.l3 + skip + 4 or memcmp(x + at, y + at, skip - at) != 0:
                return False
            at = skip + 4
    if (p.partial or q.partial) and ordinary(a):
        skip = checksum_at(p)
        if skip != checksum_at(q) + p.l3 - q.l3:
            return False
        if skip:
            if p.partial != q.partial and not sums_up(b if p.partial else a):
                return False
            skip -= p.l3
            if memcmp(x + at, y + at, skip - at) != 0:
                return False
            at = skip + 2
    return memcmp(x + at, y + at, size - at) == 0


cdef bint equal_parts(const Part *a, const Part *b) noexcept nogil:
    cdef const Packet *p = &a.node.packet
    cdef const Packet *q = &b.node.packet
    cdef const uint8_t *x = a.node.data + p.l3
    cdef const uint8_t *y = b.node.data + q.l3
    cdef uint32_t header = p.l4 - p.l3
    if a.end - a.begin != b.end - b.begin or p.kind != K_UDP or q.kind != K_UDP or p.version != q.version:
        return False
    if header != q.l4 - q.l3 or p.frag_data or q.frag_data or memcmp(x + header, y + header, 4) != 0:
        return False
    if memcmp(a.node.data + a.begin, b.node.data + b.begin, a.end - a.begin) != 0:
        return False
    # Everything but the length, what D2 excludes, and the checksums, which follow from the rest.
    if p.version == 4:
        if memcmp(x, y, 2) != 0 or memcmp(x + 6, y + 6, 4) != 0 or memcmp(x + 12, y + 12, header - 12) != 0:
            return False
    elif x[0] != y[0] or (x[1] ^ y[1]) & 0xf0 or memcmp(x + 6, y + 6, header - 6) != 0:
        return False
    # A frame with one datagram may have a length that is not its packet's (RFC 9868), or a wrong checksum.
    return get16(x + header + 4) == p.end - p.l4 and get16(y + header + 4) == q.end - q.l4 and \
        completed(a.node) and completed(b.node)


cdef bint completed(const Node *node) noexcept nogil:
    """Whether its checksum is right when it is sent, and the device changes nothing else."""
    if node.data[1] not in (0, GSO_UDP_FRAGMENTS) and not uso_size(node):
        return False
    return parse_sums_at(node.data, node.packet.l4, 6) if node.packet.partial else sums_up(node)


cdef bint any_equal(const Node *a, const Node *b, int *left) noexcept nogil:
    """Whether any datagram of one frame equals one of the other's."""
    cdef uint32_t of_a = uso_size(a)
    cdef uint32_t of_b = uso_size(b)
    cdef uint32_t i
    cdef uint32_t j
    cdef Part x
    cdef Part y
    if not of_a and not of_b:
        left[0] -= 1
        return equal_frames(a, b)
    for i in range(uso_count(a)):
        for j in range(uso_count(b)):
            if left[0] <= 0:
                return False
            left[0] -= 1
            x = uso_part(a, of_a, i)
            y = uso_part(b, of_b, j)
            if equal_parts(&x, &y):
                return True
    return False


cdef bint equal_but_for_port(const Node *a, Node *b, int *left) noexcept nogil:
    cdef uint16_t other = get16(a.data + a.packet.l4)
    cdef uint16_t own = get16(b.data + b.packet.l4)
    cdef bint alike
    if a.packet.kind != K_UDP:
        left[0] -= 1
        return False
    aligner_move_udp_port(&b.packet, b.data, b.packet.l4, own, other)
    alike = any_equal(a, b, left)
    aligner_move_udp_port(&b.packet, b.data, b.packet.l4, other, own)
    return alike


cdef uint64_t equal_digest(const Flow *flow, const Node *node, uint32_t index) noexcept nogil:
    """FNV-1a of what is compared: enough to recognise a late copy, because nothing is released for it.

    For UDP the source port is excluded: the SVM's flow may be alone (pairing.pxd) and have another port.
    """
    cdef const Packet *p = &node.packet
    cdef uint64_t sum = 14695981039346656037ULL ^ (flow.key.vlan if p.kind == K_UDP else flow.hash)
    cdef uint32_t at = p.l3
    cdef uint32_t skip = checksum_at(p)  # it may be partial on one side
    cdef uint32_t length = p.l3 + (2 if p.version == 4 else 4)  # that of a super-frame differs
    cdef Part part = uso_part(node, uso_size(node), index)
    while at < part.end:
        if p.kind == K_UDP and (at == length or at == p.l4 + 4):
            at += 2
        elif p.version == 4 and (at == p.l3 + 4 or at == p.l3 + 10):
            at += 2
        elif skip and at == skip or p.kind == K_UDP and at == p.l4:
            at += 2
        elif p.version == 6 and at == p.l3 + 1:
            sum = (sum ^ (node.data[at] & 0xf0)) * 1099511628211ULL
            at += 3
        elif p.version == 6 and at + 4 == p.frag_data:
            at += 4
        else:
            sum = (sum ^ node.data[at]) * 1099511628211ULL
            at += 1
        if at == p.payload and index:
            at = part.begin
    return (sum ^ (part.end - part.begin)) * 1099511628211ULL


cdef uint32_t equal_first_difference(const Node *a, const Node *b) noexcept nogil:
    """The index of the first byte that differs in the first waiting datagrams of both frames.

    A difference in the checksum, which depends on all other bytes, is reported only if there is no other.
    """
    cdef Part x = uso_part(a, uso_size(a), uso_first(a))
    cdef Part y = uso_part(b, uso_size(b), uso_first(b))
    cdef uint32_t from_a = x.begin if uso_size(a) else equal_content(&a.packet)
    cdef uint32_t from_b = y.begin if uso_size(b) else equal_content(&b.packet)
    cdef uint32_t shorter = min(max(x.end, from_a) - from_a, max(y.end, from_b) - from_b)
    cdef uint32_t sum_at = checksum_at(&a.packet)
    cdef uint32_t in_sum = 0
    cdef uint32_t index
    for index in range(shorter):
        if a.data[from_a + index] != b.data[from_b + index]:
            if sum_at == 0 or not 0 <= <int64_t>from_a + index - sum_at < 2:
                return index
            in_sum = in_sum or index
    if x.end - from_a != y.end - from_b:
        return shorter
    return in_sum  # or 0: the difference is in a header
