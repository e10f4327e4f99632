"""Where frames that must wait are kept: nodes in size classes, recycled, bounded.

A node is taken when a frame is held and given back when it has been sent or dropped. Slabs come from
malloc while the high-water mark rises, never after: the steady state allocates nothing.
"""

from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t

from colo_proxy.datapath.wire cimport Packet

cdef struct Node:
    # the core's lists: arrival order of one side, arrival order in the flow, order of sequence numbers
    Node *prev
    Node *next
    Node *flow_prev
    Node *flow_next
    Node *sort_prev
    Node *sort_next
    Node *chain  # the fragments that make up this datagram, in order of arrival
    void *flow
    int64_t time  # arrival, ns
    uint64_t order  # arrival number
    uint32_t klass
    uint32_t flags
    uint32_t size  # bytes in data, the virtio-net header included
    Packet packet
    uint8_t *data

cdef struct Pool:
    uint64_t held_bytes  # what is taken now, in allocated bytes
    uint64_t max_bytes
    uint64_t flows
    uint64_t max_flows
    Node *free[5]
    void *slabs

cdef Pool *pool_new(uint64_t max_bytes, uint64_t max_flows) except NULL
cdef void pool_free(Pool *pool) noexcept nogil
# A node with room for `size` bytes, or NULL at the bound.
cdef Node *pool_take(Pool *pool, uint32_t size) noexcept nogil
cdef void pool_give(Pool *pool, Node *node) noexcept nogil
cdef uint32_t node_cost(const Node *node) noexcept nogil
