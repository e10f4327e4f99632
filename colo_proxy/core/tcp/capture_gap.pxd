"""What the PVM's capture does not have, though the client has acknowledged it (docs/comparison.md, M4)."""

from colo_proxy.core.core cimport Core
from colo_proxy.core.flow.flow cimport Flow
from colo_proxy.core.flow.pool cimport Node
from colo_proxy.core.packet.key cimport Key

# A client's segment, as the PVM received it: what it acknowledges the PVM has sent.
cdef void capture_gap_note_client(Core *core, const Key *key, const Node *node) noexcept nogil
# Go on behind what the PVM's capture lacks at the end of the agreed range; whether there was such a gap.
cdef bint capture_gap_skip(Core *core, Flow *flow) noexcept nogil
# No more of a flow will come: what the client has acknowledged of it beyond what its capture has.
cdef void capture_gap_at_end(Core *core, const Flow *flow) noexcept nogil
