"""The border between data path and control plane: a ring in each direction, each with one writer, one reader
and an eventfd that wakes the reader.

A ring is an array of slots and two counters that only increase. The writer owns `tail`, the reader `head`.
Each loads the other's counter with acquire and stores its own with release (C11, 5.1.2.4), so the content of
a slot is always read whole. There is no lock and no waiting: a full ring is reported to the writer.

The control thread reads counters of the data path without a ring, one 64-bit word at a time (`atomic_load`).
"""

from libc cimport errno as c
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memset
from posix.unistd cimport close

from colo_proxy.core.atomic cimport atomic_load_acquire, atomic_store_release
from colo_proxy.engine.kernel cimport EFD_CLOEXEC, EFD_NONBLOCK, eventfd, read, write


import os


cdef int ring_open(Ring *ring, uint32_t capacity, uint32_t slot_size) except -1:
    memset(ring, 0, sizeof(Ring))
    ring.capacity = capacity
    ring.slot_size = slot_size
    ring.bell = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)
    if ring.bell < 0:
        raise OSError(c.errno, f"eventfd: {os.strerror(c.errno)}")
    ring.slots = <uint8_t *>calloc(capacity, slot_size)
    if ring.slots == NULL:
        close(ring.bell)
        raise MemoryError
    return 0


cdef void ring_close(Ring *ring) noexcept nogil:
    if ring.slots != NULL:
        close(ring.bell)
        free(ring.slots)
        ring.slots = NULL


cdef uint32_t ring_room(Ring *ring) noexcept nogil:
    return ring.capacity - <uint32_t>(ring.tail - atomic_load_acquire(&ring.head))


cdef void *ring_vacant(Ring *ring) noexcept nogil:
    if ring_room(ring) == 0:
        return NULL
    return ring.slots + <size_t>(ring.tail % ring.capacity) * ring.slot_size


cdef void ring_publish(Ring *ring) noexcept nogil:
    cdef uint64_t one = 1
    atomic_store_release(&ring.tail, ring.tail + 1)
    write(ring.bell, &one, sizeof(one))


cdef void *ring_oldest(Ring *ring) noexcept nogil:
    if atomic_load_acquire(&ring.tail) == ring.head:
        return NULL
    return ring.slots + <size_t>(ring.head % ring.capacity) * ring.slot_size


cdef void ring_give_back(Ring *ring) noexcept nogil:
    atomic_store_release(&ring.head, ring.head + 1)


cdef void ring_silence(Ring *ring) noexcept nogil:
    cdef uint64_t rung
    read(ring.bell, &rung, sizeof(rung))
