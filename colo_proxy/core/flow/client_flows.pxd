"""Which UDP flows clients have begun recently."""

from libc.stdint cimport int64_t, uint32_t

cdef struct Asked

cdef Asked *client_flows_new() except NULL
cdef void client_flows_free(Asked *asked) noexcept nogil
# Note that a client has sent on the flow with this hash.
cdef void client_flows_note(Asked *asked, uint32_t hash, int64_t now) noexcept nogil
# Whether a client has sent on it in the last 60 s.
cdef bint client_flows_lately(const Asked *asked, uint32_t hash, int64_t now) noexcept nogil
