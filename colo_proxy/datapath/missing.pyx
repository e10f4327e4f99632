# See missing.pxd.

from libc.stdint cimport INT64_MAX, int64_t, uint32_t

from colo_proxy.datapath.alone cimport alone_at_end
from colo_proxy.datapath.core cimport DIVERGED, Core, discard, diverge, drop, emit, flow_of, unhold
from colo_proxy.datapath.datagram cimport datagram_mismatch, datagram_place
from colo_proxy.datapath.flow cimport F_ANCHORED, F_BLOCKED, F_FORGET, F_GATHERED, F_HEARD, Flow
from colo_proxy.datapath.fragment cimport fragments_expire, fragments_take
from colo_proxy.datapath.gap cimport gap_at_end, gap_skip
from colo_proxy.datapath.judge cimport hold_incomplete
from colo_proxy.datapath.pool cimport N_OWED, N_PURE, N_SORTED, N_SVM, N_UNPLACED, Node, pool_give
from colo_proxy.datapath.prefix cimport agreed, end_of, offset_of, start_of
from colo_proxy.datapath.ranges cimport beyond_gap, beyond_of, has_ranges
from colo_proxy.datapath.release cimport out_of_date, release, still_owed, stray_reset
from colo_proxy.datapath.rules cimport rules_excuse
from colo_proxy.datapath.seq cimport Seq, seq_le, seq_lt, seq_max
from colo_proxy.datapath.wire cimport ACK, K_TCP, RST, SYN
from colo_proxy.datapath.words cimport (
    D_CLOSED,
    D_FRAGMENT,
    D_OLD_EPOCH,
    R_MISSING_PRIMARY,
    R_MISSING_SECONDARY,
)


cdef void missing(Core *core, Node *node) noexcept nogil:
    cdef Flow *flow = flow_of(node)
    cdef bint known
    if flow.flags & F_BLOCKED:
        return
    if flow.key.kind == K_TCP and not still_missing(core, flow, node):
        return
    if node.flags & N_SVM and rules_excuse(core, flow, node):
        if node.packet.flags & RST:
            flow.svm.reset = False
        unhold(core, node)
        drop(core, node, D_OLD_EPOCH)
        return
    if node.flags & N_SVM:
        if not node.flags & N_PURE and gap_skip(core, flow):
            # What the PVM's capture has lost; `node` may be gone.
            release(core, flow)
            return
        flow.flags |= F_FORGET
        if flow.key.kind == K_TCP and not node.flags & N_PURE:
            node = first_beyond(flow)
        diverge(core, flow, R_MISSING_PRIMARY, place(flow, node), NULL, node)
        return
    # Should the SVM just be slow, the next wait is longer.
    core.lag = max(core.lag, core.now - node.time)
    if flow.key.kind == K_TCP and not node.flags & (N_PURE | N_OWED) and not agreed(flow, node):
        if gap_skip(core, flow):
            known = agreed(flow, node)
            release(core, flow)
            if known:
                return
        stream_waits(core, flow)
    else:
        diverge(core, flow, R_MISSING_SECONDARY, place(flow, node), node, NULL)


cdef bint still_missing(Core *core, Flow *flow, Node *node) noexcept nogil:
    """False where nobody waits for what a node of a stream says; it may be gone then."""
    if node.flags & N_PURE:
        if stray_reset(core, flow, node):
            unhold(core, node)
            drop(core, node, D_CLOSED)
            return False
        if not node.packet.flags & RST and flow.svm.acked and seq_le(node.packet.ack, flow.svm.ack) and \
                (seq_lt(flow.told_ack, flow.told_edge) or out_of_date(flow, node)):
            unhold(core, node)  # a window update, while clients have a window
            discard(core, node)
            return False
    elif node.flags & N_OWED:
        if not still_owed(flow, node):
            unhold(core, node)
            pool_give(core.pool, node)
            return False
        if seq_le(node.packet.ack, flow.told_ack) and seq_lt(flow.told_ack, flow.told_edge):
            return False  # clients have some window: what is owed of it may wait
    elif node.flags & N_SVM and flow.flags & F_ANCHORED:
        if seq_le(end_of(node), flow.low):
            unhold(core, node)  # from before this flow was first seen
            drop(core, node, D_OLD_EPOCH)
            return False
        if seq_le(end_of(node), flow.pvm.end):
            return False  # the PVM got further: what it said here is lost on the way, and comes again
        if flow.pvm.acked and flow.svm.acked and seq_lt(flow.pvm.ack, flow.svm.ack):
            return False  # the PVM has yet to receive what the SVM answers
    return True


cdef int64_t place(const Flow *flow, const Node *node) noexcept nogil:
    """The stream offset of what is missing, as a node that waits shows it."""
    # Of the SVM's, what the PVM never got to.
    cdef Seq least = furthest(flow) if node.flags & N_SVM else flow.matched
    if flow.key.kind != K_TCP:
        return datagram_place(node)
    if not node.flags & (N_SVM | N_PURE | N_OWED | N_UNPLACED) and seq_lt(start_of(node), flow.low):
        return 0  # from before the first byte seen
    if node.flags & (N_PURE | N_OWED | N_UNPLACED) or (not node.flags & N_SVM and agreed(flow, node)):
        return offset_of(flow, flow.matched)  # it is an acknowledgement that waits
    return offset_of(flow, seq_max(start_of(node), least))


cdef inline Seq furthest(const Flow *flow) noexcept nogil:
    """Where the PVM has got to, as its capture shows or a client's acknowledgement has proved (M4)."""
    return seq_max(flow.pvm.end, flow.matched) if flow.flags & F_ANCHORED else flow.pvm.end


cdef Node *first_beyond(const Flow *flow) noexcept nogil:
    """M2: the SVM's segment with the first position that the PVM has not got to, or NULL."""
    cdef Node *node = flow.svm.low
    while node != NULL and flow.flags & F_ANCHORED and seq_le(end_of(node), furthest(flow)):
        node = node.sort_next
    return node


cdef Node *lowest_waiting(const Flow *flow) noexcept nogil:
    """The PVM's segment that is not agreed, and says the lowest position."""
    cdef Node *node = flow.pvm.first
    cdef Node *lowest = NULL
    while node != NULL:
        if node.flags & N_UNPLACED:
            return node
        if not agreed(flow, node) and (lowest == NULL or place(flow, node) < place(flow, lowest)):
            lowest = node
        node = node.flow_next
    return lowest


cdef Node *first_alone(const Flow *flow, Node *said, Node *other, Seq *at) noexcept nogil:
    """The first position beyond the agreed range that one list has and the other has not, and its node."""
    cdef Seq end
    at[0] = flow.matched
    while said != NULL:
        at[0] = seq_max(at[0], start_of(said))
        while beyond_gap(flow, at, end_of(said), &end):
            while other != NULL and seq_le(end_of(other), at[0]):
                other = other.sort_next
            if other == NULL or seq_lt(at[0], start_of(other)):
                return said
            at[0] = end_of(other)
        said = said.sort_next
    return NULL


cdef bint stream_waits(Core *core, Flow *flow) noexcept nogil:
    """M1: whose is it to say what the PVM's segments wait for? False if they wait for nothing."""
    cdef Node *lowest = lowest_waiting(flow)
    cdef Node *alone = NULL
    cdef Seq at
    if lowest == NULL:
        return False
    # What was held unjudged (M_HOLD) is on no sorted list.
    if lowest.flags & N_UNPLACED or not lowest.flags & N_SORTED or seq_lt(start_of(lowest), flow.low):
        diverge(core, flow, R_MISSING_SECONDARY, place(flow, lowest), lowest, NULL)
        return True
    alone = first_alone(flow, flow.pvm.low, flow.svm.low, &at)
    if alone != NULL:
        diverge(core, flow, R_MISSING_SECONDARY, offset_of(flow, at), alone, NULL)
        return True
    alone = first_alone(flow, flow.svm.low, flow.pvm.low, &at)
    if alone != NULL:
        diverge(core, flow, R_MISSING_PRIMARY, offset_of(flow, at), NULL, alone)
    else:  # both have lost the same
        diverge(core, flow, R_MISSING_SECONDARY, place(flow, lowest), lowest, NULL)
    return True


cdef bint hole_at_end(Core *core, Flow *flow) noexcept nogil:
    """M3: nothing of the PVM's waits, but below what is agreed beyond the prefix something is missing."""
    cdef Node *alone
    cdef Seq at
    if not has_ranges(flow):
        return False
    alone = first_alone(flow, flow.svm.low, flow.pvm.low, &at)
    if alone != NULL:
        diverge(core, flow, R_MISSING_PRIMARY, offset_of(flow, at), NULL, alone)
    else:  # both have lost the same
        at = beyond_of(flow).agreed.each[0].begin
        diverge(core, flow, R_MISSING_SECONDARY, offset_of(flow, at), NULL, NULL)
    return True


cdef void stream_at_end(Core *core, Flow *flow) noexcept nogil:
    cdef Node *node
    if gap_skip(core, flow):
        release(core, flow)
    if stream_waits(core, flow) or hole_at_end(core, flow):
        return
    node = flow.pvm.first
    while node != NULL:
        if node.packet.flags & (SYN | ACK) == SYN and agreed(flow, node):  # its form is not
            diverge(core, flow, R_MISSING_SECONDARY, place(flow, node), node, NULL)
            return
        node = node.flow_next
    node = flow.pvm.pure_first
    while node != NULL:
        if node.packet.flags & RST and not stray_reset(core, flow, node):
            diverge(core, flow, R_MISSING_SECONDARY, place(flow, node), node, NULL)
            return
        node = node.flow_next
    node = first_beyond(flow)
    if node == NULL:
        node = flow.svm.pure_first
    if node != NULL and not stray_reset(core, flow, node):
        diverge(core, flow, R_MISSING_PRIMARY, place(flow, node), NULL, node)


cdef void missing_at_end(Core *core) noexcept nogil:
    cdef Flow *flow
    cdef Node *node = fragments_take(core.svm_fragments)
    cdef Node *behind
    while node != NULL:
        behind = node.chain
        node.chain = NULL
        drop(core, node, D_FRAGMENT)
        node = behind
    while core.diverged_count < DIVERGED:
        node = fragments_expire(core.pvm_fragments, INT64_MAX)
        if node == NULL:
            break
        hold_incomplete(core, node)
    alone_at_end(core)
    flow = core.table.idle_first
    while flow != NULL and core.diverged_count < DIVERGED:
        if flow.key.kind == K_TCP:
            if (flow.waiting or has_ranges(flow)) and not flow.flags & F_BLOCKED:
                stream_at_end(core, flow)
            gap_at_end(core, flow)
            flow.flags &= ~<uint32_t>F_HEARD  # told once
        elif flow.flags & F_BLOCKED or not flow.waiting:
            pass
        elif flow.pvm.first != NULL and flow.svm.first != NULL:
            datagram_mismatch(core, flow)
            flow.flags |= F_GATHERED
        elif flow.pvm.first != NULL:
            diverge(core, flow, R_MISSING_SECONDARY, place(flow, flow.pvm.first), flow.pvm.first, NULL)
        elif flow.svm.first != NULL:
            diverge(core, flow, R_MISSING_PRIMARY, place(flow, flow.svm.first), NULL, flow.svm.first)
        flow = flow.idle_next
    if core.diverged_count < DIVERGED:
        follow_mismatches(core)


cdef void follow_mismatches(Core *core) noexcept nogil:
    """Datagrams that differ are a proof, not an absence: followed as everywhere (C8), for their flows."""
    cdef Node *node = core.held.first
    cdef Node *behind
    while node != NULL and core.settings.observe:
        behind = node.next
        if flow_of(node).flags & F_GATHERED:
            unhold(core, node)
            emit(core, node)
        node = behind
