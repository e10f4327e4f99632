"""Whether a retransmission repeats what was agreed (docs/comparison.md, T14).

    advance           -> retransmission_learn     the PVM's bytes that have just come to be agreed
    commit            -> retransmission_replace   what leaves without having been compared
    client's segment  -> retransmission_end       what is acknowledged needs no digest any more
    PVM segment that begins in the agreed range -> retransmission_differs

What is known of the bytes of the agreed range: digests of whole pieces (digests.pxd), and segments of either
guest that wait with one end in the range and the other beyond it. A piece can be compared only where the
retransmission repeats all of it; where it repeats a part, and no segment that waits has the rest, its bytes
leave unverified and the segment is counted.

Without digests (`core.digests` NULL) retransmissions are trusted, and each one is counted.
"""

from libc.stdint cimport INT64_MAX, int64_t, uint8_t, uint32_t
from libc.stdlib cimport abs
from libc.string cimport memcmp

from colo_proxy.core.core cimport Core, core_diverge
from colo_proxy.core.flow.digests cimport PIECE, digests_add, digests_check, digests_cut, digests_end
from colo_proxy.core.flow.flow cimport F_ACKNOWLEDGED, F_ANCHORED, F_FINISHED, Flow
from colo_proxy.core.flow.pool cimport N_CONTRARY, N_OWED, N_PURE, N_UNPLACED, N_UNVERIFIED, Node
from colo_proxy.core.packet.parse cimport ACK, FIN, SYN
from colo_proxy.core.packet.seq cimport Seq, seq_diff, seq_eq, seq_le, seq_lt
from colo_proxy.core.tcp.agreed cimport MAX_DISTANCE, agreed_end_of, agreed_start_of
from colo_proxy.core.tcp.craft cimport craft_gso_size
from colo_proxy.core.vocabulary cimport R_CONTROL, R_PAYLOAD


# The payload of a segment, from `begin` to `end` as stream offsets.
cdef struct Span:
    int64_t begin
    int64_t end
    const uint8_t *data


cdef int64_t place(const Flow *flow, Seq position) noexcept nogil:
    """The stream offset of a position: negative for the SYN, and below the first byte seen."""
    return flow.position + seq_diff(position, flow.matched)


cdef Span span_of(const Flow *flow, const Node *node) noexcept nogil:
    cdef Span span
    span.begin = place(flow, agreed_start_of(node)) + (1 if node.packet.flags & SYN else 0)
    span.end = span.begin + (node.packet.end - node.packet.payload)
    span.data = node.data + node.packet.payload
    return span


cdef void remember(Core *core, Flow *flow, const Node *node, const Span *span, int64_t begin,
                   int64_t end) noexcept nogil:
    """Digests of a part of a segment's payload, in pieces (digests.pxd)."""
    cdef int64_t segment = craft_gso_size(node)
    cdef int64_t step
    if flow.flags & F_ACKNOWLEDGED and end <= flow.acknowledged:
        return
    while begin < end:
        step = min(PIECE - (begin & (PIECE - 1)), end - begin)
        if segment:
            step = min(step, segment - (begin - span.begin) % segment)
        digests_add(core.digests, &flow.trail, begin, span.data + (begin - span.begin), <uint32_t>step)
        begin += step


cdef void retransmission_learn(Core *core, Flow *flow, const Node *node, Seq at, Seq until) noexcept nogil:
    cdef Span span = span_of(flow, node)
    remember(core, flow, node, &span, max(place(flow, at), span.begin), min(place(flow, until), span.end))


cdef void retransmission_replace(Core *core, Flow *flow, const Node *node) noexcept nogil:
    cdef Span span
    if node.flags & (N_PURE | N_OWED | N_UNPLACED) or not flow.flags & F_ANCHORED or \
            abs(seq_diff(node.packet.seq, flow.matched)) > MAX_DISTANCE or not seq_le(agreed_end_of(node),
                                                                                      flow.pvm.end):
        return
    span = span_of(flow, node)
    digests_cut(&flow.trail, span.begin, span.end)
    remember(core, flow, node, &span, span.begin, span.end)


cdef void retransmission_end(Core *core, Flow *flow, const Node *node) noexcept nogil:
    cdef const Node *first = flow.pvm.first
    cdef int64_t left = flow.position
    cdef int64_t at
    if not node.packet.flags & ACK or not flow.flags & F_ANCHORED or \
            abs(seq_diff(node.packet.ack, flow.matched)) > MAX_DISTANCE:
        return
    if core.settings.observe:  # everything that the PVM has sent was released
        left = place(flow, flow.pvm.end)
    elif first != NULL and not first.flags & N_UNPLACED:
        left = min(left, place(flow, agreed_start_of(first)))
    at = place(flow, node.packet.ack)
    if at > left or (flow.flags & F_ACKNOWLEDGED and at <= flow.acknowledged):
        return
    flow.flags |= F_ACKNOWLEDGED
    flow.acknowledged = at
    digests_end(core.digests, &flow.trail, at)


cdef bint may_be_keepalive(const Flow *flow, const Node *node) noexcept nogil:
    """A keep-alive may carry one garbage octet at SND.NXT - 1 (RFC 9293, 3.8.4). If a client is known not to
    have acknowledged it, it is a retransmission: keep-alives are sent only when everything is acknowledged.
    """
    return node.packet.length == 1 and not node.packet.flags & (SYN | FIN) and \
        seq_eq(agreed_end_of(node), flow.pvm.end) and not flow.flags & F_ACKNOWLEDGED


cdef int64_t held_differs(const Flow *flow, const Node *other, const Span *span, int64_t begin, int64_t end,
                          int64_t *before) noexcept nogil:
    """Compare [begin, end) with a side's waiting segments that reach out of the range, from `other` on.

    Returns the first position that differs, or INT64_MAX. `before` becomes the beginning of the lowest of
    them.
    """
    cdef int64_t found = INT64_MAX
    cdef int64_t at, until
    cdef Span its
    while other != NULL and seq_lt(agreed_start_of(other), flow.matched):
        if seq_le(flow.low, agreed_start_of(other)) and seq_lt(flow.matched, agreed_end_of(other)) and \
                not other.flags & (N_CONTRARY | N_UNVERIFIED):
            its = span_of(flow, other)
            at = max(begin, its.begin)
            until = min(end, its.end)
            before[0] = min(before[0], at)
            if at < until and memcmp(span.data + (at - span.begin), its.data + (at - its.begin), until - at):
                while span.data[at - span.begin] == its.data[at - its.begin]:
                    at += 1
                found = min(found, at)
        other = other.sort_next
    return found


cdef bint bytes_differ(Core *core, Flow *flow, Node *node, const Span *span, int64_t begin,
                       int64_t end) noexcept nogil:
    """Compare a retransmission's payload from `begin` to `end` with all that is known of it."""
    cdef int64_t after = max(begin, flow.acknowledged) if flow.flags & F_ACKNOWLEDGED else begin
    cdef int64_t before = end
    cdef int64_t lowest, found, covered
    if after >= end:
        return False  # clients have received it
    found = min(held_differs(flow, flow.pvm.low, span, after, end, &before),
                held_differs(flow, flow.svm.low, span, after, end, &before))
    covered = digests_check(core.digests, &flow.trail, begin, end, span.data + (begin - span.begin), after,
                            before, &lowest)
    if found == INT64_MAX and lowest == INT64_MAX:
        if covered < before - after:
            node.flags |= N_UNVERIFIED
            core.counts.unverified += 1
        return False
    if found == INT64_MAX or lowest < before:
        found = lowest
    core_diverge(core, flow, R_PAYLOAD, max(found, 0), node, NULL)
    return True


cdef bint retransmission_differs(Core *core, Flow *flow, Node *node) noexcept nogil:
    cdef Span span
    cdef int64_t begin, end
    cdef bint fin
    if node.flags & N_UNPLACED or abs(seq_diff(node.packet.seq, flow.matched)) > MAX_DISTANCE:
        return False
    span = span_of(flow, node)
    begin = max(span.begin, place(flow, flow.low))
    end = min(span.end, flow.position)
    if begin >= end or may_be_keepalive(flow, node):
        return False
    fin = flow.flags & F_FINISHED and end == flow.position
    end -= 1 if fin else 0
    if begin < end and core.digests == NULL:
        core.counts.unverified += 1
    elif begin < end and bytes_differ(core, flow, node, &span, begin, end):
        return True
    # T3: a byte where both have sent the FIN.
    if fin and not (flow.flags & F_ACKNOWLEDGED and flow.position <= flow.acknowledged):
        core_diverge(core, flow, R_CONTROL, max(end, 0), node, NULL)
        return True
    return False
