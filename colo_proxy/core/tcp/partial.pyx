"""Releasing the agreed part of a held segment before the rest is agreed (docs/comparison.md, T13).

The SVM sends the rest only after its earlier bytes are acknowledged, if its congestion window is smaller than
the PVM's (RFC 5681) or a small segment is unacknowledged (Nagle's algorithm, RFC 9293, 3.7.4). Clients cannot
acknowledge bytes while the PVM's whole segment is held. So the agreed segments of a super-frame are released
when nothing new has been agreed for `reorder`, and the agreed part of any segment when the SVM repeats what
waits: it repeats unacknowledged bytes no sooner than STUCK (Linux: after 200 ms).
"""

from libc.stdint cimport int32_t, int64_t, uint32_t

from colo_proxy.core.core cimport Core, core_emit
from colo_proxy.core.flow.flow cimport F_BLOCKED, Flow
from colo_proxy.core.flow.flow_list cimport flow_list_add
from colo_proxy.core.flow.pool cimport N_CONTRARY, N_COVERED, N_PURE, N_SENT, N_UNPLACED, N_WHOLE, Node
from colo_proxy.core.packet.parse cimport ACK, RST, SYN, URG
from colo_proxy.core.packet.seq cimport Seq, seq_add, seq_diff, seq_le, seq_lt, seq_max, seq_min
from colo_proxy.core.tcp.agreed cimport agreed_end_of, agreed_start_of
from colo_proxy.core.tcp.craft cimport craft_gso_size, craft_part
from colo_proxy.core.tcp.ranges cimport Beyond, ranges_add, ranges_any, ranges_gap, ranges_last_end, ranges_of
from colo_proxy.core.tcp.release cimport (
    Clamp,
    release_all,
    release_apply,
    release_clamp_of,
    release_stamp,
    release_tell,
)

cdef int64_t STUCK = 100_000_000  # ns


cdef Node *partial_lowest(const Flow *flow) noexcept nogil:
    cdef Node *node = flow.pvm.low
    while node != NULL and node.flags & N_COVERED:  # it is below the range, and waits for something else
        node = node.sort_next
    return node


cdef void partial_watch(Core *core, Flow *flow) noexcept nogil:
    cdef Seq end = flow.matched
    cdef const Node *low = partial_lowest(flow)
    if low == NULL:
        return
    if ranges_any(flow):
        end = ranges_last_end(flow)
    # Before the SVM has sent anything, the flow may be on the list of those that wait for the SVM's SYN.
    if flow.svm.open and seq_lt(agreed_start_of(low), end):
        flow.watched_since = core.now
        flow_list_add(&core.watched, flow)


cdef void partial_due(Core *core, Flow *flow) noexcept nogil:
    cdef Node *node = partial_lowest(flow)
    partial_release(core, flow, node, True)
    while ranges_any(flow) and node != NULL and seq_lt(agreed_start_of(node), ranges_last_end(flow)):
        pieces_beyond(core, flow, node, True)
        node = node.sort_next
    release_all(core, flow)  # what waits may offer more than the windows just released (T6)


cdef void partial_failover(Core *core, Flow *flow, Node *node) noexcept nogil:
    partial_release(core, flow, node, False)
    if ranges_any(flow):
        pieces_beyond(core, flow, node, False)


cdef void partial_again(Core *core, Flow *flow, const Node *node) noexcept nogil:
    cdef Node *low = partial_lowest(flow)
    cdef Seq start = agreed_start_of(node)
    cdef Seq end = agreed_end_of(node)
    if low == NULL or node.flags & N_UNPLACED or flow.flags & F_BLOCKED or \
            core.now - flow.watched_since < STUCK or not seq_lt(agreed_start_of(low), end) or \
            not seq_le(flow.low, start) or not seq_le(end, flow.matched):
        return
    flow.pieced = seq_min(flow.pieced, start)  # it may have been released before, and lost
    partial_release(core, flow, low, False)
    release_all(core, flow)  # as in partial_due


cdef bint divisible(const Flow *flow, const Node *node) noexcept nogil:
    """Whether a part of a held node can be sent as a segment of its own."""
    return node != NULL and flow.svm.acked and \
        not node.flags & (N_SENT | N_WHOLE | N_PURE | N_UNPLACED | N_CONTRARY) and \
        not node.packet.signature and \
        node.packet.flags & (SYN | URG | RST | ACK) == ACK and not seq_lt(node.packet.seq, flow.low)


cdef bint leave(Core *core, Flow *flow, Node *node, Seq begin, int32_t count) noexcept nogil:
    """Send `count` bytes of a node from `begin` on; false: there is no memory."""
    cdef Clamp clamp
    cdef Node *piece = craft_part(core, node, begin, count)
    if piece == NULL:
        return False
    clamp = release_clamp_of(flow, piece)
    clamp.order = node.order
    release_apply(flow, piece, &clamp)
    release_tell(flow, &clamp)
    release_stamp(flow, piece)
    core_emit(core, piece)
    return True


cdef void partial_release(Core *core, Flow *flow, Node *node, bint whole_segments) noexcept nogil:
    """Release the part of a node that lies in the prefix."""
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
        size = craft_gso_size(node)
        count = count // <int32_t>size * <int32_t>size if size else 0
    if count > 0 and leave(core, flow, node, begin, count):
        flow.pieced = seq_add(begin, count)


cdef void pieces_beyond(Core *core, Flow *flow, Node *node, bint whole_segments) noexcept nogil:
    """Release the parts of a node that lie in the ranges beyond the prefix, each part only once."""
    cdef Beyond *beyond = ranges_of(flow)
    cdef uint32_t size = craft_gso_size(node) if whole_segments else 1
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
