"""Comparing one TCP segment of either guest (docs/comparison.md, section 3).

    PVM segment:  note what it carries -> held -> sorted -> advance -> release -> (still here: it waits)
    SVM segment:  note what it carries -> held -> sorted -> advance -> release -> (not needed: forgotten)
                                       -> continues the range as the PVM did -> release

An SVM segment matters for the bytes it carries beyond the agreed range, for its acknowledgement and window,
and for SYN, FIN and RST. Once these are noted, only bytes that the PVM has not sent yet are kept of it.

Past 400 lines: the paths of the PVM's and of the SVM's segment mirror each other and are read together.
"""

from libc.stdint cimport int32_t, int64_t, uint32_t
from libc.stdlib cimport abs

from colo_proxy.core.core cimport Core, core_discard, core_diverge, core_forget, core_hold
from colo_proxy.core.flow.flow cimport (
    F_AGAIN,
    F_ANCHORED,
    F_ASTRAY,
    F_BEYOND,
    F_BLOCKED,
    F_CONTRADICTED,
    F_DISORDERED,
    F_FINISHED,
    F_FORMS,
    F_OTHER_PORT,
    F_OWN_OFFSET,
    F_FORGET,
    F_PROVISIONAL,
    F_RAISED,
    F_SVM_TRY,
    F_TRIES,
    Flow,
    Side,
)
from colo_proxy.core.flow.pool cimport (
    N_AGAIN,
    N_CONTRARY,
    N_DUPLICATE,
    N_PURE,
    N_SVM,
    N_UNPLACED,
    N_WHOLE,
    Node,
)
from colo_proxy.core.packet.parse cimport ACK, FIN, RST, SYN, URG, get32
from colo_proxy.core.packet.seq cimport Seq, seq_add, seq_diff, seq_eq, seq_le, seq_lt
from colo_proxy.core.tcp.agreed cimport (
    MAX_DISTANCE,
    agreed_advance,
    agreed_continue,
    agreed_covers,
    agreed_end_of,
    agreed_match_below,
    agreed_move,
    agreed_offset_of,
    agreed_position_of,
    agreed_sort_in,
    agreed_start_of,
)
from colo_proxy.core.tcp.ahead cimport ahead_compare, ahead_forget_agreed, ahead_look_again
from colo_proxy.core.tcp.anchor cimport anchor_lower, anchor_place
from colo_proxy.core.tcp.duplicate cimport duplicate_tell
from colo_proxy.core.tcp.partial cimport partial_again, partial_lowest, partial_watch
from colo_proxy.core.tcp.ranges cimport ranges_agreed, ranges_any, ranges_commit, ranges_hold, ranges_of
from colo_proxy.core.tcp.release cimport release_all, release_new, release_reset_text
from colo_proxy.core.tcp.retransmission cimport retransmission_differs
from colo_proxy.core.tcp.sack cimport SACK_COMMON, SACK_NONE, Sacked, sack_note
from colo_proxy.core.tcp.syn_forms cimport (
    syn_forms_copy,
    syn_forms_judge,
    syn_forms_known,
    syn_forms_note,
    syn_forms_options,
)
from colo_proxy.core.tcp.tries cimport tries_another, tries_copy, tries_note, tries_place
from colo_proxy.core.tcp.urgent cimport urgent_alone, urgent_copy, urgent_move, urgent_note
from colo_proxy.core.vocabulary cimport R_CONTROL


cdef bint unplaced(const Flow *flow, bint svm) noexcept nogil:
    """Whether it is unknown where a side's numbers lie in the stream: only the other side's SYN was seen."""
    if flow.flags & F_OWN_OFFSET:
        return False
    return flow.pvm.syn and not flow.svm.syn if svm else flow.svm.syn and not flow.pvm.syn


cdef bint astray(const Flow *flow, const Node *node) noexcept nogil:
    """Whether bytes of the PVM have no position behind its SYN: a connection has nothing before it (T10).

    Only a keep-alive repeats the SYN's own number, as long as nothing else has been sent.
    """
    cdef int64_t place = flow.position + seq_diff(node.packet.seq, flow.matched)  # the SYN's is -1
    if not flow.pvm.syn or not flow.flags & F_ANCHORED or not node.packet.length:
        return False
    if flow.flags & F_ASTRAY or place < -1:
        return True
    return place == -1 and (node.packet.length > 1 or not (
        node.packet.flags & FIN or seq_eq(flow.pvm.end, seq_add(node.packet.seq, 1))))


cdef bint has_place(Flow *flow, const Node *node) noexcept nogil:
    """Whether the position in the stream of a segment without SYN and RST is known."""
    cdef bint svm = (node.flags & N_SVM) != 0
    cdef bint known = not unplaced(flow, svm) and (not flow.flags & F_TRIES or tries_place(flow, node))
    if svm or not flow.pvm.syn:
        return known
    if node.packet.length and (not known or astray(flow, node)):
        flow.flags |= F_ASTRAY
        return False
    return known


cdef void note_again(Flow *flow, uint32_t stamp) noexcept nogil:
    """The TSval of a retransmission, by the PVM's clock (T16)."""
    if not flow.flags & F_AGAIN or <int32_t>(stamp - flow.again_stamp) > 0:
        flow.again_stamp = stamp
        flow.flags |= F_AGAIN


cdef void count_disorder(Core *core, Flow *flow, const Side *side, const Node *node) noexcept nogil:
    """A segment that does not begin where its side's stream ended: something was lost, or sent again."""
    cdef int64_t ahead = seq_diff(node.packet.seq, side.end)
    cdef int which = (node.flags & N_SVM) != 0
    if node.packet.flags & RST or not -MAX_DISTANCE < ahead <= MAX_DISTANCE:
        return
    if ahead > 0:
        core.counts.gaps[which] += 1
        return
    core.counts.resent[which] += 1
    if node.packet.timestamps and flow.pvm.open and not node.packet.flags & SYN:
        note_again(flow, get32(node.data + node.packet.timestamps) - (flow.ts_offset if which else 0))


cdef void note_syn(Core *core, Flow *flow, Side *side, Node *node) noexcept nogil:
    """Note a SYN: the first of its side shows where its numbers begin."""
    if tries_another(side, node):
        tries_note(flow, node)
    if not side.syn:
        side.syn = True
        side.isn = node.packet.seq
        side.end = seq_add(node.packet.seq, node.packet.length)
        side.raw = node.packet.window
        side.wscale = 0 if node.packet.wscale == 255 else min(node.packet.wscale, 14)  # RFC 7323, 2.3
        side.syn_options = syn_forms_options(node)
        if node.packet.timestamps:
            side.tsval = get32(node.data + node.packet.timestamps)
        side.open = True
        learn_offset(flow)
        if node.flags & N_SVM:
            urgent_move(side, flow.offset)  # what an observed commit has put there (C8)
    elif side.open and not seq_eq(node.packet.seq, side.end):
        count_disorder(core, flow, side, node)
    syn_forms_note(flow, node)


cdef void note_end(Side *side, const Node *node) noexcept nogil:
    """Note where a segment ends."""
    cdef Seq end = seq_add(node.packet.seq, node.packet.length)
    if not side.open or 0 < seq_diff(end, side.end) <= MAX_DISTANCE:
        side.open = True
        side.end = end
        side.fin = False
        side.unseen = node.packet.length == 0
    elif node.packet.length and not node.packet.flags & FIN and seq_eq(end, side.end):
        side.unseen = False
    if node.packet.flags & FIN and seq_eq(end, side.end):
        side.fin = True


cdef void note_acknowledgement(Side *side, Node *node) noexcept nogil:
    if node.packet.flags & RST:
        side.refused = node.packet.ack
    elif node.packet.flags & SYN and not side.answered:
        side.answered = True
        side.irs = node.packet.ack
    if side.acked and not node.packet.length and not node.packet.flags & RST and \
            seq_eq(side.last_ack, node.packet.ack) and side.window == node.packet.window:
        node.flags |= N_DUPLICATE
    if not side.acked or seq_le(side.ack, node.packet.ack):
        offer(side, node)
    side.last_ack = node.packet.ack
    side.window = node.packet.window


cdef void note(Core *core, Flow *flow, Node *node) noexcept nogil:
    """Note what a segment shows of its side: numbers, options, acknowledgement, window. It is not aligned
    yet.
    """
    cdef Side *side = &flow.svm if node.flags & N_SVM else &flow.pvm
    if node.packet.flags & (SYN | RST) == SYN:
        note_syn(core, flow, side, node)
    elif not node.packet.flags & RST and not has_place(flow, node):
        node.flags |= N_UNPLACED
        return
    elif node.packet.length and side.open and not seq_eq(node.packet.seq, side.end):
        count_disorder(core, flow, side, node)
    if not node.packet.flags & RST:  # which shows nothing about positions in a stream
        note_end(side, node)
    if node.packet.flags & URG:
        urgent_note(side, node)
    if node.packet.flags & ACK:
        note_acknowledgement(side, node)


cdef void offer(Side *side, const Node *node) noexcept nogil:
    """Note an acknowledgement that is not lower than the furthest, and the window that came with it (T5)."""
    cdef uint32_t scale = 0 if node.packet.flags & SYN or side.wscale == 255 else side.wscale
    if not node.packet.flags & RST:
        side.raw = node.packet.window
        side.edge = seq_add(node.packet.ack, <uint32_t>node.packet.window << scale)
    elif not side.acked:  # a reset offers nothing
        side.raw = 0
        side.edge = node.packet.ack
    side.acked = True
    side.ack = node.packet.ack


cdef void learn_offset(Flow *flow) noexcept nogil:
    """The guests have chosen different initial numbers and timestamp clocks (docs/comparison.md, 3.1)."""
    if flow.pvm.syn and flow.svm.syn and not flow.flags & F_OWN_OFFSET:
        flow.flags |= F_OWN_OFFSET
        flow.offset = flow.svm.isn.n - flow.pvm.isn.n
        flow.ts_offset = flow.svm.tsval - flow.pvm.tsval


cdef void stream_note(Core *core, Flow *flow, Node *node) noexcept nogil:
    note(core, flow, node)
    if node.packet.sack_blocks or flow.flags & F_BEYOND:
        sack_note(core, flow, node)
    anchor_place(flow, node)
    if node.packet.flags & RST:
        if flow.pvm.reset:
            node.flags |= N_AGAIN
        flow.pvm.reset = True
        flow.pvm_text = release_reset_text(core, node)
    if not node.packet.length or node.packet.flags & RST:
        node.flags |= N_PURE
        if flow.owed != NULL and node.packet.flags & (ACK | RST) == ACK and \
                seq_le(flow.owed.packet.ack, node.packet.ack):
            core_forget(core, flow.owed)  # this one carries it (T6)
    elif not node.flags & N_UNPLACED and seq_lt(node.packet.seq, flow.low) and not flow.pvm.syn:
        flow.below += 1


cdef void stream_follow(Core *core, Flow *flow, Node *node) noexcept nogil:
    node.flow = flow
    note(core, flow, node)


cdef void stream_primary(Core *core, Flow *flow, Node *node) noexcept nogil:
    cdef Node *last
    cdef bint unordered, grown
    stream_note(core, flow, node)
    if not node.flags & N_UNPLACED or node.packet.flags & RST:
        syn_forms_judge(core, flow, node)
    if node.flags & N_PURE:
        core_hold(core, flow, node)
        if node.packet.flags & RST:
            reset_against(core, flow, node)
            while flow.svm.pure_first != NULL:
                core_forget(core, flow.svm.pure_first)
        urgent_alone(core, flow, node)
        release_new(core, flow, node)
        return
    last = flow.pvm.last
    unordered = (last != NULL
                 and seq_lt(node.packet.seq, agreed_end_of(last))) or node.packet.flags & URG or \
        node.flags & (N_WHOLE | N_UNPLACED) or flow.below
    if unordered:
        flow.flags |= F_DISORDERED
    core_hold(core, flow, node)
    if node.flags & N_UNPLACED:
        return  # not a number of this stream: it waits for a commit
    if contradicts_agreed(core, flow, node) or \
            (seq_lt(node.packet.seq, flow.matched) and retransmission_differs(core, flow, node)):
        node.flags |= N_CONTRARY
        return
    if agreed_covers(flow, node):  # a retransmission
        if node.packet.flags & FIN and flow.pvm.unseen and seq_eq(agreed_end_of(node), flow.matched):
            flow.pvm.unseen = False
            flow.flags |= F_FINISHED
        if node.packet.flags & SYN:
            flow.flags |= F_DISORDERED  # its options may have to wait for the SVM's
        urgent_alone(core, flow, node)
        release_new(core, flow, node)
        return
    if abs(seq_diff(node.packet.seq, flow.matched)) > MAX_DISTANCE:
        return  # nor is this one
    if not agreed_sort_in(core, flow, node):
        return
    if flow.svm.reset:
        reset_against(core, flow, node)
    grown = agreed_advance(core, flow)
    if flow.svm.low != NULL and ahead_compare(core, flow, node):
        ahead_forget_agreed(core, flow, agreed_start_of(node), agreed_end_of(node), &last)
        grown = True
    if flow.flags & F_BEYOND and ahead_look_again(core, flow):
        grown = True
    if flow.below:
        agreed_match_below(core, flow, agreed_start_of(node), agreed_end_of(node))
    urgent_alone(core, flow, node)
    if grown or flow.below:
        release_all(core, flow)
    else:
        release_new(core, flow, node)
    if grown or partial_lowest(flow) == node:
        partial_watch(core, flow)


cdef bint contradicts_agreed(Core *core, Flow *flow, const Node *node) noexcept nogil:
    """T3: a FIN where bytes are agreed, or a SYN with other binding options than before."""
    cdef Seq fin = seq_add(node.packet.seq, <int64_t>node.packet.length - 1)
    if node.packet.flags & SYN and node.packet.seq.n == flow.pvm.isn.n and \
            not syn_forms_known(flow, node):
        core_diverge(core, flow, R_CONTROL, 0, node, NULL)
        return True
    if node.packet.flags & FIN and seq_le(flow.low, fin) and seq_lt(fin, flow.matched) and \
            not agreed_covers(flow, node):
        core_diverge(core, flow, R_CONTROL, agreed_offset_of(flow, fin), node, NULL)
        return True
    if node.packet.flags & FIN and agreed_at(flow, fin) and \
            not ranges_agreed(flow, fin, seq_add(fin, 1), True):
        core_diverge(core, flow, R_CONTROL, agreed_offset_of(flow, fin), node, NULL)
        return True
    return False


cdef bint agreed_at(const Flow *flow, Seq at) noexcept nogil:
    """Whether a position is agreed beyond the prefix."""
    return ranges_any(flow) and ranges_hold(&ranges_of(flow).agreed, at, seq_add(at, 1))


cdef const Node *held_with(const Side *side, uint32_t flag) noexcept nogil:
    """The last waiting segment of a side that has a flag, for the report; NULL: it was not kept."""
    cdef const Node *node = side.last
    while node != NULL and not node.packet.flags & flag:
        node = node.flow_prev
    return node


cdef void reset_against(Core *core, Flow *flow, Node *node) noexcept nogil:
    """T8: one guest has sent a reset, the other a SYN or FIN at the same position."""
    cdef Seq at
    if node.packet.flags & RST and not flow.svm.reset:
        if flow.svm.syn and not flow.pvm.syn:
            core_diverge(core, flow, R_CONTROL, 0, node, held_with(&flow.svm, SYN))
        at = agreed_position_of(flow, seq_add(flow.svm.end, -1), True)
        if flow.svm.fin and seq_eq(at, node.packet.seq) and not agreed_at(flow, at) and \
                not (flow.flags & F_ANCHORED and seq_lt(at, flow.matched)):
            core_diverge(core, flow, R_CONTROL, agreed_offset_of(flow, at), node, held_with(&flow.svm, FIN))
    elif flow.svm.reset and not flow.pvm.reset:
        if node.packet.flags & SYN and not flow.svm.syn:
            core_diverge(core, flow, R_CONTROL, 0, node, flow.svm.pure_first)
        at = seq_add(node.packet.seq, <int64_t>node.packet.length - 1)
        if node.packet.flags & FIN and flow.svm.pure_first != NULL and \
                seq_eq(at, agreed_start_of(flow.svm.pure_first)) and not agreed_covers(flow, node):
            core_diverge(core, flow, R_CONTROL, agreed_offset_of(flow, at), node, flow.svm.pure_first)


cdef bint svm_reset(Core *core, Flow *flow, Node *node) noexcept nogil:
    """The SVM has reset the flow. Until the PVM does so, the SVM's connection is no replica of the PVM's
    (M2).

    Returns whether the node has been held.
    """
    cdef bint first = not flow.svm.reset
    cdef Node *pvm = flow.pvm.first
    flow.svm.reset = True
    flow.svm_text = release_reset_text(core, node)
    if flow.pvm.reset or not first:
        return False
    node.flags |= N_PURE
    core_hold(core, flow, node)
    while pvm != NULL and not flow.flags & F_BLOCKED:
        reset_against(core, flow, pvm)
        pvm = pvm.flow_next
    return True


cdef bint compare_placed(Core *core, Flow *flow, Node *node, Node **shown, Node **only,
                         bint *grown) noexcept nogil:
    """Compare an SVM segment whose position is known. Returns whether the PVM's held segments may be
    released.

    `shown`: the node, if some of it is not agreed; `only`: the one PVM segment that is agreed now beyond the
    prefix; `grown`: whether anything is agreed now. The node itself may have been freed.
    """
    cdef Seq start = agreed_start_of(node)
    cdef Seq end = agreed_end_of(node)
    cdef bint more = agreed_advance(core, flow)
    grown[0] = more
    if seq_lt(flow.matched, end):
        shown[0] = node
        if ahead_compare(core, flow, node):
            grown[0] = True
            if ranges_agreed(flow, start, end, False):
                shown[0] = NULL
            if ahead_forget_agreed(core, flow, start, end, only) > 1 or flow.pvm.pure_first != NULL:
                more = True  # a waiting acknowledgement may offer more than its window (T6)
    if flow.flags & F_BEYOND and ahead_look_again(core, flow):
        more = True
        grown[0] = True
    if flow.below:
        agreed_match_below(core, flow, start, end)
        more = True
    return more


cdef void stream_secondary(Core *core, Flow *flow, Node *node) noexcept nogil:
    cdef Side *svm = &flow.svm
    cdef bint known = svm.acked
    cdef bint more = False
    cdef Seq ack = svm.ack
    cdef Seq edge = svm.edge
    cdef uint32_t raw = svm.raw
    cdef bint bound = node.packet.flags & (SYN | FIN) != 0
    cdef bint announces = node.packet.flags & (URG | SYN) != 0
    cdef bint kept = False
    cdef bint grown = False
    cdef Node *shown = NULL  # for the report; NULL if all of it is agreed
    cdef Node *only = NULL  # the one segment of the PVM that is agreed now beyond the prefix
    cdef Sacked sacked = SACK_NONE
    note(core, flow, node)
    node.flow = flow
    if flow.flags & F_RAISED:
        anchor_lower(flow, node)
    syn_forms_judge(core, flow, node)
    if node.packet.sack_blocks or flow.flags & F_BEYOND:
        sacked = sack_note(core, flow, node)
        more = sacked != SACK_NONE
    if not seq_eq(ack, svm.ack):
        flow.svm_again = 0
    if node.packet.flags & RST:
        kept = svm_reset(core, flow, node)
        more = True
    elif node.packet.length:
        if agreed_continue(core, flow, node):
            more = grown = True
        elif not node.flags & N_UNPLACED and (not flow.flags & F_ANCHORED or worth_keeping(flow, node)):
            kept = True
            core_hold(core, flow, node)
            if agreed_sort_in(core, flow, node) and flow.flags & F_ANCHORED and \
                    compare_placed(core, flow, node, &shown, &only, &grown):
                more = True
        if bound and not svm.reset and flow.pvm.reset and flow.pvm.pure_first != NULL:
            pure_resets_against(core, flow)
    urgent_alone(core, flow, shown)
    if more or announces or not known or raw != svm.raw or not seq_eq(ack, svm.ack) or \
            not seq_eq(edge, svm.edge):
        release_all(core, flow)
    elif only != NULL:
        release_new(core, flow, only)
    if grown:
        partial_watch(core, flow)
    elif not kept and node.packet.length and not node.packet.flags & RST:
        partial_again(core, flow, node)
    if not kept:
        if not node.packet.length:
            duplicate_tell(core, flow, node, known, ack, sacked == SACK_COMMON)
        core_discard(core, node)


cdef void pure_resets_against(Core *core, Flow *flow) noexcept nogil:
    cdef Node *node = flow.pvm.pure_first
    while node != NULL and not flow.flags & F_BLOCKED:
        if node.packet.flags & RST:
            reset_against(core, flow, node)
        node = node.flow_next


cdef bint worth_keeping(Flow *flow, Node *node) noexcept nogil:
    """Whether an SVM segment has bytes in the stream that are not agreed and that no kept segment has."""
    cdef Seq start = agreed_start_of(node)
    cdef Seq end = agreed_end_of(node)
    if abs(seq_diff(start, flow.matched)) > MAX_DISTANCE:
        return False
    if seq_lt(start, flow.low):
        if flow.pvm.syn:
            return False
    elif seq_le(end, flow.matched):
        return False
    return not ranges_any(flow) or not ranges_hold(&ranges_of(flow).agreed, start, end)


cdef void stream_adopt(Flow *flow) noexcept nogil:
    tries_copy(flow)
    flow.offset = 0
    flow.ts_offset = 0
    flow.svm_port = flow.key.local_port
    flow.flags = (flow.flags & ~<uint32_t>F_OTHER_PORT) | F_OWN_OFFSET


cdef int64_t reach_of(const Flow *flow) noexcept nogil:
    """How far the agreed range reaches back from its end after a commit: never before the PVM's SYN."""
    if not flow.pvm.syn:
        return MAX_DISTANCE
    return min(<int64_t>MAX_DISTANCE, max(flow.position + 1, <int64_t>0))  # the SYN has the stream offset -1


cdef bint reset_is_due(const Flow *flow) noexcept nogil:
    """C8: whether the PVM has not yet reached the position at which the SVM has reset the connection."""
    return flow.flags & F_ANCHORED and flow.svm.reset and flow.svm.pure_first != NULL and \
        not flow.svm.pure_first.flags & N_UNPLACED and \
        not (flow.pvm.fin or flow.pvm.reset or flow.flags & F_FORGET) and \
        seq_le(flow.matched, agreed_start_of(flow.svm.pure_first))


cdef void stream_commit(Core *core, Flow *flow, bint replaced) noexcept nogil:
    cdef Seq end = flow.pvm.end
    flow.flags &= ~<uint32_t>(F_BLOCKED | F_CONTRADICTED)
    if flow.flags & F_ANCHORED:
        if seq_lt(flow.matched, end):
            flow.flags &= ~<uint32_t>F_PROVISIONAL
            agreed_move(flow, end)
        if flow.pvm.fin and seq_eq(flow.matched, end):
            flow.flags |= F_FINISHED
        flow.below = 0
        ranges_commit(core, flow, replaced)
        flow.floor = flow.matched
        flow.low = flow.pieced = seq_add(flow.matched, -reach_of(flow))
    if replaced:
        flow.svm_text = flow.pvm_text
        # The SVM has the PVM's state now: its numbers, acknowledgements, windows and options.
        flow.svm = flow.pvm
        flow.svm.first = flow.svm.last = flow.svm.pure_first = flow.svm.pure_last = NULL
        flow.svm.low = flow.svm.high = NULL
        flow.svm.bytes = 0
        flow.svm_again = 0
        stream_adopt(flow)
        syn_forms_copy(flow)
        return
    syn_forms_copy(flow)
    urgent_copy(flow)
    if not reset_is_due(flow):
        flow.svm_text = flow.pvm_text
        flow.svm.reset = flow.pvm.reset
        flow.svm.refused = flow.pvm.refused
    if flow.pvm.acked and (not flow.svm.acked or seq_lt(flow.svm.ack, flow.pvm.ack) or (
            seq_eq(flow.svm.ack, flow.pvm.ack) and seq_lt(flow.svm.edge, flow.pvm.edge))):
        flow.svm.raw = flow.pvm.raw
        flow.svm.edge = flow.pvm.edge
        flow.svm.ack = flow.pvm.ack
        flow.svm.acked = True


cdef void stream_pair(Core *core, Flow *pvm, Flow *svm) noexcept nogil:
    cdef Node *node
    pvm.svm = svm.svm
    pvm.svm_forms = svm.svm_forms
    pvm.svm_tries = svm.svm_tries
    pvm.named_at = svm.named_at
    pvm.flags |= svm.flags & (F_BLOCKED | F_FORMS | F_TRIES | F_SVM_TRY)
    pvm.waiting += svm.waiting
    node = pvm.svm.first
    while node != NULL:
        node.flow = pvm
        node = node.flow_next
    node = pvm.svm.pure_first
    while node != NULL:
        node.flow = pvm
        node = node.flow_next
    learn_offset(pvm)
    if svm.flags & F_BEYOND and not pvm.flags & F_BEYOND:  # what the SVM has SACKed
        pvm.beyond = svm.beyond
        pvm.flags |= F_BEYOND
        svm.flags &= ~<uint32_t>F_BEYOND


cdef bint stream_closed(const Flow *flow) noexcept nogil:
    if flow.pvm.reset and flow.svm.reset:
        return True
    return flow.pvm.fin and flow.svm.fin and seq_eq(flow.matched, flow.pvm.end)
