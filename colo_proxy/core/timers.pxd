"""What time brings, where no frame comes: what is missing (M1, M2, D4, F3), what has waited `reorder` for its
counterpart (D3, T13), flows that may go (B2), announcements after a failover (C9).
"""

from libc.stdint cimport int64_t

from colo_proxy.core.core cimport Core

# Returns when the next tick is needed, ns; a far future where nothing waits.
cdef int64_t timers_tick(Core *core, int64_t now) noexcept nogil
