"""The state of one NIC's comparator, and what may happen to a frame.

How the state is laid out: core.pxd. This file has the lists of waiting nodes, the learned timeout, what
happens to a frame (emit, discard, drop, keep for the next epoch), and divergences.

Past 400 lines: all these functions change the same lists, which must stay consistent.
"""

from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc, realloc
from libc.string cimport memcpy, memset

from colo_proxy.core.flow.flow cimport F_BLOCKED, F_FORGET, F_KEPT, F_TOUCHED, Flow, Side
from colo_proxy.core.flow.pool cimport (
    N_GONE,
    N_HELD,
    N_OWED,
    N_PURE,
    N_RX,
    N_SENT,
    N_SORTED,
    N_SVM,
    Node,
    pool_chain_cost,
    pool_give,
    pool_is_long,
    pool_keep,
    pool_node_cost,
    pool_room,
    pool_unchain,
    pool_weigh,
)
from colo_proxy.core.flow.recorder cimport (
    FATE_DROPPED,
    FATE_LEFT,
    Fate,
    recorder_add_later,
    recorder_copy,
    recorder_fate,
    recorder_flow,
    recorder_give_back,
    recorder_is_kept,
    recorder_keep,
    recorder_kept_fate,
)
from colo_proxy.core.packet.key cimport key_protocol, key_text
from colo_proxy.core.packet.parse cimport K_IP, K_TCP, K_UDP, VNET
from colo_proxy.core.vocabulary cimport D_FLOWS, D_MEMORY, MILLISECOND, UPLINK, DropId, PortId, ReasonId

# The learned timeout (`timeout_ms = "auto"`): its bounds, and for how long the largest delay is remembered.
cdef int64_t REPEATED = <int64_t>220 * MILLISECOND
cdef int64_t LONGEST = <int64_t>3000 * MILLISECOND
cdef int64_t WINDOW = <int64_t>10000 * MILLISECOND
cdef uint64_t ENOUGH = 64  # holds that make a window worth learning from


cdef int64_t core_timeout_of(const Core *core) noexcept nogil:
    """How long to wait for a missing counterpart: a fixed time, or learned from the largest delay of the last
    10 to 20 s.

    Never less than Linux takes to repeat a segment (TCP_RTO_MIN, 200 ms, and some ticks): a segment that was
    lost on its way to or from the SVM is repeated after that time, and is no divergence.
    """
    if core.settings.timeout:
        return core.settings.timeout
    if core.lag_before < 0:
        return LONGEST
    return min(4 * max(core.lag, core.lag_before) + REPEATED, LONGEST)


cdef void core_learn_lag(Core *core, int64_t lag) noexcept nogil:
    """Add a sample of the SVM's delay."""
    if core.lag_since == 0:
        core.lag_since = core.now
    core.lag_samples += 1
    core.lag = max(core.lag, lag)
    if core.now - core.lag_since >= WINDOW and core.lag_samples >= ENOUGH:
        core.lag_before = core.lag
        core.lag = 0
        core.lag_samples = 0
        core.lag_since = core.now


cdef int core_protocol_of(const Flow *flow) noexcept nogil:
    """The index of a flow's protocol in Counts.divergences."""
    if flow.key.kind == K_TCP:
        return 0
    if flow.key.kind == K_UDP:
        return 1
    return 2 if flow.key.kind == K_IP and flow.key.proto in (1, 58) else 3


# Lists. A node that moves to other memory (`core_settle`) keeps its place in every list it is on.

cdef void core_hold(Core *core, Flow *flow, Node *node) noexcept nogil:
    """Put a node on the lists of what waits: of its side, and of its flow."""
    cdef List *every
    cdef Side *side
    cdef Node *last
    node.flow = flow
    node.flags |= N_HELD
    side = core_side_of(node)
    if node.flags & N_SVM:
        every = &core.pending
        if core.due_pending == NULL:
            core.due_pending = node
        if core.kept_pending == NULL:
            core.kept_pending = node
    else:
        every = &core.held
        if core.due_held == NULL:
            core.due_held = node
        if core.kept_held == NULL:
            core.kept_held = node
        if not node.flags & N_OWED:
            pool_weigh(node, &core.counts.held_frames, &core.counts.held_bytes)
    node.prev = every.last
    node.next = NULL
    if every.last != NULL:
        every.last.next = node
    else:
        every.first = node
    every.last = node
    flow.waiting += 1
    if node.flags & N_OWED:
        flow.owed = node
    else:
        last = side.pure_last if node.flags & N_PURE else side.last
        node.flow_prev = last
        node.flow_next = NULL
        if last != NULL:
            last.flow_next = node
        elif node.flags & N_PURE:
            side.pure_first = node
        else:
            side.first = node
        if node.flags & N_PURE:
            side.pure_last = node
        else:
            side.last = node
    if not node.flags & N_RX:
        side.bytes += pool_chain_cost(node)


cdef void core_unhold(Core *core, Node *node) noexcept nogil:
    """Remove a node from every list; the caller still owns it."""
    cdef Flow *flow = core_flow_of(node)
    cdef Side *side = core_side_of(node)
    cdef List *every = &core.pending if node.flags & N_SVM else &core.held
    cdef uint64_t frames = 0
    cdef uint64_t bytes = 0
    if node == core.due_held:
        core.due_held = node.next
    if node == core.due_pending:
        core.due_pending = node.next
    if node == core.kept_held:
        core.kept_held = node.next
    if node == core.kept_pending:
        core.kept_pending = node.next
    if node.kept:
        recorder_give_back(core.recorder, node.kept)
        node.kept = 0
    replace(every, node, NULL)
    if node.flags & N_OWED:
        flow.owed = NULL
    else:
        replace_in_flow(side, node, NULL)
    if node.flags & N_SORTED:
        core_unsort(node)
    if not node.flags & (N_SVM | N_OWED):
        pool_weigh(node, &frames, &bytes)
        core.counts.held_frames -= frames
        core.counts.held_bytes -= bytes
    if not node.flags & N_RX:
        side.bytes -= pool_chain_cost(node)
    flow.waiting -= 1
    node.flags &= ~<uint32_t>N_HELD


cdef void replace(List *every, Node *node, Node *by) noexcept nogil:
    """Put `by` in the node's place in a list, or close the gap where `by` is NULL."""
    cdef Node *ahead = by if by != NULL else node.next
    cdef Node *behind = by if by != NULL else node.prev
    if node.prev != NULL:
        node.prev.next = ahead
    else:
        every.first = ahead
    if node.next != NULL:
        node.next.prev = behind
    else:
        every.last = behind


cdef void replace_in_flow(Side *side, Node *node, Node *by) noexcept nogil:
    cdef Node *ahead = by if by != NULL else node.flow_next
    cdef Node *behind = by if by != NULL else node.flow_prev
    if node.flow_prev != NULL:
        node.flow_prev.flow_next = ahead
    elif node.flags & N_PURE:
        side.pure_first = ahead
    else:
        side.first = ahead
    if node.flow_next != NULL:
        node.flow_next.flow_prev = behind
    elif node.flags & N_PURE:
        side.pure_last = behind
    else:
        side.last = behind


cdef void replace_sorted(Side *side, Node *node, Node *by) noexcept nogil:
    cdef Node *ahead = by if by != NULL else node.sort_next
    cdef Node *behind = by if by != NULL else node.sort_prev
    if node.sort_prev != NULL:
        node.sort_prev.sort_next = ahead
    else:
        side.low = ahead
    if node.sort_next != NULL:
        node.sort_next.sort_prev = behind
    else:
        side.high = behind


cdef void core_unsort(Node *node) noexcept nogil:
    replace_sorted(core_side_of(node), node, NULL)
    node.flags &= ~<uint32_t>N_SORTED


cdef Node *core_pooled(Core *core, Node *node) noexcept nogil:
    """A copy of a node outside its receive buffer; NULL at the bound. A node of the pool is its own copy.

    A long frame that was received into the pool stays where it is, unless it was released on arrival: its
    bytes are needed until it has been sent, which may be longer than it is held.
    """
    cdef Node *copied
    cdef uint32_t klass
    cdef uint8_t *data
    if not node.flags & N_RX:
        return node
    if core.home != NULL and pool_is_long(node.size) and not node.flags & N_SENT:
        if not pool_keep(core.pool, core.home):
            return NULL
        copied = core.home
        core.home = NULL
        klass = copied.klass
        memcpy(copied, node, sizeof(Node))
        copied.klass = klass
        copied.flags &= ~<uint32_t>N_RX
        node.flags |= N_GONE
        return copied
    copied = pool_room(core.pool, node.size)
    if copied == NULL:
        return NULL
    klass = copied.klass
    data = copied.data
    memcpy(copied, node, sizeof(Node))
    memcpy(data, node.data, node.size)
    copied.klass = klass
    copied.data = data
    copied.flags &= ~<uint32_t>N_RX
    node.flags |= N_GONE
    return copied


cdef bint core_settle(Core *core, Node *node) noexcept nogil:
    """Copy a held node out of its receive buffer, keeping its place on all lists; at a bound it is dropped.
    """
    cdef Node *stays = NULL
    cdef Side *side = core_side_of(node)
    if side.bytes < core.settings.max_flow_bytes:
        stays = core_pooled(core, node)
    if stays == NULL:
        if core.settings.passthrough:  # a checkpoint would have emptied the queues (B1)
            core_flow_of(node).flags |= F_FORGET if node.flags & N_SVM else 0
            core_touch(core, core_flow_of(node))
        core_unhold(core, node)
        core_drop(core, node, D_MEMORY)
        return False
    if node == core.due_held:
        core.due_held = stays
    if node == core.due_pending:
        core.due_pending = stays
    if node == core.kept_held:
        core.kept_held = stays
    if node == core.kept_pending:
        core.kept_pending = stays
    replace(&core.pending if node.flags & N_SVM else &core.held, node, stays)
    replace_in_flow(side, node, stays)
    if node.flags & N_SORTED:
        replace_sorted(side, node, stays)
    side.bytes += pool_node_cost(stays)
    return True


# What may happen to a frame.

cdef void became(Core *core, const Node *node, uint64_t order, Fate fate) noexcept nogil:
    """Record what happened to a frame, or to a fragment of it."""
    cdef const Flow *flow = <const Flow *>node.flow
    recorder_fate(core.recorder, order, fate, core.now)
    if flow != NULL and flow.flags & F_KEPT and recorder_is_kept(core.recorder, flow.kept, flow.hash):
        recorder_kept_fate(core.recorder, flow.kept, order, fate, core.now)


cdef void core_emit(Core *core, Node *node) noexcept nogil:
    """Release a node to the clients; it must be off the lists. Reassembled fragments are sent as they were
    received.
    """
    cdef Node *piece
    cdef Node *chain
    cdef int64_t held = core.now - node.time
    cdef int bucket = 0
    if node.flags & N_SENT:
        core_discard(core, node)
        return
    while bucket < 31 and (<int64_t>1000 << bucket) <= held:
        bucket += 1
    core.counts.hold_buckets[bucket] += 1
    core.counts.hold_sum += held
    chain = node.chain
    node.chain = NULL
    node.flags |= N_GONE
    became(core, node, node.order, FATE_LEFT)
    if chain == NULL:
        core.counts.released += 1
        core.counts.released_bytes += node.size - VNET
        core_emit_to(core, node.data, node.size, UPLINK, NULL if node.flags & N_RX else node)
        return
    while chain != NULL:
        piece = pool_unchain(&chain)
        became(core, node, piece.order, FATE_LEFT)
        core.counts.released += 1
        core.counts.released_bytes += piece.size - VNET
        core_emit_to(core, piece.data, piece.size, UPLINK, piece)
    if not node.flags & N_RX:
        pool_give(core.pool, node)


cdef void core_emit_to(Core *core, uint8_t *base, uint32_t size, PortId port, Node *node) noexcept nogil:
    """Put a frame on the list of frames to send. The list grows to its high-water mark and never shrinks."""
    cdef Out *outs
    cdef uint32_t room
    if core.out_count == core.out_room:
        room = 2 * core.out_room if core.out_room else 1024
        outs = <Out *>realloc(core.outs, room * sizeof(Out))
        if outs == NULL:
            core.counts.dropped[<int>D_MEMORY] += 1
            pool_give(core.pool, node)
            return
        core.outs = outs
        core.out_room = room
    core.outs[core.out_count].base = base
    core.outs[core.out_count].size = size
    core.outs[core.out_count].port = port
    core.outs[core.out_count].node = node
    core.out_count += 1


cdef void core_discard(Core *core, Node *node) noexcept nogil:
    """Free a node that is off the lists and no longer needed, for example agreed bytes of the SVM. Not
    counted.
    """
    node.flags |= N_GONE
    if node.flags & N_RX:
        pool_give(core.pool, node.chain)
        node.chain = NULL
    else:
        pool_give(core.pool, node)


cdef void core_forget(Core *core, Node *node) noexcept nogil:
    core_unhold(core, node)
    core_discard(core, node)


cdef void core_drop(Core *core, Node *node, DropId why) noexcept nogil:
    """Drop a frame and count it; at a bound, also request a checkpoint (B1, B2)."""
    core.counts.dropped[<int>why] += 1
    became(core, node, node.order, FATE_DROPPED)
    if why == D_MEMORY or why == D_FLOWS:
        core.exhausted |= <uint32_t>1 << <int>why
    core_discard(core, node)


cdef void core_keep_for_next_epoch(Core *core, Node *node) noexcept nogil:
    """Keep a frame, unjudged, until the commit (C2, C3)."""
    cdef Node *stays = core_pooled(core, node)
    if stays == NULL:
        core_drop(core, node, D_MEMORY)
        return
    stays.flags &= N_SVM
    stays.prev = core.limbo.last
    stays.next = NULL
    if core.limbo.last != NULL:
        core.limbo.last.next = stays
    else:
        core.limbo.first = stays
    core.limbo.last = stays


cdef void core_touch(Core *core, Flow *flow) noexcept nogil:
    if not flow.flags & F_TOUCHED:
        flow.flags |= F_TOUCHED
        flow.commit_next = core.touched
        core.touched = flow


cdef bint count_in_another(Core *core, ReasonId reason) noexcept nogil:
    """Count a divergence in the latest waiting one of the same reason; false: there is none."""
    cdef Diverged *entry
    cdef uint32_t behind = core.diverged_count
    while behind:
        behind -= 1
        entry = &core.diverged[(core.diverged_first + behind) % (MAX_DIVERGED + REASONS)]
        if entry.reason == <int>reason:
            entry.count += 1
            return True
    return False


cdef void core_diverge(Core *core, Flow *flow, ReasonId reason, int64_t offset,
                       const Node *pvm, const Node *svm) noexcept nogil:
    """Report that the outputs of a flow differ, and block the flow (C1); a blocked flow is not reported
    again.
    """
    cdef Diverged *entry
    if flow.flags & F_BLOCKED:
        return
    flow.flags |= F_BLOCKED
    core_touch(core, flow)
    flow.divergences += 1
    core.counts.divergences[<int>reason * 4 + core_protocol_of(flow)] += 1
    if core.diverged_count >= MAX_DIVERGED and count_in_another(core, reason):
        return  # the checkpoint requested for the others covers this one too
    entry = &core.diverged[(core.diverged_first + core.diverged_count) % (MAX_DIVERGED + REASONS)]
    core.diverged_count += 1
    memset(entry, 0, sizeof(Diverged))
    entry.count = 1
    key_text(&flow.key, entry.flow, sizeof(entry.flow))
    key_protocol(&flow.key, entry.protocol, sizeof(entry.protocol))
    entry.reason = reason
    entry.stream_offset = offset
    entry.time = core.now
    entry.after = core.out_count
    entry.primary = copy(pvm, &entry.primary_size)
    entry.secondary = copy(svm, &entry.secondary_size)
    entry.seq_offset = flow.offset
    entry.exchanges = recorder_copy(core.recorder, flow.kept, core.order, flow.hash, &entry.exchange_count)


cdef void core_free_diverged(Diverged *diverged) noexcept nogil:
    free(diverged.primary)
    free(diverged.secondary)
    free(diverged.exchanges)
    diverged.primary = diverged.secondary = NULL
    diverged.exchanges = NULL


cdef void core_record_pieces(Core *core, const Flow *flow, const Node *node) noexcept nogil:
    while node != NULL:
        recorder_flow(core.recorder, node.order, flow.hash)
        if flow.flags & F_KEPT and recorder_is_kept(core.recorder, flow.kept, flow.hash):
            recorder_add_later(core.recorder, flow.kept, node.order)
        node = node.chain


cdef void core_keep_exchanges(Core *core, Node *node) noexcept nogil:
    cdef Flow *flow = core_flow_of(node)
    node.kept = recorder_keep(core.recorder, flow.kept, core.order, flow.hash)
    if node.kept:
        flow.kept = node.kept
        flow.flags |= F_KEPT


cdef uint8_t *copy(const Node *node, uint32_t *size) noexcept nogil:
    """Divergences are rare, and this is the only place where the comparator calls malloc for a frame."""
    cdef uint8_t *data
    size[0] = 0
    if node == NULL or node.size <= VNET:
        return NULL
    data = <uint8_t *>malloc(node.size - VNET)
    if data != NULL:
        size[0] = node.size - VNET
        memcpy(data, node.data + VNET, size[0])
    return data
