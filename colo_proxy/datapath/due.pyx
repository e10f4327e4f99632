# See due.pxd.

from libc.stdint cimport INT64_MAX, int64_t

from colo_proxy.datapath.alone cimport alone_due
from colo_proxy.datapath.core cimport Core, drop, keep_exchanges, timeout_of
from colo_proxy.datapath.datagram cimport both_wait_since, datagram_mismatch, datagram_watch
from colo_proxy.datapath.epoch cimport follow_observed
from colo_proxy.datapath.flow cimport Flow, list_leave
from colo_proxy.datapath.flows cimport sweep
from colo_proxy.datapath.fragment cimport fragments_expire, fragments_oldest
from colo_proxy.datapath.judge cimport announce, hold_incomplete
from colo_proxy.datapath.missing cimport missing
from colo_proxy.datapath.piece cimport piece_due
from colo_proxy.datapath.pool cimport Node
from colo_proxy.datapath.rules cimport rules_forget_copies
from colo_proxy.datapath.wire cimport K_TCP
from colo_proxy.datapath.words cimport D_FRAGMENT, M_COMPARE

cdef int64_t SWEEP_EVERY = 100_000_000  # ns
cdef int64_t KEEP = 20_000_000  # ns after which what waits may well be missing


cdef inline int64_t after(int64_t time, int64_t timeout) noexcept nogil:
    return time + timeout if time < INT64_MAX - timeout else INT64_MAX


cdef void expire_fragments(Core *core, int64_t before) noexcept nogil:
    """F3: fragments that stayed incomplete; the PVM's wait for a commit from now on."""
    cdef Node *node = fragments_expire(core.svm_fragments, before)
    cdef Node *behind
    while node != NULL:
        behind = node.chain
        node.chain = NULL
        drop(core, node, D_FRAGMENT)
        node = behind if behind != NULL else fragments_expire(core.svm_fragments, before)
    node = fragments_expire(core.pvm_fragments, before)
    while node != NULL:
        hold_incomplete(core, node)
        node = fragments_expire(core.pvm_fragments, before)


cdef int64_t look_at_watched(Core *core) noexcept nogil:
    """Flows for which the reordering window is over: D3, D4 and T13. Returns when the next one's is, ns."""
    cdef int64_t soonest = INT64_MAX
    cdef int64_t due
    cdef Flow *flow = core.watched.first
    cdef Flow *behind
    while flow != NULL:
        behind = flow.list_next
        due = flow.watched_since + core.settings.reorder
        if flow.pvm.first == NULL:
            list_leave(flow)  # nothing waits any more
        elif due > core.now:
            soonest = min(soonest, due)
        elif flow.key.kind == K_TCP:
            list_leave(flow)
            piece_due(core, flow)
        elif both_wait_since(flow) <= core.now - core.settings.reorder:
            rules_forget_copies(core, flow)
            if flow.svm.first != NULL:
                datagram_mismatch(core, flow)
            else:
                datagram_watch(core, flow)
        else:
            list_leave(flow)
            missing(core, flow.pvm.first)  # overtaken (D4)
        flow = behind
    return soonest


cdef int64_t keep_what_waits(Core *core) noexcept nogil:
    """Let the recorder keep what led to this, before its ring has turned over. Returns when to look again."""
    cdef int64_t soonest = INT64_MAX
    while core.kept_held != NULL and core.now - core.kept_held.time >= KEEP:
        keep_exchanges(core, core.kept_held)
        core.kept_held = core.kept_held.next
    while core.kept_pending != NULL and core.now - core.kept_pending.time >= KEEP:
        keep_exchanges(core, core.kept_pending)
        core.kept_pending = core.kept_pending.next
    if core.kept_held != NULL:
        soonest = core.kept_held.time + KEEP
    if core.kept_pending != NULL:
        soonest = min(soonest, core.kept_pending.time + KEEP)
    return soonest


cdef int64_t core_tick(Core *core, int64_t now) noexcept nogil:
    cdef int64_t timeout = timeout_of(core)
    cdef int64_t soonest
    cdef Node *node
    core.now = max(core.now, now)
    core.counts.timeout = timeout
    core.counts.flows = core.table.count
    soonest = core.now + SWEEP_EVERY if core.table.count else INT64_MAX
    sweep(core)
    soonest = min(soonest, announce(core))
    if core.mode != M_COMPARE or core.svm_stopped:
        return soonest
    soonest = min(soonest, keep_what_waits(core))
    expire_fragments(core, core.now - timeout)
    soonest = min(soonest, after(fragments_oldest(core.pvm_fragments), timeout))
    soonest = min(soonest, after(fragments_oldest(core.svm_fragments), timeout))
    while core.due_held != NULL and core.now - core.due_held.time >= timeout:
        node = core.due_held
        core.due_held = node.next
        missing(core, node)
        follow_observed(core)
    while core.due_pending != NULL and core.now - core.due_pending.time >= timeout:
        node = core.due_pending
        core.due_pending = node.next
        missing(core, node)
        follow_observed(core)
    soonest = min(soonest, alone_due(core))
    soonest = min(soonest, look_at_watched(core))
    follow_observed(core)
    if core.due_held != NULL:
        soonest = min(soonest, core.due_held.time + timeout)
    if core.due_pending != NULL:
        soonest = min(soonest, core.due_pending.time + timeout)
    return soonest
