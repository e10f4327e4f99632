"""Judging one TCP segment of either guest (docs/comparison.md, section 3)."""

from libc.stdint cimport int64_t

from colo_proxy.core.core cimport Core
from colo_proxy.core.flow.flow cimport Flow
from colo_proxy.core.flow.pool cimport Node

# Take in what a PVM segment says, unjudged: it will leave on the next commit.
cdef void stream_note(Core *core, Flow *flow, Node *node) noexcept nogil
# After a failover: what an SVM segment says of its connection, so that a new one is told from the old.
cdef void stream_follow(Core *core, Flow *flow, Node *node) noexcept nogil
cdef void stream_primary(Core *core, Flow *flow, Node *node) noexcept nogil
cdef void stream_secondary(Core *core, Flow *flow, Node *node) noexcept nogil
# What the PVM had said counts as said by the SVM: after a checkpoint, or as if there had been one (C4, C8).
cdef void stream_commit(Core *core, Flow *flow, bint replaced) noexcept nogil
# The SVM has the PVM's numbers, whatever becomes of the checkpoint.
cdef void stream_adopt(Flow *flow) noexcept nogil
# The guest opened this connection on both sides, on the SVM from another port: make it one flow.
cdef void stream_pair(Core *core, Flow *pvm, Flow *svm) noexcept nogil
# Nothing more is expected of the connection.
cdef bint stream_closed(const Flow *flow) noexcept nogil
