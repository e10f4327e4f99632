"""Comparing one TCP segment of either guest (docs/comparison.md, section 3)."""

from libc.stdint cimport int64_t

from colo_proxy.core.core cimport Core
from colo_proxy.core.flow.flow cimport Flow
from colo_proxy.core.flow.pool cimport Node

# Note what a PVM segment carries, without judging it: the next commit releases it.
cdef void stream_note(Core *core, Flow *flow, Node *node) noexcept nogil
# After a failover: note what an SVM segment shows of its connection, so that a new one is recognised.
cdef void stream_follow(Core *core, Flow *flow, Node *node) noexcept nogil
cdef void stream_primary(Core *core, Flow *flow, Node *node) noexcept nogil
cdef void stream_secondary(Core *core, Flow *flow, Node *node) noexcept nogil
# Count what the PVM had sent as sent by the SVM: after a checkpoint, or as if there had been one (C4, C8).
cdef void stream_commit(Core *core, Flow *flow, bint replaced) noexcept nogil
# The SVM has the PVM's numbers, no matter how the checkpoint ends.
cdef void stream_adopt(Flow *flow) noexcept nogil
# The guests opened this connection, the SVM from another port: make it one flow.
cdef void stream_pair(Core *core, Flow *pvm, Flow *svm) noexcept nogil
# Whether nothing more is expected of the connection.
cdef bint stream_closed(const Flow *flow) noexcept nogil
