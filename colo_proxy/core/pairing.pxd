"""UDP flows that the guest begins: each guest chooses a source port (docs/comparison.md, end of section 4).
"""

from libc.stdint cimport int64_t

from colo_proxy.core.core cimport Core
from colo_proxy.core.flow.flow cimport Flow
from colo_proxy.core.flow.pool cimport Node
from colo_proxy.core.packet.key cimport Key

# The flow of a guest's datagram, made if necessary; NULL: at the bound on flows. The SVM's datagram is
# rewritten to the PVM's port, where that is known.
cdef Flow *pairing_for_pvm(Core *core, const Key *key, Node *node) noexcept nogil
cdef Flow *pairing_for_svm(Core *core, const Key *key, Node *node) noexcept nogil
# The PVM's flow that the SVM's port is paired with, or NULL.
cdef Flow *pairing_known(Core *core, const Key *key) noexcept nogil
# Pair what has waited on both sides for the reordering window. Returns when there will be more to do, ns.
cdef int64_t pairing_due(Core *core) noexcept nogil
# The same, no matter how long it has waited.
cdef void pairing_at_end(Core *core) noexcept nogil
