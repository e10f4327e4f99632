"""The path of one parsed frame of a guest: policy, fragments, flow, and then the comparison of its kind."""

from libc.stdint cimport int64_t

from colo_proxy.core.core cimport Core
from colo_proxy.core.flow.flow cimport Flow
from colo_proxy.core.flow.pool cimport Node

# The node has been parsed and time-stamped. After the call it is held, released or discarded.
cdef void dispatch_primary(Core *core, Node *node) noexcept nogil
cdef void dispatch_secondary(Core *core, Node *node) noexcept nogil
# Release a frame of the SVM as output, aligned (C7).
cdef void dispatch_pass_secondary(Core *core, Node *node) noexcept nogil
# Release a frame of the output, aligned with its flow's numbers; `flow` NULL: unchanged.
cdef void dispatch_emit_aligned(Core *core, const Flow *flow, Node *node) noexcept nogil
# Hold fragments of the PVM, a chain, that will stay incomplete.
cdef void dispatch_hold_incomplete(Core *core, Node *node) noexcept nogil
# After a failover: announce the VM's addresses to the neighbours, in rounds. Returns when the next is due,
# ns.
cdef void dispatch_announce_anew(Core *core) noexcept nogil
cdef int64_t dispatch_announce(Core *core) noexcept nogil
