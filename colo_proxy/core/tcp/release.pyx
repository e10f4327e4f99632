"""Releasing what the PVM sent on a TCP connection: rules T1 and T4 to T9 of docs/comparison.md.

Bytes are released when they are agreed. What a released segment acknowledges and offers is *clamped* to what
the SVM has acknowledged and offered too. `told_ack` and `told_edge` are the acknowledgement and the window's
right edge that clients have received, so that clamping never makes a duplicate acknowledgement that the PVM
did not send. If clamping cuts off something that clients will need, the rest is *owed*: it is sent when the
SVM has caught up (T6).
"""

from libc.stdint cimport int32_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcpy

from colo_proxy.core.core cimport Core, core_drop, core_emit, core_hold, core_learn_lag, core_unhold
from colo_proxy.core.flow.flow cimport F_AGAIN, F_BLOCKED, F_DISORDERED, F_RESET_LEFT, F_STAMPED, F_TOLD, Flow
from colo_proxy.core.flow.pool cimport (
    N_AGAIN,
    N_DUPLICATE,
    N_OWED,
    N_PURE,
    N_RX,
    N_SENT,
    N_UNPLACED,
    N_WHOLE,
    Node,
    pool_give,
    pool_take,
)
from colo_proxy.core.packet.checksum cimport checksum_set16, checksum_set32
from colo_proxy.core.packet.key cimport key_text_hash
from colo_proxy.core.packet.parse cimport ACK, RST, SYN, URG, get32
from colo_proxy.core.packet.seq cimport Seq, seq_add, seq_diff, seq_eq, seq_le, seq_lt, seq_min
from colo_proxy.core.tcp.agreed cimport agreed_covers, agreed_start_of
from colo_proxy.core.tcp.craft cimport craft_acknowledgement
from colo_proxy.core.tcp.ranges cimport ranges_any, ranges_last_end
from colo_proxy.core.tcp.sack cimport sack_cut, sack_exceeds
from colo_proxy.core.tcp.syn_forms cimport syn_forms_agreed
from colo_proxy.core.tcp.urgent cimport urgent_announced
from colo_proxy.core.vocabulary cimport D_CLOSED, M_COMPARE


cdef uint8_t release_shift_of(const Flow *flow) noexcept nogil:
    return 0 if flow.pvm.wscale == 255 else flow.pvm.wscale


cdef uint8_t scale_of(const Flow *flow, const Node *node) noexcept nogil:
    """The shift of a segment's window; a SYN's is never scaled (RFC 7323, 2.2)."""
    return 0 if node.packet.flags & SYN else release_shift_of(flow)


cdef Clamp release_clamp_of(const Flow *flow, const Node *node) noexcept nogil:
    """What a segment may acknowledge and offer: T4 and T5."""
    cdef Clamp clamp
    cdef uint8_t scale = scale_of(flow, node)
    cdef Seq offered = seq_add(node.packet.ack, <uint32_t>node.packet.window << scale)
    cdef int32_t room
    clamp.ack = seq_min(node.packet.ack, flow.svm.ack)
    clamp.window = node.packet.window
    clamp.order = node.order
    if node.packet.flags & RST:
        pass  # a reset offers nothing
    elif flow.pvm.wscale == 255:
        # In mid-stream the scale is unknown: the smaller of the unscaled windows offers no more than either
        # guest did.
        clamp.window = min(node.packet.window, flow.svm.raw)
    elif seq_lt(flow.svm.edge, offered) or not seq_eq(clamp.ack, node.packet.ack):
        room = seq_diff(seq_min(offered, flow.svm.edge), clamp.ack)
        clamp.window = <uint16_t>min(max(room, 0) >> scale, 0xffff)
    clamp.edge = seq_add(clamp.ack, <uint32_t>clamp.window << scale)
    clamp.sack = node.packet.sack_blocks and sack_exceeds(flow, &node.packet, node.data)
    clamp.change = clamp.sack or not seq_eq(clamp.ack, node.packet.ack) or clamp.window != node.packet.window
    return clamp


cdef void release_tell(Flow *flow, const Clamp *clamp) noexcept nogil:
    """Note it as clients do: the window is that of the latest segment, and may shrink (RFC 9293, 3.10.7.4).
    """
    cdef bint known = flow.flags & F_TOLD != 0
    if not known or flow.told_order <= clamp.order or seq_lt(flow.told_ack, clamp.ack):
        flow.told_edge = clamp.edge
        flow.told_order = clamp.order
    if not known or seq_lt(flow.told_ack, clamp.ack):
        flow.told_ack = clamp.ack
        flow.told_again = 0
    flow.flags |= F_TOLD


cdef bint release_out_of_date(const Flow *flow, const Node *node) noexcept nogil:
    return flow.flags & F_TOLD and node.order < flow.told_order and seq_le(node.packet.ack, flow.told_ack)


cdef void release_note_told(Flow *flow, const Node *node) noexcept nogil:
    cdef Clamp clamp
    if node.packet.flags & ACK:
        clamp.ack = node.packet.ack
        clamp.window = node.packet.window
        clamp.order = node.order
        clamp.edge = seq_add(node.packet.ack, <uint32_t>node.packet.window << scale_of(flow, node))
        release_tell(flow, &clamp)


cdef void release_apply(const Flow *flow, Node *node, const Clamp *clamp) noexcept nogil:
    if not seq_eq(clamp.ack, node.packet.ack):
        checksum_set32(&node.packet, node.data, node.packet.l4 + 8, clamp.ack.n)
        node.packet.ack = clamp.ack
    if clamp.window != node.packet.window:
        checksum_set16(&node.packet, node.data, node.packet.l4 + 14, clamp.window)
        node.packet.window = clamp.window
    if clamp.sack:
        sack_cut(flow, &node.packet, node.data)


cdef void release_stamp(Flow *flow, Node *node) noexcept nogil:
    """A client drops what is older than what it has received in order (RFC 7323, 5.3), and a guest takes the
    TSecr of an acknowledgement for that of its first transmission if it is older than the second (T16)."""
    cdef uint32_t value, newest
    cdef bint fixed = node.flags & N_WHOLE or node.packet.signature
    if not node.packet.timestamps or node.flags & N_SENT:
        return
    value = newest = get32(node.data + node.packet.timestamps)
    if flow.flags & F_AGAIN and not fixed and <int32_t>(flow.again_stamp - value) > 0:
        newest = flow.again_stamp
    if not flow.flags & F_STAMPED or <int32_t>(newest - flow.told_stamp) >= 0:
        flow.told_stamp = newest
        flow.told_echo = get32(node.data + node.packet.timestamps + 4)
        flow.flags |= F_STAMPED
    if not fixed and value != flow.told_stamp:
        checksum_set32(&node.packet, node.data, node.packet.timestamps, flow.told_stamp)


cdef bint unchangeable(const Flow *flow, const Node *node) noexcept nogil:
    """Clients may not receive everything in the node, and it cannot be changed (T9): it is released whole or
    not at all.
    """
    if not node.flags & N_WHOLE and not node.packet.signature:
        return False
    if node.packet.flags & ACK:
        return release_clamp_of(flow, node).change
    return node.packet.flags & SYN and flow.svm.raw < node.packet.window


cdef bint data_may_leave(Core *core, Flow *flow, const Node *node) noexcept nogil:
    if not agreed_covers(flow, node):
        return False
    if node.flags & N_SENT:
        return True
    if node.packet.flags & ACK and not flow.svm.acked:
        return False  # T4: the SVM has acknowledged nothing yet
    if node.packet.flags & (SYN | ACK) == SYN and not syn_forms_agreed(flow, node):
        return False
    if node.packet.flags & URG and not urgent_announced(flow, node):
        return False
    return not unchangeable(flow, node)


cdef bint cramped(const Flow *flow) noexcept nogil:
    """Whether clients know of less room than a segment takes, and wait for more (RFC 9293, 3.8.6)."""
    return seq_diff(flow.told_edge, flow.told_ack) < max(1, <int32_t>(flow.pvm.syn_options >> 16))


cdef inline bint told(const Flow *flow, Seq ack) noexcept nogil:
    """Whether clients have received an acknowledgement."""
    return flow.flags & F_TOLD and not seq_lt(flow.told_ack, ack)


cdef bint tells_more(const Flow *flow, const Clamp *clamp) noexcept nogil:
    """Whether the part of an acknowledgement that may be released now is worth a segment."""
    if not told(flow, clamp.ack):
        return True
    return cramped(flow) and flow.told_order <= clamp.order and seq_lt(flow.told_edge, clamp.edge)


cdef bint release_still_owed(const Flow *flow, const Node *owed) noexcept nogil:
    if not told(flow, owed.packet.ack):
        return True
    return cramped(flow) and not release_out_of_date(flow, owed)


cdef void let_go(Core *core, Flow *flow, Node *node) noexcept nogil:
    """Remove a node from the lists, clamp it and emit it; what clamping cuts off and clients wait for is
    owed.
    """
    cdef Clamp clamp
    cdef Node *rest = NULL
    cdef bint owes
    core_unhold(core, node)
    if node.packet.flags & RST:
        flow.flags |= F_RESET_LEFT
    if not node.flags & (N_RX | N_OWED):
        core_learn_lag(core, core.now - node.time)
    if node.packet.flags & SYN and not node.packet.flags & ACK and flow.svm.raw < node.packet.window and \
            not node.flags & (N_SENT | N_WHOLE) and not node.packet.signature:
        checksum_set16(&node.packet, node.data, node.packet.l4 + 14, flow.svm.raw)
    if node.packet.flags & ACK and not node.flags & N_SENT:
        clamp = release_clamp_of(flow, node)
        release_tell(flow, &clamp)
        if node.flags & N_DUPLICATE and seq_eq(clamp.ack, flow.told_ack):
            flow.told_again += 1
        owes = not node.flags & N_PURE and seq_lt(flow.told_ack, node.packet.ack)
        if clamp.window != node.packet.window and not node.packet.flags & SYN:
            owes = owes or (cramped(flow) and flow.told_order <= node.order)
        if owes:
            rest = craft_acknowledgement(core, node, node.packet.ack, release_shift_of(flow))
            if rest != NULL:
                rest.flow = flow
        if clamp.change:
            release_apply(flow, node, &clamp)
    release_stamp(flow, node)
    core_emit(core, node)
    if rest != NULL:
        if flow.owed != NULL:
            drop_owed(core, flow.owed)
        rest.flags |= N_OWED
        core_hold(core, flow, rest)
    elif flow.owed != NULL and not release_still_owed(flow, flow.owed):
        drop_owed(core, flow.owed)


cdef void drop_owed(Core *core, Node *node) noexcept nogil:
    """Drop an acknowledgement that was made here and is no longer owed: it never was a frame of the PVM."""
    core_unhold(core, node)
    pool_give(core.pool, node)


cdef void tell_part(Core *core, Flow *flow, const Node *node, const Clamp *clamp) noexcept nogil:
    """Send a clamped copy of a pure acknowledgement; the node stays for the rest (T6)."""
    cdef Node *copy = pool_take(core.pool, node.size)
    if copy == NULL:
        return
    memcpy(copy.data, node.data, node.size)
    copy.packet = node.packet
    copy.size = node.size
    copy.time = core.now
    release_apply(flow, copy, clamp)
    release_tell(flow, clamp)
    release_stamp(flow, copy)
    core_emit(core, copy)


cdef bint may_refuse(const Flow *flow, const Node *node) noexcept nogil:
    """Whether a reset may be the answer to a SYN: before anything is agreed, or when the connection is over.
    """
    if node.flags & N_AGAIN or (not flow.pvm.syn and seq_eq(flow.low, flow.matched)):
        return True
    return flow.pvm.fin and flow.svm.fin and seq_eq(flow.matched, flow.pvm.end)


cdef uint64_t release_reset_text(const Core *core, const Node *node) noexcept nogil:
    return key_text_hash(
        node.data + node.packet.payload, node.packet.end - node.packet.payload, core.table.seed
    )


cdef bint release_stray_reset(const Core *core, const Flow *flow, const Node *node) noexcept nogil:
    if core.mode != M_COMPARE or core.svm_stopped:
        return False  # the SVM's acknowledgement is unknown
    if node.packet.flags & (RST | ACK) != RST or node.packet.payload != node.packet.end:
        return False
    if not flow.pvm.fin or not flow.svm.fin or not seq_eq(flow.matched, flow.pvm.end):
        return False
    # Its sequence number is the acknowledgement of the segment it answers, which may be an old one.
    return seq_le(agreed_start_of(node), flow.matched) and \
        flow.pvm.acked and flow.svm.acked and seq_eq(flow.pvm.ack, flow.svm.ack)


cdef inline bint left_reset(const Flow *flow) noexcept nogil:
    """Whether both have reset the connection, and clients know it."""
    return flow.flags & (F_RESET_LEFT | F_BLOCKED) == F_RESET_LEFT


cdef void drop_left_behind(Core *core, Flow *flow) noexcept nogil:
    """After the reset: drop the acknowledgements that wait (T8)."""
    cdef Node *node = flow.pvm.pure_first
    cdef Node *behind
    while node != NULL:
        behind = node.flow_next
        if not node.packet.flags & RST:
            core_unhold(core, node)
            core_drop(core, node, D_CLOSED)
        node = behind
    if flow.owed != NULL:
        core.counts.dropped[<int>D_CLOSED] += 1
        drop_owed(core, flow.owed)


cdef bint reset_agreed(const Core *core, const Flow *flow, const Node *node) noexcept nogil:
    """T8."""
    if not flow.svm.reset:
        return False
    if node.packet.payload != node.packet.end and release_reset_text(core, node) != flow.svm_text:
        return False
    if not node.packet.flags & ACK:
        return True
    # A refused SYN is not part of the stream: its number may be anything.
    if may_refuse(flow, node) and not seq_eq(flow.svm.refused, node.packet.ack):
        return False
    return flow.svm.acked and not unchangeable(flow, node)


cdef bint release_pure(Core *core, Flow *flow, Node *node) noexcept nogil:
    """T6, T7 and T8, for segments without bytes."""
    cdef Clamp clamp
    cdef bint news
    if node.packet.flags & RST:
        if reset_agreed(core, flow, node):
            let_go(core, flow, node)
            return True
        return False
    if node.flags & N_SENT:
        let_go(core, flow, node)
        return True
    if not flow.svm.acked or node.flags & N_UNPLACED or unchangeable(flow, node):
        return False
    if node.packet.flags & URG and not urgent_announced(flow, node):
        return False
    if not seq_le(node.packet.ack, flow.svm.ack):  # the SVM acknowledges less: a part may be released
        if not told(flow, flow.svm.ack) or cramped(flow):
            clamp = release_clamp_of(flow, node)
            if tells_more(flow, &clamp):
                tell_part(core, flow, node, &clamp)
        return False
    clamp = release_clamp_of(flow, node)
    news = not told(flow, clamp.ack)
    news = news or (seq_lt(flow.told_edge, clamp.edge) and not release_out_of_date(flow, node))
    if clamp.change and not news and not node.flags & N_DUPLICATE:
        return False  # a window update that would look like a duplicate acknowledgement
    let_go(core, flow, node)
    return True


cdef bint release_one(Core *core, Flow *flow, Node *node) noexcept nogil:
    if flow.flags & F_BLOCKED:
        return False
    if node.flags & N_PURE:
        return release_pure(core, flow, node)
    if data_may_leave(core, flow, node):
        let_go(core, flow, node)
        return True
    return False


cdef void release_new(Core *core, Flow *flow, Node *node) noexcept nogil:
    release_one(core, flow, node)
    if left_reset(flow):
        drop_left_behind(core, flow)


cdef bint reaches(const Flow *flow, const Node *node) noexcept nogil:
    """Whether something agreed beyond the prefix ends after the node's beginning."""
    return node != NULL and ranges_any(flow) and seq_lt(node.packet.seq, ranges_last_end(flow))


cdef void release_all(Core *core, Flow *flow) noexcept nogil:
    cdef Node *data = flow.pvm.first
    cdef Node *pure = flow.pvm.pure_first
    cdef Node *node
    while data != NULL or pure != NULL:
        if flow.flags & F_BLOCKED:
            return
        if pure == NULL or (data != NULL and data.order < pure.order):
            node = data
            data = data.flow_next
            # In an ordered list, what follows a segment that is not agreed is not agreed either, except in
            # ranges.
            if not release_one(core, flow, node) and not flow.flags & F_DISORDERED and \
                    not reaches(flow, data):
                data = NULL
        else:
            node = pure
            pure = pure.flow_next
            release_one(core, flow, node)
    if flow.pvm.first == NULL:
        flow.flags &= ~<uint32_t>F_DISORDERED
    settle_debt(core, flow)
    if left_reset(flow):
        drop_left_behind(core, flow)


cdef void settle_debt(Core *core, Flow *flow) noexcept nogil:
    """Send what is owed of a released segment, unless a later one carried it (T6)."""
    cdef Clamp clamp
    cdef Node *owed = flow.owed
    if owed == NULL or flow.flags & F_BLOCKED:
        return
    if not release_still_owed(flow, owed):
        drop_owed(core, owed)
        return
    clamp = release_clamp_of(flow, owed)
    if tells_more(flow, &clamp):
        tell_part(core, flow, owed, &clamp)
        if not clamp.change or not release_still_owed(flow, owed):
            drop_owed(core, owed)
