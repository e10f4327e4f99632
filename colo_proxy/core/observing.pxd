"""While observing (C8), clients' segments reach the SVM no sooner than the SVM can use them."""

from colo_proxy.core.core cimport Core
from colo_proxy.core.flow.flow cimport Flow
from colo_proxy.core.flow.pool cimport Node
from colo_proxy.core.packet.key cimport Key

# Note what a client's TCP frame, not aligned yet, acknowledges.
cdef void observing_note_client(Flow *flow, const Node *node) noexcept nogil
# Whether such a frame waits for the SVM's SYN; if so, it has been taken.
cdef bint observing_waits(Core *core, Flow *flow, Node *node) noexcept nogil
# Lower the acknowledgement of a client's aligned frame to what the SVM has sent.
cdef void observing_clamp(const Flow *flow, Node *node) noexcept nogil
# Answer an SVM segment that begins below what clients have acknowledged with that acknowledgement (T15).
# While observing, this may be any segment, and what waited for the SVM's SYN is sent.
cdef void observing_answer(Core *core, Flow *flow, const Node *node) noexcept nogil
# Discard what waits.
cdef void observing_clear(Core *core) noexcept nogil
