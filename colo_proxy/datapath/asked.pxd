"""Which flows of UDP clients have begun, lately.

A service answers from the port that it was asked at, while a guest that asks somebody else draws a port; the
two are paired otherwise (alone.pxd). Clients' frames make no flows, which they could flood, so the hashes of
theirs are noted here: 16,384, in sets of four of which the one longest silent makes room. Where a flood has
driven out a flow that is still to be answered, the guest counts as who has begun it.
"""

from libc.stdint cimport int64_t, uint32_t

cdef struct Asked

cdef Asked *asked_new() except NULL
cdef void asked_free(Asked *asked) noexcept nogil
# A client has sent on the flow with this hash.
cdef void asked_note(Asked *asked, uint32_t hash, int64_t now) noexcept nogil
# Whether one has in the last 60 s.
cdef bint asked_lately(const Asked *asked, uint32_t hash, int64_t now) noexcept nogil
