"""The way of one parsed frame of a guest: policy, fragments, flow, and then the comparison of its kind."""

from libc.stdint cimport int64_t

from colo_proxy.core.core cimport Core
from colo_proxy.core.flow.flow cimport Flow
from colo_proxy.core.flow.pool cimport Node

# The node has been parsed and stamped. After the call it is held, or has left, or is forgotten.
cdef void dispatch_primary(Core *core, Node *node) noexcept nogil
cdef void dispatch_secondary(Core *core, Node *node) noexcept nogil
# An SVM frame leaves as the output, aligned (C7).
cdef void dispatch_pass_secondary(Core *core, Node *node) noexcept nogil
# A frame of the output leaves with its flow's numbers; `flow` NULL: as it is.
cdef void dispatch_emit_aligned(Core *core, const Flow *flow, Node *node) noexcept nogil
# Fragments of the PVM, a chain, that are incomplete and will stay so.
cdef void dispatch_hold_incomplete(Core *core, Node *node) noexcept nogil
# After a failover: tell the neighbours who the VM is, in rounds. Returns when the next one is due, ns.
cdef void dispatch_announce_anew(Core *core) noexcept nogil
cdef int64_t dispatch_announce(Core *core) noexcept nogil
