"""The comparator of one NIC: frames and the time in; frames, divergences and counters out. No I/O."""

from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t

from colo_proxy.core.core cimport Core, Counts, Diverged, Out, Settings
from colo_proxy.core.flow.flow cimport Guess
from colo_proxy.core.flow.pool cimport Pool

cdef enum Word:
    W_HOLD = 0  # nothing known: hold until a commit
    W_UNPROTECT = 1
    W_SVM_STOP = 2
    W_PVM_STOP = 3
    W_COMMIT = 4
    W_ABORT = 5
    W_FAILOVER = 6
    W_FINISH = 7  # the captures end
    # Between SVM_STOP and COMMIT: the SVM runs on the PVM's state, so a failover now needs no offsets.
    W_SVM_LOADED = 8

# A flow as reported to users. `place`: see table_walk.
cdef struct FlowRecord:
    uint32_t place
    char[128] flow
    char[24] protocol
    uint64_t held_frames
    uint64_t held_bytes
    uint64_t matched_bytes
    uint64_t divergences
    uint32_t offset
    bint blocked
    int64_t idle  # ns

cdef Core *nic_new(Pool *pool, const Settings *settings) except NULL
cdef void nic_free(Core *core) noexcept nogil
# Learn from a client's frame and rewrite it in place into the SVM's copy; false: no copy is wanted.
cdef bint nic_uplink(Core *core, uint8_t *base, uint32_t size, int64_t now) noexcept nogil
# A client's frame from the SVM's capture, in the SVM's numbers. It is used for nothing else.
cdef void nic_received(Core *core, const uint8_t *base, uint32_t size, int64_t now) noexcept nogil
cdef void nic_primary(Core *core, uint8_t *base, uint32_t size, int64_t now) noexcept nogil
cdef void nic_secondary(Core *core, uint8_t *base, uint32_t size, int64_t now) noexcept nogil
# Before a run of frames of a guest, where there are more flows than the cache holds: first nic_expect for
# each frame, then nic_fetch; neither changes anything. Then nic_try before each frame.
cdef bint nic_crowded(const Core *core) noexcept nogil
cdef void nic_expect(const Core *core, const uint8_t *base, uint32_t size, Guess *guess) noexcept nogil
cdef void nic_fetch(const Core *core, Guess *guess) noexcept nogil
cdef void nic_try(Core *core, const Guess *guess) noexcept nogil
cdef void nic_word(Core *core, Word word, int64_t now) noexcept nogil
# The frames to send, in order; nic_sent returns their nodes to the pool and empties the list.
cdef Out *nic_outs(Core *core, uint32_t *count) noexcept nogil
cdef void nic_sent(Core *core) noexcept nogil
cdef bint nic_divergence(Core *core, Diverged *into) noexcept nogil
# One bit for each DropId that has requested a checkpoint (D_MEMORY, D_FLOWS) since the last call.
cdef uint32_t nic_exhausted(Core *core) noexcept nogil
cdef Counts *nic_counts(Core *core) noexcept nogil
# Up to `room` flows from a place on, examining at most `steps` places; returns how many, and in `place` where
# to continue. `steps` becomes what is left of it: if both steps and room are left, there are no more flows.
cdef uint64_t nic_flows(
    Core *core, uint32_t *place, uint32_t *steps, FlowRecord *into, uint64_t room
) noexcept nogil
