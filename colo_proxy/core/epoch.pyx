"""What each word of a checkpoint does to the frames that wait (docs/comparison.md, section 6).

The modes, and which word leads from one to another: epoch.pxd. A commit has three steps: release the PVM's
held output in order of arrival, update every flow (the SVM now has the PVM's numbers), judge what limbo has
kept.
"""

from libc.stdint cimport INT64_MAX, int64_t, uint32_t

from colo_proxy.core.core cimport (
    Core,
    core_discard,
    core_drop,
    core_emit,
    core_flow_of,
    core_forget,
    core_keep_for_next_epoch,
    core_timeout_of,
    core_touch,
    core_unhold,
)
from colo_proxy.core.datagram.datagram cimport datagram_agreed, datagram_commit, datagram_pair_off
from colo_proxy.core.datagram.uso cimport uso_count, uso_cut, uso_taken
from colo_proxy.core.dispatch cimport (
    dispatch_emit_aligned,
    dispatch_pass_secondary,
    dispatch_primary,
    dispatch_secondary,
)
from colo_proxy.core.flow.flow cimport (
    F_ALIAS,
    F_ANCHORED,
    F_ASTRAY,
    F_FORGET,
    F_GATHERED,
    F_TOUCHED,
    F_TRIES,
    Flow,
    flow_has_own_numbers,
    flow_is_alias,
    flow_next,
)
from colo_proxy.core.flow.flow_list cimport flow_list_leave
from colo_proxy.core.flow.fragments cimport fragments_take
from colo_proxy.core.flow.late_copies cimport late_copies_clear
from colo_proxy.core.flow.pool cimport N_OWED, N_PURE, N_SVM, N_UNPLACED, Node, pool_give, pool_unchain
from colo_proxy.core.lookup cimport lookup_awaits_pair, lookup_left_by_pvm, lookup_lose_alias, lookup_remove
from colo_proxy.core.observing cimport observing_clear
from colo_proxy.core.packet.parse cimport ACK, K_TCP, RST, URG
from colo_proxy.core.packet.seq cimport seq_le, seq_lt
from colo_proxy.core.tcp.agreed cimport agreed_advance, agreed_covers, agreed_position_of
from colo_proxy.core.tcp.partial cimport partial_failover
from colo_proxy.core.tcp.release cimport release_note_told, release_stamp, release_still_owed
from colo_proxy.core.tcp.retransmission cimport retransmission_replace
from colo_proxy.core.tcp.stream cimport stream_adopt, stream_commit
from colo_proxy.core.tcp.tries cimport tries_forget
from colo_proxy.core.vocabulary cimport D_OLD_EPOCH, D_UNCOMMITTED, M_COMPARE, M_FAILED_OVER, M_HOLD, M_PASS


cdef int64_t WARMING = 100000000  # ns of delay expected of the SVM after a commit


cdef void drop_pending(Core *core) noexcept nogil:
    """Drop what the SVM sent in an epoch that is over, and incomplete output that waited for more of it."""
    cdef Node *node
    observing_clear(core)
    while core.pending.first != NULL:
        node = core.pending.first
        if node.packet.flags & RST:
            core_flow_of(node).svm.reset = False
        core_unhold(core, node)
        core_drop(core, node, D_OLD_EPOCH)
    while core.svm_syns.first != NULL:
        flow_list_leave(core.svm_syns.first)
    pool_give(core.pool, fragments_take(core.svm_fragments))
    late_copies_clear(core.late)


cdef void emit_held(Core *core) noexcept nogil:
    """Release what the PVM has sent, unchanged and in order."""
    cdef Node *node
    cdef Flow *flow
    while core.held.first != NULL:
        node = core.held.first
        flow = core_flow_of(node)
        core_unhold(core, node)
        if node.flags & N_OWED and not release_still_owed(flow, node):
            core_discard(core, node)
            continue
        if flow.key.kind == K_TCP:
            release_note_told(flow, node)
            release_stamp(flow, node)
            if core.digests != NULL:
                retransmission_replace(core, flow, node)
        core_emit(core, node)


cdef void emit_chain(Core *core, Node *node) noexcept nogil:
    """Release the PVM's fragments of datagrams that are not complete yet, too."""
    while node != NULL:
        core_emit(core, pool_unchain(&node))


cdef void feed_limbo(Core *core, bint pvm, bint svm) noexcept nogil:
    """Judge what limbo has kept, in order of arrival; frames of a side that is not wanted are dropped."""
    cdef Node *node = core.limbo.first
    cdef Node *behind
    core.limbo.first = core.limbo.last = NULL
    while node != NULL:
        behind = node.next
        if node.flags & N_SVM:
            if not svm:
                core_drop(core, node, D_OLD_EPOCH)
            elif core.mode == M_FAILED_OVER:
                dispatch_pass_secondary(core, node)
            else:
                dispatch_secondary(core, node)
        elif not pvm:
            core_drop(core, node, D_UNCOMMITTED)
        elif core.mode == M_PASS:
            core_emit(core, node)
        else:
            dispatch_primary(core, node)
        node = behind


cdef void leave_stop(Core *core, int mode) noexcept nogil:
    core.mode = mode
    core.counts.mode = mode
    core.svm_stopped = False
    core.svm_loaded = False
    core.pvm_stopped = False


cdef void untouch_all(Core *core) noexcept nogil:
    while core.touched != NULL:
        core.touched.flags &= ~<uint32_t>F_TOUCHED
        core.touched = core.touched.commit_next


cdef void adopt_numbers(Core *core) noexcept nogil:
    cdef Flow *flow = core.table.idle_first
    while flow != NULL:
        if not flow_is_alias(flow):
            stream_adopt(flow)
            if flow.alias != NULL:
                lookup_lose_alias(core, flow)
        flow = flow.idle_next


cdef void epoch_hold(Core *core) noexcept nogil:
    drop_pending(core)
    if core.svm_loaded:
        adopt_numbers(core)  # the checkpoint failed, but the SVM has the PVM's numbers already
    leave_stop(core, M_HOLD)
    feed_limbo(core, True, False)


cdef void epoch_unprotect(Core *core) noexcept nogil:
    cdef Flow *flow
    cdef Flow *behind
    drop_pending(core)
    emit_held(core)
    emit_chain(core, fragments_take(core.pvm_fragments))
    untouch_all(core)
    leave_stop(core, M_PASS)
    flow = core.table.idle_first
    while flow != NULL:
        behind = flow_next(flow)
        if not flow_is_alias(flow):
            lookup_remove(core, flow)
        flow = behind
    feed_limbo(core, True, False)


cdef void epoch_svm_stop(Core *core) noexcept nogil:
    drop_pending(core)
    epoch_drop_stragglers(core, INT64_MAX)
    core.svm_stopped = True


cdef void epoch_drop_stragglers(Core *core, int64_t before) noexcept nogil:
    cdef Node *node = core.limbo.first
    cdef Node *behind
    core.limbo.first = core.limbo.last = NULL
    while node != NULL:
        behind = node.next
        if node.flags & N_SVM and node.time < before:
            core_drop(core, node, D_OLD_EPOCH)
        else:
            core_keep_for_next_epoch(core, node)
        node = behind


cdef void epoch_svm_loaded(Core *core) noexcept nogil:
    core.svm_loaded = core.svm_stopped


cdef void epoch_pvm_stop(Core *core) noexcept nogil:
    core.pvm_stopped = True


cdef void replaced_flows(Core *core) noexcept nogil:
    """The SVM has the PVM's state: update every flow, and remove those that only the old SVM had."""
    cdef Flow *flow = core.table.idle_first
    cdef Flow *behind
    while flow != NULL:
        behind = flow_next(flow)
        if flow_is_alias(flow):
            pass
        elif flow.flags & F_ALIAS:
            lookup_remove(core, flow)  # alone
        elif (flow.key.kind == K_TCP and not flow.flags & F_ANCHORED) or lookup_left_by_pvm(flow) or \
                flow.flags & F_ASTRAY:
            lookup_remove(core, flow)
        elif flow.key.kind == K_TCP:
            if lookup_awaits_pair(core, flow):
                # the SVM's state has this same SYN; the flow may now be removed to make room (B2)
                flow_list_leave(flow)
            if flow.alias != NULL:
                lookup_lose_alias(core, flow)  # the SVM uses the PVM's ports now
            stream_commit(core, flow, True)
        else:
            if flow.alias != NULL:
                lookup_lose_alias(core, flow)
            datagram_commit(core, flow, True)
        flow = behind


cdef void epoch_commit(Core *core) noexcept nogil:
    if not core.svm_stopped:
        epoch_svm_stop(core)
    emit_held(core)
    emit_chain(core, fragments_take(core.pvm_fragments))
    untouch_all(core)
    replaced_flows(core)
    # A guest that has just been given its state is slow for a while: its caches are cold, and timers are
    # late.
    core.lag = max(core.lag, WARMING)
    core.replaced.count = 0  # frames that were not compared are part of the SVM's state
    leave_stop(core, M_COMPARE)
    feed_limbo(core, True, True)


cdef void forget_unanswered(Core *core) noexcept nogil:
    """Forget connections on which only the PVM has sent something: clients know nothing of them; the SVM
    opens its own.

    A connection that was compared before the rules changed (C10) stays: the SVM has it, with its own numbers.
    """
    cdef Flow *flow = core.table.idle_first
    cdef Flow *behind
    while flow != NULL:
        behind = flow_next(flow)
        if flow.key.kind == K_TCP and not flow.flags & F_ALIAS and not flow.svm.open and \
                not flow_has_own_numbers(flow):
            lookup_remove(core, flow)
        flow = behind


cdef void settle_numbers(Core *core) noexcept nogil:
    """The SVM has the PVM's state, whichever of its ISNs it continues with: no SYN/ACK (T10a) changes an
    offset now.
    """
    cdef Flow *flow = core.table.idle_first
    while flow != NULL:
        if flow.flags & F_TRIES:
            tries_forget(flow)
        flow = flow_next(flow)


cdef void emit_rest(Core *core, const Flow *flow, Node *node) noexcept nogil:
    """Clients have received some datagrams of a super-frame of the SVM: release the others, each by itself.
    """
    cdef Node *alone
    cdef uint32_t index
    for index in range(uso_count(node)):
        if not uso_taken(node, index):
            alone = uso_cut(core, node, index)
            if alone != NULL:
                dispatch_emit_aligned(core, flow, alone)
    core_discard(core, node)


cdef void epoch_failover(Core *core) noexcept nogil:
    cdef Node *node
    cdef Flow *flow
    while core.held.first != NULL:
        node = core.held.first
        if core.mode == M_COMPARE and not core.svm_stopped and not node.flags & (N_PURE | N_OWED):
            # What the SVM has sent of it, it will not send again soon.
            if core_flow_of(node).key.kind == K_TCP:
                partial_failover(core, core_flow_of(node), node)
            else:
                datagram_agreed(core, node)
        core_unhold(core, node)
        if node.flags & N_OWED:
            core_discard(core, node)
        else:
            core_drop(core, node, D_UNCOMMITTED)
    pool_give(core.pool, fragments_take(core.pvm_fragments))
    while core.pending.first != NULL:
        node = core.pending.first
        flow = core_flow_of(node)
        core_unhold(core, node)
        if flow.key.kind == K_TCP and not node.flags & N_PURE and agreed_covers(flow, node):
            core_discard(core, node)  # clients have received it
        elif node.taken[0] | node.taken[1]:
            emit_rest(core, flow, node)
        else:
            dispatch_emit_aligned(core, flow, node)
    untouch_all(core)
    if core.svm_loaded:
        replaced_flows(core)
        settle_numbers(core)
    else:
        forget_unanswered(core)
    leave_stop(core, M_FAILED_OVER)
    node = fragments_take(core.svm_fragments)
    while node != NULL:
        dispatch_pass_secondary(core, pool_unchain(&node))
    feed_limbo(core, False, True)


# Observing: no state was copied, so the SVM continues with its own numbers, and its copies of released output
# arrive late.

cdef bint is_ahead(const Flow *flow, const Node *node) noexcept nogil:
    """Whether a held segment tells clients more than the SVM has sent, not counting the window."""
    if not node.flags & (N_PURE | N_OWED) or node.flags & N_UNPLACED or node.packet.flags & (RST | URG):
        return True
    return node.packet.flags & ACK and (not flow.svm.acked or seq_lt(flow.svm.ack, node.packet.ack))


cdef void epoch_follow_observed(Core *core) noexcept nogil:
    cdef Node *node
    cdef Flow *flow
    if core.touched == NULL or not core.settings.observe:
        return
    node = core.held.first
    while node != NULL:
        flow = core_flow_of(node)
        if flow.key.kind == K_TCP:
            if is_ahead(flow, node):
                core_touch(core, flow)
        elif not flow.flags & F_GATHERED:
            flow.flags |= F_GATHERED
            core_touch(core, flow)
            datagram_pair_off(core, flow)
        node = node.next
    emit_held(core)
    while core.touched != NULL:
        flow = core.touched
        core.touched = flow.commit_next
        flow.flags &= ~<uint32_t>(F_TOUCHED | F_GATHERED)
        if flow.key.kind == K_TCP:
            stream_commit(core, flow, False)
            while flow.svm.pure_first != NULL and (flow.pvm.reset or not flow.svm.reset):
                node = flow.svm.pure_first
                core_forget(core, node)
            agreed_advance(core, flow)  # what the SVM had sent of it is agreed by now
            while flow.svm.first != NULL and (flow.pvm.fin or flow.pvm.reset or flow.flags & F_FORGET):
                node = flow.svm.first  # and the PVM will never send the rest, or has not within the timeout
                core_unhold(core, node)
                core_drop(core, node, D_OLD_EPOCH)
            if flow.flags & F_FORGET and (not flow.flags & F_ANCHORED or
                                          seq_le(flow.matched, agreed_position_of(flow, flow.svm.end, True))):
                flow.svm.fin = False  # it counts as not sent
            if flow.flags & F_FORGET and lookup_awaits_pair(core, flow) and not flow.pvm.open:
                flow_list_leave(flow)
            flow.flags &= ~<uint32_t>F_FORGET
        else:
            while flow.svm.first != NULL and core.now - flow.svm.first.time >= core_timeout_of(core):
                node = flow.svm.first
                core_unhold(core, node)
                core_drop(core, node, D_OLD_EPOCH)
            datagram_commit(core, flow, False)


cdef void epoch_clear(Core *core) noexcept nogil:
    cdef Node *node
    drop_pending(core)
    while core.held.first != NULL:
        node = core.held.first
        core_forget(core, node)
    pool_give(core.pool, fragments_take(core.pvm_fragments))
    leave_stop(core, M_HOLD)
    feed_limbo(core, False, False)
