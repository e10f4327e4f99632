"""Datagrams of the PVM that were released before the SVM's copy, which may still arrive (C8), while
observing.
"""

from libc.stdint cimport int64_t, uint64_t

cdef struct Late

cdef Late *late_copies_new() except NULL
cdef void late_copies_free(Late *late) noexcept nogil
cdef void late_copies_clear(Late *late) noexcept nogil
# One more copy may arrive, until this time, ns. The time applies to all copies of the same digest.
cdef void late_copies_expect(Late *late, uint64_t digest, int64_t now, int64_t until) noexcept nogil
# Whether a copy was expected; it no longer is afterwards.
cdef bint late_copies_take(Late *late, uint64_t digest, int64_t now) noexcept nogil
