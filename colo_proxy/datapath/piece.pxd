"""T13 of docs/comparison.md: the agreed part of a held segment may have to leave first.

The SVM says the rest only when what it has said is acknowledged, where its congestion window is smaller than
the PVM's (RFC 5681) or a small segment is under way (Nagle's algorithm, RFC 9293, 3.7.4). Clients cannot
acknowledge what the PVM's whole segment holds back. So a super-frame's agreed segments leave when nothing new
has been agreed for `reorder`, and any segment's agreed part when the SVM says again what waits: it repeats
what nobody acknowledges no sooner than STUCK (Linux: after 200 ms).
"""

from colo_proxy.datapath.core cimport Core
from colo_proxy.datapath.flow cimport Flow
from colo_proxy.datapath.pool cimport Node

# The PVM's lowest segment that is not agreed altogether; NULL: there is none with a place in the stream.
cdef Node *piece_lowest(const Flow *flow) noexcept nogil
# Something new is agreed, or waits: look again `reorder` from now (`watched`, due.pyx).
cdef void piece_watch(Core *core, Flow *flow) noexcept nogil
# The SVM has said nothing new: is it part of what is held?
cdef void piece_again(Core *core, Flow *flow, const Node *node) noexcept nogil
# Nothing new has been agreed for `reorder`: whole segments of super-frames leave, of the lowest one what the
# prefix has, and of each what ranges beyond it have.
cdef void piece_due(Core *core, Flow *flow) noexcept nogil
# At a failover: all that is agreed of a held segment leaves.
cdef void piece_failover(Core *core, Flow *flow, Node *node) noexcept nogil
