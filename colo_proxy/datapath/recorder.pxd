"""The flight recorder: what a NIC's last frames were, for the report of a divergence.

A fixed ring of slots, one for each frame received, from the client, the PVM and the SVM alike: its first
bytes, when it came and what became of it. A frame's arrival number (`Node.order`) names its slot, so that
what happens to it later finds it without a search, and finds nothing once the slot serves another. Which flow
it belongs to is written when that is known, as the hash of the flow's key.

Nothing is allocated per frame; a divergence copies out its flow's slots.
"""

from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t

cdef enum:
    SLOTS = 4096  # frames remembered; a power of two
    SNAP = 128  # bytes kept of each: the headers, and where payload begins
    EXCHANGES = 32  # of them that a divergence takes out

cdef enum Fate:
    WAITS = 0  # held; of clients' and of the SVM's frames nothing else is said
    LEFT = 1
    DROPPED = 2

cdef struct Recorded:
    int64_t time  # arrival, ns
    int64_t fate_time  # ns
    uint64_t order
    uint32_t size  # of the whole frame, from its Ethernet header
    uint16_t kept
    uint8_t port
    uint8_t fate
    uint8_t[SNAP] data

cdef struct Recorder:
    uint32_t[SLOTS] flows  # apart from the slots, for the search; 0: not known
    Recorded[SLOTS] slots

cdef void record_frame(Recorder *recorder, uint64_t order, int port, const uint8_t *frame, uint32_t size,
                       int64_t now) noexcept nogil
# The frame belongs to the flow with this hash.
cdef void record_flow(Recorder *recorder, uint64_t order, uint32_t flow) noexcept nogil
# What became of it; the first that is said stays.
cdef void record_fate(Recorder *recorder, uint64_t order, Fate fate, int64_t now) noexcept nogil
# A malloc'ed copy of a flow's last exchanges up to frame `latest`, oldest first; NULL: there are none.
cdef Recorded *recorded(const Recorder *recorder, uint64_t latest, uint32_t flow,
                        uint32_t *count) noexcept nogil
