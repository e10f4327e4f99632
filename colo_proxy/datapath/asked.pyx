# See asked.pxd.

from libc.stdint cimport int64_t, uint32_t
from libc.stdlib cimport calloc, free

cdef enum:
    SETS = 4096  # a power of two
    WAYS = 4
    LATELY = 60  # s

cdef int64_t SECOND = 1000000000

cdef struct Heard:
    uint32_t hash
    uint32_t second  # one more than that of the latest frame; 0: nothing noted

cdef struct Asked:
    Heard[SETS * WAYS] heard


cdef Asked *asked_new() except NULL:
    cdef Asked *asked = <Asked *>calloc(1, sizeof(Asked))
    if asked == NULL:
        raise MemoryError
    return asked


cdef void asked_free(Asked *asked) noexcept nogil:
    free(asked)


cdef inline uint32_t second_of(int64_t now) noexcept nogil:
    return <uint32_t>(now // SECOND) + 1


cdef void asked_note(Asked *asked, uint32_t hash, int64_t now) noexcept nogil:
    cdef Heard *entry = &asked.heard[(hash & (SETS - 1)) * WAYS]
    cdef Heard *chosen = entry
    cdef int _way
    for _way in range(WAYS):
        if entry.hash == hash and entry.second:
            chosen = entry
            break
        if entry.second < chosen.second:
            chosen = entry
        entry += 1
    chosen.hash = hash
    chosen.second = second_of(now)


cdef bint asked_lately(const Asked *asked, uint32_t hash, int64_t now) noexcept nogil:
    cdef const Heard *entry = &asked.heard[(hash & (SETS - 1)) * WAYS]
    cdef int _way
    for _way in range(WAYS):
        if entry.hash == hash and entry.second and second_of(now) - entry.second < LATELY:
            return True
        entry += 1
    return False
