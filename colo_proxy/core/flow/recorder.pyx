"""The flight recorder: the last frames of a NIC, for the report of a divergence.

A ring of fixed size has one slot for each frame received from clients, PVM and SVM: its first bytes, its
arrival time, and what happened to it. A frame's arrival number (`Node.order`) determines its slot. So what
happens later is recorded without a search, and not recorded once another frame uses the slot. The flow is
recorded when it is known, as the hash of the flow's key.

On a busy NIC the ring is overwritten long before the timeout shows what is missing. So a flow on which
something has waited for a while (timers.pyx) gets one of PLACES *places* for as long as it waits: its
exchanges are copied there, and later ones are added. If all places are taken, only the ring is left.

Nothing is allocated for a frame; a divergence copies the slots of its flow.
"""

from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport malloc
from libc.string cimport memcmp, memcpy


cdef void recorder_frame(Recorder *recorder, uint64_t order, int port, const uint8_t *frame, uint32_t size,
                         int64_t now) noexcept nogil:
    cdef uint32_t at = order & (SLOTS - 1)
    cdef Recorded *slot = &recorder.slots[at]
    recorder.flows[at] = 0
    slot.time = now
    slot.order = order
    slot.size = size
    slot.port = <uint8_t>port
    slot.fate = FATE_WAITS
    slot.kept = <uint16_t>min(size, <uint32_t>SNAP)
    memcpy(slot.data, frame, slot.kept)


cdef void recorder_fate(Recorder *recorder, uint64_t order, Fate fate, int64_t now) noexcept nogil:
    cdef Recorded *slot = &recorder.slots[order & (SLOTS - 1)]
    if slot.order == order and slot.fate == FATE_WAITS:
        slot.fate = fate
        slot.fate_time = now


cdef uint32_t search(const Recorder *recorder, uint64_t latest, uint32_t flow,
                     uint32_t *found) noexcept nogil:
    """The slots of a flow's last exchanges, latest first."""
    cdef uint32_t count = 0
    cdef uint32_t index = 0
    cdef uint32_t at
    while count < EXCHANGES and index < SLOTS and index < latest:
        at = (latest - index) & (SLOTS - 1)
        if recorder.flows[at] == flow:
            found[count] = at
            count += 1
        index += 1
    return count


cdef bint recorder_is_kept(const Recorder *recorder, uint32_t place, uint32_t flow) noexcept nogil:
    return place != 0 and recorder.kept[place - 1].waiting != 0 and recorder.kept[place - 1].flow == flow


cdef uint32_t free_place(Recorder *recorder) noexcept nogil:
    cdef uint32_t place
    cdef int _
    for _ in range(PLACES):
        place = recorder.next
        recorder.next = (place + 1) % PLACES
        if recorder.kept[place].waiting == 0:
            return place + 1
    return 0


cdef uint32_t recorder_keep(Recorder *recorder, uint32_t place, uint64_t latest,
                            uint32_t flow) noexcept nogil:
    cdef uint32_t[EXCHANGES] found
    cdef uint32_t index
    cdef Kept *kept
    if not recorder_is_kept(recorder, place, flow):
        place = free_place(recorder)
        if place == 0:
            return 0
        kept = &recorder.kept[place - 1]
        kept.flow = flow
        kept.count = search(recorder, latest, flow, found)
        for index in range(kept.count):
            kept.slots[index] = recorder.slots[found[kept.count - 1 - index]]
    recorder.kept[place - 1].waiting += 1
    return place


cdef void recorder_give_back(Recorder *recorder, uint32_t place) noexcept nogil:
    recorder.kept[place - 1].waiting -= 1


cdef void recorder_add_later(Recorder *recorder, uint32_t place, uint64_t order) noexcept nogil:
    cdef const Recorded *slot = &recorder.slots[order & (SLOTS - 1)]
    cdef Kept *kept = &recorder.kept[place - 1]
    if slot.order == order:
        kept.slots[kept.count % EXCHANGES] = slot[0]
        kept.count += 1


cdef void recorder_kept_fate(Recorder *recorder, uint32_t place, uint64_t order, Fate fate,
                             int64_t now) noexcept nogil:
    cdef Kept *kept = &recorder.kept[place - 1]
    cdef uint32_t index
    for index in range(min(kept.count, <uint32_t>EXCHANGES)):
        if kept.slots[index].order == order and kept.slots[index].fate == FATE_WAITS:
            kept.slots[index].fate = fate
            kept.slots[index].fate_time = now


cdef const uint8_t *recorder_source(const Recorder *recorder, uint64_t latest, int port,
                                    const uint8_t *between, uint32_t count, uint32_t at,
                                    const uint8_t *address, uint32_t length) noexcept nogil:
    cdef const Recorded *slot
    cdef uint32_t index
    for index in range(<uint32_t>min(latest, <uint64_t>SLOTS)):
        slot = &recorder.slots[(latest - index) & (SLOTS - 1)]
        if slot.port == port and slot.kept >= at + length and \
                memcmp(slot.data + 12, between, count) == 0 and memcmp(slot.data + at, address, length) == 0:
            return slot.data + 6
    return NULL


cdef Recorded *recorder_copy(const Recorder *recorder, uint32_t place, uint64_t latest, uint32_t flow,
                             uint32_t *count) noexcept nogil:
    cdef uint32_t[EXCHANGES] found
    cdef uint32_t index
    cdef const Kept *kept = NULL
    cdef Recorded *into
    if recorder_is_kept(recorder, place, flow):
        kept = &recorder.kept[place - 1]
        count[0] = min(kept.count, <uint32_t>EXCHANGES)
    else:
        count[0] = search(recorder, latest, flow, found)
    into = <Recorded *>malloc(count[0] * sizeof(Recorded)) if count[0] else NULL
    if into == NULL:
        count[0] = 0
        return NULL
    for index in range(count[0]):
        if kept != NULL:
            into[index] = kept.slots[(kept.count - count[0] + index) % EXCHANGES]
        else:
            into[index] = recorder.slots[found[count[0] - 1 - index]]
    return into
