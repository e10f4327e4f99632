# See rewriter.pxd.

from colo_proxy.datapath.flow cimport F_OWN_NUMBERS, F_REWRITTEN, Flow
from colo_proxy.datapath.pool cimport Node
from colo_proxy.datapath.seq cimport seq_add
from colo_proxy.datapath.tries cimport tries_begin
from colo_proxy.datapath.wire cimport ACK, SYN


cdef void undo_rewriter(Flow *flow, Node *node) noexcept nogil:
    if flow.offset == 0 or node.packet.flags & (SYN | ACK) != ACK:
        return
    if not flow.flags & (F_OWN_NUMBERS | F_REWRITTEN):
        flow.flags |= F_OWN_NUMBERS if tries_begin(flow, node.packet.seq) else F_REWRITTEN
    if flow.flags & F_REWRITTEN:
        node.packet.seq = seq_add(node.packet.seq, flow.offset)
