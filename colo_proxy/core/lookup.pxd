"""Finding the flow of a frame, making flows, and letting them go within the bound (T10, B2)."""

from colo_proxy.core.align.aligner cimport Offset
from colo_proxy.core.core cimport Core
from colo_proxy.core.flow.flow cimport Flow
from colo_proxy.core.flow.pool cimport Node
from colo_proxy.core.packet.key cimport Key

# The flow (and incarnation) of what a guest said; made if need be. NULL: at the bound on flows.
cdef Flow *lookup_pvm(Core *core, const Key *key, Node *node) noexcept nogil
cdef Flow *lookup_svm(Core *core, const Key *key, Node *node) noexcept nogil
# The incarnation that clients know of; NULL: none. Clients' frames make no flows, so cannot flood it.
cdef Flow *lookup_uplink(Core *core, const Key *key) noexcept nogil
# The same of a segment that the SVM quotes, which names the SVM's port.
cdef Flow *lookup_quote(Core *core, const Key *key) noexcept nogil
# The latest incarnation that the SVM has opened from the port that `key` names; NULL: none.
cdef Flow *lookup_received(Core *core, const Key *key) noexcept nogil
# A flow's numbers in the form that aligner.pyx takes.
cdef const Offset *lookup_offset(const Flow *flow, Offset *into) noexcept nogil
# A new flow, of the SVM's aliases or of the PVM's; NULL: at the bound on flows.
cdef Flow *lookup_make(Core *core, const Key *key, bint alias) noexcept nogil
cdef void lookup_remove(Core *core, Flow *flow) noexcept nogil
# Whether the flow's SYN waits for the other guest's.
cdef bint lookup_awaits_pair(const Core *core, const Flow *flow) noexcept nogil
# Whether the PVM has gone on to a newer incarnation.
cdef bint lookup_left_by_pvm(const Flow *flow) noexcept nogil
# From now on the SVM's port under this key means the flow.
cdef void lookup_name_alias(Core *core, Flow *flow, const Key *key) noexcept nogil
# Take a flow off the list that a commit goes through.
cdef void lookup_untouch(Core *core, Flow *flow) noexcept nogil
# The SVM speaks from the PVM's port.
cdef void lookup_lose_alias(Core *core, Flow *flow) noexcept nogil
# Look at some flows and let go of those that are over; to be called now and then.
cdef void lookup_sweep(Core *core) noexcept nogil
