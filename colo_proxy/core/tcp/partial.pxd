"""Releasing the agreed part of a held segment before the rest is agreed (docs/comparison.md, T13)."""

from colo_proxy.core.core cimport Core
from colo_proxy.core.flow.flow cimport Flow
from colo_proxy.core.flow.pool cimport Node

# The PVM's lowest segment that is not completely agreed; NULL: there is none with a position in the stream.
cdef Node *partial_lowest(const Flow *flow) noexcept nogil
# Something new is agreed, or waits: examine it again `reorder` from now (`watched`, timers.pyx).
cdef void partial_watch(Core *core, Flow *flow) noexcept nogil
# The SVM has sent nothing new: is it part of what is held?
cdef void partial_again(Core *core, Flow *flow, const Node *node) noexcept nogil
# Nothing new has been agreed for `reorder`: release whole segments of super-frames, of the lowest one those
# in the prefix, and of each one those in ranges beyond the prefix.
cdef void partial_due(Core *core, Flow *flow) noexcept nogil
# At a failover: release everything that is agreed of a held segment.
cdef void partial_failover(Core *core, Flow *flow, Node *node) noexcept nogil
