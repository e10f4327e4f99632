"""What is missing from the PVM's capture, though the client has acknowledged it (docs/comparison.md, M4)."""

from colo_proxy.core.core cimport Core
from colo_proxy.core.flow.flow cimport Flow
from colo_proxy.core.flow.pool cimport Node
from colo_proxy.core.packet.key cimport Key

# For a client's segment as the PVM received it: the PVM has sent everything that it acknowledges.
cdef void capture_gap_note_client(Core *core, const Key *key, const Node *node) noexcept nogil
# Continue behind what is missing from the PVM's capture at the end of the agreed range; whether there was a
# gap.
cdef bint capture_gap_skip(Core *core, Flow *flow) noexcept nogil
# The flow ends: report what the client has acknowledged beyond what the capture has.
cdef void capture_gap_at_end(Core *core, const Flow *flow) noexcept nogil
