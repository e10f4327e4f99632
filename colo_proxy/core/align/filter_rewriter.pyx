"""Undo what QEMU's filter-rewriter did to the SVM's segments, so that they have the SVM's own numbers again.

filter-rewriter runs beside an SVM whose output colo-compare compares. What it does to that output (QEMU 11.1,
as seen on its wire): a SYN and a SYN/ACK pass unchanged and give it `isn_svm - isn_pvm`; from every later
segment with ACK and without SYN it subtracts that offset; a segment without ACK (a bare RST) passes
unchanged; after a checkpoint nothing is subtracted. So the SVM's SYN/ACK arrives in the SVM's numbers, and
the rest of the connection in the PVM's, while the comparator expects all segments of a side to use one
numbering.

On a connection that the guests opened it subtracts nothing, and it may be missing altogether. The first
segment with ACK shows this: it continues where the SVM's own SYN ended.
"""

from colo_proxy.core.flow.flow cimport F_OWN_NUMBERS, F_REWRITTEN, Flow
from colo_proxy.core.flow.pool cimport Node
from colo_proxy.core.packet.parse cimport ACK, SYN
from colo_proxy.core.packet.seq cimport seq_add
from colo_proxy.core.tcp.tries cimport tries_begin


cdef void filter_rewriter_undo(Flow *flow, Node *node) noexcept nogil:
    if flow.offset == 0 or node.packet.flags & (SYN | ACK) != ACK:
        return
    if not flow.flags & (F_OWN_NUMBERS | F_REWRITTEN):
        flow.flags |= F_OWN_NUMBERS if tries_begin(flow, node.packet.seq) else F_REWRITTEN
    if flow.flags & F_REWRITTEN:
        node.packet.seq = seq_add(node.packet.seq, flow.offset)
