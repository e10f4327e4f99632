"""Output that one guest has sent and the other has not: when it has waited for the timeout, and at the end of
captures (docs/comparison.md, M1 to M3, D4, F3).

The timeout of a waiting node proves nothing by itself. In a TCP stream it must first be clear which guest has
to send next: the lowest position that only one guest has sent decides. A loss on the way to the proxy, an
acknowledgement that depends on it, and a window update that clients do not need yet are not divergences.
"""

from libc.stdint cimport INT64_MAX, int64_t, uint32_t

from colo_proxy.core.core cimport (
    MAX_DIVERGED,
    Core,
    core_diverge,
    core_drop,
    core_emit,
    core_flow_of,
    core_forget,
    core_unhold,
)
from colo_proxy.core.datagram.datagram cimport datagram_mismatch, datagram_place
from colo_proxy.core.dispatch cimport dispatch_hold_incomplete
from colo_proxy.core.flow.flow cimport F_ANCHORED, F_BLOCKED, F_FORGET, F_GATHERED, F_HEARD, Flow
from colo_proxy.core.flow.fragments cimport fragments_expire, fragments_take
from colo_proxy.core.flow.pool cimport (
    N_OWED,
    N_PURE,
    N_SORTED,
    N_SVM,
    N_UNPLACED,
    Node,
    pool_give,
    pool_unchain,
)
from colo_proxy.core.packet.parse cimport ACK, K_TCP, RST, SYN
from colo_proxy.core.packet.seq cimport Seq, seq_le, seq_lt, seq_max
from colo_proxy.core.pairing cimport pairing_at_end
from colo_proxy.core.rules cimport rules_excuse
from colo_proxy.core.tcp.agreed cimport agreed_covers, agreed_end_of, agreed_offset_of, agreed_start_of
from colo_proxy.core.tcp.capture_gap cimport capture_gap_at_end, capture_gap_skip
from colo_proxy.core.tcp.ranges cimport ranges_any, ranges_beyond_gap, ranges_of
from colo_proxy.core.tcp.release cimport (
    release_all,
    release_out_of_date,
    release_still_owed,
    release_stray_reset,
)
from colo_proxy.core.vocabulary cimport (
    D_CLOSED,
    D_FRAGMENT,
    D_OLD_EPOCH,
    R_MISSING_PRIMARY,
    R_MISSING_SECONDARY,
)


cdef void missing_output_timed_out(Core *core, Node *node) noexcept nogil:
    cdef Flow *flow = core_flow_of(node)
    cdef bint known
    if flow.flags & F_BLOCKED:
        return
    if flow.key.kind == K_TCP and not still_missing(core, flow, node):
        return
    if node.flags & N_SVM and rules_excuse(core, flow, node):
        if node.packet.flags & RST:
            flow.svm.reset = False
        core_unhold(core, node)
        core_drop(core, node, D_OLD_EPOCH)
        return
    if node.flags & N_SVM:
        if not node.flags & N_PURE and capture_gap_skip(core, flow):
            # What the PVM's capture has lost; `node` may have been freed.
            release_all(core, flow)
            return
        flow.flags |= F_FORGET
        if flow.key.kind == K_TCP and not node.flags & N_PURE:
            node = first_beyond(flow)
        core_diverge(core, flow, R_MISSING_PRIMARY, place(flow, node), NULL, node)
        return
    # If the SVM is only slow, wait longer next time.
    core.lag = max(core.lag, core.now - node.time)
    if flow.key.kind == K_TCP and not node.flags & (N_PURE | N_OWED) and not agreed_covers(flow, node):
        if capture_gap_skip(core, flow):
            known = agreed_covers(flow, node)
            release_all(core, flow)
            if known:
                return
        stream_waits(core, flow)
    else:
        core_diverge(core, flow, R_MISSING_SECONDARY, place(flow, node), node, NULL)


cdef bint still_missing(Core *core, Flow *flow, Node *node) noexcept nogil:
    """False where nothing depends on what a stream's node carries; the node may have been freed then."""
    if node.flags & N_PURE:
        if release_stray_reset(core, flow, node):
            core_unhold(core, node)
            core_drop(core, node, D_CLOSED)
            return False
        if not node.packet.flags & RST and flow.svm.acked and seq_le(node.packet.ack, flow.svm.ack) and \
                (seq_lt(flow.told_ack, flow.told_edge) or release_out_of_date(flow, node)):
            core_forget(core, node)  # a window update, while clients have a window
            return False
    elif node.flags & N_OWED:
        if not release_still_owed(flow, node):
            core_unhold(core, node)
            pool_give(core.pool, node)
            return False
        if seq_le(node.packet.ack, flow.told_ack) and seq_lt(flow.told_ack, flow.told_edge):
            return False  # clients have some window left: the rest of the update can wait
    elif node.flags & N_SVM and flow.flags & F_ANCHORED:
        if seq_le(agreed_end_of(node), flow.low):
            core_unhold(core, node)  # from before this flow was first seen
            core_drop(core, node, D_OLD_EPOCH)
            return False
        if seq_le(agreed_end_of(node), flow.pvm.end):
            return False  # the PVM has sent more: what it sent here was lost on the way, and will be repeated
        if flow.pvm.acked and flow.svm.acked and seq_lt(flow.pvm.ack, flow.svm.ack):
            return False  # the PVM has not received yet what the SVM answers
    return True


cdef int64_t place(const Flow *flow, const Node *node) noexcept nogil:
    """The stream offset of what is missing, judged by a node that waits."""
    # For the SVM's node: the first position that the PVM has not reached.
    cdef Seq least = furthest(flow) if node.flags & N_SVM else flow.matched
    cdef Seq at, end
    if flow.key.kind != K_TCP:
        return datagram_place(node)
    if not node.flags & (N_SVM | N_PURE | N_OWED | N_UNPLACED) and seq_lt(agreed_start_of(node), flow.low):
        return 0  # from before the first byte seen
    if node.flags & (N_PURE | N_OWED | N_UNPLACED) or (not node.flags & N_SVM and agreed_covers(flow, node)):
        return agreed_offset_of(flow, flow.matched)  # it is an acknowledgement that is missing
    at = seq_max(agreed_start_of(node), least)
    if not node.flags & N_SVM:
        ranges_beyond_gap(flow, &at, agreed_end_of(node), &end)  # what is agreed beyond a hole is not missing
    return agreed_offset_of(flow, at)


cdef inline Seq furthest(const Flow *flow) noexcept nogil:
    """How far the PVM has sent, as its capture shows or as a client's acknowledgement proves (M4)."""
    return seq_max(flow.pvm.end, flow.matched) if flow.flags & F_ANCHORED else flow.pvm.end


cdef Node *first_beyond(const Flow *flow) noexcept nogil:
    """M2: the SVM's segment with the first position that the PVM has not reached, or NULL."""
    cdef Node *node = flow.svm.low
    while node != NULL and flow.flags & F_ANCHORED and seq_le(agreed_end_of(node), furthest(flow)):
        node = node.sort_next
    return node


cdef Node *lowest_waiting(const Flow *flow) noexcept nogil:
    """The PVM's segment that is not agreed and has the lowest position."""
    cdef Node *node = flow.pvm.first
    cdef Node *lowest = NULL
    while node != NULL:
        if node.flags & N_UNPLACED:
            return node
        if not agreed_covers(flow, node) and (lowest == NULL or place(flow, node) < place(flow, lowest)):
            lowest = node
        node = node.flow_next
    return lowest


cdef Node *first_alone(const Flow *flow, Node *said, Node *other, Seq *at) noexcept nogil:
    """The first position beyond the agreed range that is in one list and not in the other, and its node."""
    cdef Seq end
    at[0] = flow.matched
    while said != NULL:
        at[0] = seq_max(at[0], agreed_start_of(said))
        while ranges_beyond_gap(flow, at, agreed_end_of(said), &end):
            while other != NULL and seq_le(agreed_end_of(other), at[0]):
                other = other.sort_next
            if other == NULL or seq_lt(at[0], agreed_start_of(other)):
                return said
            at[0] = agreed_end_of(other)
        said = said.sort_next
    return NULL


cdef bint stream_waits(Core *core, Flow *flow) noexcept nogil:
    """M1: which guest has to send what the PVM's segments wait for? False if they wait for nothing."""
    cdef Node *lowest = lowest_waiting(flow)
    cdef Node *alone = NULL
    cdef Seq at
    if lowest == NULL:
        return False
    # What was held without being judged (M_HOLD) is on no sorted list.
    if lowest.flags & N_UNPLACED or not lowest.flags & N_SORTED or seq_lt(agreed_start_of(lowest), flow.low):
        core_diverge(core, flow, R_MISSING_SECONDARY, place(flow, lowest), lowest, NULL)
        return True
    alone = first_alone(flow, flow.pvm.low, flow.svm.low, &at)
    if alone != NULL:
        core_diverge(core, flow, R_MISSING_SECONDARY, agreed_offset_of(flow, at), alone, NULL)
        return True
    alone = first_alone(flow, flow.svm.low, flow.pvm.low, &at)
    if alone != NULL:
        core_diverge(core, flow, R_MISSING_PRIMARY, agreed_offset_of(flow, at), NULL, alone)
    else:  # both have the same hole
        core_diverge(core, flow, R_MISSING_SECONDARY, place(flow, lowest), lowest, NULL)
    return True


cdef bint hole_at_end(Core *core, Flow *flow) noexcept nogil:
    """M3: nothing of the PVM waits, but below a range agreed behind a hole something is missing."""
    cdef Node *alone
    cdef Seq at
    if not ranges_any(flow):
        return False
    alone = first_alone(flow, flow.svm.low, flow.pvm.low, &at)
    if alone != NULL:
        core_diverge(core, flow, R_MISSING_PRIMARY, agreed_offset_of(flow, at), NULL, alone)
    else:  # both have the same hole
        at = ranges_of(flow).agreed.each[0].begin
        core_diverge(core, flow, R_MISSING_SECONDARY, agreed_offset_of(flow, at), NULL, NULL)
    return True


cdef void stream_at_end(Core *core, Flow *flow) noexcept nogil:
    cdef Node *node
    if capture_gap_skip(core, flow):
        release_all(core, flow)
    if stream_waits(core, flow) or hole_at_end(core, flow):
        return
    node = flow.pvm.first
    while node != NULL:
        if node.packet.flags & (SYN | ACK) == SYN and agreed_covers(flow, node):  # its form is not
            core_diverge(core, flow, R_MISSING_SECONDARY, place(flow, node), node, NULL)
            return
        node = node.flow_next
    node = flow.pvm.pure_first
    while node != NULL:
        if node.packet.flags & RST and not release_stray_reset(core, flow, node):
            core_diverge(core, flow, R_MISSING_SECONDARY, place(flow, node), node, NULL)
            return
        node = node.flow_next
    node = first_beyond(flow)
    if node == NULL:
        node = flow.svm.pure_first
    if node != NULL and not release_stray_reset(core, flow, node):
        core_diverge(core, flow, R_MISSING_PRIMARY, place(flow, node), NULL, node)


cdef void missing_output_at_end(Core *core) noexcept nogil:
    cdef Flow *flow
    cdef Node *node = fragments_take(core.svm_fragments)
    while node != NULL:
        core_drop(core, pool_unchain(&node), D_FRAGMENT)
    while core.diverged_count < MAX_DIVERGED:
        node = fragments_expire(core.pvm_fragments, INT64_MAX)
        if node == NULL:
            break
        dispatch_hold_incomplete(core, node)
    pairing_at_end(core)
    flow = core.table.idle_first
    while flow != NULL and core.diverged_count < MAX_DIVERGED:
        if flow.key.kind == K_TCP:
            if (flow.waiting or ranges_any(flow)) and not flow.flags & F_BLOCKED:
                stream_at_end(core, flow)
            capture_gap_at_end(core, flow)
            flow.flags &= ~<uint32_t>F_HEARD  # report it once
        elif flow.flags & F_BLOCKED or not flow.waiting:
            pass
        elif flow.pvm.first != NULL and flow.svm.first != NULL:
            datagram_mismatch(core, flow)
            flow.flags |= F_GATHERED
        elif flow.pvm.first != NULL:
            core_diverge(core, flow, R_MISSING_SECONDARY, place(flow, flow.pvm.first), flow.pvm.first, NULL)
        elif flow.svm.first != NULL:
            core_diverge(core, flow, R_MISSING_PRIMARY, place(flow, flow.svm.first), NULL, flow.svm.first)
        flow = flow.idle_next
    if core.diverged_count < MAX_DIVERGED:
        follow_mismatches(core)


cdef void follow_mismatches(Core *core) noexcept nogil:
    """Datagrams that differ are proof of a divergence, not only missing: continue their flows as elsewhere
    (C8).
    """
    cdef Node *node = core.held.first
    cdef Node *behind
    while node != NULL and core.settings.observe:
        behind = node.next
        if core_flow_of(node).flags & F_GATHERED:
            core_unhold(core, node)
            core_emit(core, node)
        node = behind
