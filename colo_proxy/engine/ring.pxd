"""The border between data path and control plane: a ring in each direction, each with one writer, one reader
and an eventfd that wakes the reader.
"""

from libc.stdint cimport uint8_t, uint32_t, uint64_t

cdef struct Ring:
    uint64_t head  # slots read
    uint8_t[56] apart  # keeps the two counters on different cache lines
    uint64_t tail  # slots written
    uint8_t[56] apart_too
    uint8_t *slots
    uint32_t slot_size
    uint32_t capacity
    int bell  # eventfd, readable after a publication

cdef int ring_open(Ring *ring, uint32_t capacity, uint32_t slot_size) except -1
cdef void ring_close(Ring *ring) noexcept nogil
# For the writer: the slot to fill in, NULL where the ring is full; then publish.
cdef void *ring_vacant(Ring *ring) noexcept nogil
cdef void ring_publish(Ring *ring) noexcept nogil
# For the reader, who first clears the bell: the oldest slot, NULL where there is none; then release it.
cdef void *ring_oldest(Ring *ring) noexcept nogil
cdef void ring_give_back(Ring *ring) noexcept nogil
cdef void ring_silence(Ring *ring) noexcept nogil
# For the writer: how many slots are free.
cdef uint32_t ring_room(Ring *ring) noexcept nogil
