"""A SYN/ACK that is repeated with another ISN (T10): SYN cookies, where nothing is kept of the former one
(RFC 4987, 3.6).

The SYN has one place in the stream, whatever its number. So a side's ISN, and what is counted from it, moves
to that of its latest SYN/ACK, and to the one that the connection turns out to go on with: the client's first
acknowledgement shows it, or the guest's first segment behind its SYN. Until then no byte has a place, so none
is agreed.
"""

from libc.stdint cimport uint8_t, uint32_t

from colo_proxy.core.flow.flow cimport (
    F_ANCHORED,
    F_OWN_OFFSET,
    F_PVM_TRY,
    F_SVM_TRY,
    F_TRIES,
    TRIES,
    Flow,
    Side,
    Tries,
    Try,
)
from colo_proxy.core.flow.pool cimport N_SVM, Node
from colo_proxy.core.packet.checksum cimport checksum_set32
from colo_proxy.core.packet.parse cimport ACK, FIN, RST, SYN, URG, Packet, get32
from colo_proxy.core.packet.seq cimport Seq, seq_add, seq_eq
from colo_proxy.core.tcp.syn_forms cimport syn_forms_options


cdef bint unsaid(const Side *side) noexcept nogil:
    """Whether a side has sent nothing that lies behind its SYN."""
    return side.syn and seq_eq(side.end, seq_add(side.isn, 1))


cdef bint tries_another(const Side *side, const Node *node) noexcept nogil:
    return node.packet.flags & (SYN | ACK | RST | FIN | URG) == SYN | ACK and node.packet.length == 1 and \
        side.answered and unsaid(side) and not side.reset and seq_eq(side.irs, node.packet.ack) and \
        not seq_eq(side.isn, node.packet.seq) and syn_forms_options(node) == side.syn_options


cdef uint32_t place_of(const Tries *tries, Seq isn) noexcept nogil:
    """Which of the tries has an ISN; their count: none."""
    cdef uint32_t index = 0
    while index < tries.count and not seq_eq(tries.each[index].isn, isn):
        index += 1
    return index


cdef void add(Tries *tries, Seq isn, uint32_t tsval, Seq keep) noexcept nogil:
    """The oldest makes room, but not the one with the ISN `keep`."""
    cdef uint32_t index = 0
    if tries.count == TRIES:
        if seq_eq(tries.each[0].isn, keep):
            index = 1
        tries.count -= 1
        while index < tries.count:
            tries.each[index] = tries.each[index + 1]
            index += 1
    tries.each[tries.count].isn = isn
    tries.each[tries.count].tsval = tsval
    tries.count += 1


cdef void tries_note(Flow *flow, Node *node) noexcept nogil:
    cdef bint svm = (node.flags & N_SVM) != 0
    cdef Side *side = &flow.svm if svm else &flow.pvm
    cdef Tries *tries = &flow.svm_tries if svm else &flow.pvm_tries
    # Clients take one ISN of the PVM's. The SVM takes what clients send as an answer to its latest, if it
    # keeps anything of its SYN/ACKs, and as one to any other, if it does not.
    cdef bint moves = svm or not flow.flags & F_PVM_TRY
    cdef uint32_t tsval = get32(node.data + node.packet.timestamps) if node.packet.timestamps else 0
    cdef uint32_t index
    if tries.count == 0:
        add(tries, side.isn, side.tsval, side.isn)
    index = place_of(tries, node.packet.seq)
    if index < tries.count:
        tsval = tries.each[index].tsval
    else:
        add(tries, node.packet.seq, tsval, node.packet.seq if moves else side.isn)
    flow.flags |= F_TRIES
    if moves:
        move(flow, svm, node.packet.seq, tsval)
    node.packet.seq = side.isn
    if svm:
        flow.flags &= ~<uint32_t>F_SVM_TRY


cdef void move_syns(const Side *side, Seq isn) noexcept nogil:
    """The SYNs that wait keep their place; their frames stay as they are."""
    cdef Node *node = side.first
    while node != NULL:
        if node.packet.flags & SYN and seq_eq(node.packet.seq, side.isn):
            node.packet.seq = isn
        node = node.flow_next


cdef void move(Flow *flow, bint svm, Seq isn, uint32_t tsval) noexcept nogil:
    cdef Side *side = &flow.svm if svm else &flow.pvm
    cdef uint32_t by = isn.n - side.isn.n
    cdef uint32_t later = tsval - side.tsval
    move_syns(side, isn)
    side.isn = isn
    side.tsval = tsval
    side.end.n += by
    if flow.flags & F_OWN_OFFSET:
        flow.offset += by if svm else -by
        flow.ts_offset += later if svm else -later
    if not svm and flow.flags & F_ANCHORED:
        flow.low.n += by
        flow.matched.n += by
        flow.pieced.n += by
        flow.floor.n += by


cdef bint go_on(Flow *flow, bint svm, Seq isn) noexcept nogil:
    """The side goes on with this ISN, if it is one of its own."""
    cdef const Tries *tries = &flow.svm_tries if svm else &flow.pvm_tries
    cdef uint32_t index = place_of(tries, isn)
    cdef Try found
    if index == tries.count:
        return False
    found = tries.each[index]
    move(flow, svm, isn, found.tsval)
    flow.flags |= F_SVM_TRY if svm else F_PVM_TRY
    return True


cdef void follow_pvm(Flow *flow) noexcept nogil:
    """After a commit the SVM may have the PVM's ISNs, too."""
    if unsaid(&flow.svm) and not flow.flags & F_SVM_TRY:
        go_on(flow, True, flow.pvm.isn)


cdef bint tries_place(Flow *flow, const Node *node) noexcept nogil:
    cdef bint svm = (node.flags & N_SVM) != 0
    if not unsaid(&flow.svm if svm else &flow.pvm) or \
            not (flow.svm_tries.count if svm else flow.pvm_tries.count):
        return True
    if go_on(flow, svm, seq_add(node.packet.seq, -1)):
        if not svm:
            follow_pvm(flow)
        return True
    return flow.flags & (F_SVM_TRY if svm else F_PVM_TRY) != 0


cdef void tries_answered(Flow *flow, Seq ack) noexcept nogil:
    cdef Seq isn = seq_add(ack, -1)
    if not unsaid(&flow.pvm) or (not seq_eq(isn, flow.pvm.isn) and not go_on(flow, False, isn)):
        return
    flow.flags |= F_PVM_TRY
    follow_pvm(flow)
    if unsaid(&flow.svm):
        flow.flags |= F_SVM_TRY


cdef bint tries_begin(const Flow *flow, Seq number) noexcept nogil:
    cdef Seq isn = seq_add(number, -1)
    return seq_eq(isn, flow.svm.isn) or place_of(&flow.svm_tries, isn) < flow.svm_tries.count


cdef void tries_align(const Flow *flow, Packet *p, uint8_t *base) noexcept nogil:
    if p.flags & (SYN | ACK) == SYN | ACK and flow.svm_tries.count and flow.pvm.syn and flow.svm.syn:
        checksum_set32(p, base, p.l4 + 4, flow.svm.isn.n)
        p.seq = flow.svm.isn


cdef void tries_copy(Flow *flow) noexcept nogil:
    flow.svm_tries = flow.pvm_tries
    flow.svm.isn = flow.pvm.isn
    flow.svm.tsval = flow.pvm.tsval
    flow.svm.end = flow.pvm.end
    flow.flags &= ~<uint32_t>F_SVM_TRY
    if flow.flags & F_PVM_TRY:
        flow.flags |= F_SVM_TRY


cdef void tries_forget(Flow *flow) noexcept nogil:
    flow.pvm_tries.count = flow.svm_tries.count = 0
    flow.flags &= ~<uint32_t>F_TRIES
