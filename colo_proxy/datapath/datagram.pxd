"""Judging everything that is no TCP: datagram against datagram, per flow (docs/comparison.md, section 4).

Each side's unmatched datagrams wait in order of arrival. A new one looks for its equal on the other's list.
While both sides wait, the flow is watched; when the reordering window is over, it is a divergence
(`datagram_mismatch`).
"""

from libc.stdint cimport int64_t

from colo_proxy.datapath.core cimport Core
from colo_proxy.datapath.flow cimport Flow
from colo_proxy.datapath.pool cimport Node

cdef void datagram_primary(Core *core, Flow *flow, Node *node) noexcept nogil
cdef void datagram_secondary(Core *core, Flow *flow, Node *node) noexcept nogil
# Counts a datagram of the PVM that is about to leave, for `stream_offset`.
cdef void datagram_leaves(Flow *flow, const Node *pvm) noexcept nogil
# Both sides wait at the end of the captures, or the reordering window is over (D3).
cdef void datagram_mismatch(Core *core, Flow *flow) noexcept nogil
# As if the SVM had received what the PVM said: its own copies may still come (C8).
cdef void datagram_commit(Core *core, Flow *flow, bint replaced) noexcept nogil
# A PVM datagram leaves without the SVM's: its copy may come until `until`.
cdef void datagram_expect(Flow *flow, const Node *pvm, int64_t until) noexcept nogil
