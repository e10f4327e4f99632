"""Output that one guest has sent and the other has not: when it has waited for the timeout, and at the end of
captures (docs/comparison.md, M1 to M3, D4, F3).
"""

from colo_proxy.core.core cimport Core
from colo_proxy.core.flow.pool cimport Node

# A held node of either side has waited for the timeout.
cdef void missing_output_timed_out(Core *core, Node *node) noexcept nogil
# The captures end: report everything that still waits. If the list of divergences is full afterwards, more
# may be missing: take the divergences and call this again.
cdef void missing_output_at_end(Core *core) noexcept nogil
