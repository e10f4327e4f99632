"""Comparing everything that is not TCP: datagram by datagram, for each flow (docs/comparison.md, section 4).
"""

from libc.stdint cimport int64_t

from colo_proxy.core.core cimport Core
from colo_proxy.core.flow.flow cimport Flow
from colo_proxy.core.flow.pool cimport Node

cdef void datagram_primary(Core *core, Flow *flow, Node *node) noexcept nogil
cdef void datagram_secondary(Core *core, Flow *flow, Node *node) noexcept nogil
# Note where a datagram begins in what its flow has sent.
cdef void datagram_note(Flow *flow, Node *node) noexcept nogil
# Since when both sides have a waiting datagram, ns; INT64_MAX where one side has none.
cdef int64_t datagram_both_wait_since(const Flow *flow) noexcept nogil
# Both sides wait, and what they have sent differs (D3).
cdef void datagram_mismatch(Core *core, Flow *flow) noexcept nogil
# As if the SVM had received what the PVM sent: its own copies may still arrive (C8).
cdef void datagram_commit(Core *core, Flow *flow, bint replaced) noexcept nogil
# Everything that is held of the flow is released now (C8). Each datagram is paired with a waiting one of the
# SVM, if there is one; otherwise its copy may arrive for another timeout (late_copies.pxd).
cdef void datagram_pair_off(Core *core, Flow *flow) noexcept nogil
# Where the first waiting datagram of a frame begins in what its flow has sent.
cdef int64_t datagram_place(const Node *node) noexcept nogil
# At a failover: release what both have sent of a super-frame of the PVM, each datagram by itself.
cdef void datagram_agreed(Core *core, const Node *node) noexcept nogil
# Put the flow on the list of watched flows exactly while something waits for less than the timeout (D3, D4).
cdef void datagram_watch(Core *core, Flow *flow) noexcept nogil
# What waits on a flow of the SVM waits on the PVM's flow from now on, with its port (pairing.pxd).
cdef void datagram_join(Flow *flow, Flow *svm) noexcept nogil
