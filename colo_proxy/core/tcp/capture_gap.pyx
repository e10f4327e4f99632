"""What is missing from the PVM's capture, though the client has acknowledged it (docs/comparison.md, M4).

This is for captures only. The capture has lost these bytes, so it is unknown whether the guests have sent the
same. They are reported once as not compared, and the comparison continues behind them. With live traffic, a
client's acknowledgement proves nothing.
"""

from libc.stdint cimport int32_t, uint32_t
from libc.stdlib cimport abs, realloc

from colo_proxy.core.core cimport Core, Missed
from colo_proxy.core.flow.flow cimport F_ANCHORED, F_BLOCKED, F_CONTRADICTED, F_HEARD, Flow
from colo_proxy.core.flow.pool cimport Node
from colo_proxy.core.flow.table cimport table_find
from colo_proxy.core.packet.key cimport Key, key_text
from colo_proxy.core.packet.parse cimport ACK, K_TCP, RST, SYN
from colo_proxy.core.packet.seq cimport Seq, seq_diff, seq_le, seq_lt, seq_max, seq_min
from colo_proxy.core.tcp.agreed cimport (
    MAX_DISTANCE,
    agreed_advance,
    agreed_end_of,
    agreed_move,
    agreed_offset_of,
    agreed_start_of,
)
from colo_proxy.core.tcp.anchor cimport anchor_answered
from colo_proxy.core.tcp.ranges cimport ranges_any, ranges_of
from colo_proxy.core.vocabulary cimport D_MEMORY

cdef enum:
    NEAR = 1 << 26  # bytes between what the PVM has acknowledged and what the client sends


cdef void capture_gap_note_client(Core *core, const Key *key, const Node *node) noexcept nogil:
    """Of several connections on the same ports, choose the one whose numbers are nearest.

    A connection that is over may still be acknowledged; the client's numbers are then far from the expected
    ones. A SYN/ACK answers a SYN and acknowledges no bytes, in particular none of the connection before.
    """
    cdef Flow *flow = table_find(&core.table, key, False)
    cdef Flow *nearest = NULL
    cdef int32_t least = MAX_DISTANCE
    cdef int32_t apart
    if node.packet.flags & (SYN | ACK | RST) != ACK:
        return
    while flow != NULL:
        apart = abs(seq_diff(node.packet.ack, flow.pvm.end))
        if flow.pvm.open and apart <= least and flow.pvm.acked and \
                abs(seq_diff(node.packet.seq, flow.pvm.ack)) <= NEAR:
            nearest = flow
            least = apart
        flow = flow.newer
    if nearest != NULL and (not nearest.flags & F_HEARD or seq_lt(nearest.heard_ack, node.packet.ack)):
        nearest.flags |= F_HEARD
        nearest.heard_ack = node.packet.ack
        anchor_answered(nearest, node.packet.ack)


cdef bint applies(const Core *core, const Flow *flow) noexcept nogil:
    return core.settings.captured and flow.key.kind == K_TCP and \
        flow.flags & (F_ANCHORED | F_HEARD) == F_ANCHORED | F_HEARD and \
        not flow.flags & (F_BLOCKED | F_CONTRADICTED)


cdef Seq begins(const Flow *flow, const Node *node, Seq until) noexcept nogil:
    """Where the PVM's bytes that are not agreed begin, if that is before `until`."""
    while node != NULL and seq_le(agreed_end_of(node), flow.matched):
        node = node.sort_next
    return until if node == NULL else seq_min(until, agreed_start_of(node))


cdef bint capture_gap_skip(Core *core, Flow *flow) noexcept nogil:
    cdef bint found = False
    cdef Seq until
    while applies(core, flow) and (flow.pvm.low != NULL or flow.svm.low != NULL or ranges_any(flow)):
        until = begins(flow, flow.pvm.low, flow.heard_ack)
        if ranges_any(flow):
            until = seq_min(until, ranges_of(flow).agreed.each[0].begin)
        if not seq_lt(flow.matched, until):
            break
        note(core, flow, flow.matched, until)
        agreed_move(flow, until)
        agreed_advance(core, flow)
        found = True
    return found


cdef void capture_gap_at_end(Core *core, const Flow *flow) noexcept nogil:
    cdef Seq end = flow.pvm.end
    if not applies(core, flow):
        return
    end = seq_max(end, flow.matched)  # what was skipped has been reported
    if 0 < seq_diff(flow.heard_ack, end) <= MAX_DISTANCE:
        note(core, flow, end, flow.heard_ack)


cdef void note(Core *core, const Flow *flow, Seq begin, Seq end) noexcept nogil:
    """Used only for captures, so it may allocate: as much as a capture requires."""
    cdef uint32_t room
    cdef Missed *more
    if core.missed_count == core.missed_room:
        room = 2 * core.missed_room if core.missed_room else 64
        more = <Missed *>realloc(core.missed, room * sizeof(Missed))
        if more == NULL:
            core.exhausted |= <uint32_t>1 << <int>D_MEMORY
            return
        core.missed = more
        core.missed_room = room
    key_text(&flow.key, core.missed[core.missed_count].flow, sizeof(core.missed[core.missed_count].flow))
    core.missed[core.missed_count].begin = agreed_offset_of(flow, begin)
    core.missed[core.missed_count].end = agreed_offset_of(flow, end)
    core.missed_count += 1
