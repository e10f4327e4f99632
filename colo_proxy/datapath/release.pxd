"""Letting go of what the PVM said on a TCP connection: rules T1 and T4 to T9 of docs/comparison.md.

Bytes leave when they are agreed. What a released segment acknowledges and offers is *clamped* to what the SVM
has acknowledged and offered too. `told_ack` and `told_edge` are what clients have been told so far, so that
clamping never makes a duplicate acknowledgement that the PVM did not send.
"""

from colo_proxy.datapath.core cimport Core
from colo_proxy.datapath.flow cimport Flow
from colo_proxy.datapath.pool cimport Node

# Let go of all that may leave now, in the order the PVM said it.
cdef void release(Core *core, Flow *flow) noexcept nogil
# Judge one node that is on the lists; true if it has left.
cdef bint release_one(Core *core, Flow *flow, Node *node) noexcept nogil
# T13: the agreed part of a held segment leaves as a segment of its own; a super-frame's, whole segments only.
cdef void release_piece(Core *core, Flow *flow, Node *node, bint whole_segments) noexcept nogil
# A frame that leaves as it is, uncompared or committed: remember what clients have been told by it.
cdef void note_told(Flow *flow, const Node *node) noexcept nogil
