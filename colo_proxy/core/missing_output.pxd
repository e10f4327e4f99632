"""What one guest has said and the other has not: when it has waited for the timeout, and where the captures
end (docs/comparison.md, M1 to M3, D4, F3).
"""

from colo_proxy.core.core cimport Core
from colo_proxy.core.flow.pool cimport Node

# A held node of either side has waited for the timeout.
cdef void missing_output_timed_out(Core *core, Node *node) noexcept nogil
# The captures end: all that still waits. Where as many divergences as there is room for wait to be taken
# afterwards, more may be missing: take them, and call it again.
cdef void missing_output_at_end(Core *core) noexcept nogil
