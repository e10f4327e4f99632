"""Memory for frames that must wait: nodes in size classes, recycled, with a bound.

How a node is laid out: pool.pxd. Each class has a free list; a request is served from it, then from malloc up
to the bound, and at the bound from the spare nodes of other classes.
"""

from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memset

from colo_proxy.core.packet.parse cimport MAX_CAPTURED, MAX_FRAME, VNET

cdef extern from *:
    """
    /* Under AddressSanitizer a node that was given back is freed, so that any use of it is seen. */
    #if defined(__has_feature)
    #if __has_feature(address_sanitizer)
    #define COLO_PROXY_RECYCLE 0
    #endif
    #endif
    #if !defined(COLO_PROXY_RECYCLE) && !defined(__SANITIZE_ADDRESS__)
    #define COLO_PROXY_RECYCLE 1
    #elif !defined(COLO_PROXY_RECYCLE)
    #define COLO_PROXY_RECYCLE 0
    #endif
    """
    const bint RECYCLE "COLO_PROXY_RECYCLE"

# Room in a node's data by class: an acknowledgement, a full Ethernet frame, a jumbo frame, a quarter and a
# whole super-frame, and the longest frame of a capture.
cdef uint32_t[CLASSES] ROOM = [
    256, 2048, 9216, 20480, HEADROOM + VNET + MAX_FRAME, VNET + MAX_CAPTURED // 4, VNET + MAX_CAPTURED
]


cdef Pool *pool_new(uint64_t max_bytes, uint64_t max_flows) except NULL:
    cdef Pool *pool = <Pool *>calloc(1, sizeof(Pool))
    if pool == NULL:
        raise MemoryError
    pool.max_bytes = max_bytes
    pool.max_flows = max_flows
    return pool


cdef void pool_free(Pool *pool) noexcept nogil:
    """Free the spare nodes and the pool; every node must have been returned."""
    cdef int klass
    if pool != NULL:
        for klass in range(CLASSES):
            release_spare(pool, klass)
        free(pool)


cdef void release_spare(Pool *pool, int klass) noexcept nogil:
    cdef Node *node
    while pool.free[klass] != NULL:
        node = pool.free[klass]
        pool.free[klass] = node.next
        pool.spare_bytes -= pool_node_cost(node)
        free(node)


cdef uint32_t pool_node_cost(const Node *node) noexcept nogil:
    """The bytes of memory that a node takes, with its header."""
    return <uint32_t>sizeof(Node) + ROOM[node.klass]


cdef uint64_t pool_chain_cost(const Node *node) noexcept nogil:
    """The same for a node and the chain behind it."""
    cdef uint64_t cost = 0
    while node != NULL:
        cost += pool_node_cost(node)
        node = node.chain
    return cost


cdef Node *pool_take(Pool *pool, uint32_t size) noexcept nogil:
    cdef Node *node = pool_room(pool, size)
    cdef uint32_t klass
    if node != NULL:
        klass = node.klass
        memset(node, 0, sizeof(Node))
        node.klass = klass
        node.data = <uint8_t *>node + sizeof(Node)
    return node


cdef Node *pool_room(Pool *pool, uint32_t size) noexcept nogil:
    cdef int klass = 0
    cdef uint64_t cost
    cdef Node *node
    while klass < CLASSES and ROOM[klass] < size:
        klass += 1
    if klass == CLASSES:
        return NULL
    cost = sizeof(Node) + ROOM[klass]
    if pool.held_bytes + cost > pool.max_bytes:
        return NULL
    if pool.free[klass] == NULL:
        make_room(pool, cost)
    node = unused(pool, klass)
    if node != NULL:
        pool.held_bytes += cost
    return node


cdef void make_room(Pool *pool, uint64_t cost) noexcept nogil:
    """Free spare nodes of other classes until the bound allows `cost` bytes more."""
    cdef int klass
    for klass in range(CLASSES):
        if pool.held_bytes + pool.spare_bytes + cost <= pool.max_bytes:
            return
        release_spare(pool, klass)


cdef Node *unused(Pool *pool, int klass) noexcept nogil:
    """A node from the free list, or a new one; it is not counted yet."""
    cdef Node *node = pool.free[klass]
    if node != NULL:
        pool.free[klass] = node.next
        pool.spare_bytes -= pool_node_cost(node)
    else:
        node = <Node *>malloc(sizeof(Node) + ROOM[klass])
        if node == NULL:
            return NULL
        node.klass = klass
    node.data = <uint8_t *>node + sizeof(Node)
    return node


cdef bint pool_is_long(uint32_t size) noexcept nogil:
    return size > ROOM[LENT - 1]


cdef Node *pool_lend(Pool *pool) noexcept nogil:
    return unused(pool, LENT)


cdef bint pool_keep(Pool *pool, Node *node) noexcept nogil:
    cdef uint64_t cost = pool_node_cost(node)
    if pool.held_bytes + cost > pool.max_bytes:
        return False
    make_room(pool, cost)
    pool.held_bytes += cost
    return True


cdef void pool_return(Pool *pool, Node *node) noexcept nogil:
    cdef uint64_t cost = pool_node_cost(node)
    if not RECYCLE or pool.held_bytes + pool.spare_bytes + cost > pool.max_bytes:
        free(node)
        return
    pool.spare_bytes += cost
    node.next = pool.free[node.klass]
    pool.free[node.klass] = node


cdef void pool_give(Pool *pool, Node *node) noexcept nogil:
    cdef Node *behind
    cdef uint32_t cost
    while node != NULL:
        behind = node.chain
        cost = pool_node_cost(node)
        pool.held_bytes -= cost
        if not RECYCLE:
            free(node)
            node = behind
            continue
        pool.spare_bytes += cost
        node.next = pool.free[node.klass]
        pool.free[node.klass] = node
        node = behind


cdef void pool_weigh(const Node *node, uint64_t *frames, uint64_t *bytes) noexcept nogil:
    if node.chain != NULL:
        node = node.chain
    while node != NULL:
        frames[0] += 1
        bytes[0] += node.size - VNET
        node = node.chain
