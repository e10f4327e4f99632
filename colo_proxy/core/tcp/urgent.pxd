"""Urgent positions: T3 and T11 of docs/comparison.md."""

from libc.stdint cimport uint32_t

from colo_proxy.core.core cimport Core
from colo_proxy.core.flow.flow cimport Flow, Side
from colo_proxy.core.flow.pool cimport Node

# Take in what a segment of this side names, if anything.
cdef void urgent_note(Side *side, const Node *node) noexcept nogil
# T11: the SVM has named the position that a PVM's segment names, or received it with a commit.
cdef bint urgent_announced(const Flow *flow, const Node *node) noexcept nogil
# T3: a divergence if both have passed a position that only one has named; `node` is the latest segment.
cdef inline void urgent_alone(Core *core, Flow *flow, Node *node) noexcept nogil:
    if flow.pvm.marked or flow.svm.marked:
        urgent_compare(core, flow, node)

# The same, where one has.
cdef void urgent_compare(Core *core, Flow *flow, Node *node) noexcept nogil
# What the PVM has named counts as named by the SVM (C8).
cdef void urgent_copy(Flow *flow) noexcept nogil
# The side's numbers are known from now on, and its marks were in others.
cdef void urgent_move(Side *side, uint32_t by) noexcept nogil
