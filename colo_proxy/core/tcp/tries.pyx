"""A SYN/ACK that is repeated with another ISN (T10): SYN cookies, where the guest keeps nothing of the former
one (RFC 4987, 3.6).

The SYN has one position in the stream, whatever its number is. So a side's ISN, and everything counted from
it, moves to that of its latest SYN/ACK, and then to the ISN with which the connection continues. The client's
first acknowledgement shows this ISN, or the guest's first segment behind its SYN. Until then no byte has a
position, so none is agreed.

A SYN/ACK of the SVM may cross the client's acknowledgement of an earlier one. So its ISN does not move within
PATIENCE of an acknowledgement that was forwarded: a guest that has accepted the acknowledgement sends no
further SYN/ACK, and a guest that has not repeats its SYN/ACK later (RFC 6298, 2.1: after a second).
"""

from libc.stdint cimport int64_t, uint8_t, uint32_t

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
from colo_proxy.core.packet.seq cimport Seq, seq_add, seq_diff, seq_eq
from colo_proxy.core.tcp.syn_forms cimport syn_forms_options

cdef int64_t PATIENCE = 100_000_000  # ns

cdef enum:
    NEAR = 1 << 20  # bytes; no guest sends more before it is acknowledged for the first time


cdef bint unsaid(const Side *side) noexcept nogil:
    """Whether a side has sent nothing behind its SYN."""
    return side.syn and seq_eq(side.end, seq_add(side.isn, 1))


cdef bint tries_another(const Side *side, const Node *node) noexcept nogil:
    return node.packet.flags & (SYN | ACK | RST | FIN | URG) == SYN | ACK and node.packet.length == 1 and \
        side.answered and unsaid(side) and not side.reset and seq_eq(side.irs, node.packet.ack) and \
        not seq_eq(side.isn, node.packet.seq) and syn_forms_options(node) == side.syn_options


cdef uint32_t place_of(const Tries *tries, Seq isn) noexcept nogil:
    """The index of the try with this ISN; their count: none of them."""
    cdef uint32_t index = 0
    while index < tries.count and not seq_eq(tries.each[index].isn, isn):
        index += 1
    return index


cdef void add(Tries *tries, Seq isn, uint32_t tsval, Seq keep) noexcept nogil:
    """Add a try. The oldest makes room, except the one with the ISN `keep`."""
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
    tries.each[tries.count].named = False
    tries.count += 1


cdef bint may_move(const Flow *flow, bint svm, int64_t time) noexcept nogil:
    """Whether a SYN/ACK that arrived at this time changes its side's ISN. Clients accept one ISN of the PVM.

    If the SVM keeps state for its SYN/ACKs, it takes a client's segment as an answer to the latest; if it
    keeps none, as an answer to any of them.
    """
    if not svm:
        return not flow.flags & F_PVM_TRY
    if flow.svm_tries.count and flow.svm_tries.shown:
        return False
    return not flow.flags & F_SVM_TRY or time - flow.named_at >= PATIENCE


cdef void tries_note(Flow *flow, Node *node) noexcept nogil:
    cdef bint svm = (node.flags & N_SVM) != 0
    cdef Side *side = &flow.svm if svm else &flow.pvm
    cdef Tries *tries = &flow.svm_tries if svm else &flow.pvm_tries
    cdef bint moves = may_move(flow, svm, node.time)
    cdef uint32_t tsval = get32(node.data + node.packet.timestamps) if node.packet.timestamps else 0
    cdef uint32_t index
    if tries.count == 0:
        add(tries, side.isn, side.tsval, side.isn)
        tries.each[0].named = svm and flow.flags & F_SVM_TRY
        tries.shown = False
    index = place_of(tries, node.packet.seq)
    if index < tries.count:
        tsval = tries.each[index].tsval
    else:
        add(tries, node.packet.seq, tsval, node.packet.seq if moves else side.isn)
    flow.flags |= F_TRIES
    if moves:
        move(flow, svm, node.packet.seq, tsval)
        if svm:
            flow.flags &= ~<uint32_t>F_SVM_TRY
    node.packet.seq = side.isn


cdef void move_syns(const Side *side, Seq isn) noexcept nogil:
    """Waiting SYNs keep their position; their frames stay unchanged."""
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
    """The side continues with this ISN, if it is one of its own."""
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
    """After a commit the SVM may have the PVM's ISNs too."""
    if unsaid(&flow.svm) and not flow.flags & F_SVM_TRY:
        go_on(flow, True, flow.pvm.isn)


cdef bint tries_place(Flow *flow, const Node *node) noexcept nogil:
    cdef bint svm = (node.flags & N_SVM) != 0
    cdef Seq isn = seq_add(node.packet.seq, -1)
    if not unsaid(&flow.svm if svm else &flow.pvm) or \
            not (flow.svm_tries.count if svm else flow.pvm_tries.count):
        return True
    if svm:
        return place_of_svm(flow, isn)
    if not flow.flags & F_PVM_TRY and go_on(flow, False, isn):
        follow_pvm(flow)
    return flow.flags & F_PVM_TRY != 0


cdef bint place_of_svm(Flow *flow, Seq isn) noexcept nogil:
    """A segment of the SVM follows this number: the first behind its SYN, or the ISN is known already."""
    cdef Tries *tries = &flow.svm_tries
    cdef bint may_be_later = False
    cdef uint32_t named = 0
    cdef uint32_t index
    if tries.shown:
        return True
    for index in range(tries.count):
        if tries.each[index].named:
            named += 1
            may_be_later = may_be_later or 0 < seq_diff(isn, tries.each[index].isn) < NEAR
    if not may_be_later and go_on(flow, True, isn):
        tries.shown = True
        return True
    return flow.flags & F_SVM_TRY and named <= 1


cdef void tries_answered(Flow *flow, Seq ack, int64_t now) noexcept nogil:
    cdef Seq isn = seq_add(ack, -1)
    if not flow.flags & F_PVM_TRY and unsaid(&flow.pvm):
        if not seq_eq(isn, flow.pvm.isn) and not go_on(flow, False, isn):
            return
        flow.flags |= F_PVM_TRY
        follow_pvm(flow)
    tries_name(flow, now)


cdef void name(Flow *flow, int64_t now) noexcept nogil:
    """The SVM receives an acknowledgement of its present ISN at this time."""
    cdef uint32_t index = place_of(&flow.svm_tries, flow.svm.isn)
    if index < flow.svm_tries.count:
        flow.svm_tries.each[index].named = True
    flow.flags |= F_SVM_TRY
    flow.named_at = now


cdef void tries_name(Flow *flow, int64_t now) noexcept nogil:
    if unsaid(&flow.svm) and not flow.svm_tries.received:
        name(flow, now)


cdef void tries_received(Flow *flow, Seq ack, int64_t now) noexcept nogil:
    cdef Tries *tries = &flow.svm_tries
    cdef Seq isn = seq_add(ack, -1)
    cdef uint32_t index
    if not flow.svm.answered or not unsaid(&flow.svm) or (tries.count and tries.shown):
        return
    if not seq_eq(isn, flow.svm.isn) and not go_on(flow, True, isn):
        return
    if not tries.received:
        tries.received = True
        for index in range(tries.count):
            tries.each[index].named = False
    name(flow, now)


cdef bint tries_begin(const Flow *flow, Seq number) noexcept nogil:
    cdef Seq isn = seq_add(number, -1)
    return seq_eq(isn, flow.svm.isn) or place_of(&flow.svm_tries, isn) < flow.svm_tries.count


cdef void tries_align(const Flow *flow, Packet *p, uint8_t *base) noexcept nogil:
    if p.flags & (SYN | ACK) == SYN | ACK and flow.svm_tries.count and flow.pvm.syn and flow.svm.syn:
        checksum_set32(p, base, p.l4 + 4, flow.svm.isn.n)
        p.seq = flow.svm.isn


cdef void tries_copy(Flow *flow) noexcept nogil:
    cdef uint32_t index
    flow.svm_tries.received = False
    flow.flags &= ~<uint32_t>F_SVM_TRY
    if flow.flags & F_PVM_TRY:
        flow.flags |= F_SVM_TRY
    if not flow.flags & F_TRIES:
        return
    flow.svm_tries = flow.pvm_tries
    flow.svm.isn = flow.pvm.isn
    flow.svm.tsval = flow.pvm.tsval
    flow.svm.end = flow.pvm.end
    if flow.flags & F_PVM_TRY:
        index = place_of(&flow.svm_tries, flow.svm.isn)
        if index < flow.svm_tries.count:
            flow.svm_tries.each[index].named = True


cdef void tries_forget(Flow *flow) noexcept nogil:
    flow.pvm_tries.count = flow.svm_tries.count = 0
    flow.flags &= ~<uint32_t>F_TRIES
