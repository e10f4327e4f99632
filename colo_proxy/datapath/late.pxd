"""Datagrams of the PVM that have left without the SVM's copy, which may come late (C8), while observing.

Their digests are kept with a count and the time until which a copy is late and no news: 8,192 different ones,
each in one of 16 places that its digest names; where all are taken, the one that would end first makes room.
Nothing is released for a digest, so one that collides costs no more than a divergence that is not reported.
"""

from libc.stdint cimport int64_t, uint64_t

cdef struct Late

cdef Late *late_new() except NULL
cdef void late_free(Late *late) noexcept nogil
cdef void late_clear(Late *late) noexcept nogil
# One more copy may come, until this time, ns. It holds for all copies of the same digest.
cdef void late_expect(Late *late, uint64_t digest, int64_t now, int64_t until) noexcept nogil
# Whether a copy was expected; it is not from now on.
cdef bint late_take(Late *late, uint64_t digest, int64_t now) noexcept nogil
