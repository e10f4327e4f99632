"""The comparator of one NIC: frames and the time in; frames, divergences and counters out. No I/O.

Rules: docs/comparison.md. There is one `Core` for each NIC; the cores of one proxy share a `Pool`, and with
it the bounds. One thread calls all functions. `base` points to a virtio-net header (VNET bytes) followed by
the frame; `size` counts both. A core may rewrite the frame in place and may return it for sending (`Out.node`
NULL), so the caller leaves a receive buffer alone until `nic_sent`.

The path of a guest's frame:

    nic_primary / nic_secondary    count, parse, apply the mode
    dispatch.pyx                   policy, fragments, flow; then stream.pyx or datagram.pyx
    finish_frame                   copy what has to stay; continue at once after an observed divergence

Past 400 lines: all that the engine may call, and nothing else.
"""

from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memset

from colo_proxy.core.align.aligner cimport Offset, aligner_fix_quote, aligner_quoted_flow, aligner_to_svm
from colo_proxy.core.core cimport (
    MAX_DIVERGED,
    REASONS,
    Core,
    Counts,
    Diverged,
    Out,
    Settings,
    core_drop,
    core_emit,
    core_emit_to,
    core_free_diverged,
    core_keep_for_next_epoch,
    core_record_flow,
    core_settle,
    core_timeout_of,
)
from colo_proxy.core.dispatch cimport (
    dispatch_announce_anew,
    dispatch_pass_secondary,
    dispatch_primary,
    dispatch_secondary,
)
from colo_proxy.core.epoch cimport (
    epoch_clear,
    epoch_commit,
    epoch_failover,
    epoch_follow_observed,
    epoch_hold,
    epoch_pvm_stop,
    epoch_svm_loaded,
    epoch_svm_stop,
    epoch_unprotect,
)
from colo_proxy.core.flow.client_flows cimport client_flows_free, client_flows_new, client_flows_note
from colo_proxy.core.flow.digests cimport digests_free, digests_new
from colo_proxy.core.flow.flow cimport F_BLOCKED, Flow, Guess, flow_is_alias
from colo_proxy.core.flow.fragments cimport fragments_free, fragments_new
from colo_proxy.core.flow.late_copies cimport late_copies_free, late_copies_new
from colo_proxy.core.flow.pool cimport N_GONE, N_HELD, N_RX, N_SENT, N_SVM, Node, Pool, pool_give, pool_weigh
from colo_proxy.core.flow.recorder cimport FATE_LEFT, Recorder, recorder_fate, recorder_flow, recorder_frame
from colo_proxy.core.flow.table cimport (
    table_close,
    table_fetch_bucket,
    table_fetch_flow,
    table_open,
    table_try,
    table_use,
    table_walk,
)
from colo_proxy.core.link.identity cimport identity_forget, identity_learn
from colo_proxy.core.link.neighbours cimport (
    neighbours_free,
    neighbours_learn,
    neighbours_new,
    neighbours_notice,
)
from colo_proxy.core.lookup cimport lookup_offset, lookup_received, lookup_uplink
from colo_proxy.core.missing_output cimport missing_output_at_end
from colo_proxy.core.observing cimport observing_clamp, observing_note_client, observing_waits
from colo_proxy.core.packet.key cimport Key, key_hash, key_of, key_protocol, key_text
from colo_proxy.core.packet.parse cimport (
    ACK,
    ETHERNET,
    K_HOUSEKEEPING,
    K_IP,
    K_UDP,
    MAX_CAPTURED,
    MAX_FRAME,
    RST,
    SYN,
    VNET,
    Packet,
    parse_first,
    parse_frame,
)
from colo_proxy.core.tcp.capture_gap cimport capture_gap_note_client
from colo_proxy.core.tcp.ranges cimport ranges_drop
from colo_proxy.core.tcp.retransmission cimport retransmission_end
from colo_proxy.core.tcp.syn_forms cimport syn_forms_answered
from colo_proxy.core.tcp.tries cimport tries_answered, tries_received
from colo_proxy.core.vocabulary cimport (
    D_OLD_EPOCH,
    D_OVERSIZED,
    D_TRUNCATED,
    D_UNCOMMITTED,
    M_COMPARE,
    M_FAILED_OVER,
    M_PASS,
    PRIMARY,
    SECONDARY,
    UPLINK,
    PortId,
)

cdef enum:
    CROWD = 1024  # flows, with some 600 KB

cdef Core *nic_new(Pool *pool, const Settings *settings) except NULL:
    cdef Core *core = <Core *>calloc(1, sizeof(Core))
    if core == NULL:
        raise MemoryError
    core.pool = pool
    core.settings = settings[0]
    core.lag_before = -1
    core.counts.timeout = core_timeout_of(core)
    try:
        table_open(&core.table, settings.seed)
        core.pvm_fragments = fragments_new()
        core.svm_fragments = fragments_new()
        core.neighbours = neighbours_new()
        if settings.digest_bytes:
            core.digests = digests_new(settings.digest_bytes, settings.seed)
        core.asked = client_flows_new()
        if settings.observe:
            core.late = late_copies_new()
        core.recorder = <Recorder *>calloc(1, sizeof(Recorder))
        if core.recorder == NULL:
            raise MemoryError
    except MemoryError:
        nic_free(core)
        raise
    return core


cdef void nic_free(Core *core) noexcept nogil:
    """Return everything to the pool and free the core; the pool stays."""
    cdef Diverged left
    cdef Flow *flow
    if core == NULL:
        return
    nic_sent(core)
    if core.table.buckets != NULL:
        epoch_clear(core)
        flow = core.table.idle_first
        while flow != NULL:
            ranges_drop(core, flow)
            flow = flow.idle_next
        core.pool.flows -= core.table.count
        table_close(&core.table)
    while nic_divergence(core, &left):
        core_free_diverged(&left)
    fragments_free(core.pvm_fragments)
    fragments_free(core.svm_fragments)
    neighbours_free(core.neighbours)
    digests_free(core.digests)
    client_flows_free(core.asked)
    late_copies_free(core.late)
    free(core.recorder)
    free(core.outs)
    free(core.missed)
    free(core)


cdef Node *receive(Core *core, PortId port, uint8_t *base, uint32_t size, int64_t now) noexcept nogil:
    """Count and parse a frame; NULL if it is not a valid one."""
    cdef Node *node = &core.rx
    core.now = max(core.now, now)
    core.counts.frames[<int>port] += 1
    core.counts.bytes[<int>port] += size - VNET if size > VNET else 0
    if size < VNET + ETHERNET:
        core.counts.dropped[<int>D_TRUNCATED] += 1
        return NULL
    if size > <uint32_t>(VNET + (MAX_CAPTURED if core.settings.captured else MAX_FRAME)):
        core.counts.dropped[<int>D_OVERSIZED] += 1
        return NULL
    # Everything except the packet, which `parse_frame` writes completely.
    node.prev = node.next = node.flow_prev = node.flow_next = node.sort_prev = node.sort_next = NULL
    node.chain = NULL
    node.flow = NULL
    node.klass = 0
    node.taken[0] = node.taken[1] = 0
    node.kept = 0
    node.flags = N_RX
    node.data = base
    node.size = size
    node.time = core.now
    core.order += 1
    node.order = core.order
    recorder_frame(core.recorder, node.order, port, base + VNET, size - VNET, core.now)
    parse_frame(&node.packet, base, size)
    if node.packet.kind == K_HOUSEKEEPING:
        if port == UPLINK:
            identity_forget(&core.identity, &node.packet, base)
        else:
            identity_learn(&core.identity, &node.packet, base, port == PRIMARY)
    return node


cdef void finish_frame(Core *core, Node *node) noexcept nogil:
    if node.flags & N_HELD and not node.flags & N_GONE:
        core_settle(core, node)
    epoch_follow_observed(core)


cdef void nic_primary(Core *core, uint8_t *base, uint32_t size, int64_t now) noexcept nogil:
    cdef Node *node = receive(core, PRIMARY, base, size, now)
    if node == NULL:
        return
    if core.mode == M_FAILED_OVER:
        core_drop(core, node, D_UNCOMMITTED)
    elif core.pvm_stopped:
        core_keep_for_next_epoch(core, node)
    elif core.mode == M_PASS:
        core_emit(core, node)
    else:
        if core.settings.passthrough:
            core.counts.released += 1
            core.counts.released_bytes += size - VNET
            core_emit_to(core, base, size, UPLINK, NULL)
            recorder_fate(core.recorder, node.order, FATE_LEFT, core.now)
            node.flags |= N_SENT
        dispatch_primary(core, node)
        finish_frame(core, node)


cdef void nic_secondary(Core *core, uint8_t *base, uint32_t size, int64_t now) noexcept nogil:
    cdef Node *node = receive(core, SECONDARY, base, size, now)
    if node == NULL:
        return
    node.flags |= N_SVM
    if core.svm_stopped:
        core_keep_for_next_epoch(core, node)
    elif core.mode == M_COMPARE:
        dispatch_secondary(core, node)
        finish_frame(core, node)
    elif core.mode == M_FAILED_OVER:
        dispatch_pass_secondary(core, node)
    else:
        core_drop(core, node, D_OLD_EPOCH)


cdef uint32_t record_uplink(Core *core, const Node *node, const Key *key, const Flow *flow) noexcept nogil:
    """Clients send first: their flow may be made only when the PVM answers, with the same hash."""
    cdef uint32_t hashed
    if flow != NULL:
        core_record_flow(core, flow, node)
        return flow.hash
    hashed = <uint32_t>key_hash(key, core.table.seed)
    recorder_flow(core.recorder, node.order, hashed)
    return hashed


cdef void note_client(Core *core, Flow *flow, uint32_t hashed) noexcept nogil:
    """Note who has begun a UDP flow, and that a mapped port is still in use (pairing.pxd)."""
    if flow == NULL:
        client_flows_note(core.asked, hashed, core.now)
    elif flow.alias != NULL:
        table_use(&core.table, flow, core.now)


cdef void note_segment(Core *core, const Key *key, Flow *flow, Node *node) noexcept nogil:
    """Note what a client's TCP segment shows about its connection."""
    if flow == NULL:
        return
    if flow.pvm.answered and node.packet.flags & (SYN | ACK | RST) == ACK:
        tries_answered(flow, node.packet.ack, core.now)
    if core.settings.captured:
        capture_gap_note_client(core, key, node)
    if node.packet.flags & (SYN | ACK | RST) == SYN | ACK:
        answered(core, flow)
    if core.digests != NULL:
        retransmission_end(core, flow, node)
    observing_note_client(flow, node)


cdef bint nic_crowded(const Core *core) noexcept nogil:
    return core.table.count > CROWD


cdef void nic_expect(const Core *core, const uint8_t *base, uint32_t size, Guess *guess) noexcept nogil:
    cdef Packet packet
    cdef Key key
    guess.hash = 0
    if size < VNET + ETHERNET:
        return
    parse_frame(&packet, base, size)
    key_of(&key, &packet, base, True)
    guess.hash = <uint32_t>key_hash(&key, core.table.seed)
    table_fetch_bucket(&core.table, guess)


cdef void nic_fetch(const Core *core, Guess *guess) noexcept nogil:
    table_fetch_flow(&core.table, guess)


cdef void nic_try(Core *core, const Guess *guess) noexcept nogil:
    table_try(&core.table, guess)


cdef void answered(Core *core, Flow *flow) noexcept nogil:
    """A client has answered the guest's SYN. Guests that are only observed learn of this at different times
    (C8).
    """
    if core.mode == M_COMPARE and not core.svm_stopped and not core.settings.passthrough:
        syn_forms_answered(core, flow)
        epoch_follow_observed(core)


cdef bint nic_uplink(Core *core, uint8_t *base, uint32_t size, int64_t now) noexcept nogil:
    cdef Node *node = receive(core, UPLINK, base, size, now)
    cdef Key key
    cdef Flow *flow
    cdef Offset offset
    cdef uint32_t hashed
    if node == NULL or core.mode == M_PASS:
        return False
    if node.packet.kind == K_HOUSEKEEPING:
        neighbours_learn(core.neighbours, &node.packet, base)
        return True
    neighbours_notice(core.neighbours, &node.packet, base)
    if parse_first(&node.packet, base):
        key_of(&key, &node.packet, base, False)
        flow = lookup_uplink(core, &key)
        hashed = record_uplink(core, node, &key, flow)
        if key.kind == K_UDP:
            note_client(core, flow, hashed)
        else:
            note_segment(core, &key, flow, node)
        if flow != NULL and core.settings.passthrough and observing_waits(core, flow, node):
            return False
        # From its stop on, the SVM no longer has numbers of its own (C2).
        if flow != NULL and not core.svm_stopped:
            aligner_to_svm(&node.packet, base, lookup_offset(flow, &offset))
            if core.settings.passthrough:
                observing_clamp(flow, node)
    elif aligner_quoted_flow(&key, &node.packet, base, False):
        flow = lookup_uplink(core, &key)
        record_uplink(core, node, &key, flow)
        if flow != NULL and not core.svm_stopped:
            aligner_fix_quote(&node.packet, base, lookup_offset(flow, &offset), False)
    elif node.packet.kind == K_IP:
        key_of(&key, &node.packet, base, False)
        record_uplink(core, node, &key, NULL)
    return True


cdef void nic_received(Core *core, const uint8_t *base, uint32_t size, int64_t now) noexcept nogil:
    cdef Packet packet
    cdef Key key
    cdef Flow *flow
    if size < VNET + ETHERNET or size > <uint32_t>(VNET + MAX_CAPTURED):
        return
    parse_frame(&packet, base, size)
    if not parse_first(&packet, base) or packet.flags & (SYN | ACK | RST) != ACK:
        return
    key_of(&key, &packet, base, False)
    flow = lookup_received(core, &key)
    if flow != NULL:
        tries_received(flow, packet.ack, max(core.now, now))


cdef void nic_word(Core *core, Word word, int64_t now) noexcept nogil:
    core.now = max(core.now, now)
    if word == W_HOLD or word == W_ABORT:
        epoch_hold(core)
    elif word == W_UNPROTECT:
        epoch_unprotect(core)
    elif word == W_SVM_STOP:
        epoch_svm_stop(core)
    elif word == W_SVM_LOADED:
        epoch_svm_loaded(core)
    elif word == W_PVM_STOP:
        epoch_pvm_stop(core)
    elif word == W_COMMIT:
        epoch_commit(core)
    elif word == W_FAILOVER:
        dispatch_announce_anew(core)
        epoch_failover(core)
    elif word == W_FINISH:
        missing_output_at_end(core)


cdef Out *nic_outs(Core *core, uint32_t *count) noexcept nogil:
    count[0] = core.out_count
    return core.outs


cdef void nic_sent(Core *core) noexcept nogil:
    cdef uint32_t index
    for index in range(core.out_count):
        if core.outs[index].node != NULL:
            pool_give(core.pool, core.outs[index].node)
    core.out_count = 0


cdef bint nic_divergence(Core *core, Diverged *into) noexcept nogil:
    if core.diverged_count == 0:
        return False
    into[0] = core.diverged[core.diverged_first]
    core.diverged_first = (core.diverged_first + 1) % (MAX_DIVERGED + REASONS)
    core.diverged_count -= 1
    return True


cdef uint32_t nic_exhausted(Core *core) noexcept nogil:
    cdef uint32_t bits = core.exhausted
    core.exhausted = 0
    return bits


cdef Counts *nic_counts(Core *core) noexcept nogil:
    return &core.counts


cdef uint64_t nic_flows(
    Core *core, uint32_t *place, uint32_t *steps, FlowRecord *into, uint64_t room
) noexcept nogil:
    cdef Flow *flow
    cdef FlowRecord *record
    cdef uint64_t count = 0
    while count < room:
        flow = table_walk(&core.table, place, steps)
        if flow == NULL:
            break
        if not flow_is_alias(flow):
            record = &into[count]
            memset(record, 0, sizeof(FlowRecord))
            record.place = place[0]
            key_text(&flow.key, record.flow, sizeof(record.flow))
            key_protocol(&flow.key, record.protocol, sizeof(record.protocol))
            count_held(flow.pvm.first, record)
            count_held(flow.pvm.pure_first, record)
            record.matched_bytes = max(flow.position, 0)
            record.divergences = flow.divergences
            record.offset = flow.offset
            record.blocked = (flow.flags & F_BLOCKED) != 0
            record.idle = core.now - flow.used
            count += 1
        place[0] += 1
    return count


cdef void count_held(const Node *node, FlowRecord *record) noexcept nogil:
    while node != NULL:
        pool_weigh(node, &record.held_frames, &record.held_bytes)
        node = node.flow_next
