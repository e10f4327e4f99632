"""Where the agreed range of a flow starts (docs/comparison.md, 3.1): at the PVM's SYN, or, in mid-stream, at
the first sequence number that the PVM sends.

In mid-stream an empty segment shows the start only provisionally, because a keep-alive or a window probe has
the number before the next byte. Until the PVM sends bytes there the flow is F_PROVISIONAL. It becomes
F_RAISED if they begin one higher, or if a client in a capture has acknowledged one more (M4).
"""

from libc.stdint cimport int64_t, uint32_t

from colo_proxy.core.flow.flow cimport (
    F_ACKNOWLEDGED,
    F_ANCHORED,
    F_PROVISIONAL,
    F_RAISED,
    Flow,
    flow_has_own_numbers,
)
from colo_proxy.core.flow.pool cimport N_UNPLACED, Node
from colo_proxy.core.packet.parse cimport RST
from colo_proxy.core.packet.seq cimport Seq, seq_add, seq_diff, seq_eq, seq_lt
from colo_proxy.core.tcp.agreed cimport MAX_DISTANCE, agreed_start_of
from colo_proxy.core.tcp.ranges cimport ranges_any, ranges_last_end


cdef bint anchor_in_midstream(const Flow *flow) noexcept nogil:
    return (flow.pvm.open or flow.svm.open or flow_has_own_numbers(flow)) and not (flow.pvm.syn
                                                                                   or flow.svm.syn)


cdef void anchor_place(Flow *flow, Node *node) noexcept nogil:
    if node.packet.flags & RST:
        node.flags |= N_UNPLACED
    elif node.flags & N_UNPLACED:
        pass
    elif not flow.flags & F_ANCHORED or (
            not flow.pvm.syn and seq_eq(flow.low, flow.matched) and node.packet.length and
            -MAX_DISTANCE < seq_diff(node.packet.seq, flow.low) < 0 and not far_ahead(flow, node.packet.seq)):
        flow.flags &= ~<uint32_t>(F_PROVISIONAL | F_RAISED | F_ACKNOWLEDGED)
        flow.flags |= F_ANCHORED
        if not node.packet.length and anchor_in_midstream(flow):
            flow.flags |= F_PROVISIONAL
        flow.low = flow.matched = flow.pieced = node.packet.seq
        flow.floor = seq_add(flow.low, -<int64_t>MAX_DISTANCE)  # no commit has set it yet
        flow.position = -1 if flow.pvm.syn else 0
    elif flow.flags & F_PROVISIONAL and node.packet.length and seq_diff(node.packet.seq, flow.matched) <= 1:
        if seq_lt(flow.matched, node.packet.seq) and not svm_begins_at(flow, flow.matched):
            begin_at(flow, node.packet.seq)
        flow.flags &= ~<uint32_t>(F_PROVISIONAL | F_ACKNOWLEDGED)


cdef void anchor_answered(Flow *flow, Seq ack) noexcept nogil:
    if flow.flags & F_PROVISIONAL and seq_eq(ack, seq_add(flow.matched, 1)) and \
            not svm_begins_at(flow, flow.matched):
        begin_at(flow, ack)
        flow.flags &= ~<uint32_t>(F_PROVISIONAL | F_ACKNOWLEDGED)


cdef inline void begin_at(Flow *flow, Seq start) noexcept nogil:
    """Start the range one above the empty segment that showed how far the PVM had sent."""
    flow.low = flow.matched = flow.pieced = start
    flow.flags |= F_RAISED


cdef bint far_ahead(const Flow *flow, Seq start) noexcept nogil:
    """Whether something agreed lies further beyond a position than anything of the stream can."""
    return ranges_any(flow) and seq_diff(ranges_last_end(flow), start) > MAX_DISTANCE


cdef bint svm_begins_at(const Flow *flow, Seq position) noexcept nogil:
    """Whether the SVM has a segment that begins at this position and occupies it."""
    cdef Node *node = flow.svm.low
    while node != NULL and seq_lt(agreed_start_of(node), position):
        node = node.sort_next
    return node != NULL and seq_eq(agreed_start_of(node), position)


cdef void anchor_lower(Flow *flow, const Node *node) noexcept nogil:
    cdef Seq start = agreed_start_of(node)
    if node.packet.flags & RST or node.flags & N_UNPLACED or not node.packet.length or \
            not seq_eq(flow.low, flow.matched) or not seq_eq(seq_add(start, 1), flow.matched):
        return
    flow.low = flow.matched = flow.pieced = start
    flow.flags &= ~<uint32_t>(F_RAISED | F_ACKNOWLEDGED)
