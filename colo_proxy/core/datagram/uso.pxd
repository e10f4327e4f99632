"""Super-frames of UDP (segmentation offload, USO): one frame, many datagrams (docs/comparison.md, section 4).
"""

from libc.stdint cimport uint32_t, uint64_t

from colo_proxy.core.core cimport Core
from colo_proxy.core.flow.pool cimport Node

cdef enum:
    PARTS = 128  # the most that Linux cuts (UDP_MAX_SEGMENTS)
    GSO_UDP_FRAGMENTS = 3  # VIRTIO_NET_HDR_GSO_UDP
    GSO_UDP_SEGMENTS = 5  # VIRTIO_NET_HDR_GSO_UDP_L4

cdef struct Part:
    const Node *node
    uint32_t index
    uint32_t begin  # where its payload begins in node.data
    uint32_t end

# How many bytes of payload each part of a super-frame has, except the last; 0: it is not a super-frame.
cdef uint32_t uso_size(const Node *node) noexcept nogil
cdef uint32_t uso_count(const Node *node) noexcept nogil
# A part of a super-frame whose parts have this size (`uso_size`).
cdef Part uso_part(const Node *node, uint32_t size, uint32_t index) noexcept nogil
# A part as a datagram of its own, in a node of the pool; NULL at the bound.
cdef Node *uso_cut(Core *core, const Node *node, uint32_t index) noexcept nogil

cdef inline bint uso_taken(const Node *node, uint32_t index) noexcept nogil:
    return node.taken[index >> 6] >> (index & 63) & 1

cdef inline void uso_take(Node *node, uint32_t index) noexcept nogil:
    node.taken[index >> 6] |= <uint64_t>1 << (index & 63)

# The index of the first part that waits, or the number of parts.
cdef inline uint32_t uso_first(const Node *node) noexcept nogil:
    cdef uint32_t index = 0
    cdef uint32_t count = uso_count(node)
    while index < count and uso_taken(node, index):
        index += 1
    return index
