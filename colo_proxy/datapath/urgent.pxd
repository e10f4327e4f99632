"""Urgent positions: T3 and T11 of docs/comparison.md.

A segment with URG names one, relative to its own number, and so does each that follows until it is reached
(RFC 9293, 3.8.5; RFC 6093). Of each side the last MARKS are kept, in its own numbers: a guest that is ahead
may have named others since. What names one that has been forgotten waits for a commit.
"""

from libc.stdint cimport uint32_t

from colo_proxy.datapath.core cimport Core
from colo_proxy.datapath.flow cimport Flow, Side
from colo_proxy.datapath.pool cimport Node

# Take in what a segment of this side names, if anything.
cdef void urgent_note(Side *side, const Node *node) noexcept nogil
# T11: the SVM has named the position that a PVM's segment names, or received it with a commit.
cdef bint urgent_announced(const Flow *flow, const Node *node) noexcept nogil
# T3: a divergence if both have passed a position that only one has named; `node` is the latest segment.
cdef void urgent_alone(Core *core, Flow *flow, Node *node) noexcept nogil
# What the PVM has named counts as named by the SVM (C8).
cdef void urgent_copy(Flow *flow) noexcept nogil
# The side's numbers are known from now on, and its marks were in others.
cdef void urgent_move(Side *side, uint32_t by) noexcept nogil
