"""The flight recorder: what a NIC's last frames were, for the report of a divergence."""

from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t

cdef enum:
    SLOTS = 4096  # frames remembered; a power of two
    SNAP = 128  # bytes kept of each: the headers, and where payload begins
    EXCHANGES = 32  # of them that a divergence takes out
    PLACES = 32  # for flows of which something waits

cdef enum Fate:
    FATE_WAITS = 0  # held; of clients' and of the SVM's frames nothing else is said
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

# The last exchanges of a flow of which something waits.
cdef struct Kept:
    uint32_t flow  # its hash
    uint32_t waiting  # nodes that wait for so long; 0: the place is free
    uint32_t count  # frames ever written here: the next one goes into slot `count` modulo EXCHANGES
    Recorded[EXCHANGES] slots

cdef struct Recorder:
    uint32_t[SLOTS] flows  # apart from the slots, for the search; 0: not known
    Recorded[SLOTS] slots
    Kept[PLACES] kept
    uint32_t next  # where the search for a free place begins

cdef void recorder_frame(Recorder *recorder, uint64_t order, int port, const uint8_t *frame, uint32_t size,
                         int64_t now) noexcept nogil
# The frame belongs to the flow with this hash.
cdef inline void recorder_flow(Recorder *recorder, uint64_t order, uint32_t flow) noexcept nogil:
    cdef uint32_t at = order & (SLOTS - 1)
    if recorder.slots[at].order == order:
        recorder.flows[at] = flow

# What became of it; the first that is said stays.
cdef void recorder_fate(Recorder *recorder, uint64_t order, Fate fate, int64_t now) noexcept nogil
# Something of a flow waits for long: its exchanges stay from now on, those that are still known up to frame
# `latest` among them. `place` is the flow's, or 0. Returns the place, from 1; 0: all are taken. Each call
# that gave a place is undone by recorder_give_back.
cdef uint32_t recorder_keep(Recorder *recorder, uint32_t place, uint64_t latest,
                            uint32_t flow) noexcept nogil
cdef void recorder_give_back(Recorder *recorder, uint32_t place) noexcept nogil
# Whether a place is still that flow's.
cdef bint recorder_is_kept(const Recorder *recorder, uint32_t place, uint32_t flow) noexcept nogil
# A later frame of a flow that has a place.
cdef void recorder_add_later(Recorder *recorder, uint32_t place, uint64_t order) noexcept nogil
# What became of a frame of a flow that has a place.
cdef void recorder_kept_fate(Recorder *recorder, uint32_t place, uint64_t order, Fate fate,
                             int64_t now) noexcept nogil
# The source MAC of the latest frame of a port that has `count` bytes `between` the MACs and what follows, and
# this address at `at`; NULL: there is none.
cdef const uint8_t *recorder_source(const Recorder *recorder, uint64_t latest, int port,
                                    const uint8_t *between, uint32_t count, uint32_t at,
                                    const uint8_t *address, uint32_t length) noexcept nogil
# A malloc'ed copy of a flow's last exchanges up to frame `latest`, oldest first, from its place (0: none) or
# from the ring; NULL: there are none.
cdef Recorded *recorder_copy(const Recorder *recorder, uint32_t place, uint64_t latest, uint32_t flow,
                             uint32_t *count) noexcept nogil
