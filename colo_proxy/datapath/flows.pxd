"""Finding the flow of a frame, making flows, and letting them go within the bound (T10, B2, DESIGN section
4)."""

from colo_proxy.datapath.align cimport Offset
from colo_proxy.datapath.core cimport Core
from colo_proxy.datapath.flow cimport Flow
from colo_proxy.datapath.key cimport Key
from colo_proxy.datapath.pool cimport Node

# The flow (and incarnation) of what a guest said; made if need be. NULL: at the bound on flows.
cdef Flow *flow_for_pvm(Core *core, const Key *key, Node *node) noexcept nogil
cdef Flow *flow_for_svm(Core *core, const Key *key, Node *node) noexcept nogil
# The incarnation that clients know of; NULL: none. Clients' frames make no flows, so cannot flood it.
cdef Flow *flow_for_uplink(Core *core, const Key *key) noexcept nogil
# The same of a segment that the SVM quotes, which names the SVM's port.
cdef Flow *flow_for_quote(Core *core, const Key *key) noexcept nogil
# A flow's numbers in the form that align.pyx takes.
cdef const Offset *offset_of_flow(const Flow *flow, Offset *into) noexcept nogil
# A new flow, of the SVM's aliases or of the PVM's; NULL: at the bound on flows.
cdef Flow *flow_make(Core *core, const Key *key, bint alias) noexcept nogil
cdef void flow_remove(Core *core, Flow *flow) noexcept nogil
# Whether the flow's SYN waits for the other guest's.
cdef bint awaits_pair(const Core *core, const Flow *flow) noexcept nogil
# Whether the PVM has gone on to a newer incarnation.
cdef bint left_by_pvm(const Flow *flow) noexcept nogil
# From now on the SVM's port under this key means the flow.
cdef void name_alias(Core *core, Flow *flow, const Key *key) noexcept nogil
# Take a flow off the list that a commit goes through.
cdef void untouch(Core *core, Flow *flow) noexcept nogil
# The SVM speaks from the PVM's port.
cdef void flow_lose_alias(Core *core, Flow *flow) noexcept nogil
# Look at some flows and let go of those that are over; to be called now and then.
cdef void sweep(Core *core) noexcept nogil
