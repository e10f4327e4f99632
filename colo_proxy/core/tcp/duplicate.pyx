"""The SVM's duplicate acknowledgements (docs/comparison.md, T7a).

The PVM has acknowledged what only the SVM has lost, so its acknowledgements do not show the loss to clients.
A pure acknowledgement of the SVM that shows it is rewritten into one that looks like the PVM's, with no more
than both guests have received: the SVM's acknowledgement number if it is the lower one, and what both have
SACKed.

What only the PVM has lost, its own duplicates show, but their SACK blocks were cut to what the SVM had
received then. When the SVM has received more, its acknowledgement is rewritten likewise, with the blocks of
the PVM that are now common.

`svm_again` counts the duplicates that the SVM has sent of its acknowledgement, `told_again` those of
`told_ack` that were released. For one loss, clients receive as many as the guest that has sent more.
"""

from libc.stdint cimport int32_t, uint32_t
from libc.string cimport memcpy, memset

from colo_proxy.core.core cimport Core, core_emit
from colo_proxy.core.flow.flow cimport F_BEYOND, F_BLOCKED, F_STAMPED, F_TOLD, Flow
from colo_proxy.core.flow.pool cimport N_DUPLICATE, N_UNPLACED, N_WHOLE, Node, pool_take
from colo_proxy.core.packet.parse cimport ACK, FIN, RST, SYN, URG, VNET, put16, put32
from colo_proxy.core.packet.seq cimport Seq, seq_add, seq_diff, seq_eq, seq_lt, seq_min
from colo_proxy.core.tcp.agreed cimport MAX_DISTANCE
from colo_proxy.core.tcp.craft cimport craft_seal
from colo_proxy.core.tcp.ranges cimport ranges_meet, ranges_of
from colo_proxy.core.tcp.release cimport release_shift_of
from colo_proxy.core.tcp.sack cimport SACK_ROOM, sack_common, sack_completed


cdef bint speaks_for_both(const Flow *flow, const Node *node) noexcept nogil:
    """Whether clients have received this acknowledgement of the SVM, and the PVM has acknowledged as much."""
    return flow.flags & (F_TOLD | F_BLOCKED) == F_TOLD and flow.pvm.acked and \
        seq_eq(node.packet.ack, flow.svm.ack) and seq_eq(flow.told_ack, flow.svm.ack) and \
        not seq_lt(flow.pvm.ack, flow.svm.ack)


cdef bint completes(const Flow *flow, bint known, Seq before, bint common) noexcept nogil:
    """Whether the SVM now has received something that the PVM has SACKed to clients, but that was cut."""
    if flow.flags & (F_TOLD | F_BLOCKED | F_BEYOND) != F_TOLD | F_BEYOND or not known or not flow.pvm.acked:
        return False
    if not seq_eq(flow.told_ack, flow.pvm.ack) or seq_lt(before, flow.pvm.ack) or \
            not 0 < seq_diff(flow.svm.ack, flow.pvm.ack) <= MAX_DISTANCE:
        return False
    return common or (seq_lt(before, flow.svm.ack) and
                      ranges_meet(&ranges_of(flow).pvm_sacked, before, flow.svm.ack))


cdef bint tells_of_loss(const Flow *flow, const Node *node, bint common) noexcept nogil:
    """Whether an acknowledgement of the SVM shows what the PVM's do not."""
    if not speaks_for_both(flow, node):
        return False
    return common or (seq_lt(flow.svm.ack, flow.pvm.ack) and node.flags & N_DUPLICATE and
                      flow.svm_again > flow.told_again)


cdef void duplicate_tell(
    Core *core, Flow *flow, const Node *node, bint known, Seq before, bint common
) noexcept nogil:
    if node.packet.length or node.packet.flags & (SYN | FIN | RST | URG | ACK) != ACK or \
            node.flags & (N_UNPLACED | N_WHOLE) or node.packet.signature or core.settings.observe:
        return
    if node.flags & N_DUPLICATE:
        flow.svm_again += 1
    if node.packet.timestamps and not flow.flags & F_STAMPED:
        return  # the PVM's timestamp clock is unknown
    if tells_of_loss(flow, node, common and seq_eq(before, flow.svm.ack)):
        send(core, flow, node, False)
    elif completes(flow, known, before, common):
        send(core, flow, node, True)


cdef uint32_t window_of(Flow *flow) noexcept nogil:
    """The window that clients know, or a smaller one by T5, so that they learn nothing new about it."""
    cdef uint32_t scale = release_shift_of(flow)
    cdef Seq edge = seq_min(flow.told_edge, flow.svm.edge)
    cdef int32_t room = max(seq_diff(edge, flow.told_ack), 0)
    cdef uint32_t window
    if flow.pvm.wscale == 255:
        room = min(room, <int32_t>flow.svm.raw)
    window = min(<uint32_t>room >> scale, <uint32_t>0xffff)
    flow.told_edge = seq_add(flow.told_ack, window << scale)
    return window


cdef void send(Core *core, Flow *flow, const Node *node, bint completed) noexcept nogil:
    """The acknowledgement, with the headers of the SVM's segment and the PVM's numbers; `completed`: also
    with its blocks."""
    cdef uint32_t room = SACK_ROOM - (12 if node.packet.timestamps else 0)
    cdef uint32_t at = node.packet.l4 + 20
    cdef Node *made = pool_take(core.pool, at + 40)
    if made == NULL:
        return
    memcpy(made.data, node.data, at)
    memset(made.data, 0, VNET)
    made.packet = node.packet
    if node.packet.timestamps:
        put32(made.data + at, 0x0101080a)
        put32(made.data + at + 4, flow.told_stamp)
        put32(made.data + at + 8, flow.told_echo)
        made.packet.timestamps = at + 4
        at += 12
    if completed:
        at += sack_completed(flow, made.data + at, room)
    else:
        at += sack_common(flow, node, made.data + at, room)
    made.packet.partial = False
    made.packet.flags = ACK
    made.packet.size = made.packet.end = made.packet.payload = made.size = at
    made.time = core.now
    at = node.packet.l4
    put16(made.data + at, flow.key.local_port)
    put32(made.data + at + 4, flow.pvm.end.n)
    put32(made.data + at + 8, flow.told_ack.n)
    made.data[at + 12] = <unsigned char>((made.size - at) << 2)
    made.data[at + 13] = ACK
    put16(made.data + at + 14, window_of(flow))
    put16(made.data + at + 18, 0)
    craft_seal(&made.packet, made.data)
    flow.told_again += 1
    core_emit(core, made)
