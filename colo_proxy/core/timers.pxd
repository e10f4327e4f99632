"""What happens at deadlines, without a frame: output is found missing (M1, M2, D4, F3), the window `reorder`
ends (D3, T13), flows are removed (B2), addresses are announced after a failover (C9).
"""

from libc.stdint cimport int64_t

from colo_proxy.core.core cimport Core

# Returns when the next tick is needed, ns; a far future where nothing waits.
cdef int64_t timers_tick(Core *core, int64_t now) noexcept nogil
