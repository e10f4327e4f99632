# See epoch.pxd for the words.

from libc.stdint cimport INT64_MAX, int64_t, uint32_t

from colo_proxy.datapath.core cimport (
    Core,
    discard,
    drop,
    emit,
    flow_of,
    keep_for_next_epoch,
    timeout_of,
    touch,
    unhold,
)
from colo_proxy.datapath.datagram cimport datagram_agreed, datagram_commit, datagram_pair_off
from colo_proxy.datapath.flow cimport (
    F_ALIAS,
    F_ANCHORED,
    F_ASTRAY,
    F_FORGET,
    F_GATHERED,
    F_TOUCHED,
    Flow,
    has_own_numbers,
    is_alias,
    list_leave,
    next_flow,
)
from colo_proxy.datapath.flows cimport awaits_pair, flow_lose_alias, flow_remove, left_by_pvm
from colo_proxy.datapath.fragment cimport fragments_take
from colo_proxy.datapath.judge cimport (
    emit_aligned,
    judge_primary,
    judge_secondary,
    pass_secondary,
)
from colo_proxy.datapath.late cimport late_clear
from colo_proxy.datapath.pace cimport pace_clear
from colo_proxy.datapath.piece cimport piece_failover
from colo_proxy.datapath.pool cimport N_OWED, N_PURE, N_SVM, N_UNPLACED, Node, pool_give
from colo_proxy.datapath.prefix cimport advance, agreed, position_of
from colo_proxy.datapath.release cimport note_told, stamp, still_owed
from colo_proxy.datapath.retransmission cimport retransmission_replace
from colo_proxy.datapath.seq cimport seq_le, seq_lt
from colo_proxy.datapath.stream cimport stream_adopt, stream_commit
from colo_proxy.datapath.uso cimport uso_count, uso_cut, uso_taken
from colo_proxy.datapath.wire cimport ACK, K_TCP, RST, URG
from colo_proxy.datapath.words cimport (
    D_OLD_EPOCH,
    D_UNCOMMITTED,
    M_COMPARE,
    M_FAILED_OVER,
    M_HOLD,
    M_PASS,
)


cdef int64_t WARMING = 100000000  # ns of lag expected of the SVM after a commit


cdef void drop_pending(Core *core) noexcept nogil:
    """Drop what the SVM said in an epoch that is over, and what waited for it to say more."""
    cdef Node *node
    pace_clear(core)
    while core.pending.first != NULL:
        node = core.pending.first
        if node.packet.flags & RST:
            flow_of(node).svm.reset = False
        unhold(core, node)
        drop(core, node, D_OLD_EPOCH)
    while core.svm_syns.first != NULL:
        list_leave(core.svm_syns.first)
    pool_give(core.pool, fragments_take(core.svm_fragments))
    late_clear(core.late)


cdef void emit_held(Core *core) noexcept nogil:
    """What the PVM said leaves as it is, in order."""
    cdef Node *node
    cdef Flow *flow
    while core.held.first != NULL:
        node = core.held.first
        flow = flow_of(node)
        unhold(core, node)
        if node.flags & N_OWED and not still_owed(flow, node):
            discard(core, node)
            continue
        if flow.key.kind == K_TCP:
            note_told(flow, node)
            stamp(flow, node)
            if core.digests != NULL:
                retransmission_replace(core, flow, node)
        emit(core, node)


cdef void emit_chain(Core *core, Node *node) noexcept nogil:
    """The PVM's fragments of datagrams that are not complete yet leave too."""
    cdef Node *behind
    while node != NULL:
        behind = node.chain
        node.chain = NULL
        emit(core, node)
        node = behind


cdef void feed_limbo(Core *core, bint pvm, bint svm) noexcept nogil:
    """Judge what was put aside, in order of arrival; the side that is not wanted is dropped."""
    cdef Node *node = core.limbo.first
    cdef Node *behind
    core.limbo.first = core.limbo.last = NULL
    while node != NULL:
        behind = node.next
        if node.flags & N_SVM:
            if not svm:
                drop(core, node, D_OLD_EPOCH)
            elif core.mode == M_FAILED_OVER:
                pass_secondary(core, node)
            else:
                judge_secondary(core, node)
        elif not pvm:
            drop(core, node, D_UNCOMMITTED)
        elif core.mode == M_PASS:
            emit(core, node)
        else:
            judge_primary(core, node)
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
        if not is_alias(flow):
            stream_adopt(flow)
            if flow.alias != NULL:
                flow_lose_alias(core, flow)
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
        behind = next_flow(flow)
        if not is_alias(flow):
            flow_remove(core, flow)
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
            drop(core, node, D_OLD_EPOCH)
        else:
            keep_for_next_epoch(core, node)
        node = behind


cdef void epoch_svm_loaded(Core *core) noexcept nogil:
    core.svm_loaded = core.svm_stopped


cdef void epoch_pvm_stop(Core *core) noexcept nogil:
    core.pvm_stopped = True


cdef void replaced_flows(Core *core) noexcept nogil:
    """The SVM is the PVM now: bring every flow up to date, and let go of those that only the old SVM had."""
    cdef Flow *flow = core.table.idle_first
    cdef Flow *behind
    while flow != NULL:
        behind = next_flow(flow)
        if is_alias(flow):
            pass
        elif flow.flags & F_ALIAS:
            flow_remove(core, flow)  # alone
        elif (flow.key.kind == K_TCP and not flow.flags & F_ANCHORED) or left_by_pvm(flow) or \
                flow.flags & F_ASTRAY:
            flow_remove(core, flow)
        elif flow.key.kind == K_TCP:
            if awaits_pair(core, flow):
                list_leave(flow)  # the SVM has this very SYN; the flow may make room now (B2)
            if flow.alias != NULL:
                flow_lose_alias(core, flow)  # the SVM has the PVM's ports now
            stream_commit(core, flow, True)
        else:
            if flow.alias != NULL:
                flow_lose_alias(core, flow)
            datagram_commit(core, flow, True)
        flow = behind


cdef void epoch_commit(Core *core) noexcept nogil:
    if not core.svm_stopped:
        epoch_svm_stop(core)
    emit_held(core)
    emit_chain(core, fragments_take(core.pvm_fragments))
    untouch_all(core)
    replaced_flows(core)
    # A guest that was just given its state has cold caches and timers to catch up with.
    core.lag = max(core.lag, WARMING)
    core.replaced.count = 0  # what was not compared is in the SVM's state
    leave_stop(core, M_COMPARE)
    feed_limbo(core, True, True)


cdef void forget_unanswered(Core *core) noexcept nogil:
    """Connections of which only the PVM had spoken: clients never heard of them; the SVM opens its own.

    Not one that was compared before the rules changed (C10): the SVM has it by numbers of its own.
    """
    cdef Flow *flow = core.table.idle_first
    cdef Flow *behind
    while flow != NULL:
        behind = next_flow(flow)
        if flow.key.kind == K_TCP and not flow.flags & F_ALIAS and not flow.svm.open and \
                not has_own_numbers(flow):
            flow_remove(core, flow)
        flow = behind


cdef void emit_rest(Core *core, const Flow *flow, Node *node) noexcept nogil:
    """Of a super-frame of the SVM, clients have some datagrams: the others leave, each alone."""
    cdef Node *alone
    cdef uint32_t index
    for index in range(uso_count(node)):
        if not uso_taken(node, index):
            alone = uso_cut(core, node, index)
            if alone != NULL:
                emit_aligned(core, flow, alone)
    discard(core, node)


cdef void epoch_failover(Core *core) noexcept nogil:
    cdef Node *node
    cdef Node *behind
    cdef Flow *flow
    while core.held.first != NULL:
        node = core.held.first
        if core.mode == M_COMPARE and not core.svm_stopped and not node.flags & (N_PURE | N_OWED):
            # What the SVM has said of it, it will not say again soon.
            if flow_of(node).key.kind == K_TCP:
                piece_failover(core, flow_of(node), node)
            else:
                datagram_agreed(core, node)
        unhold(core, node)
        if node.flags & N_OWED:
            discard(core, node)
        else:
            drop(core, node, D_UNCOMMITTED)
    pool_give(core.pool, fragments_take(core.pvm_fragments))
    while core.pending.first != NULL:
        node = core.pending.first
        flow = flow_of(node)
        unhold(core, node)
        if flow.key.kind == K_TCP and not node.flags & N_PURE and agreed(flow, node):
            discard(core, node)  # clients have it
        elif node.taken[0] | node.taken[1]:
            emit_rest(core, flow, node)
        else:
            emit_aligned(core, flow, node)
    untouch_all(core)
    if core.svm_loaded:
        replaced_flows(core)
    else:
        forget_unanswered(core)
    leave_stop(core, M_FAILED_OVER)
    node = fragments_take(core.svm_fragments)
    while node != NULL:
        behind = node.chain
        node.chain = NULL
        pass_secondary(core, node)
        node = behind
    feed_limbo(core, False, True)


# Observing: nothing was copied, so the SVM goes on with its own numbers, and its copies of what left come
# late.

cdef bint is_ahead(const Flow *flow, const Node *node) noexcept nogil:
    """Whether clients learn more from a held segment than the SVM has sent, a window aside."""
    if not node.flags & (N_PURE | N_OWED) or node.flags & N_UNPLACED or node.packet.flags & (RST | URG):
        return True
    return node.packet.flags & ACK and (not flow.svm.acked or seq_lt(flow.svm.ack, node.packet.ack))


cdef void follow_observed(Core *core) noexcept nogil:
    cdef Node *node
    cdef Flow *flow
    if core.touched == NULL or not core.settings.observe:
        return
    node = core.held.first
    while node != NULL:
        flow = flow_of(node)
        if flow.key.kind == K_TCP:
            if is_ahead(flow, node):
                touch(core, flow)
        elif not flow.flags & F_GATHERED:
            flow.flags |= F_GATHERED
            touch(core, flow)
            datagram_pair_off(core, flow)
        node = node.next
    emit_held(core)
    while core.touched != NULL:
        flow = core.touched
        core.touched = flow.commit_next
        flow.flags &= ~<uint32_t>(F_TOUCHED | F_GATHERED)
        if flow.key.kind == K_TCP:
            stream_commit(core, flow, False)
            while flow.svm.pure_first != NULL:
                node = flow.svm.pure_first
                unhold(core, node)
                discard(core, node)
            advance(core, flow)  # what the SVM had said of it is agreed by now
            while flow.svm.first != NULL and (flow.pvm.fin or flow.pvm.reset or flow.flags & F_FORGET):
                node = flow.svm.first  # and the PVM will never say the rest, or has not for the timeout
                unhold(core, node)
                drop(core, node, D_OLD_EPOCH)
            if flow.flags & F_FORGET and (not flow.flags & F_ANCHORED or
                                          seq_le(flow.matched, position_of(flow, flow.svm.end, True))):
                flow.svm.fin = False  # it counts as not said
            if flow.flags & F_FORGET and awaits_pair(core, flow) and not flow.pvm.open:
                list_leave(flow)
            flow.flags &= ~<uint32_t>F_FORGET
        else:
            while flow.svm.first != NULL and core.now - flow.svm.first.time >= timeout_of(core):
                node = flow.svm.first
                unhold(core, node)
                drop(core, node, D_OLD_EPOCH)
            datagram_commit(core, flow, False)


cdef void epoch_clear(Core *core) noexcept nogil:
    cdef Node *node
    drop_pending(core)
    while core.held.first != NULL:
        node = core.held.first
        unhold(core, node)
        discard(core, node)
    pool_give(core.pool, fragments_take(core.pvm_fragments))
    leave_stop(core, M_HOLD)
    feed_limbo(core, False, False)
