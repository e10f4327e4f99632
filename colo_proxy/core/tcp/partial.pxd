"""T13 of docs/comparison.md: the agreed part of a held segment may have to leave first."""

from colo_proxy.core.core cimport Core
from colo_proxy.core.flow.flow cimport Flow
from colo_proxy.core.flow.pool cimport Node

# The PVM's lowest segment that is not agreed altogether; NULL: there is none with a place in the stream.
cdef Node *partial_lowest(const Flow *flow) noexcept nogil
# Something new is agreed, or waits: look again `reorder` from now (`watched`, timers.pyx).
cdef void partial_watch(Core *core, Flow *flow) noexcept nogil
# The SVM has said nothing new: is it part of what is held?
cdef void partial_again(Core *core, Flow *flow, const Node *node) noexcept nogil
# Nothing new has been agreed for `reorder`: whole segments of super-frames leave, of the lowest one what the
# prefix has, and of each what ranges beyond it have.
cdef void partial_due(Core *core, Flow *flow) noexcept nogil
# At a failover: all that is agreed of a held segment leaves.
cdef void partial_failover(Core *core, Flow *flow, Node *node) noexcept nogil
