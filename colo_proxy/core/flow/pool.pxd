"""Where frames that must wait are kept: nodes in size classes, recycled, bounded.

A node is taken when a frame is held and given back when it has been sent or dropped. Memory comes from
malloc while the high-water mark rises and from the free lists after: the steady state allocates nothing.
A long frame is received into a node that was lent for it, so that holding it means to keep that node.
What lies on the free lists counts too: when the bound is near, a class gives its spare nodes up to another.
"""

from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t

from colo_proxy.core.packet.parse cimport Packet

cdef enum:
    CLASSES = 7
    LENT = 4  # the class of nodes that are lent
    HEADROOM = 8  # in front of each received frame: a VLAN tag is put back there

cdef enum NodeFlag:
    N_RX = 1  # still in a receive buffer: copied when it has to stay
    N_HELD = 2  # on the core's lists
    N_GONE = 4  # handed out
    N_SVM = 8  # said by the SVM
    N_SORTED = 16  # on the list in order of sequence numbers
    N_OWED = 32  # the acknowledgement left over from a segment that has gone (T6)
    N_PURE = 64  # a pure acknowledgement or a reset: on the flow's list of those
    N_AGAIN = 128  # a reset of what the PVM had reset before
    N_OVERTAKEN = 256  # a datagram of the PVM: the SVM has said a later one of its flow (D4)
    N_COVERED = 512  # below the agreed range, and the SVM has said the same (3.1)
    N_WHOLE = 2048  # reassembled; `chain` is what leaves
    N_DUPLICATE = 4096  # a true duplicate acknowledgement of the PVM (T7)
    N_UNPLACED = 16384  # nobody knows where in the stream: a reset, or said before the SYN of this side
    N_CONTRARY = 32768  # a retransmission with other bytes: it waits for the commit (T14)
    N_UNVERIFIED = 65536  # a retransmission of which not all was compared (T14)
    N_SENT = 8192  # has left on arrival (observing): what is held is for the comparison alone

cdef struct Node:
    Node *prev  # arrival order of one side
    Node *next
    Node *flow_prev  # arrival order in the flow
    Node *flow_next
    Node *sort_prev  # order of sequence numbers
    Node *sort_next
    Node *chain  # the fragments that make up this datagram, in order of arrival
    void *flow
    int64_t time  # arrival, ns
    uint64_t order  # arrival number
    uint64_t begins  # of a datagram: the bytes said before it (D3)
    int64_t overtaken  # of a PVM's datagram: since when, ns
    uint64_t[2] taken  # which datagrams of the frame have found their equal (uso.pxd)
    uint32_t klass
    uint32_t flags
    uint32_t size  # bytes in data, the virtio-net header included
    uint32_t kept  # the place of the recorder that this node's wait keeps (recorder.pxd), 0: none
    Packet packet
    uint8_t *data

cdef struct Pool:
    uint64_t held_bytes  # what is taken now, in allocated bytes
    uint64_t lasting_bytes  # of these what no checkpoint frees: ranges that guests have SACKed (ranges.pxd)
    uint64_t spare_bytes  # what lies on the free lists
    uint64_t max_bytes
    uint64_t flows
    uint64_t max_flows
    Node *free[CLASSES]

cdef Pool *pool_new(uint64_t max_bytes, uint64_t max_flows) except NULL
cdef void pool_free(Pool *pool) noexcept nogil
# A node with room for `size` bytes, or NULL at the bound.
cdef Node *pool_take(Pool *pool, uint32_t size) noexcept nogil
# The same, with nothing set but `klass` and `data`, for who writes all of it.
cdef Node *pool_room(Pool *pool, uint32_t size) noexcept nogil
# A node with room for any frame of a port, HEADROOM in front, to receive into; NULL: there is no memory. It
# is outside of the bound until it is kept; false: it would pass the bound. `pool_return` takes back what is
# not kept.
cdef Node *pool_lend(Pool *pool) noexcept nogil
cdef bint pool_keep(Pool *pool, Node *node) noexcept nogil
cdef void pool_return(Pool *pool, Node *node) noexcept nogil
# Whether a frame of this size would take a node of the kind that is lent.
cdef bint pool_is_long(uint32_t size) noexcept nogil
# Gives a node back, and the chain behind it.
cdef void pool_give(Pool *pool, Node *node) noexcept nogil
# Take the first node off a chain that is not empty.
cdef inline Node *pool_unchain(Node **chain) noexcept nogil:
    cdef Node *first = chain[0]
    chain[0] = first.chain
    first.chain = NULL
    return first
cdef uint32_t pool_node_cost(const Node *node) noexcept nogil
cdef uint64_t pool_chain_cost(const Node *node) noexcept nogil
# Adds what would leave: the frame, or the fragments that it came in.
cdef void pool_weigh(const Node *node, uint64_t *frames, uint64_t *bytes) noexcept nogil
