"""The flight recorder: the last frames of a NIC, for the report of a divergence."""

from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t

cdef enum:
    SLOTS = 4096  # frames remembered; a power of two
    SNAP = 128  # bytes kept of each frame: the headers, and the beginning of the payload
    EXCHANGES = 32  # frames that a divergence copies
    PLACES = 32  # places for flows on which something waits

cdef enum Fate:
    FATE_WAITS = 0  # held; for frames of clients and of the SVM nothing else is recorded
    FATE_LEFT = 1
    FATE_DROPPED = 2

cdef struct Recorded:
    int64_t time  # arrival, ns
    int64_t fate_time  # ns
    uint64_t order
    uint32_t size  # of the whole frame, from its Ethernet header
    uint16_t kept
    uint8_t port
    uint8_t fate
    uint8_t[SNAP] data

# The last exchanges of a flow on which something waits.
cdef struct Kept:
    uint32_t flow  # the flow's hash
    uint32_t waiting  # number of nodes that have waited for so long; 0: the place is free
    uint32_t count  # frames ever written here: the next one goes into slot `count` modulo EXCHANGES
    Recorded[EXCHANGES] slots

cdef struct Recorder:
    uint32_t[SLOTS] flows  # apart from the slots, so that a search reads little; 0: not known
    Recorded[SLOTS] slots
    Kept[PLACES] kept
    uint32_t next  # where the search for a free place begins

cdef void recorder_frame(Recorder *recorder, uint64_t order, int port, const uint8_t *frame, uint32_t size,
                         int64_t now) noexcept nogil
# Record that the frame belongs to the flow with this hash.
cdef inline void recorder_flow(Recorder *recorder, uint64_t order, uint32_t flow) noexcept nogil:
    cdef uint32_t at = order & (SLOTS - 1)
    if recorder.slots[at].order == order:
        recorder.flows[at] = flow

# Record what happened to it; only the first call counts.
cdef void recorder_fate(Recorder *recorder, uint64_t order, Fate fate, int64_t now) noexcept nogil
# Something of a flow has waited for a while: keep its exchanges from now on, with those up to frame `latest`
# that are still in the ring. `place` is the flow's, or 0. Returns the place, from 1; 0: all are taken. Each
# call that returned a place is undone by recorder_give_back.
cdef uint32_t recorder_keep(Recorder *recorder, uint32_t place, uint64_t latest,
                            uint32_t flow) noexcept nogil
cdef void recorder_give_back(Recorder *recorder, uint32_t place) noexcept nogil
# Whether a place still belongs to that flow.
cdef bint recorder_is_kept(const Recorder *recorder, uint32_t place, uint32_t flow) noexcept nogil
# Add a later frame of a flow that has a place.
cdef void recorder_add_later(Recorder *recorder, uint32_t place, uint64_t order) noexcept nogil
# Record what happened to a frame of a flow that has a place.
cdef void recorder_kept_fate(Recorder *recorder, uint32_t place, uint64_t order, Fate fate,
                             int64_t now) noexcept nogil
# The source MAC of the latest frame of a port which has this address at `at` and these `count` bytes
# (`between`) between the MACs and layer 3; NULL: there is none.
cdef const uint8_t *recorder_source(const Recorder *recorder, uint64_t latest, int port,
                                    const uint8_t *between, uint32_t count, uint32_t at,
                                    const uint8_t *address, uint32_t length) noexcept nogil
# A malloc'ed copy of a flow's last exchanges up to frame `latest`, oldest first, from its place (0: none) or
# from the ring; NULL: there are none.
cdef Recorded *recorder_copy(const Recorder *recorder, uint32_t place, uint64_t latest, uint32_t flow,
                             uint32_t *count) noexcept nogil
