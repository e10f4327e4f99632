"""What happens at deadlines, without a frame: output is found missing (M1, M2, D4, F3), the window `reorder`
ends (D3, T13), flows are removed (B2), addresses are announced after a failover (C9).

The core reads no clock: the caller gives the time to `timers_tick`, which returns when it must be called
again. The lists are in order of arrival, so each deadline is found by looking at the first node or flow of a
list.
"""

from libc.stdint cimport INT64_MAX, int64_t

from colo_proxy.core.core cimport Core, core_drop, core_keep_exchanges, core_timeout_of
from colo_proxy.core.datagram.datagram cimport datagram_both_wait_since, datagram_mismatch, datagram_watch
from colo_proxy.core.dispatch cimport dispatch_announce, dispatch_hold_incomplete
from colo_proxy.core.epoch cimport epoch_follow_observed
from colo_proxy.core.flow.flow cimport Flow
from colo_proxy.core.flow.flow_list cimport flow_list_leave
from colo_proxy.core.flow.fragments cimport fragments_expire, fragments_oldest
from colo_proxy.core.flow.pool cimport Node, pool_unchain
from colo_proxy.core.lookup cimport lookup_sweep
from colo_proxy.core.missing_output cimport missing_output_timed_out
from colo_proxy.core.packet.parse cimport K_TCP
from colo_proxy.core.pairing cimport pairing_due
from colo_proxy.core.rules cimport rules_forget_copies
from colo_proxy.core.tcp.partial cimport partial_due
from colo_proxy.core.vocabulary cimport D_FRAGMENT, M_COMPARE

cdef int64_t SWEEP_EVERY = 100_000_000  # ns
cdef int64_t KEEP = 20_000_000  # ns after which waiting output is likely to be missing


cdef inline int64_t after(int64_t time, int64_t timeout) noexcept nogil:
    return time + timeout if time < INT64_MAX - timeout else INT64_MAX


cdef void expire_fragments(Core *core, int64_t before) noexcept nogil:
    """F3: fragments that stayed incomplete; the PVM's are held for a commit from now on."""
    cdef Node *node = fragments_expire(core.svm_fragments, before)
    while node != NULL:
        core_drop(core, pool_unchain(&node), D_FRAGMENT)
        if node == NULL:
            node = fragments_expire(core.svm_fragments, before)
    node = fragments_expire(core.pvm_fragments, before)
    while node != NULL:
        dispatch_hold_incomplete(core, node)
        node = fragments_expire(core.pvm_fragments, before)


cdef int64_t look_at_watched(Core *core) noexcept nogil:
    """Flows for which the reordering window is over: D3, D4 and T13. Returns when that of the next one is,
    ns.
    """
    cdef int64_t soonest = INT64_MAX
    cdef int64_t due
    cdef Flow *flow = core.watched.first
    cdef Flow *behind
    while flow != NULL:
        behind = flow.list_next
        due = flow.watched_since + core.settings.reorder
        if flow.pvm.first == NULL:
            flow_list_leave(flow)  # nothing waits any more
        elif due > core.now:
            soonest = min(soonest, due)
        elif flow.key.kind == K_TCP:
            flow_list_leave(flow)
            partial_due(core, flow)
        elif datagram_both_wait_since(flow) <= core.now - core.settings.reorder:
            rules_forget_copies(core, flow)
            if flow.svm.first != NULL:
                datagram_mismatch(core, flow)
            else:
                datagram_watch(core, flow)
        else:
            flow_list_leave(flow)
            missing_output_timed_out(core, flow.pvm.first)  # overtaken (D4)
        flow = behind
    return soonest


cdef int64_t keep_what_waits(Core *core) noexcept nogil:
    """Let the recorder keep what led to this, before its ring overwrites it. Returns when to look again."""
    cdef int64_t soonest = INT64_MAX
    while core.kept_held != NULL and core.now - core.kept_held.time >= KEEP:
        core_keep_exchanges(core, core.kept_held)
        core.kept_held = core.kept_held.next
    while core.kept_pending != NULL and core.now - core.kept_pending.time >= KEEP:
        core_keep_exchanges(core, core.kept_pending)
        core.kept_pending = core.kept_pending.next
    if core.kept_held != NULL:
        soonest = core.kept_held.time + KEEP
    if core.kept_pending != NULL:
        soonest = min(soonest, core.kept_pending.time + KEEP)
    return soonest


cdef int64_t timers_tick(Core *core, int64_t now) noexcept nogil:
    cdef int64_t timeout = core_timeout_of(core)
    cdef int64_t soonest
    cdef Node *node
    core.now = max(core.now, now)
    core.counts.timeout = timeout
    core.counts.flows = core.table.count
    soonest = core.now + SWEEP_EVERY if core.table.count else INT64_MAX
    lookup_sweep(core)
    soonest = min(soonest, dispatch_announce(core))
    if core.mode != M_COMPARE or core.svm_stopped:
        return soonest
    soonest = min(soonest, keep_what_waits(core))
    expire_fragments(core, core.now - timeout)
    soonest = min(soonest, after(fragments_oldest(core.pvm_fragments), timeout))
    soonest = min(soonest, after(fragments_oldest(core.svm_fragments), timeout))
    while core.due_held != NULL and core.now - core.due_held.time >= timeout:
        node = core.due_held
        core.due_held = node.next
        missing_output_timed_out(core, node)
        epoch_follow_observed(core)
    while core.due_pending != NULL and core.now - core.due_pending.time >= timeout:
        node = core.due_pending
        core.due_pending = node.next
        missing_output_timed_out(core, node)
        epoch_follow_observed(core)
    soonest = min(soonest, pairing_due(core))
    soonest = min(soonest, look_at_watched(core))
    epoch_follow_observed(core)
    if core.due_held != NULL:
        soonest = min(soonest, core.due_held.time + timeout)
    if core.due_pending != NULL:
        soonest = min(soonest, core.due_pending.time + timeout)
    return soonest
