"""A ring of bytes between two threads, whose memory is mapped twice, so that nothing in it is ever cut in
two.
"""

from libc.stdint cimport uint8_t, uint64_t

from colo_proxy.core.atomic cimport atomic_load_acquire, atomic_store_release

cdef struct Mirror:
    uint64_t head  # bytes given back by the reader
    uint8_t[56] apart  # the two counters on cache lines of their own
    uint64_t tail  # bytes published by the writer
    uint64_t written  # the writer's: bytes written, published or not
    uint8_t[48] apart_too
    uint8_t *base
    uint64_t size  # a power of two

cdef int mirror_open(Mirror *ring, uint64_t size) except -1
cdef void mirror_close(Mirror *ring) noexcept nogil

# Where the byte of this number lies; `size` bytes from there on are contiguous.
cdef inline uint8_t *mirror_at(const Mirror *ring, uint64_t number) noexcept nogil:
    return ring.base + (number & (ring.size - 1))

# For the writer: bytes that are in use, published or not.
cdef inline uint64_t mirror_used(const Mirror *ring) noexcept nogil:
    return ring.written - atomic_load_acquire(&ring.head)

cdef inline void mirror_publish(Mirror *ring) noexcept nogil:
    atomic_store_release(&ring.tail, ring.written)

# For the reader: the end of what has been published.
cdef inline uint64_t mirror_end(const Mirror *ring) noexcept nogil:
    return atomic_load_acquire(&ring.tail)

cdef inline void mirror_give_back(Mirror *ring, uint64_t head) noexcept nogil:
    atomic_store_release(&ring.head, head)
