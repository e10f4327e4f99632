"""Judging everything that is no TCP: datagram against datagram, per flow (docs/comparison.md, section 4)."""

from libc.stdint cimport int64_t

from colo_proxy.core.core cimport Core
from colo_proxy.core.flow.flow cimport Flow
from colo_proxy.core.flow.pool cimport Node

cdef void datagram_primary(Core *core, Flow *flow, Node *node) noexcept nogil
cdef void datagram_secondary(Core *core, Flow *flow, Node *node) noexcept nogil
# Notes where a datagram begins in what its flow has said.
cdef void datagram_note(Flow *flow, Node *node) noexcept nogil
# Since when both sides have a datagram that waits, ns; INT64_MAX where one has none.
cdef int64_t datagram_both_wait_since(const Flow *flow) noexcept nogil
# Both sides wait, and what they say differs (D3).
cdef void datagram_mismatch(Core *core, Flow *flow) noexcept nogil
# As if the SVM had received what the PVM said: its own copies may still come (C8).
cdef void datagram_commit(Core *core, Flow *flow, bint replaced) noexcept nogil
# All that is held of the flow leaves now (C8): each datagram takes one of the SVM's with it that waits; its
# own copy may come for another timeout (late_copies.pxd).
cdef void datagram_pair_off(Core *core, Flow *flow) noexcept nogil
# Where the first datagram of a frame that waits begins in what its flow has said.
cdef int64_t datagram_place(const Node *node) noexcept nogil
# At a failover: what both have said of a super-frame of the PVM leaves, each datagram alone.
cdef void datagram_agreed(Core *core, const Node *node) noexcept nogil
# Have the flow looked at exactly while something waits for less than the timeout (D3, D4).
cdef void datagram_watch(Core *core, Flow *flow) noexcept nogil
# What waits on a flow of the SVM's waits on the PVM's from now on, on its port (pairing.pxd).
cdef void datagram_join(Flow *flow, Flow *svm) noexcept nogil
