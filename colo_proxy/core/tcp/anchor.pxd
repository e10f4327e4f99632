"""Where the agreed range of a flow starts (docs/comparison.md, 3.1): at the PVM's SYN, or in mid-stream at
the first number that the PVM shows.
"""

from colo_proxy.core.flow.flow cimport Flow
from colo_proxy.core.flow.pool cimport Node
from colo_proxy.core.packet.seq cimport Seq

# Whether a flow was first seen in mid-stream: neither guest's SYN will come.
cdef bint anchor_in_midstream(const Flow *flow) noexcept nogil
# A segment of the PVM, already noted: the range starts there, empty, if it is the first, or if nothing is
# agreed yet and it shows another start.
cdef void anchor_place(Flow *flow, Node *node) noexcept nogil
# In captures, a client's acknowledgement: one more than the number of the empty segment answers a keep-alive.
cdef void anchor_answered(Flow *flow, Seq ack) noexcept nogil
# A segment of the SVM on a F_RAISED flow. Where it begins at the number of the PVM's empty segment, that was
# no keep-alive, and the PVM lacks a byte: the range starts there again.
cdef void anchor_lower(Flow *flow, const Node *node) noexcept nogil
