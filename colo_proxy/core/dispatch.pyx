"""The path of one parsed frame of a guest: policy, fragments, flow, and then the comparison of its kind.

A frame first meets the policies, because what they exempt is never compared. Fragments are reassembled, since
only a whole datagram can be compared. Then the frame's flow is found, and the frame goes to stream.pyx (TCP)
or datagram.pyx (everything else). Requests of the SVM for neighbours are answered here, and the announcements
after a failover are sent from here.
"""

from libc.stdint cimport INT64_MAX, int64_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy

from colo_proxy.core.align.aligner cimport (
    Offset,
    aligner_fix_quote,
    aligner_from_svm,
    aligner_quoted_flow,
    aligner_strip_multipath,
)
from colo_proxy.core.align.filter_rewriter cimport filter_rewriter_undo
from colo_proxy.core.core cimport (
    Core,
    core_discard,
    core_diverge,
    core_drop,
    core_emit,
    core_emit_to,
    core_hold,
    core_pooled,
    core_record_flow,
)
from colo_proxy.core.datagram.datagram cimport datagram_note, datagram_primary, datagram_secondary
from colo_proxy.core.flow.flow cimport F_ANCHORED, F_TRIES, Flow, Side
from colo_proxy.core.flow.fragments cimport (
    FRAGMENT_DONE,
    FRAGMENT_FULL,
    FragmentStatus,
    Fragments,
    fragments_add,
)
from colo_proxy.core.flow.pool cimport (
    N_RX,
    N_WHOLE,
    Node,
    pool_chain_cost,
    pool_give,
    pool_take,
    pool_unchain,
)
from colo_proxy.core.flow.recorder cimport recorder_source
from colo_proxy.core.link.identity cimport (
    HEADER,
    IDENTITY_CLAIMS,
    Claim,
    identity_ask,
    identity_asks,
    identity_mac,
    identity_write,
)
from colo_proxy.core.link.neighbours cimport NEIGHBOUR_FRAME, neighbours_answer, neighbours_quiet
from colo_proxy.core.lookup cimport lookup_offset, lookup_pvm, lookup_quote, lookup_svm
from colo_proxy.core.observing cimport observing_answer
from colo_proxy.core.packet.key cimport Key, key_of
from colo_proxy.core.packet.parse cimport (
    ET_IPV4,
    ET_IPV6,
    K_FRAGMENT,
    K_HOUSEKEEPING,
    K_TCP,
    K_UDP,
    parse_first,
    put16,
)
from colo_proxy.core.packet.seq cimport seq_add, seq_lt
from colo_proxy.core.pairing cimport pairing_for_pvm, pairing_for_svm, pairing_known
from colo_proxy.core.policy cimport P_BYPASS, P_COMPARE, P_DEFAULT, P_DROP, Action, policy_match
from colo_proxy.core.rules cimport rules_decide
from colo_proxy.core.tcp.stream cimport stream_follow, stream_note, stream_primary, stream_secondary
from colo_proxy.core.tcp.tries cimport tries_align
from colo_proxy.core.vocabulary cimport (
    D_FLOWS,
    D_FRAGMENT,
    D_MEMORY,
    D_POLICY,
    M_HOLD,
    PRIMARY,
    R_MISSING_SECONDARY,
    SECONDARY,
    UPLINK,
    PortId,
)

# A neighbour may lose a frame, so there are three rounds, a second apart (RFC 4861, 7.2.6 and 10).
cdef uint32_t ROUNDS = 3
cdef int64_t ROUND = 1000000000  # ns
# ASK_AGAIN: the least time between two requests that the proxy sends for the SVM about one neighbour.
# LOOK_AGAIN: the time until it looks again for an address to send from, if it knows none.
cdef int64_t ASK_AGAIN = 1000000000  # ns
cdef int64_t LOOK_AGAIN = 100000000  # ns


cdef Node *whole(Core *core, Fragments *fragments, Node *node) noexcept nogil:
    """Add a fragment to its datagram; return the datagram once it is complete (F1, F2)."""
    cdef Node *out = NULL
    cdef FragmentStatus status
    cdef Node *kept = core_pooled(core, node)
    if kept == NULL:
        core_drop(core, node, D_MEMORY)
        return NULL
    status = fragments_add(fragments, core.pool, kept, &out)
    if status == FRAGMENT_DONE:
        return out
    while out != NULL:
        core_drop(core, pool_unchain(&out), D_MEMORY if status == FRAGMENT_FULL else D_FRAGMENT)
    return NULL


cdef void leave_alone(Core *core, Node *node, Action action) noexcept nogil:
    """Release a frame that is not compared unchanged, or drop it."""
    if action == P_DROP:
        core_drop(core, node, D_POLICY)
    else:
        core_emit(core, node)


cdef void dispatch_hold_incomplete(Core *core, Node *node) noexcept nogil:
    """Fragments of the PVM that never become a datagram match nothing: a divergence, and they are held (F3).
    """
    cdef Key key
    cdef Node *first = NULL
    cdef Node *fragment
    cdef Flow *flow
    cdef Action action
    key_of(&key, &node.packet, node.data, True)
    action = rules_decide(core.policies, &key, False, pieces_of(node))
    while node != NULL and action != P_COMPARE:
        behind = node.chain
        node.chain = NULL
        leave_alone(core, node, action)
        node = behind
    if node == NULL:
        return
    flow = lookup_pvm(core, &key, node)
    if flow != NULL:
        core_record_flow(core, flow, node)
    while node != NULL:
        fragment = pool_unchain(&node)
        if flow == NULL:
            core_drop(core, fragment, D_FLOWS)
        elif not fits(core, &flow.pvm, fragment):
            core_drop(core, fragment, D_MEMORY)
        else:
            first = fragment if first == NULL else first
            core_hold(core, flow, fragment)
    if flow != NULL:
        core_diverge(core, flow, R_MISSING_SECONDARY, <int64_t>flow.said_bytes, first, NULL)


cdef bint fits(const Core *core, const Side *side, const Node *node) noexcept nogil:
    """B1 for what is in the pool already: datagrams that arrived in fragments, and what was kept for a
    commit.

    A frame in a receive buffer may still be released at once; `core_settle` checks the bound if it must stay.
    """
    return node.flags & N_RX or side.bytes + pool_chain_cost(node.chain) < core.settings.max_flow_bytes


cdef inline uint64_t pieces_of(const Node *piece) noexcept nogil:
    cdef uint64_t count = 0
    while piece != NULL:
        count += 1
        piece = piece.chain
    return count


cdef inline uint64_t frames_of(const Node *node) noexcept nogil:
    """How many frames it consists of: a datagram that arrived in fragments has several."""
    return pieces_of(node.chain) if node.chain != NULL else 1


cdef void plain_tcp(const Core *core, Node *node) noexcept nogil:
    """Remove the offer of Multipath TCP from a SYN that is compared: Multipath TCP's own numbers are not
    compared.
    """
    if node.packet.kind == K_TCP and node.packet.multipath and not node.packet.signature and \
            not node.flags & N_WHOLE and not core.settings.passthrough:
        aligner_strip_multipath(&node.packet, node.data)


cdef void dispatch_primary(Core *core, Node *node) noexcept nogil:
    cdef Key key
    cdef Flow *flow
    cdef Action action
    if node.packet.kind == K_FRAGMENT:
        node = whole(core, core.pvm_fragments, node)
        if node == NULL:
            return
    key_of(&key, &node.packet, node.data, True)
    action = rules_decide(core.policies, &key, node.packet.kind == K_HOUSEKEEPING, frames_of(node))
    if action != P_COMPARE:
        leave_alone(core, node, action)
        return
    plain_tcp(core, node)
    if node.packet.kind == K_UDP:
        flow = pairing_for_pvm(core, &key, node)
    else:
        flow = lookup_pvm(core, &key, node)
    if flow == NULL:
        core_drop(core, node, D_FLOWS)
        return
    core_record_flow(core, flow, node)
    if not fits(core, &flow.pvm, node):
        core_drop(core, node, D_MEMORY)
    elif core.mode == M_HOLD or core.svm_stopped:
        if node.packet.kind == K_TCP:
            stream_note(core, flow, node)
        else:
            datagram_note(flow, node)
        core_hold(core, flow, node)
    elif node.packet.kind == K_TCP:
        stream_primary(core, flow, node)
    else:
        datagram_primary(core, flow, node)


cdef bint repeats(const Flow *flow, const Node *node) noexcept nogil:
    """Whether an SVM segment begins where both guests have already sent the same."""
    return flow.flags & F_ANCHORED and seq_lt(seq_add(node.packet.seq, -<int64_t>flow.offset), flow.matched)


cdef void dispatch_secondary(Core *core, Node *node) noexcept nogil:
    cdef Key key
    cdef Flow *flow
    cdef int action
    cdef bint heard
    if node.packet.kind == K_FRAGMENT:
        node = whole(core, core.svm_fragments, node)
        if node == NULL:
            return
    key_of(&key, &node.packet, node.data, True)
    action = policy_match(core.policies, &key, 0)  # the SVM's copies of bypassed frames are not counted
    if action == P_DROP or action == P_BYPASS:
        core_discard(core, node)
        return
    if action == P_DEFAULT and node.packet.kind == K_HOUSEKEEPING:
        answer_neighbour(core, node)
        core_discard(core, node)
        return
    plain_tcp(core, node)
    if node.packet.kind == K_UDP:
        flow = pairing_for_svm(core, &key, node)
    else:
        flow = lookup_svm(core, &key, node)
    if flow == NULL:
        core_drop(core, node, D_FLOWS)
        return
    core_record_flow(core, flow, node)
    if not fits(core, &flow.svm, node):
        core_drop(core, node, D_MEMORY)
    elif node.packet.kind == K_TCP:
        if core.settings.compare_only:
            filter_rewriter_undo(flow, node)
        heard = node.flags & N_RX and (core.settings.passthrough or repeats(flow, node))
        stream_secondary(core, flow, node)
        if heard:  # so its bytes are still there
            observing_answer(core, flow, node)
    else:
        align_quote(core, node)
        datagram_secondary(core, flow, node)


cdef void answer_neighbour(Core *core, const Node *node) noexcept nogil:
    """Answer the SVM's request for a neighbour from what clients have sent. The PVM may know that neighbour
    already, and then never asks.

    Where clients have sent nothing (the proxy was started since), ask them in the PVM's name: both guests
    receive the answer.
    """
    cdef Node *made = pool_take(core.pool, NEIGHBOUR_FRAME)
    cdef uint32_t size
    cdef PortId port = SECONDARY
    if made == NULL:
        return
    size = neighbours_answer(core.neighbours, &node.packet, node.data, made.data, NEIGHBOUR_FRAME)
    if size == 0:
        size = ask_for_svm(core, node, made.data)
        port = UPLINK
    if size:
        core_emit_to(core, made.data, size, port, made)
    else:
        pool_give(core.pool, made)


cdef uint32_t ask_for_svm(Core *core, const Node *node, uint8_t *into) noexcept nogil:
    """Write the SVM's request as one of the PVM, if it may be sent now. Return its size, or 0."""
    cdef Claim asker
    cdef int64_t *quiet
    if not identity_asks(&node.packet, node.data, &asker):
        return 0
    quiet = neighbours_quiet(core.neighbours, &node.packet, node.data)
    if core.now < quiet[0]:
        return 0
    if not identity_mac(&core.identity, &asker) and not mac_of_packets(core, &asker):
        quiet[0] = core.now + LOOK_AGAIN
        return 0
    quiet[0] = core.now + ASK_AGAIN
    core.counts.asked += 1
    return identity_ask(&asker, &node.packet, node.data, into)


cdef bint mac_of_packets(const Core *core, Claim *asker) noexcept nogil:
    """The MAC address from which the PVM has recently sent IP packets with that source address."""
    cdef bint old = asker.version == 4
    cdef uint8_t[HEADER - 12] between
    cdef const uint8_t *mac
    memcpy(between, asker.between, sizeof(between))
    put16(between + asker.tags - 2, ET_IPV4 if old else ET_IPV6)
    mac = recorder_source(core.recorder, core.order, PRIMARY, between, asker.tags,
                          12 + asker.tags + (12 if old else 8), asker.address, 4 if old else 16)
    if mac == NULL:
        return False
    memcpy(asker.mac, mac, 6)
    return True


cdef void dispatch_announce_anew(Core *core) noexcept nogil:
    core.identity.rounds = ROUNDS
    core.identity.due = core.now
    dispatch_announce(core)


cdef int64_t dispatch_announce(Core *core) noexcept nogil:
    """Announce the VM's addresses if a round is due. Return when the next one is, ns."""
    cdef Node *node
    cdef uint32_t size
    cdef int index
    if core.identity.rounds == 0:
        return INT64_MAX
    if core.now >= core.identity.due:
        for index in range(IDENTITY_CLAIMS):
            node = pool_take(core.pool, NEIGHBOUR_FRAME)
            if node == NULL:
                break
            size = identity_write(&core.identity, index, node.data)
            if size:
                core_emit_to(core, node.data, size, UPLINK, node)
            else:
                pool_give(core.pool, node)
        core.identity.rounds -= 1
        core.identity.due = core.now + ROUND
    return core.identity.due if core.identity.rounds else INT64_MAX


cdef void dispatch_pass_secondary(Core *core, Node *node) noexcept nogil:
    cdef Key key
    cdef Flow *flow = NULL
    if parse_first(&node.packet, node.data):
        key_of(&key, &node.packet, node.data, True)
        if node.packet.kind == K_UDP:
            flow = pairing_known(core, &key)
        else:
            flow = lookup_svm(core, &key, node)
        if flow != NULL and node.packet.kind == K_TCP:
            stream_follow(core, flow, node)
    else:
        align_quote(core, node)
    dispatch_emit_aligned(core, flow, node)


cdef void dispatch_emit_aligned(Core *core, const Flow *flow, Node *node) noexcept nogil:
    cdef Node *piece = node.chain if node.chain != NULL else node
    cdef Offset offset
    while piece != NULL and flow != NULL:
        if parse_first(&piece.packet, piece.data):
            if flow.flags & F_TRIES:
                tries_align(flow, &piece.packet, piece.data)
            aligner_from_svm(&piece.packet, piece.data, lookup_offset(flow, &offset))
        piece = piece.chain
    core_emit(core, node)


cdef void align_quote(Core *core, Node *node) noexcept nogil:
    """An ICMP error of the SVM quotes a client's packet as the SVM received it: align the quote too."""
    cdef Key key
    cdef Flow *flow
    cdef Offset offset
    if aligner_quoted_flow(&key, &node.packet, node.data, True):
        flow = lookup_quote(core, &key)
        if flow != NULL:
            aligner_fix_quote(&node.packet, node.data, lookup_offset(flow, &offset), True)
