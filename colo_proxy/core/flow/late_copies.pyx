"""Datagrams of the PVM that were released before the SVM's copy, which may still arrive (C8), while
observing.

Their digests are stored with a count and the time until which a copy counts as late: 8,192 different ones,
each in one of 16 places that its digest determines. If all 16 are taken, the one that expires first makes
room. Nothing is released because of a digest, so a collision costs at most a divergence that is not reported.
"""

from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memset

cdef enum:
    PLACES = 8192  # a power of two
    REACH = 16

cdef struct Expected:
    uint64_t digest
    int64_t until
    uint32_t copies

cdef struct Late:
    Expected[PLACES + REACH] places
    int64_t until  # when no copy is expected any more


cdef Late *late_copies_new() except NULL:
    cdef Late *late = <Late *>calloc(1, sizeof(Late))
    if late == NULL:
        raise MemoryError
    return late


cdef void late_copies_free(Late *late) noexcept nogil:
    free(late)


cdef void late_copies_clear(Late *late) noexcept nogil:
    if late != NULL and late.until:
        memset(late, 0, sizeof(Late))


cdef Expected *find(Late *late, uint64_t digest) noexcept nogil:
    """The place that has this digest, or would have it."""
    cdef Expected *place = &late.places[(digest ^ digest >> 32) & (PLACES - 1)]
    cdef Expected *chosen = place
    cdef int _step
    for _step in range(REACH):
        if place.digest == digest and place.copies:
            return place
        if place.until < chosen.until:
            chosen = place
        place += 1
    return chosen


cdef void late_copies_expect(Late *late, uint64_t digest, int64_t now, int64_t until) noexcept nogil:
    cdef Expected *place = find(late, digest)
    if place.digest != digest or place.until < now:
        place.copies = 0
    place.digest = digest
    place.copies += 1
    place.until = until
    late.until = max(late.until, until)


cdef bint late_copies_take(Late *late, uint64_t digest, int64_t now) noexcept nogil:
    cdef Expected *place = find(late, digest)
    if place.digest != digest or not place.copies or place.until < now:
        return False
    place.copies -= 1
    if not place.copies:
        place.until = 0
    return True
