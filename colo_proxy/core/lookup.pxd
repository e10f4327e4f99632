"""Finding the flow of a frame, making flows, and removing them within the bound (T10, B2)."""

from colo_proxy.core.align.aligner cimport Offset
from colo_proxy.core.core cimport Core
from colo_proxy.core.flow.flow cimport Flow
from colo_proxy.core.flow.pool cimport Node
from colo_proxy.core.packet.key cimport Key

# The flow (and incarnation) of a guest's frame; made if necessary. NULL: at the bound on flows.
cdef Flow *lookup_pvm(Core *core, const Key *key, Node *node) noexcept nogil
cdef Flow *lookup_svm(Core *core, const Key *key, Node *node) noexcept nogil
# The incarnation that clients know; NULL: none. Clients' frames make no flows, so clients cannot fill the
# table.
cdef Flow *lookup_uplink(Core *core, const Key *key) noexcept nogil
# The same for a segment quoted by the SVM, which has the SVM's port.
cdef Flow *lookup_quote(Core *core, const Key *key) noexcept nogil
# The latest incarnation that the SVM has opened from the port in `key`; NULL: none.
cdef Flow *lookup_received(Core *core, const Key *key) noexcept nogil
# A flow's offsets in the form that aligner.pyx takes.
cdef const Offset *lookup_offset(const Flow *flow, Offset *into) noexcept nogil
# A new flow, among the SVM's aliases or under the PVM's keys; NULL: at the bound on flows.
cdef Flow *lookup_make(Core *core, const Key *key, bint alias) noexcept nogil
cdef void lookup_remove(Core *core, Flow *flow) noexcept nogil
# Whether the flow's SYN waits for the other guest's.
cdef bint lookup_awaits_pair(const Core *core, const Flow *flow) noexcept nogil
# Whether the PVM has opened a newer incarnation.
cdef bint lookup_left_by_pvm(const Flow *flow) noexcept nogil
# From now on the SVM's port in this key belongs to the flow.
cdef void lookup_name_alias(Core *core, Flow *flow, const Key *key) noexcept nogil
# Remove a flow from the list that a commit processes.
cdef void lookup_untouch(Core *core, Flow *flow) noexcept nogil
# The SVM uses the PVM's port: remove the alias.
cdef void lookup_lose_alias(Core *core, Flow *flow) noexcept nogil
# Examine some flows and remove those that are over; to be called from time to time.
cdef void lookup_sweep(Core *core) noexcept nogil
