# See recorder.pxd for the idea.

from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport malloc
from libc.string cimport memcpy


cdef void record_frame(Recorder *recorder, uint64_t order, int port, const uint8_t *frame, uint32_t size,
                       int64_t now) noexcept nogil:
    cdef uint32_t at = order & (SLOTS - 1)
    cdef Recorded *slot = &recorder.slots[at]
    recorder.flows[at] = 0
    slot.time = now
    slot.order = order
    slot.size = size
    slot.port = <uint8_t>port
    slot.fate = WAITS
    slot.kept = <uint16_t>min(size, <uint32_t>SNAP)
    memcpy(slot.data, frame, slot.kept)


cdef void record_flow(Recorder *recorder, uint64_t order, uint32_t flow) noexcept nogil:
    cdef uint32_t at = order & (SLOTS - 1)
    if recorder.slots[at].order == order:
        recorder.flows[at] = flow


cdef void record_fate(Recorder *recorder, uint64_t order, Fate fate, int64_t now) noexcept nogil:
    cdef Recorded *slot = &recorder.slots[order & (SLOTS - 1)]
    if slot.order == order and slot.fate == WAITS:
        slot.fate = fate
        slot.fate_time = now


cdef Recorded *recorded(const Recorder *recorder, uint64_t latest, uint32_t flow,
                        uint32_t *count) noexcept nogil:
    cdef uint32_t[EXCHANGES] found
    cdef uint32_t at
    cdef uint32_t index = 0
    cdef Recorded *into
    count[0] = 0
    while count[0] < EXCHANGES and index < SLOTS and index < latest:
        at = (latest - index) & (SLOTS - 1)
        if recorder.flows[at] == flow:
            found[count[0]] = at
            count[0] += 1
        index += 1
    into = <Recorded *>malloc(count[0] * sizeof(Recorded)) if count[0] else NULL
    if into == NULL:
        count[0] = 0
        return NULL
    for index in range(count[0]):
        into[index] = recorder.slots[found[count[0] - 1 - index]]
    return into
