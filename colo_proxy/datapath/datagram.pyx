# See datagram.pxd for the idea.

from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memcmp

from colo_proxy.datapath.core cimport (
    Core,
    discard,
    diverge,
    drop,
    emit,
    hold,
    learn_lag,
    unhold,
)
from colo_proxy.datapath.flow cimport F_BLOCKED, LATE, Flow, list_add, list_leave
from colo_proxy.datapath.pool cimport N_RX, Node
from colo_proxy.datapath.wire cimport K_FRAGMENT, K_OTHER, K_UDP, Packet, get16, get32, sums_at
from colo_proxy.datapath.words cimport D_OLD_EPOCH, R_PAYLOAD

cdef enum:
    # How many waiting datagrams a new one is held against. Further back it is no reordering any more.
    LOOK = 256
    GSO_UDP_FRAGMENTS = 3  # VIRTIO_NET_HDR_GSO_UDP


cdef uint32_t content(const Packet *p) noexcept nogil:
    """Where the bytes that `stream_offset` counts begin (D3)."""
    if p.kind == K_OTHER or p.version == 0:
        return p.l3
    return p.payload if p.kind == K_UDP else p.l4


cdef uint32_t checksum_at(const Packet *p) noexcept nogil:
    """The place of a layer-4 checksum that may be partial, or 0."""
    if p.kind == K_UDP:
        return p.l4 + 6
    if p.version and p.proto in (1, 58) and p.end >= p.l4 + 4:
        return p.l4 + 2
    return 0


cdef bint ordinary(const Node *node) noexcept nogil:
    """A checksum that is still partial is that of the outermost layer-4 header."""
    cdef const Packet *p = &node.packet
    cdef uint32_t at = checksum_at(p)
    return not p.partial or (at != 0 and sums_at(node.data, p.l4, at - p.l4))


cdef uint64_t offload(const Node *node) noexcept nogil:
    """What the virtio-net header makes of the frame on its way out (virtio 1.2, 5.1.6), 0 for nothing.

    Not counted: a checksum in its place, and the cutting into IP fragments. The datagram stays what it is.
    """
    cdef const uint8_t *vnet = node.data
    cdef uint64_t words = 0
    if vnet[1] and vnet[1] & 0x7f != GSO_UDP_FRAGMENTS:
        words = <uint64_t>vnet[1] << 48 | <uint64_t>get16(vnet + 4) << 32
    if not ordinary(node):
        words |= <uint64_t>1 << 56 | get32(vnet + 6)
    return words


cdef bint equal(const Node *a, const Node *b) noexcept nogil:
    """D2: everything above layer 2, but for what two right guests choose freely."""
    cdef const Packet *p = &a.packet
    cdef const Packet *q = &b.packet
    cdef const uint8_t *x = a.data + p.l3
    cdef const uint8_t *y = b.data + q.l3
    cdef uint32_t size = p.end - p.l3
    cdef uint32_t at = 0
    cdef uint32_t skip
    if size != q.end - q.l3 or p.kind != q.kind or p.version != q.version or offload(a) != offload(b):
        return False
    if p.version == 4:
        # The identification (bytes 4 and 5) and with it the header checksum (10 and 11).
        if memcmp(x, y, 4) != 0 or memcmp(x + 6, y + 6, 4) != 0:
            return False
        at = 12
    elif p.version == 6:
        # The flow label (20 bits): Linux draws one for each connected UDP socket (RFC 6437).
        if x[0] != y[0] or (x[1] ^ y[1]) & 0xf0:
            return False
        at = 4
        if p.frag_data != 0:  # an atomic fragment (RFC 6946): each guest draws an identification
            skip = p.frag_data - p.l3 - 4
            if q.frag_data != q.l3 + skip + 4 or memcmp(x + at, y + at, skip - at) != 0:
                return False
            at = skip + 4
    if (p.partial or q.partial) and ordinary(a):
        skip = checksum_at(p)
        if skip != checksum_at(q) + p.l3 - q.l3:
            return False
        if skip:
            skip -= p.l3
            if memcmp(x + at, y + at, skip - at) != 0:
                return False
            at = skip + 2
    return memcmp(x + at, y + at, size - at) == 0


cdef Node *find_equal(Node *first, const Node *node) noexcept nogil:
    cdef int left = LOOK
    while first != NULL and left:
        if equal(first, node):
            return first
        first = first.flow_next
        left -= 1
    return NULL


cdef void watch_both(Core *core, Flow *flow) noexcept nogil:
    """Have the flow looked at exactly while both sides wait (D3)."""
    if flow.pvm.first == NULL or flow.svm.first == NULL or flow.flags & F_BLOCKED:
        list_leave(flow)
        return
    flow.watched_since = max(flow.pvm.first.time, flow.svm.first.time)
    list_add(&core.watched, flow)


cdef void datagram_leaves(Flow *flow, const Node *pvm) noexcept nogil:
    if pvm.packet.kind != K_FRAGMENT:  # of a datagram that never became one
        flow.left_bytes += pvm.packet.end - content(&pvm.packet)


cdef void matched(Core *core, Flow *flow, Node *pvm) noexcept nogil:
    datagram_leaves(flow, pvm)
    if not pvm.flags & N_RX:
        learn_lag(core, core.now - pvm.time)
    emit(core, pvm)


cdef void datagram_primary(Core *core, Flow *flow, Node *node) noexcept nogil:
    cdef Node *other = NULL
    if not flow.flags & F_BLOCKED:
        other = find_equal(flow.svm.first, node)
    if other == NULL:
        hold(core, flow, node)
    else:
        unhold(core, other)
        discard(core, other)
        matched(core, flow, node)
    watch_both(core, flow)


cdef void datagram_secondary(Core *core, Flow *flow, Node *node) noexcept nogil:
    cdef Node *other = NULL
    if not flow.flags & F_BLOCKED:
        other = find_equal(flow.pvm.first, node)
    if other != NULL:
        unhold(core, other)
        discard(core, node)
        matched(core, flow, other)
    elif flow.late_count and was_expected(core, flow, node):
        drop(core, node, D_OLD_EPOCH)
    else:
        hold(core, flow, node)
    watch_both(core, flow)


cdef uint64_t digest(const Node *node) noexcept nogil:
    """FNV-1a of what is compared: enough to know a late copy by, where nothing is released."""
    cdef const Packet *p = &node.packet
    cdef uint64_t sum = 14695981039346656037ULL
    cdef uint32_t at = p.l3
    cdef uint32_t skip = checksum_at(p)  # it may be partial on one side
    while at < p.end:
        if p.version == 4 and (at == p.l3 + 4 or at == p.l3 + 10):
            at += 2
        elif skip and at == skip:
            at += 2
        elif p.version == 6 and at == p.l3 + 1:
            sum = (sum ^ (node.data[at] & 0xf0)) * 1099511628211ULL
            at += 3
        elif p.version == 6 and at + 4 == p.frag_data:
            at += 4
        else:
            sum = (sum ^ node.data[at]) * 1099511628211ULL
            at += 1
    return sum


cdef void datagram_expect(Flow *flow, const Node *pvm, int64_t until) noexcept nogil:
    flow.late[flow.late_count % LATE] = digest(pvm)
    flow.late_until[flow.late_count % LATE] = until
    flow.late_count += 1


cdef bint was_expected(const Core *core, Flow *flow, const Node *svm) noexcept nogil:
    cdef uint64_t sum = digest(svm)
    cdef uint32_t index
    for index in range(min(flow.late_count, <uint32_t>LATE)):
        if flow.late[index] == sum and core.now <= flow.late_until[index]:
            flow.late_until[index] = -1
            return True
    return False


cdef void datagram_mismatch(Core *core, Flow *flow) noexcept nogil:
    cdef Node *a = flow.pvm.first
    cdef Node *b = flow.svm.first
    cdef uint32_t from_a = content(&a.packet)
    cdef uint32_t from_b = content(&b.packet)
    cdef uint32_t shorter = min(max(a.packet.end, from_a) - from_a, max(b.packet.end, from_b) - from_b)
    cdef uint32_t index = 0
    while index < shorter and a.data[from_a + index] == b.data[from_b + index]:
        index += 1
    if index == shorter and a.packet.end - from_a == b.packet.end - from_b:
        index = 0  # the difference is in a header
    diverge(core, flow, R_PAYLOAD, <int64_t>(flow.left_bytes + index), a, b)
    watch_both(core, flow)


cdef void datagram_commit(Core *core, Flow *flow, bint replaced) noexcept nogil:
    """The PVM's datagrams have left. Replaced, the SVM says nothing old; else its copies come late."""
    flow.flags &= ~<uint32_t>F_BLOCKED
    if replaced:
        flow.late_count = 0
    watch_both(core, flow)
