"""The comparator of one NIC: frames and the time in; frames, divergences and counters out. No I/O.

Rules: docs/comparison.md. One `Core` a NIC; the cores of one proxy share a `Pool`, and with it the bounds.
All functions belong to one thread. `base` points at a virtio-net header (VNET bytes), the frame behind it;
`size` counts both. A core may rewrite the frame in place and may hand it out again (`Out.node` NULL), so a
receive buffer stays untouched until `core_sent`.
"""

from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t

from colo_proxy.datapath.pool cimport Node, Pool

cdef enum Word:
    W_HOLD = 0  # nothing known: hold until a commit
    W_UNPROTECT = 1
    W_SVM_STOP = 2
    W_PVM_STOP = 3
    W_COMMIT = 4
    W_ABORT = 5
    W_FAILOVER = 6
    W_FINISH = 7  # the captures end

cdef struct Settings:
    int64_t timeout  # ns; 0: learned from the SVM's lag
    int64_t reorder  # ns
    uint64_t max_flow_bytes
    uint64_t seed  # of the flow table's hash
    bint observe  # follow each divergence as if a checkpoint had been made
    bint passthrough  # with observe: PVM frames leave on arrival

cdef struct Out:
    uint8_t *base
    uint32_t size
    uint32_t port
    Node *node  # returned to the pool by core_sent

cdef struct Diverged:
    char flow[128]
    char protocol[16]
    int reason
    int64_t stream_offset
    int64_t time
    uint8_t *primary  # malloc'ed copies from the Ethernet header, or NULL; whoever takes the divergence frees them
    uint32_t primary_size
    uint8_t *secondary
    uint32_t secondary_size

# What is counted, one block a NIC; 64-bit words, written by the owning thread alone.
cdef struct Counts:
    uint64_t frames[3]  # by port, received
    uint64_t bytes[3]
    uint64_t released  # PVM (after a failover SVM) frames that left
    uint64_t released_bytes
    uint64_t divergences[4][4]  # by reason, by protocol: tcp, udp, icmp, other
    uint64_t dropped[16]  # by DropId
    uint64_t mode
    uint64_t held_frames
    uint64_t held_bytes
    uint64_t flows
    uint64_t hold_buckets[32]  # hold time: bucket k counts holds under 2**k microseconds that bucket k-1 did not
    uint64_t hold_sum  # ns
    uint64_t timeout  # ns, in force now

cdef struct Core

cdef Core *core_new(Pool *pool, const Settings *settings) except NULL
cdef void core_free(Core *core) noexcept nogil
# Learns from a client's frame and rewrites it in place into the SVM's copy; false: no copy is wanted.
cdef bint core_uplink(Core *core, uint8_t *base, uint32_t size, int64_t now) noexcept nogil
cdef void core_primary(Core *core, uint8_t *base, uint32_t size, int64_t now) noexcept nogil
cdef void core_secondary(Core *core, uint8_t *base, uint32_t size, int64_t now) noexcept nogil
# Returns when the next tick is needed, ns; a far future where nothing waits.
cdef int64_t core_tick(Core *core, int64_t now) noexcept nogil
cdef void core_word(Core *core, Word word, int64_t now) noexcept nogil
# The frames to send, in order; core_sent gives back their nodes and empties the list.
cdef Out *core_outs(Core *core, uint32_t *count) noexcept nogil
cdef void core_sent(Core *core) noexcept nogil
cdef bint core_divergence(Core *core, Diverged *into) noexcept nogil
# A bit per DropId that asks for a checkpoint (D_MEMORY, D_FLOWS) since the last call.
cdef uint32_t core_exhausted(Core *core) noexcept nogil
cdef Counts *core_counts(Core *core) noexcept nogil
