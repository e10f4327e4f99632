"""Behind a hole: what both guests have sent beyond the agreed prefix (docs/comparison.md, 3.1, T1 to T3)."""

from colo_proxy.core.core cimport Core
from colo_proxy.core.flow.flow cimport Flow
from colo_proxy.core.flow.pool cimport Node
from colo_proxy.core.packet.seq cimport Seq

# Compare a sorted node with what the other side has behind the hole (T2); true if more is agreed. Then call
# `ahead_forget_agreed` with the node's own beginning and end: it may free the node itself. It returns how
# many of the PVM's waiting segments are agreed now, and one of them.
cdef bint ahead_compare(Core *core, Flow *flow, Node *node) noexcept nogil
cdef int ahead_forget_agreed(Core *core, Flow *flow, Seq start, Seq end, Node **one) noexcept nogil
# Try again what found no room before; true if more is agreed. Only with F_BEYOND.
cdef bint ahead_look_again(Core *core, Flow *flow) noexcept nogil
