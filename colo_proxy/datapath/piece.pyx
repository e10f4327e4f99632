# See piece.pxd.

from libc.stdint cimport int32_t, int64_t, uint32_t

from colo_proxy.datapath.core cimport Core, emit
from colo_proxy.datapath.craft cimport cut, gso_size
from colo_proxy.datapath.flow cimport F_BLOCKED, Flow, list_add
from colo_proxy.datapath.pool cimport N_CONTRARY, N_COVERED, N_PURE, N_SENT, N_UNPLACED, N_WHOLE, Node
from colo_proxy.datapath.prefix cimport end_of, start_of
from colo_proxy.datapath.ranges cimport Beyond, beyond_of, has_ranges, last_end, ranges_add, ranges_gap
from colo_proxy.datapath.release cimport Clamp, apply, clamp_of, stamp, tell
from colo_proxy.datapath.seq cimport Seq, seq_add, seq_diff, seq_le, seq_lt, seq_max, seq_min
from colo_proxy.datapath.wire cimport ACK, RST, SYN, URG

cdef int64_t STUCK = 100_000_000  # ns


cdef Node *piece_lowest(const Flow *flow) noexcept nogil:
    cdef Node *node = flow.pvm.low
    while node != NULL and node.flags & N_COVERED:  # below the range, and waits for something else
        node = node.sort_next
    return node


cdef void piece_watch(Core *core, Flow *flow) noexcept nogil:
    cdef Seq end = flow.matched
    cdef const Node *low = piece_lowest(flow)
    if low == NULL:
        return
    if has_ranges(flow):
        end = last_end(flow)
    # Before the SVM has spoken the flow may be on the list of those that wait for the SVM's SYN.
    if flow.svm.open and seq_lt(start_of(low), end):
        flow.watched_since = core.now
        list_add(&core.watched, flow)


cdef void piece_due(Core *core, Flow *flow) noexcept nogil:
    cdef Node *node = piece_lowest(flow)
    piece_leave(core, flow, node, True)
    while has_ranges(flow) and node != NULL and seq_lt(start_of(node), last_end(flow)):
        pieces_beyond(core, flow, node, True)
        node = node.sort_next


cdef void piece_failover(Core *core, Flow *flow, Node *node) noexcept nogil:
    piece_leave(core, flow, node, False)
    if has_ranges(flow):
        pieces_beyond(core, flow, node, False)


cdef void piece_again(Core *core, Flow *flow, const Node *node) noexcept nogil:
    cdef Node *low = piece_lowest(flow)
    cdef Seq start = start_of(node)
    cdef Seq end = end_of(node)
    if low == NULL or node.flags & N_UNPLACED or flow.flags & F_BLOCKED or \
            core.now - flow.watched_since < STUCK or not seq_lt(start_of(low), end) or \
            not seq_le(flow.low, start) or not seq_le(end, flow.matched):
        return
    flow.pieced = seq_min(flow.pieced, start)  # it may have left before, and been lost
    piece_leave(core, flow, low, False)


cdef bint divisible(const Flow *flow, const Node *node) noexcept nogil:
    """Whether a part of a held node may leave as a segment of its own."""
    return node != NULL and flow.svm.acked and \
        not node.flags & (N_SENT | N_WHOLE | N_PURE | N_UNPLACED | N_CONTRARY) and \
        not node.packet.signature and \
        node.packet.flags & (SYN | URG | RST | ACK) == ACK and not seq_lt(node.packet.seq, flow.low)


cdef bint leave(Core *core, Flow *flow, Node *node, Seq begin, int32_t count) noexcept nogil:
    """Send `count` bytes of a node from `begin` on; false: there is no memory."""
    cdef Clamp clamp
    cdef Node *piece = cut(core, node, begin, count)
    if piece == NULL:
        return False
    clamp = clamp_of(flow, piece)
    clamp.order = node.order
    apply(flow, piece, &clamp)
    tell(flow, &clamp)
    stamp(flow, piece)
    emit(core, piece)
    return True


cdef void piece_leave(Core *core, Flow *flow, Node *node, bint whole_segments) noexcept nogil:
    """The part of a node that the prefix has."""
    cdef Seq begin
    cdef int32_t count
    cdef uint32_t size
    if not divisible(flow, node) or (whole_segments and flow.flags & F_BLOCKED):
        return
    begin = seq_max(node.packet.seq, flow.pieced)
    # No further than the payload goes: a FIN is a position without a byte.
    count = <int32_t>(node.packet.end - node.packet.payload) - seq_diff(begin, node.packet.seq)
    count = min(count, seq_diff(flow.matched, begin))
    if whole_segments:
        size = gso_size(node)
        count = count // <int32_t>size * <int32_t>size if size else 0
    if count > 0 and leave(core, flow, node, begin, count):
        flow.pieced = seq_add(begin, count)


cdef void pieces_beyond(Core *core, Flow *flow, Node *node, bint whole_segments) noexcept nogil:
    """The parts of a node that the ranges beyond the prefix have; what has left so before does not again."""
    cdef Beyond *beyond = beyond_of(flow)
    cdef uint32_t size = gso_size(node) if whole_segments else 1
    cdef int32_t length, first, last
    cdef uint32_t index
    cdef Seq at, until, end
    if not size or not divisible(flow, node) or (whole_segments and flow.flags & F_BLOCKED):
        return
    length = <int32_t>(node.packet.end - node.packet.payload)
    for index in range(beyond.agreed.count):
        first = max(seq_diff(beyond.agreed.each[index].begin, node.packet.seq), 0)
        first = (first + <int32_t>size - 1) // <int32_t>size * <int32_t>size
        last = min(seq_diff(beyond.agreed.each[index].end, node.packet.seq), length)
        if last < length:  # which is where its last segment ends
            last = last // <int32_t>size * <int32_t>size
        if first >= last:
            continue
        at = seq_add(node.packet.seq, first)
        until = seq_add(node.packet.seq, last)
        while ranges_gap(&beyond.pieced, &at, until, &end) and leave(core, flow, node, at, seq_diff(end, at)):
            ranges_add(&beyond.pieced, at, end)
            at = end
