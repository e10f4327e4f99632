# See piece.pxd.

from libc.stdint cimport int32_t, int64_t, uint32_t

from colo_proxy.datapath.core cimport Core, emit
from colo_proxy.datapath.craft cimport cut, gso_size
from colo_proxy.datapath.flow cimport F_BLOCKED, Flow, list_add
from colo_proxy.datapath.pool cimport N_CONTRARY, N_PURE, N_SENT, N_UNPLACED, N_WHOLE, Node
from colo_proxy.datapath.prefix cimport end_of, start_of
from colo_proxy.datapath.release cimport Clamp, apply, clamp_of, tell
from colo_proxy.datapath.seq cimport Seq, seq_add, seq_diff, seq_le, seq_lt, seq_max, seq_min
from colo_proxy.datapath.wire cimport ACK, RST, SYN, URG

cdef int64_t STUCK = 100_000_000  # ns


cdef void piece_watch(Core *core, Flow *flow) noexcept nogil:
    # Before the SVM has spoken the flow may be on the list of those that wait for the SVM's SYN.
    if flow.svm.open and flow.pvm.low != NULL and seq_lt(start_of(flow.pvm.low), flow.matched):
        flow.watched_since = core.now
        list_add(&core.watched, flow)


cdef void piece_again(Core *core, Flow *flow, const Node *node) noexcept nogil:
    cdef Node *low = flow.pvm.low
    cdef Seq start = start_of(node)
    cdef Seq end = end_of(node)
    if low == NULL or node.flags & N_UNPLACED or flow.flags & F_BLOCKED or \
            core.now - flow.watched_since < STUCK or not seq_lt(start_of(low), end) or \
            not seq_le(flow.low, start) or not seq_le(end, flow.matched):
        return
    flow.pieced = seq_min(flow.pieced, start)  # it may have left before, and been lost
    piece_leave(core, flow, low, False)


cdef void piece_leave(Core *core, Flow *flow, Node *node, bint whole_segments) noexcept nogil:
    cdef Clamp clamp
    cdef Node *piece
    cdef Seq begin
    cdef int32_t count
    cdef uint32_t size
    if node == NULL or not flow.svm.acked or (whole_segments and flow.flags & F_BLOCKED) or \
            node.flags & (N_SENT | N_WHOLE | N_PURE | N_UNPLACED | N_CONTRARY) or node.packet.signature or \
            node.packet.flags & (SYN | URG | RST | ACK) != ACK or seq_lt(node.packet.seq, flow.low):
        return
    begin = seq_max(node.packet.seq, flow.pieced)
    # No further than the payload goes: a FIN is a position without a byte.
    count = <int32_t>(node.packet.end - node.packet.payload) - seq_diff(begin, node.packet.seq)
    count = min(count, seq_diff(flow.matched, begin))
    if whole_segments:
        size = gso_size(node)
        count = count // <int32_t>size * <int32_t>size if size else 0
    if count <= 0:
        return
    piece = cut(core, node, begin, count)
    if piece == NULL:
        return
    flow.pieced = seq_add(begin, count)
    clamp = clamp_of(flow, piece)
    clamp.order = node.order
    apply(piece, &clamp)
    tell(flow, &clamp)
    emit(core, piece)
