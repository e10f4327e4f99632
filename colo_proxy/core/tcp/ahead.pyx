"""Behind a hole: what both guests have sent beyond the agreed prefix (docs/comparison.md, 3.1, T1 to T3).

A new segment is compared with what the other side has at the same positions. Equal bytes are agreed at once
and added to the flow's ranges (ranges.pxd), upwards until the first difference. Then the SVM's segments that
lie completely inside a range are forgotten, and the PVM's are removed from the sorted list. So both lists
only have what is not agreed.
"""

from libc.stdint cimport int64_t

from colo_proxy.core.core cimport Core, core_diverge, core_forget, core_unsort
from colo_proxy.core.flow.flow cimport F_CONTRADICTED, Flow, Side
from colo_proxy.core.flow.pool cimport N_SORTED, N_SVM, Node
from colo_proxy.core.packet.parse cimport FIN, SYN
from colo_proxy.core.packet.seq cimport Seq, seq_add, seq_diff, seq_eq, seq_le, seq_lt, seq_max
from colo_proxy.core.tcp.agreed cimport (
    What,
    agreed_compare,
    agreed_covers,
    agreed_end_of,
    agreed_last_before,
    agreed_offset_of,
    agreed_overlap,
    agreed_start_of,
)
from colo_proxy.core.tcp.ranges cimport (
    FEW,
    Beyond,
    ranges_add,
    ranges_beyond_gap,
    ranges_hold,
    ranges_last_end,
    ranges_make,
    ranges_of,
)
from colo_proxy.core.tcp.syn_forms cimport syn_forms_differ
from colo_proxy.core.vocabulary cimport R_CONTROL, R_PAYLOAD


cdef bint agree(Core *core, Flow *flow, const Node *node, Seq begin, Seq end) noexcept nogil:
    """Add a part of a node that the other side has too; false: there is no room, and the node stays
    unchanged.
    """
    cdef Beyond *beyond = NULL
    if core.digests == NULL:  # otherwise released bytes from beyond a hole could not be checked (T14)
        beyond = ranges_make(core, flow)
    if beyond == NULL:
        return False
    if not ranges_add(&beyond.agreed, begin, end):
        beyond.crowded = True
        return False
    if node.packet.flags & FIN and seq_eq(end, agreed_end_of(node)):
        beyond.finished = True
        beyond.fin = end
    return True


cdef bint take_part(Core *core, Flow *flow, Node *node, Node *other, Seq at, Seq until,
                    bint *grown) noexcept nogil:
    """Compare what both have from `at` to `until`, and agree on it; false: they differ."""
    cdef What[2] kinds
    cdef Seq found, end
    while ranges_beyond_gap(flow, &at, until, &end):
        if node.packet.flags & other.packet.flags & SYN and seq_eq(at, agreed_start_of(node)):
            at = seq_add(at, 1)  # only the prefix begins with a SYN
            continue
        found = agreed_compare(node, other, at, end, kinds)
        # After a contradiction it is unknown which of the two the SVM has sent.
        if seq_lt(at, found) and not flow.flags & F_CONTRADICTED and agree(core, flow, node, at, found):
            grown[0] = True
        if found.n != end.n:
            core_diverge(core, flow, R_PAYLOAD if kinds[0] == kinds[1] else R_CONTROL,
                         agreed_offset_of(flow, found),
                         other if node.flags & N_SVM else node, node if node.flags & N_SVM else other)
            return False
        at = end
    return True


cdef bint take(Core *core, Flow *flow, Node *node, Node *other) noexcept nogil:
    """Agree on what a node has in common with the sorted nodes of the other side, from `other` on."""
    cdef Seq at, until
    cdef Seq end = agreed_end_of(node)
    cdef bint grown = False
    while other != NULL and seq_lt(agreed_start_of(other), end):
        if agreed_overlap(node, other, &at, &until) and seq_lt(flow.matched, until) and \
                not take_part(core, flow, node, other, seq_max(at, flow.matched), until, &grown):
            break
        other = other.sort_next
    return grown


cdef Node *first_near(const Side *side, Seq start) noexcept nogil:
    """The first sorted node that may reach beyond `start`."""
    cdef Node *node = agreed_last_before(side, start)
    if node == NULL:
        return side.low
    while node.sort_prev != NULL and seq_diff(start,
                                              agreed_start_of(node.sort_prev)) <= <int64_t>side.longest:
        node = node.sort_prev
    return node


cdef bint ahead_compare(Core *core, Flow *flow, Node *node) noexcept nogil:
    cdef Side *others = &flow.pvm if node.flags & N_SVM else &flow.svm
    if others.low == NULL or not node.flags & N_SORTED:
        return False
    if node.packet.flags & SYN and seq_le(flow.matched, agreed_start_of(node)) and syn_forms_differ(flow):
        return False  # its first difference is the SYN
    return take(core, flow, node, first_near(others, agreed_start_of(node)))


cdef int ahead_forget_agreed(Core *core, Flow *flow, Seq start, Seq end, Node **one) noexcept nogil:
    cdef Node *node = first_near(&flow.svm, start)
    cdef Node *behind
    cdef int count = 0
    while node != NULL and seq_lt(agreed_start_of(node), end):
        behind = node.sort_next
        if ranges_hold(&ranges_of(flow).agreed, agreed_start_of(node), agreed_end_of(node)):
            core_forget(core, node)
        node = behind
    node = first_near(&flow.pvm, start)
    while node != NULL and seq_lt(agreed_start_of(node), end):
        behind = node.sort_next
        if agreed_covers(flow, node):
            core_unsort(node)
            one[0] = node
            count += 1
        node = behind
    return count


cdef bint ahead_look_again(Core *core, Flow *flow) noexcept nogil:
    cdef Beyond *beyond = ranges_of(flow)
    cdef Node *pvm = flow.pvm.low
    cdef Node *svm = flow.svm.low
    cdef Node *one
    cdef bint grown = False
    if not beyond.crowded or beyond.agreed.count > FEW:
        return False
    beyond.crowded = False
    while pvm != NULL:
        while svm != NULL and seq_le(agreed_end_of(svm), agreed_start_of(pvm)):
            svm = svm.sort_next
        grown = take(core, flow, pvm, svm) or grown
        pvm = pvm.sort_next
    if grown:
        ahead_forget_agreed(core, flow, flow.matched, ranges_last_end(flow), &one)
    return grown
