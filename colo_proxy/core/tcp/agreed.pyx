"""The agreed range of a TCP flow: what both guests have sent identically (docs/comparison.md, 3.1 and T1 to
T3).

Each side keeps the segments with bytes beyond the range in order of sequence numbers (`Side.low` to
`Side.high`). `agreed_advance` walks both lists from `matched` on, compares what both have, and moves
`matched`; a range beyond (ahead.pxd) that it reaches becomes part of the prefix. Segments are compared in
place; nothing is copied into a stream buffer. An SVM segment that continues the prefix as the PVM did is
agreed without being held (`agreed_continue`).
"""

from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t
from libc.string cimport memcmp

from colo_proxy.core.core cimport Core, core_diverge, core_forget, core_side_of, core_unsort
from colo_proxy.core.flow.flow cimport F_ANCHORED, F_BEYOND, F_CONTRADICTED, F_FINISHED, Flow, Side
from colo_proxy.core.flow.pool cimport N_CONTRARY, N_COVERED, N_SORTED, N_SVM, N_UNPLACED, Node
from colo_proxy.core.packet.parse cimport FIN, MAX_CAPTURED, SYN
from colo_proxy.core.packet.seq cimport Seq, seq_add, seq_diff, seq_eq, seq_le, seq_lt, seq_max, seq_min
from colo_proxy.core.tcp.ranges cimport (
    Beyond,
    ranges_agreed,
    ranges_beyond_gap,
    ranges_cut,
    ranges_of,
    ranges_settle,
)
from colo_proxy.core.tcp.retransmission cimport retransmission_learn
from colo_proxy.core.tcp.syn_forms cimport syn_forms_differ
from colo_proxy.core.vocabulary cimport R_CONTROL, R_PAYLOAD, ReasonId


cdef struct Difference:
    bint any
    Seq at
    ReasonId reason


cdef int64_t agreed_offset_of(const Flow *flow, Seq position) noexcept nogil:
    cdef int64_t offset = flow.position + seq_diff(position, flow.matched)
    return offset if flow.flags & F_ANCHORED and offset > 0 else 0


cdef bint agreed_covers(const Flow *flow, const Node *node) noexcept nogil:
    cdef Seq start = agreed_start_of(node)
    if node.flags & (N_COVERED | N_UNPLACED | N_CONTRARY):
        return node.flags & (N_COVERED | N_CONTRARY) == N_COVERED
    # The ends are not compared: a hostile segment may begin nearly 2**31 away and end on the other side.
    if not seq_le(flow.low, start) or seq_diff(flow.matched, start) < <int64_t>node.packet.length:
        return flow.flags & F_BEYOND and \
            ranges_agreed(flow, start, agreed_end_of(node), node.packet.flags & FIN != 0)
    if not node.packet.flags & FIN:
        return True
    # Or this position has never been seen, and a commit has counted it as agreed (C4).
    return (flow.flags & F_FINISHED or flow.pvm.unseen) and seq_eq(agreed_end_of(node), flow.matched)


cdef void agreed_move(Flow *flow, Seq to) noexcept nogil:
    """Let the agreed range end at `to`. Its start is moved too, so that no difference ever comes near 2**31.
    """
    if not seq_eq(to, flow.matched):
        flow.flags &= ~<uint32_t>F_FINISHED
    flow.position += seq_diff(to, flow.matched)
    flow.matched = to
    if seq_diff(to, flow.low) > MAX_DISTANCE:
        flow.low = seq_add(to, -<int64_t>MAX_DISTANCE)
        flow.floor = seq_max(flow.floor, flow.low)
        flow.pieced = seq_max(flow.pieced, flow.low)


cdef What what_at(const Node *node, int32_t index) noexcept nogil:
    """What a segment has at a place counted from its own start (RFC 9293, 3.4: SYN first, FIN last)."""
    if index == 0 and node.packet.flags & SYN:
        return IS_SYN
    if node.packet.flags & FIN and index == <int32_t>node.packet.length - 1:
        return IS_FIN
    return IS_BYTE


cdef const uint8_t *bytes_at(const Node *node, int32_t index, int32_t *count) noexcept nogil:
    """The payload from a place on, and how much there is."""
    cdef int32_t inside = index - (1 if node.packet.flags & SYN else 0)
    count[0] = <int32_t>(node.packet.end - node.packet.payload) - inside
    return node.data + node.packet.payload + inside


cdef int32_t differ(const uint8_t *a, const uint8_t *b, int32_t count) noexcept nogil:
    """The index of the first byte that differs, or `count`."""
    cdef int32_t index = 0
    if memcmp(a, b, count) == 0:
        return count
    while a[index] == b[index]:
        index += 1
    return index


cdef Seq agreed_compare(const Node *a, const Node *b, Seq at, Seq until, What *kinds) noexcept nogil:
    """Compare two segments from `at` to `until`, which both cover; returns the first difference, or `until`.

    `kinds` receives what the two have there, if they differ.
    """
    cdef int32_t a_left, b_left, same, step
    cdef const uint8_t *a_bytes
    cdef const uint8_t *b_bytes
    while seq_lt(at, until):
        kinds[0] = what_at(a, seq_diff(at, agreed_start_of(a)))
        kinds[1] = what_at(b, seq_diff(at, agreed_start_of(b)))
        if kinds[0] != kinds[1]:
            return at
        if kinds[0] != IS_BYTE:
            at = seq_add(at, 1)
            continue
        a_bytes = bytes_at(a, seq_diff(at, agreed_start_of(a)), &a_left)
        b_bytes = bytes_at(b, seq_diff(at, agreed_start_of(b)), &b_left)
        step = min(min(a_left, b_left), seq_diff(until, at))
        same = differ(a_bytes, b_bytes, step)
        at = seq_add(at, same)
        if same < step:
            return at
    return until


cdef Node *agreed_last_before(const Side *side, Seq start) noexcept nogil:
    """The last sorted node that begins at `start` or before, searched from the nearer end.

    So a flood of tiny segments does not cause a walk through all of them, in whichever order they come.
    """
    cdef Node *node = side.high
    if node == NULL:
        return NULL
    if seq_diff(agreed_start_of(node), start) <= seq_diff(start, agreed_start_of(side.low)):
        while node != NULL and seq_lt(start, agreed_start_of(node)):
            node = node.sort_prev
        return node
    node = side.low
    if seq_lt(start, agreed_start_of(node)):
        return NULL
    while node.sort_next != NULL and seq_le(agreed_start_of(node.sort_next), start):
        node = node.sort_next
    return node


cdef bint agreed_sort_in(Core *core, Flow *flow, Node *node) noexcept nogil:
    cdef Side *side = core_side_of(node)
    cdef Seq start = agreed_start_of(node)
    cdef Seq end = agreed_end_of(node)
    cdef Node *before = agreed_last_before(side, start)
    cdef Node *other
    cdef Difference found
    found.any = False
    side.longest = max(node.packet.length, side.longest if side.low != NULL else 0)
    node.sort_prev = before
    if before != NULL:
        node.sort_next = before.sort_next
        before.sort_next = node
    else:
        node.sort_next = side.low
        side.low = node
    if node.sort_next != NULL:
        node.sort_next.sort_prev = node
    else:
        side.high = node
    node.flags |= N_SORTED
    # A guest never sends two different things for one position; if it does, neither can be trusted.
    other = node.sort_next
    while other != NULL and seq_lt(agreed_start_of(other), found.at if found.any else end):
        contradicts(flow, node, other, &found)
        other = other.sort_next
    other = before
    while other != NULL and seq_diff(start, agreed_start_of(other)) <= <int64_t>side.longest and \
            not (found.any and seq_eq(found.at, start)):
        if seq_lt(start, agreed_end_of(other)):  # if the stream is in order, the search ends here
            contradicts(flow, node, other, &found)
            # Everything that this one has in common with the new one is equal, as it was with each of the
            # others. Without this, a segment repeated ten thousand times would be compared ten thousand
            # times.
            if flow.divergences == 0 and not found.any and seq_le(end, agreed_end_of(other)):
                break
        other = other.sort_prev
    if found.any:
        report_contradiction(core, flow, node, &found)
    return not found.any


cdef bint agreed_overlap(const Node *a, const Node *b, Seq *at, Seq *until) noexcept nogil:
    """Whether two segments have positions in common, and which.

    No segment is longer than a frame, so segments that begin further apart than that cannot overlap. This is
    checked first: in a hostile pair that is nearly 2**31 apart, neither would be before the other, and
    comparing the ends would give the wrong order.
    """
    cdef int64_t apart = seq_diff(agreed_start_of(a), agreed_start_of(b))
    if not -MAX_CAPTURED <= apart <= MAX_CAPTURED:
        return False
    at[0] = seq_max(agreed_start_of(a), agreed_start_of(b))
    until[0] = seq_min(agreed_end_of(a), agreed_end_of(b))
    return seq_lt(at[0], until[0])


cdef void contradicts(const Flow *flow, const Node *new, const Node *old, Difference *found) noexcept nogil:
    """Note the first position at which a segment contradicts another of its side, if it is the lowest so far.
    """
    cdef What[2] kinds
    cdef Seq at, until, differs
    if not agreed_overlap(new, old, &at, &until):
        return
    if flow.flags & F_ANCHORED and seq_le(flow.low, at):
        at = seq_max(at, flow.matched)
    if seq_le(until, at):
        return
    differs = compare_outside(flow, new, old, at, until, kinds)
    if differs.n != until.n and (not found.any or seq_lt(differs, found.at)):
        found.any = True
        found.at = differs
        found.reason = R_PAYLOAD if kinds[0] == kinds[1] else R_CONTROL


cdef void report_contradiction(Core *core, Flow *flow, Node *node, const Difference *found) noexcept nogil:
    if not node.flags & N_SVM:
        flow.flags |= F_CONTRADICTED
    core_diverge(core, flow, found.reason, agreed_offset_of(flow, found.at),
                 NULL if node.flags & N_SVM else node, node if node.flags & N_SVM else NULL)


cdef Seq compare_outside(const Flow *flow, const Node *a, const Node *b, Seq at, Seq until,
                         What *kinds) noexcept nogil:
    """`agreed_compare`, but without what is agreed beyond the prefix: that is not compared again."""
    cdef Seq end
    while ranges_beyond_gap(flow, &at, until, &end):
        at = agreed_compare(a, b, at, end, kinds)
        if at.n != end.n:
            return at
    return until


cdef Node *covering(Core *core, Flow *flow, Node *node) noexcept nogil:
    """The first node from here on that has something at `matched`; agreed nodes are removed from the sorted
    list.
    """
    cdef Node *behind
    while node != NULL and seq_le(agreed_end_of(node), flow.matched):
        behind = node.sort_next
        if seq_le(flow.low, agreed_start_of(node)):
            if node.flags & N_SVM:
                core_forget(core, node)
            else:
                core_unsort(node)
        node = behind
    if node != NULL and seq_le(agreed_start_of(node), flow.matched):
        return node
    return NULL


cdef void absorb(Core *core, Flow *flow) noexcept nogil:
    """The prefix has reached a range: it becomes part of it."""
    cdef Beyond *beyond = ranges_of(flow)
    while beyond.agreed.count and seq_le(beyond.agreed.each[0].begin, flow.matched):
        if seq_lt(flow.matched, beyond.agreed.each[0].end):
            agreed_move(flow, beyond.agreed.each[0].end)
            if beyond.finished and seq_eq(beyond.fin, flow.matched):
                flow.flags |= F_FINISHED
        ranges_cut(&beyond.agreed, flow.matched)
    ranges_cut(&beyond.pieced, flow.matched)
    ranges_settle(core, flow)


cdef bint agreed_continue(Core *core, Flow *flow, const Node *svm) noexcept nogil:
    """The ordinary case, without holding the segment, which would be forgotten again after `agreed_advance`.
    """
    cdef Node *pvm = flow.pvm.low
    cdef Seq until = seq_add(flow.matched, svm.packet.length)
    cdef int64_t inside, bytes
    if pvm == NULL or flow.svm.low != NULL or flow.below or svm.flags & N_UNPLACED or \
            flow.flags & (F_ANCHORED | F_BEYOND | F_CONTRADICTED) != F_ANCHORED or \
            (svm.packet.flags | pvm.packet.flags) & SYN or not seq_eq(agreed_start_of(svm), flow.matched):
        return False
    inside = seq_diff(flow.matched, agreed_start_of(pvm))
    bytes = svm.packet.end - svm.packet.payload
    if inside < 0 or inside + bytes > <int64_t>(pvm.packet.end - pvm.packet.payload) or memcmp(
            pvm.data + pvm.packet.payload + inside, svm.data + svm.packet.payload, bytes) != 0:
        return False
    if svm.packet.flags & FIN and not (pvm.packet.flags & FIN and seq_eq(until, agreed_end_of(pvm))):
        return False
    if core.digests != NULL:
        retransmission_learn(core, flow, pvm, flow.matched, until)
    agreed_move(flow, until)
    if svm.packet.flags & FIN:
        flow.flags |= F_FINISHED
    covering(core, flow, pvm)
    return True


cdef bint agreed_advance(Core *core, Flow *flow) noexcept nogil:
    cdef What[2] kinds
    cdef Seq begin = flow.matched
    cdef Seq until, found
    cdef Node *pvm
    cdef Node *svm
    while not flow.flags & F_CONTRADICTED:  # it is unknown which of the two the SVM has sent
        if flow.flags & F_BEYOND:
            absorb(core, flow)
        pvm = covering(core, flow, flow.pvm.low)
        svm = covering(core, flow, flow.svm.low)
        if pvm == NULL or svm == NULL:
            break
        until = seq_min(agreed_end_of(pvm), agreed_end_of(svm))
        if what_at(pvm, seq_diff(flow.matched, agreed_start_of(pvm))) == IS_SYN and \
                what_at(svm, seq_diff(flow.matched, agreed_start_of(svm))) == IS_SYN and \
                syn_forms_differ(flow):
            core_diverge(core, flow, R_CONTROL, 0, pvm, svm)
            break
        found = agreed_compare(pvm, svm, flow.matched, until, kinds)
        if core.digests != NULL:
            retransmission_learn(core, flow, pvm, flow.matched, found)
        agreed_move(flow, found)
        if pvm.packet.flags & FIN and seq_eq(agreed_end_of(pvm), found):
            flow.flags |= F_FINISHED
        if found.n != until.n:
            core_diverge(
                core, flow, R_PAYLOAD if kinds[0] == kinds[1] else R_CONTROL, agreed_offset_of(flow, found),
                pvm, svm
            )
            break
    return begin.n != flow.matched.n


cdef void agreed_match_below(Core *core, Flow *flow, Seq start, Seq end) noexcept nogil:
    """For PVM segments below the range: has the SVM sent the same there?

    Something new lies from `start` to `end`. Only the segments that it touches, and those that reach into the
    range, are compared again, each with the SVM's own segments below the range.
    """
    cdef Node *pvm = flow.pvm.low
    while pvm != NULL and seq_lt(agreed_start_of(pvm), flow.low):
        if not pvm.flags & N_COVERED and (
                (seq_lt(agreed_start_of(pvm), end) and seq_lt(start, agreed_end_of(pvm)))
                or seq_lt(flow.low, agreed_end_of(pvm))):
            if not cover(core, flow, pvm):
                return
        pvm = pvm.sort_next


cdef bint cover(Core *core, Flow *flow, Node *pvm) noexcept nogil:
    """Compare a PVM segment below the range with what the SVM has there; false: they differ."""
    cdef What[2] kinds
    cdef Seq at = agreed_start_of(pvm)
    cdef Seq until, found
    cdef Node *svm = flow.svm.low
    while svm != NULL and seq_le(agreed_start_of(svm), at) and seq_lt(at, flow.low):
        if seq_lt(at, agreed_end_of(svm)):
            until = seq_min(seq_min(agreed_end_of(svm), agreed_end_of(pvm)), flow.low)
            found = agreed_compare(pvm, svm, at, until, kinds)
            if found.n != until.n:
                core_diverge(core, flow, R_PAYLOAD if kinds[0] == kinds[1] else R_CONTROL, 0, pvm, svm)
                return False
            at = until
            if at.n == agreed_end_of(pvm).n:
                break
        svm = svm.sort_next
    if seq_le(seq_min(agreed_end_of(pvm), flow.low), at) and seq_le(agreed_end_of(pvm), flow.matched):
        pvm.flags |= N_COVERED
    return True
