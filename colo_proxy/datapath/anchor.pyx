# See anchor.pxd.

from libc.stdint cimport int64_t, uint32_t

from colo_proxy.datapath.flow cimport (
    F_ACKNOWLEDGED,
    F_ANCHORED,
    F_PROVISIONAL,
    F_RAISED,
    Flow,
    has_own_numbers,
)
from colo_proxy.datapath.pool cimport N_UNPLACED, Node
from colo_proxy.datapath.prefix cimport FAR, start_of
from colo_proxy.datapath.ranges cimport has_ranges, last_end
from colo_proxy.datapath.seq cimport Seq, seq_add, seq_diff, seq_eq, seq_lt
from colo_proxy.datapath.wire cimport RST


cdef bint caught(const Flow *flow) noexcept nogil:
    return (flow.pvm.open or flow.svm.open or has_own_numbers(flow)) and not (flow.pvm.syn or flow.svm.syn)


cdef void anchor(Flow *flow, Node *node) noexcept nogil:
    if node.packet.flags & RST:
        node.flags |= N_UNPLACED
    elif node.flags & N_UNPLACED:
        pass
    elif not flow.flags & F_ANCHORED or (
            not flow.pvm.syn and seq_eq(flow.low, flow.matched) and node.packet.length and
            -FAR < seq_diff(node.packet.seq, flow.low) < 0 and not far_ahead(flow, node.packet.seq)):
        flow.flags &= ~<uint32_t>(F_PROVISIONAL | F_RAISED | F_ACKNOWLEDGED)
        flow.flags |= F_ANCHORED
        if not node.packet.length and caught(flow):
            flow.flags |= F_PROVISIONAL
        flow.low = flow.matched = flow.pieced = node.packet.seq
        flow.floor = seq_add(flow.low, -<int64_t>FAR)  # no commit has found it anywhere
        flow.position = -1 if flow.pvm.syn else 0
    elif flow.flags & F_PROVISIONAL and node.packet.length and seq_diff(node.packet.seq, flow.matched) <= 1:
        if seq_lt(flow.matched, node.packet.seq) and not svm_begins_at(flow, flow.matched):
            flow.low = flow.matched = flow.pieced = node.packet.seq
            flow.flags |= F_RAISED
        flow.flags &= ~<uint32_t>(F_PROVISIONAL | F_ACKNOWLEDGED)


cdef bint far_ahead(const Flow *flow, Seq start) noexcept nogil:
    """Whether something agreed lies further beyond a place than anything of the stream can."""
    return has_ranges(flow) and seq_diff(last_end(flow), start) > FAR


cdef bint svm_begins_at(const Flow *flow, Seq position) noexcept nogil:
    """Whether the SVM has a segment with something at this position that begins there."""
    cdef Node *node = flow.svm.low
    while node != NULL and seq_lt(start_of(node), position):
        node = node.sort_next
    return node != NULL and seq_eq(start_of(node), position)


cdef void lower_again(Flow *flow, const Node *node) noexcept nogil:
    cdef Seq start = start_of(node)
    if node.packet.flags & RST or node.flags & N_UNPLACED or not node.packet.length or \
            not seq_eq(flow.low, flow.matched) or not seq_eq(seq_add(start, 1), flow.matched):
        return
    flow.low = flow.matched = flow.pieced = start
    flow.flags &= ~<uint32_t>(F_RAISED | F_ACKNOWLEDGED)
