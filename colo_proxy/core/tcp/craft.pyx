"""Segments that the proxy makes itself, from one that the PVM has sent.

Each starts as a copy of that segment's headers. The fields that differ are rewritten, and `craft_seal` sets
lengths and checksums.
"""

from libc.stdint cimport uint8_t, uint16_t, uint32_t
from libc.string cimport memcpy, memset

from colo_proxy.core.core cimport Core
from colo_proxy.core.flow.pool cimport Node, pool_take
from colo_proxy.core.packet.checksum cimport checksum_of
from colo_proxy.core.packet.parse cimport ACK, FIN, PSH, SYN, VNET, Packet, get16, put16, put32
from colo_proxy.core.packet.seq cimport Seq, seq_add, seq_diff


cdef uint32_t craft_gso_size(const Node *node) noexcept nogil:
    """The size of a super-frame's segments (virtio 1.2, 5.1.6; host's byte order), 0 for a plain frame."""
    cdef uint16_t size
    memcpy(&size, node.data + 4, 2)
    return size if node.data[1] else 0


cdef Node *craft_part(Core *core, const Node *node, Seq begin, uint32_t count) noexcept nogil:
    cdef uint32_t headers = node.packet.payload
    cdef uint32_t offset = seq_diff(begin, node.packet.seq)
    cdef uint32_t segment = craft_gso_size(node)
    cdef Node *made = pool_take(core.pool, headers + count)
    if made == NULL:
        return NULL
    memcpy(made.data, node.data, headers)
    memcpy(made.data + headers, node.data + headers + offset, count)
    made.packet = node.packet
    made.packet.size = headers + count
    made.packet.end = headers + count
    made.packet.seq = begin
    made.packet.length = count
    made.packet.flags &= ~(FIN | PSH)
    made.size = headers + count
    made.time = core.now
    if count <= segment or not segment:
        memset(made.data, 0, VNET)
        made.packet.partial = False
    put32(made.data + made.packet.l4 + 4, begin.n)
    made.data[made.packet.l4 + 13] &= ~(FIN | PSH) & 0xff
    craft_seal(&made.packet, made.data)
    return made


cdef Node *craft_acknowledgement(Core *core, const Node *node, Seq ack, uint8_t scale) noexcept nogil:
    """A pure acknowledgement with a segment's headers, as the PVM would send it right after that segment."""
    cdef uint32_t size = node.packet.payload
    cdef Node *made = pool_take(core.pool, size)
    if made == NULL:
        return NULL  # the client's retransmission will request it again
    memcpy(made.data, node.data, size)
    memset(made.data, 0, VNET)
    made.packet = node.packet
    made.packet.size = size
    made.packet.end = size
    made.packet.seq = seq_add(node.packet.seq, node.packet.length)
    made.packet.length = 0
    made.packet.ack = ack
    made.packet.flags = ACK
    if node.packet.flags & SYN:
        made.packet.window >>= scale  # that of a SYN is not scaled (RFC 7323, 2.2)
        put16(made.data + made.packet.l4 + 14, made.packet.window)
    made.packet.partial = False
    made.packet.urgent = 0
    made.size = size
    made.time = core.now
    made.order = node.order
    put32(made.data + made.packet.l4 + 4, made.packet.seq.n)
    put32(made.data + made.packet.l4 + 8, ack.n)
    made.data[made.packet.l4 + 13] = ACK
    put16(made.data + made.packet.l4 + 18, 0)
    craft_seal(&made.packet, made.data)
    return made


cdef void craft_seal(const Packet *p, uint8_t *base) noexcept nogil:
    """Set the lengths and the checksums of a TCP segment."""
    cdef uint8_t *ip = base + p.l3
    cdef uint8_t *tcp = base + p.l4
    cdef uint32_t size = p.end - p.l4
    cdef uint32_t pseudo = size + 6  # RFC 9293, 3.1: the addresses, the protocol and the length
    cdef uint32_t at = 12 if p.version == 4 else 8
    cdef uint32_t until = 20 if p.version == 4 else 40
    while at < until:
        pseudo += get16(ip + at)
        at += 2
    if p.version == 4:
        put16(ip + 2, p.end - p.l3)
        put16(ip + 10, 0)
        put16(ip + 10, checksum_of(ip, (ip[0] & 15) * 4, 0))
    else:
        put16(ip + 4, p.end - p.l3 - 40)
    if p.partial:
        # virtio 1.2, 5.1.6.2: the pseudo-header's sum
        put16(tcp + 16, <uint16_t>~checksum_of(tcp, 0, pseudo))
        return
    put16(tcp + 16, 0)
    put16(tcp + 16, checksum_of(tcp, size, pseudo))
