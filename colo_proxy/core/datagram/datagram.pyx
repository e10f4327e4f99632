"""Comparing everything that is not TCP: datagram by datagram, for each flow (docs/comparison.md, section 4).

Each side's unmatched datagrams wait in order of arrival. A new one is compared with those on the other side's
list. While both sides wait, or the PVM's oldest has been overtaken, the flow is watched. If they still wait
when the reordering window is over, it is a divergence (timers.pyx).
"""

from libc.stdint cimport INT64_MAX, int64_t, uint32_t, uint64_t
from libc.string cimport memset

from colo_proxy.core.align.aligner cimport aligner_move_udp_port
from colo_proxy.core.core cimport (
    Core,
    core_discard,
    core_diverge,
    core_drop,
    core_emit,
    core_forget,
    core_hold,
    core_learn_lag,
    core_timeout_of,
    core_unhold,
)
from colo_proxy.core.datagram.equal cimport (
    equal_content,
    equal_digest,
    equal_first_difference,
    equal_frames,
    equal_parts,
)
from colo_proxy.core.datagram.uso cimport (
    Part,
    uso_count,
    uso_cut,
    uso_first,
    uso_part,
    uso_size,
    uso_take,
    uso_taken,
)
from colo_proxy.core.flow.flow cimport F_ALIAS, F_ALONE, F_BLOCKED, Flow
from colo_proxy.core.flow.flow_list cimport flow_list_add, flow_list_leave
from colo_proxy.core.flow.late_copies cimport late_copies_expect, late_copies_take
from colo_proxy.core.flow.pool cimport N_HELD, N_OVERTAKEN, N_RX, N_SENT, N_SVM, Node, pool_give
from colo_proxy.core.packet.parse cimport K_FRAGMENT
from colo_proxy.core.vocabulary cimport D_OLD_EPOCH, R_PAYLOAD

cdef enum:
    # With how many waiting datagrams a new one is compared. A larger distance is no reordering.
    LOOK = 256


cdef Node *find_equal(Node *first, const Node *node, uint32_t index, uint32_t *found) noexcept nogil:
    """The first waiting datagram that equals this one: its frame, and its index in it."""
    cdef int left = LOOK
    cdef uint32_t size = uso_size(node)
    cdef Part part = uso_part(node, size, index)
    cdef Part other
    cdef uint32_t other_size
    while first != NULL and left > 0:
        other_size = uso_size(first)
        found[0] = 0
        if not size and not other_size:
            left -= 1
            if equal_frames(first, node):
                return first
        else:
            other = uso_part(first, other_size, 0)
            while other.begin < first.packet.end or other.index == 0:
                if not uso_taken(first, other.index):
                    left -= 1
                    if equal_parts(&part, &other):
                        found[0] = other.index
                        return first
                if not other_size:
                    break
                other = uso_part(first, other_size, other.index + 1)
        first = first.flow_next
    return NULL


cdef uint64_t end_of_part(const Node *node, uint32_t index) noexcept nogil:
    """Where a datagram ends in what its flow has sent."""
    cdef uint32_t size = uso_size(node)
    if size == 0:
        return node.begins + node.packet.end - equal_content(&node.packet)
    return node.begins + uso_part(node, size, index).end - node.packet.payload


cdef uint64_t end_of(const Node *node) noexcept nogil:
    """Where the last waiting datagram of a frame ends in what its flow has sent."""
    cdef uint32_t index = uso_count(node) - 1
    while index and uso_taken(node, index):
        index -= 1
    return end_of_part(node, index)


cdef int64_t datagram_place(const Node *node) noexcept nogil:
    return <int64_t>(node.begins + uso_first(node) * uso_size(node))


cdef void datagram_note(Flow *flow, Node *node) noexcept nogil:
    if node.flags & N_SVM:  # behind what both have sent, and what this guest has sent that still waits
        node.begins = <uint64_t>flow.position
        if flow.svm.last != NULL:
            node.begins = max(node.begins, end_of(flow.svm.last))
        node.begins -= uso_first(node) * uso_size(node)
    else:
        node.begins = flow.said_bytes
        flow.said_bytes = end_of(node)


cdef int64_t datagram_both_wait_since(const Flow *flow) noexcept nogil:
    if flow.pvm.first == NULL or flow.svm.first == NULL:
        return INT64_MAX
    return max(flow.pvm.first.time, flow.svm.first.time)


cdef void watch_alone(Core *core, Flow *flow) noexcept nogil:
    if flow.flags & F_BLOCKED or not flow.waiting:
        flow_list_leave(flow)
    elif flow.list == NULL:
        flow_list_add(&core.svm_alone if flow.flags & F_ALIAS else &core.pvm_alone, flow)


cdef void datagram_watch(Core *core, Flow *flow) noexcept nogil:
    cdef int64_t since = datagram_both_wait_since(flow)
    if flow.flags & F_ALONE:
        watch_alone(core, flow)
        return
    if flow.pvm.first != NULL and flow.pvm.first.flags & N_OVERTAKEN:
        since = min(since, flow.pvm.first.overtaken)
    if since == INT64_MAX or flow.flags & F_BLOCKED:
        flow_list_leave(flow)
        return
    flow.watched_since = since
    flow_list_add(&core.watched, flow)


cdef void overtake(Core *core, Node *pvm) noexcept nogil:
    """The SVM has sent a datagram behind these. Those before one that is already marked are marked too."""
    while pvm != NULL and not pvm.flags & N_OVERTAKEN:
        pvm.flags |= N_OVERTAKEN
        pvm.overtaken = core.now
        pvm = pvm.flow_prev


cdef void leave(Core *core, Node *pvm) noexcept nogil:
    """Every datagram of the frame has its equal: release it."""
    if not pvm.flags & N_RX:
        core_learn_lag(core, core.now - pvm.time)
    core_emit(core, pvm)


cdef inline bint all_taken(const Node *node) noexcept nogil:
    return uso_first(node) == uso_count(node)


cdef void pair(Core *core, Flow *flow, Node *pvm, uint32_t of_pvm, Node *svm, uint32_t of_svm) noexcept nogil:
    """These two datagrams are equal. Frames on the lists are removed if none of their datagrams waits any
    more.
    """
    overtake(core, pvm.flow_prev if pvm.flags & N_HELD else flow.pvm.last)
    uso_take(pvm, of_pvm)
    uso_take(svm, of_svm)
    flow.position = max(flow.position, <int64_t>end_of_part(pvm, of_pvm))
    if svm.flags & N_HELD and all_taken(svm):
        core_forget(core, svm)
    if pvm.flags & N_HELD and all_taken(pvm):
        core_unhold(core, pvm)
        leave(core, pvm)


cdef bint pair_all(Core *core, Flow *flow, Node *node) noexcept nogil:
    """Find the equals of all datagrams of a new frame. Whether each has one."""
    cdef Node *other
    cdef uint32_t found
    cdef uint32_t index
    cdef uint32_t count = uso_count(node)
    cdef bint svm = node.flags & N_SVM
    cdef bint each = True
    for index in range(count):
        other = find_equal(flow.pvm.first if svm else flow.svm.first, node, index, &found)
        if other == NULL:
            each = False
        elif svm:
            pair(core, flow, other, found, node, index)
        else:
            pair(core, flow, node, index, other, found)
    return each


cdef void datagram_primary(Core *core, Flow *flow, Node *node) noexcept nogil:
    datagram_note(flow, node)
    if not flow.flags & F_BLOCKED and pair_all(core, flow, node):
        leave(core, node)
    else:
        core_hold(core, flow, node)
    datagram_watch(core, flow)


cdef bint comes_late(Core *core, const Flow *flow, Node *node) noexcept nogil:
    """Whether everything that waits of a frame is a late copy of what was released."""
    cdef uint32_t index
    if core.late == NULL:
        return False
    for index in range(uso_count(node)):
        if not uso_taken(node, index) and late_copies_take(core.late, equal_digest(flow, node, index),
                                                           core.now):
            uso_take(node, index)
    return all_taken(node)


cdef void datagram_secondary(Core *core, Flow *flow, Node *node) noexcept nogil:
    if not flow.flags & F_BLOCKED and pair_all(core, flow, node):
        core_discard(core, node)
    elif comes_late(core, flow, node):
        core_drop(core, node, D_OLD_EPOCH)
    else:
        datagram_note(flow, node)
        core_hold(core, flow, node)
    datagram_watch(core, flow)


cdef void datagram_pair_off(Core *core, Flow *flow) noexcept nogil:
    cdef Node *pvm = flow.pvm.first
    cdef Node *svm
    cdef uint32_t index
    while pvm != NULL:
        for index in range(uso_count(pvm)):
            if pvm.packet.kind == K_FRAGMENT or uso_taken(pvm, index):
                continue  # a fragment, of a datagram that was never completed
            svm = flow.svm.first
            if svm != NULL:
                uso_take(svm, uso_first(svm))
                if all_taken(svm):
                    core_forget(core, svm)
            if core.late != NULL and core.now - pvm.time < core_timeout_of(core):
                late_copies_expect(core.late, equal_digest(flow, pvm, index), core.now, core.now
                                   + core_timeout_of(core))
        pvm = pvm.flow_next


cdef void datagram_agreed(Core *core, const Node *node) noexcept nogil:
    cdef Node *alone
    cdef uint32_t index
    for index in range(uso_count(node)):
        if uso_taken(node, index) and not node.flags & N_SENT:
            alone = uso_cut(core, node, index)
            if alone != NULL:
                core_emit(core, alone)


cdef void datagram_join(Flow *flow, Flow *svm) noexcept nogil:
    cdef Node *node = svm.svm.first
    flow.svm = svm.svm
    flow.waiting += svm.waiting
    while node != NULL:
        node.flow = flow
        node.begins += <uint64_t>flow.position
        aligner_move_udp_port(&node.packet, node.data, node.packet.l4, flow.svm_port, flow.key.local_port)
        node = node.flow_next
    memset(&svm.svm, 0, sizeof(svm.svm))
    svm.waiting = 0


cdef void datagram_mismatch(Core *core, Flow *flow) noexcept nogil:
    cdef Node *a = flow.pvm.first
    cdef Node *b = flow.svm.first
    # For a super-frame, the report has the datagram that differs; the whole frame if there is no memory.
    cdef Node *of_a = uso_cut(core, a, uso_first(a)) if uso_size(a) else NULL
    cdef Node *of_b = uso_cut(core, b, uso_first(b)) if uso_size(b) else NULL
    core_diverge(core, flow, R_PAYLOAD, datagram_place(a) + equal_first_difference(a, b),
                 of_a if of_a != NULL else a, of_b if of_b != NULL else b)
    pool_give(core.pool, of_a)
    pool_give(core.pool, of_b)
    datagram_watch(core, flow)


cdef void datagram_commit(Core *core, Flow *flow, bint replaced) noexcept nogil:
    """The PVM's datagrams were released. `replaced`: the SVM has the PVM's ports; otherwise its copies are
    late.
    """
    flow.flags &= ~<uint32_t>F_BLOCKED
    flow.position = <int64_t>flow.said_bytes
    if replaced:
        flow.flags &= ~<uint32_t>F_ALONE
        flow.svm_port = flow.key.local_port
    datagram_watch(core, flow)
