"""Flows of UDP that the guest begins: each guest draws a source port (docs/comparison.md, end of section 4).

Until it is known which flow of the SVM is which of the PVM's, a flow is alone (F_ALONE). The PVM's lies in
the table under its own key. The SVM's port means nothing yet, so its flow lies among the aliases, and leads
to itself; it becomes the alias of the PVM's flow when the two are paired.

    core.pvm_alone, svm_alone       something has waited on them for less than the reordering window
    core.pvm_overdue, svm_overdue   for longer: what is equal pairs them all the same, else their order does

Each list is in order of the time at which what waits came. A flow on which nothing waits is on none.
"""

from libc.stdint cimport int64_t

from colo_proxy.datapath.core cimport Core
from colo_proxy.datapath.flow cimport Flow
from colo_proxy.datapath.key cimport Key
from colo_proxy.datapath.pool cimport Node

# The flow of what a guest sent, made if need be; NULL: at the bound on flows. The SVM's datagram is moved to
# the PVM's port, where that is known.
cdef Flow *alone_for_pvm(Core *core, const Key *key, Node *node) noexcept nogil
cdef Flow *alone_for_svm(Core *core, const Key *key, Node *node) noexcept nogil
# The PVM's flow that the SVM's port means, or NULL.
cdef Flow *alone_known(Core *core, const Key *key) noexcept nogil
# Pair what has waited on both sides for the reordering window. Returns when there will be more to do, ns.
cdef int64_t alone_due(Core *core) noexcept nogil
# The same, whenever it came.
cdef void alone_at_end(Core *core) noexcept nogil
