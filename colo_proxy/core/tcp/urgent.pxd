"""Urgent positions (docs/comparison.md, T3 and T11)."""

from libc.stdint cimport uint32_t

from colo_proxy.core.core cimport Core
from colo_proxy.core.flow.flow cimport Flow, Side
from colo_proxy.core.flow.pool cimport Node

# Note the urgent position that a segment of this side announces, if any.
cdef void urgent_note(Side *side, const Node *node) noexcept nogil
# T11: the SVM has announced the same position as the PVM's segment, or received it with a commit.
cdef bint urgent_announced(const Flow *flow, const Node *node) noexcept nogil
# T3: report a divergence if both have passed a position that only one has announced; `node` is the latest
# segment.
cdef inline void urgent_alone(Core *core, Flow *flow, Node *node) noexcept nogil:
    if flow.pvm.marked or flow.svm.marked:
        urgent_compare(core, flow, node)

# The same, where one has announced something.
cdef void urgent_compare(Core *core, Flow *flow, Node *node) noexcept nogil
# Count what the PVM has announced as announced by the SVM (C8).
cdef void urgent_copy(Flow *flow) noexcept nogil
# The side's numbers are known now: convert its marks to them.
cdef void urgent_move(Side *side, uint32_t by) noexcept nogil
