"""Memory for frames that must wait: nodes in size classes, recycled, with a bound.

A node is taken when a frame is held and returned when it has been sent or dropped. Memory comes from malloc
while the high-water mark rises and from the free lists afterwards: in the steady state nothing is allocated.
A long frame is received into a node that was lent for it; to hold such a frame, the node is kept. Nodes on
the free lists count towards the bound too: near it, a class gives its spare nodes up for another.
"""

from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t

from colo_proxy.core.packet.parse cimport Packet

cdef enum:
    CLASSES = 7
    LENT = 4  # the class of the nodes that are lent
    HEADROOM = 8  # bytes in front of each received frame, where a VLAN tag can be put back

cdef enum NodeFlag:
    N_RX = 1  # still in a receive buffer: copied if it has to stay
    N_HELD = 2  # on the core's lists
    N_GONE = 4  # given out for sending
    N_SVM = 8  # sent by the SVM
    N_SORTED = 16  # on the list in order of sequence numbers
    N_OWED = 32  # the acknowledgement that remained of a segment whose bytes were released (T6)
    N_PURE = 64  # a pure acknowledgement or a reset: on the flow's list of these
    N_AGAIN = 128  # a reset of a connection that the PVM had reset before
    N_OVERTAKEN = 256  # a datagram of the PVM: the SVM has sent a later one of its flow (D4)
    N_COVERED = 512  # below the agreed range, and the SVM has sent the same (3.1)
    N_WHOLE = 2048  # reassembled; the fragments in `chain` are what is sent
    N_DUPLICATE = 4096  # a true duplicate acknowledgement of the PVM (T7)
    N_UNPLACED = 16384  # its position in the stream is unknown: a reset, or sent before the SYN of this side
    N_CONTRARY = 32768  # a retransmission with other bytes: it waits for the commit (T14)
    N_UNVERIFIED = 65536  # a retransmission of which not all was compared (T14)
    N_SENT = 8192  # released on arrival (observing): it is held only for the comparison

cdef struct Node:
    Node *prev  # arrival order of one side
    Node *next
    Node *flow_prev  # arrival order in the flow
    Node *flow_next
    Node *sort_prev  # in order of sequence numbers
    Node *sort_next
    Node *chain  # the fragments that make up this datagram, in order of arrival
    void *flow
    int64_t time  # arrival, ns
    uint64_t order  # arrival number
    uint64_t begins  # of a datagram: how many bytes were sent before it (D3)
    int64_t overtaken  # of a PVM's datagram: since when it is overtaken, ns
    uint64_t[2] taken  # bits of the datagrams in the frame that have found their equal (uso.pxd)
    uint32_t klass
    uint32_t flags
    uint32_t size  # bytes in data, with the virtio-net header
    uint32_t kept  # the place of the recorder that is kept for this waiting node (recorder.pxd), 0: none
    Packet packet
    uint8_t *data

cdef struct Pool:
    uint64_t held_bytes  # bytes allocated and in use
    # of these, bytes that no checkpoint frees: ranges that guests have SACKed (ranges.pxd)
    uint64_t lasting_bytes
    uint64_t spare_bytes  # bytes on the free lists
    uint64_t max_bytes
    uint64_t flows
    uint64_t max_flows
    Node *free[CLASSES]

cdef Pool *pool_new(uint64_t max_bytes, uint64_t max_flows) except NULL
cdef void pool_free(Pool *pool) noexcept nogil
# A node with room for `size` bytes, or NULL at the bound.
cdef Node *pool_take(Pool *pool, uint32_t size) noexcept nogil
# The same, with only `klass` and `data` set, for a caller who writes the rest.
cdef Node *pool_room(Pool *pool, uint32_t size) noexcept nogil
# A node with room for any frame of a port, and HEADROOM in front, to receive into; NULL: there is no memory.
# It does not count towards the bound until it is kept; pool_keep returns false if it would exceed the bound.
# `pool_return` takes back what is not kept.
cdef Node *pool_lend(Pool *pool) noexcept nogil
cdef bint pool_keep(Pool *pool, Node *node) noexcept nogil
cdef void pool_return(Pool *pool, Node *node) noexcept nogil
# Whether a frame of this size needs a node of the class that is lent.
cdef bint pool_is_long(uint32_t size) noexcept nogil
# Return a node, and the chain behind it.
cdef void pool_give(Pool *pool, Node *node) noexcept nogil
# Remove the first node from a chain that is not empty.
cdef inline Node *pool_unchain(Node **chain) noexcept nogil:
    cdef Node *first = chain[0]
    chain[0] = first.chain
    first.chain = NULL
    return first
cdef uint32_t pool_node_cost(const Node *node) noexcept nogil
cdef uint64_t pool_chain_cost(const Node *node) noexcept nogil
# Add up what would be sent: the frame, or the fragments in which it arrived.
cdef void pool_weigh(const Node *node, uint64_t *frames, uint64_t *bytes) noexcept nogil
