"""Where the agreed range of a flow starts (docs/comparison.md, 3.1): at the PVM's SYN, or, in mid-stream, at
the first sequence number that the PVM sends.
"""

from colo_proxy.core.flow.flow cimport Flow
from colo_proxy.core.flow.pool cimport Node
from colo_proxy.core.packet.seq cimport Seq

# Whether a flow was first seen in mid-stream: neither guest's SYN will come.
cdef bint anchor_in_midstream(const Flow *flow) noexcept nogil
# For a segment of the PVM, already noted: start the range there, empty, if it is the first segment, or if
# nothing is agreed yet and it shows another start.
cdef void anchor_place(Flow *flow, Node *node) noexcept nogil
# For a client's acknowledgement in captures: one more than the number of the empty segment answers a
# keep-alive.
cdef void anchor_answered(Flow *flow, Seq ack) noexcept nogil
# For a segment of the SVM on a F_RAISED flow. If it begins at the number of the PVM's empty segment, that
# segment was no keep-alive, and a byte of the PVM is missing: start the range there again.
cdef void anchor_lower(Flow *flow, const Node *node) noexcept nogil
