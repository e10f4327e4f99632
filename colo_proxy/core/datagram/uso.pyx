"""Super-frames of UDP (segmentation offload, USO): one frame, many datagrams (docs/comparison.md, section 4).

Whoever forwards such a frame cuts its payload every `gso_size` bytes and puts its headers in front of each
part, with their own lengths and checksums (virtio 1.2, 5.1.6.2). Here nothing is cut: a *part* is a datagram
of a frame, identified by its index; any other frame is its own part 0. `node.taken` has a bit for each part
that has found its equal.
"""

from libc.stdint cimport uint8_t, uint16_t, uint32_t
from libc.string cimport memcpy, memset

from colo_proxy.core.core cimport Core
from colo_proxy.core.flow.pool cimport N_SVM, Node, pool_take
from colo_proxy.core.packet.checksum cimport checksum_of
from colo_proxy.core.packet.parse cimport IP_UDP, K_UDP, VNET, Packet, get16, parse_sums_at, put16


cdef uint32_t uso_size(const Node *node) noexcept nogil:
    cdef const Packet *p = &node.packet
    cdef uint16_t size
    if node.data[1] != GSO_UDP_SEGMENTS or p.kind != K_UDP or p.frag_data != 0:
        return 0
    memcpy(&size, node.data + 4, 2)
    if size == 0 or p.end == p.payload or p.end - p.payload > PARTS * <uint32_t>size:
        return 0
    if not p.partial or not parse_sums_at(node.data, p.l4, 6) or get16(node.data + p.l4 + 4) != p.end - p.l4:
        return 0
    return size


cdef uint32_t uso_count(const Node *node) noexcept nogil:
    cdef uint32_t size = uso_size(node)
    return (node.packet.end - node.packet.payload + size - 1) // size if size else 1


cdef Part uso_part(const Node *node, uint32_t size, uint32_t index) noexcept nogil:
    cdef Part part
    part.node = node
    part.index = index
    part.begin = node.packet.payload + index * size
    part.end = node.packet.end
    if size:
        part.end = min(part.end, part.begin + size)
    return part


cdef Node *uso_cut(Core *core, const Node *node, uint32_t index) noexcept nogil:
    cdef Part part = uso_part(node, uso_size(node), index)
    cdef uint32_t headers = node.packet.payload
    cdef uint32_t size = headers + part.end - part.begin
    cdef uint32_t pseudo = IP_UDP + size - node.packet.l4
    cdef Node *made = pool_take(core.pool, size)
    cdef Packet *p
    cdef uint8_t *ip
    if made == NULL:
        return NULL
    memcpy(made.data, node.data, headers)
    memset(made.data, 0, VNET)
    memcpy(made.data + headers, node.data + part.begin, part.end - part.begin)
    made.packet = node.packet
    p = &made.packet
    p.size = p.end = size
    p.partial = False
    made.size = size
    made.time = node.time
    made.order = node.order
    made.flags = node.flags & N_SVM
    ip = made.data + p.l3
    if p.version == 4:
        put16(ip + 2, size - p.l3)
        put16(ip + 4, get16(ip + 4) + index)  # as Linux counts it
        put16(ip + 10, 0)
        put16(ip + 10, checksum_of(ip, p.l4 - p.l3, 0))
        pseudo += <uint16_t>~checksum_of(ip + 12, 8, 0)
    else:
        put16(ip + 4, size - p.l3 - 40)
        pseudo += <uint16_t>~checksum_of(ip + 8, 32, 0)
    put16(made.data + p.l4 + 4, size - p.l4)
    put16(made.data + p.l4 + 6, 0)
    # A sum of zero is sent as all ones (RFC 768).
    put16(made.data + p.l4 + 6, checksum_of(made.data + p.l4, size - p.l4, pseudo) or 0xffff)
    return made
