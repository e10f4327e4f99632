"""Where the two worlds meet: a ring in each direction, each with one writer and one reader, and a doorbell.

A ring is an array of slots and two counters that only grow. The writer owns `tail`, the reader `head`; each
reads the other's with acquire and publishes its own with release (C11, 5.1.2.4), so that a slot's content is
seen whole. No lock, and no waiting: a full ring says so. The doorbell is an eventfd, for pollers.

The control thread reads counters of the data path without the mailbox, one 64-bit word at a time (`load`).
"""

from libc.stdint cimport uint8_t, uint32_t, uint64_t

cdef extern from *:
    """
    #include <stdint.h>
    static inline uint64_t colo_load_acquire(const uint64_t *at) {
        return __atomic_load_n(at, __ATOMIC_ACQUIRE);
    }
    static inline uint64_t colo_load(const uint64_t *at) { return __atomic_load_n(at, __ATOMIC_RELAXED); }
    static inline void colo_store_release(uint64_t *at, uint64_t value) {
        __atomic_store_n(at, value, __ATOMIC_RELEASE);
    }
    static inline void colo_store(uint64_t *at, uint64_t value) {
        __atomic_store_n(at, value, __ATOMIC_RELAXED);
    }
    """
    uint64_t load_acquire "colo_load_acquire"(const uint64_t *at) nogil
    uint64_t load "colo_load"(const uint64_t *at) nogil
    void store_release "colo_store_release"(uint64_t *at, uint64_t value) nogil
    void store "colo_store"(uint64_t *at, uint64_t value) nogil

cdef struct Ring:
    uint64_t head  # slots read
    uint8_t[56] apart  # the two counters on cache lines of their own
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
# For the reader, who silences the bell first: the oldest slot, NULL where there is none; then give it back.
cdef void *ring_oldest(Ring *ring) noexcept nogil
cdef void ring_give_back(Ring *ring) noexcept nogil
cdef void ring_silence(Ring *ring) noexcept nogil
# For the writer: how many slots are free.
cdef uint32_t ring_room(Ring *ring) noexcept nogil
