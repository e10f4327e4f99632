"""What a new list of policies changes for existing flows (docs/comparison.md, C10).

If a flow is no longer compared, what waits on it is released or dropped as the new list decides. Such a flow
keeps only what maps the SVM's numbers and port to the PVM's, so if it is compared again later, the comparison
starts in mid-stream. What either guest sent while the flow was not compared was not recorded: the SVM's
copies of it may still arrive, and do not show that output of the PVM is missing. So the last lists are
remembered, with the times at which they were replaced.
"""

from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.string cimport memset

from colo_proxy.core.core cimport (
    Core,
    core_discard,
    core_drop,
    core_emit,
    core_flow_of,
    core_timeout_of,
    core_unhold,
)
from colo_proxy.core.flow.digests cimport digests_drop
from colo_proxy.core.flow.flow cimport (
    F_ALONE,
    F_BLOCKED,
    F_OTHER_PORT,
    F_OWN_NUMBERS,
    F_OWN_OFFSET,
    F_REWRITTEN,
    F_TOUCHED,
    Flow,
    Side,
    flow_has_own_numbers,
    flow_is_alias,
    flow_next,
)
from colo_proxy.core.flow.flow_list cimport flow_list_leave
from colo_proxy.core.flow.pool cimport N_OWED, Node, pool_weigh
from colo_proxy.core.lookup cimport lookup_remove
from colo_proxy.core.packet.parse cimport K_HOUSEKEEPING, K_TCP
from colo_proxy.core.policy cimport (
    FORMER,
    P_COMPARE,
    P_DROP,
    Action,
    Former,
    Policies,
)
from colo_proxy.core.tcp.ranges cimport ranges_drop
from colo_proxy.core.vocabulary cimport D_OLD_EPOCH, D_POLICY, M_FAILED_OVER


cdef Action decide_flow(Policies *policies, const Flow *flow) noexcept nogil:
    return rules_decide(policies, &flow.key, False, 0)


cdef Action decide_node(Policies *policies, Node *node, uint64_t frames) noexcept nogil:
    return rules_decide(policies, &core_flow_of(node).key, node.packet.kind == K_HOUSEKEEPING, frames)


cdef void let_go_of_held(Core *core) noexcept nogil:
    """Release or drop, as the rules decide, what the PVM sent on flows that are no longer compared."""
    cdef Node *node = core.held.first
    cdef Node *behind
    cdef Action action
    cdef uint64_t frames, size
    while node != NULL:
        behind = node.next
        action = decide_node(core.policies, node, 0)
        if action != P_COMPARE:
            core_unhold(core, node)
            if node.flags & N_OWED:
                core_discard(core, node)
            else:
                frames = size = 0
                pool_weigh(node, &frames, &size)
                decide_node(core.policies, node, frames)
                if action == P_DROP:
                    core_drop(core, node, D_POLICY)
                else:
                    core_emit(core, node)
        node = behind


cdef void let_go_of_pending(Core *core) noexcept nogil:
    cdef Node *node = core.pending.first
    cdef Node *behind
    while node != NULL:
        behind = node.next
        if decide_node(core.policies, node, 0) != P_COMPARE:
            core_unhold(core, node)
            core_drop(core, node, D_OLD_EPOCH)
        node = behind


cdef void begin_anew(Side *side) noexcept nogil:
    memset(side, 0, sizeof(Side))
    side.wscale = 255


cdef void forget_stream(Core *core, Flow *flow) noexcept nogil:
    """Forget what was sent on a connection, but not how the SVM's numbers map to the PVM's."""
    if flow.newer != NULL or not flow_has_own_numbers(flow):
        lookup_remove(core, flow)  # a flow made at the next packet would be as good
        return
    flow_list_leave(flow)
    flow.flags &= F_OWN_OFFSET | F_OTHER_PORT | F_REWRITTEN | F_OWN_NUMBERS | F_TOUCHED
    flow.position = 0
    flow.below = 0
    flow.told_order = 0
    flow.told_again = flow.svm_again = 0
    flow.pvm_forms.count = flow.svm_forms.count = 0
    flow.pvm_tries.count = flow.svm_tries.count = 0
    flow.svm_tries.received = False
    flow.pvm_text = flow.svm_text = 0
    begin_anew(&flow.pvm)
    begin_anew(&flow.svm)
    if core.digests != NULL:
        digests_drop(core.digests, &flow.trail)
    ranges_drop(core, flow)


cdef void forget(Core *core, Flow *flow) noexcept nogil:
    if flow.key.kind == K_TCP:
        forget_stream(core, flow)
    elif flow.flags & F_ALONE:
        lookup_remove(core, flow)
    else:
        flow_list_leave(flow)
        flow.flags &= ~<uint32_t>F_BLOCKED
        flow.position = <int64_t>flow.said_bytes


cdef void rules_replace(Core *core, Policies *policies) noexcept nogil:
    cdef Flow *flow = core.table.idle_first
    cdef Flow *behind
    cdef Former *former = &core.replaced.former[core.replaced.count % FORMER]
    former.policies = core.policies
    former.until = core.now
    core.replaced.count += 1
    core.policies = policies
    if core.mode == M_FAILED_OVER:  # nothing is compared, and the numbers are still needed
        return
    let_go_of_held(core)
    let_go_of_pending(core)
    while flow != NULL:
        behind = flow_next(flow)
        if not flow_is_alias(flow) and decide_flow(policies, flow) != P_COMPARE:
            forget(core, flow)
        flow = behind


cdef bint rules_excuse(const Core *core, const Flow *flow, const Node *svm) noexcept nogil:
    cdef const Former *former
    cdef uint32_t back
    for back in range(1, min(core.replaced.count, <uint32_t>FORMER) + 1):
        former = &core.replaced.former[(core.replaced.count - back) % FORMER]
        if svm.time - former.until >= core_timeout_of(core):
            return False
        if decide_flow(former.policies, flow) != P_COMPARE:
            return True
    return False


cdef void rules_forget_copies(Core *core, Flow *flow) noexcept nogil:
    cdef Node *node = flow.svm.first
    while node != NULL and rules_excuse(core, flow, node):
        core_unhold(core, node)
        core_drop(core, node, D_OLD_EPOCH)
        node = flow.svm.first
