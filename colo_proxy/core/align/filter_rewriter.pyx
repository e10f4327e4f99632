"""QEMU's filter-rewriter has been over the SVM's segments: they get the SVM's own numbers back.

It stands beside an SVM that colo-compare compares. What it does to the SVM's output (QEMU 11.1, seen on its
wire): a SYN and a SYN/ACK pass as they are and give it `isn_svm - isn_pvm`; from every later segment with
ACK, and no SYN, it takes that off; a segment without ACK (a bare RST) passes as it is; after a checkpoint
nothing is taken off. So of one connection the SVM's SYN/ACK comes in its own numbers, and the rest in the
PVM's, while the comparator takes all of a side to be of one kind.

Of a connection that the guests opened it takes nothing off, and it may be missing. Its first segment with ACK
shows that: it goes on where the SVM's own SYN ended.
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
