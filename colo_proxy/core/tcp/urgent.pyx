"""Urgent positions (docs/comparison.md, T3 and T11).

A segment with URG announces a position, relative to its own number, and so does each later one until the
position is reached (RFC 9293, 3.8.5; RFC 6093). The last MARKS of each side are kept, in its own numbers,
because a guest that is ahead may have announced others since. A segment whose position has been forgotten
waits for a commit.
"""

from libc.stdint cimport uint32_t

from colo_proxy.core.core cimport Core, core_diverge
from colo_proxy.core.flow.flow cimport F_ANCHORED, URGENT_MARKS, Flow, Side
from colo_proxy.core.flow.pool cimport N_SVM, N_UNPLACED, Node
from colo_proxy.core.packet.parse cimport RST, URG
from colo_proxy.core.packet.seq cimport Seq, seq_add, seq_eq, seq_le, seq_lt
from colo_proxy.core.tcp.agreed cimport agreed_offset_of, agreed_position_of
from colo_proxy.core.vocabulary cimport R_CONTROL


cdef void urgent_note(Side *side, const Node *node) noexcept nogil:
    if node.packet.flags & (URG | RST) == URG:
        mark(side, seq_add(node.packet.seq, node.packet.urgent))


cdef void mark(Side *side, Seq position) noexcept nogil:
    cdef int index
    for index in range(side.marked):
        if seq_eq(side.marks[index], position):
            return
    if side.marked == URGENT_MARKS:  # the oldest makes room
        for index in range(URGENT_MARKS - 1):
            side.marks[index] = side.marks[index + 1]
        side.marked -= 1
    side.marks[side.marked] = position
    side.marked += 1


cdef bint has(const Flow *flow, bint svm, Seq position) noexcept nogil:
    """Whether a side has announced a position, given in the PVM's numbers."""
    cdef const Side *side = &flow.svm if svm else &flow.pvm
    cdef int index
    for index in range(side.marked):
        if seq_eq(agreed_position_of(flow, side.marks[index], svm), position):
            return True
    return False


cdef bint urgent_announced(const Flow *flow, const Node *node) noexcept nogil:
    cdef Seq position = seq_add(node.packet.seq, node.packet.urgent)
    if node.flags & N_UNPLACED:
        return False
    return seq_lt(position, flow.floor) or has(flow, True, position)


cdef void urgent_compare(Core *core, Flow *flow, Node *node) noexcept nogil:
    cdef bint svm = node != NULL and node.flags & N_SVM
    cdef bint found = False
    cdef Seq lowest, position
    cdef int index
    if not flow.flags & F_ANCHORED:
        return
    lowest = flow.matched
    for index in range(flow.pvm.marked + flow.svm.marked):
        if index < flow.pvm.marked:
            position = flow.pvm.marks[index]
        else:
            position = agreed_position_of(flow, flow.svm.marks[index - flow.pvm.marked], True)
        if seq_lt(position, lowest) and seq_le(flow.low, position) and seq_le(flow.floor, position) and \
                not has(flow, index < flow.pvm.marked, position):
            lowest = position
            found = True
    if found:
        core_diverge(core, flow, R_CONTROL, agreed_offset_of(flow, lowest), NULL if svm else node,
                     node if svm else NULL)


cdef void urgent_copy(Flow *flow) noexcept nogil:
    cdef int index
    for index in range(flow.pvm.marked):
        mark(&flow.svm, seq_add(flow.pvm.marks[index], flow.offset))


cdef void urgent_move(Side *side, uint32_t by) noexcept nogil:
    cdef int index
    for index in range(side.marked):
        side.marks[index] = seq_add(side.marks[index], by)
