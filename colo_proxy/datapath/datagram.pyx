# See datagram.pxd for the idea.

from libc.stdint cimport INT64_MAX, int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcmp, memset

from colo_proxy.datapath.align cimport move_udp_port
from colo_proxy.datapath.core cimport (
    Core,
    discard,
    diverge,
    drop,
    emit,
    hold,
    learn_lag,
    timeout_of,
    unhold,
)
from colo_proxy.datapath.flow cimport F_ALIAS, F_ALONE, F_BLOCKED, Flow, list_add, list_leave
from colo_proxy.datapath.late cimport late_expect, late_take
from colo_proxy.datapath.pool cimport N_OVERTAKEN, N_RX, N_SVM, Node
from colo_proxy.datapath.wire cimport IP_ICMP, K_OTHER, K_UDP, Packet, checksum, get16, get32, sums_at
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


cdef bint sums_up(const Node *node) noexcept nogil:
    """Whether a whole layer-4 checksum is right (RFC 768, 792, 4443)."""
    cdef const Packet *p = &node.packet
    cdef uint32_t at = p.l3 + (12 if p.version == 4 else 8)
    cdef uint32_t pseudo = 0
    if p.kind == K_UDP and get16(node.data + checksum_at(p)) == 0:
        return False  # there is none
    if p.proto != IP_ICMP:
        pseudo = p.proto + p.end - p.l4 + <uint16_t>~checksum(node.data + at, 8 if p.version == 4 else 32, 0)
    return checksum(node.data + p.l4, p.end - p.l4, pseudo) == 0


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
            if p.partial != q.partial and not sums_up(b if p.partial else a):
                return False
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


cdef uint64_t end_of(const Node *node) noexcept nogil:
    """Where a datagram ends in what its flow has said."""
    return node.begins + node.packet.end - content(&node.packet)


cdef void datagram_note(Flow *flow, Node *node) noexcept nogil:
    if node.flags & N_SVM:  # behind what both have said, and what it has said that still waits
        node.begins = <uint64_t>flow.position
        if flow.svm.last != NULL:
            node.begins = max(node.begins, end_of(flow.svm.last))
    else:
        node.begins = flow.said_bytes
        flow.said_bytes = end_of(node)


cdef int64_t both_wait_since(const Flow *flow) noexcept nogil:
    if flow.pvm.first == NULL or flow.svm.first == NULL:
        return INT64_MAX
    return max(flow.pvm.first.time, flow.svm.first.time)


cdef void watch_alone(Core *core, Flow *flow) noexcept nogil:
    if flow.flags & F_BLOCKED or not flow.waiting:
        list_leave(flow)
    elif flow.list == NULL:
        list_add(&core.svm_alone if flow.flags & F_ALIAS else &core.pvm_alone, flow)


cdef void datagram_watch(Core *core, Flow *flow) noexcept nogil:
    cdef int64_t since = both_wait_since(flow)
    if flow.flags & F_ALONE:
        watch_alone(core, flow)
        return
    if flow.pvm.first != NULL and flow.pvm.first.flags & N_OVERTAKEN:
        since = min(since, flow.pvm.first.overtaken)
    if since == INT64_MAX or flow.flags & F_BLOCKED:
        list_leave(flow)
        return
    flow.watched_since = since
    list_add(&core.watched, flow)


cdef void overtake(Core *core, Node *pvm) noexcept nogil:
    """These the SVM has passed over; who is marked already, so are those before."""
    while pvm != NULL and not pvm.flags & N_OVERTAKEN:
        pvm.flags |= N_OVERTAKEN
        pvm.overtaken = core.now
        pvm = pvm.flow_prev


cdef void matched(Core *core, Flow *flow, Node *pvm) noexcept nogil:
    flow.position = max(flow.position, <int64_t>end_of(pvm))
    if not pvm.flags & N_RX:
        learn_lag(core, core.now - pvm.time)
    emit(core, pvm)


cdef void datagram_primary(Core *core, Flow *flow, Node *node) noexcept nogil:
    cdef Node *other = NULL
    datagram_note(flow, node)
    if not flow.flags & F_BLOCKED:
        other = find_equal(flow.svm.first, node)
    if other == NULL:
        hold(core, flow, node)
    else:
        overtake(core, flow.pvm.last)
        unhold(core, other)
        discard(core, other)
        matched(core, flow, node)
    datagram_watch(core, flow)


cdef void datagram_secondary(Core *core, Flow *flow, Node *node) noexcept nogil:
    cdef Node *other = NULL
    if not flow.flags & F_BLOCKED:
        other = find_equal(flow.pvm.first, node)
    if other != NULL:
        overtake(core, other.flow_prev)
        unhold(core, other)
        discard(core, node)
        matched(core, flow, other)
    elif core.late != NULL and late_take(core.late, digest(flow, node), core.now):
        drop(core, node, D_OLD_EPOCH)
    else:
        datagram_note(flow, node)
        hold(core, flow, node)
    datagram_watch(core, flow)


cdef uint64_t digest(const Flow *flow, const Node *node) noexcept nogil:
    """FNV-1a of what is compared: enough to know a late copy by, where nothing is released.

    Of UDP the source port is left out: the SVM's flow may be alone (alone.pxd), and its port another.
    """
    cdef const Packet *p = &node.packet
    cdef uint64_t sum = 14695981039346656037ULL ^ (flow.key.vlan if p.kind == K_UDP else flow.hash)
    cdef uint32_t at = p.l3
    cdef uint32_t skip = checksum_at(p)  # it may be partial on one side
    while at < p.end:
        if p.version == 4 and (at == p.l3 + 4 or at == p.l3 + 10):
            at += 2
        elif skip and at == skip or p.kind == K_UDP and at == p.l4:
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


cdef void datagram_expect(Core *core, const Flow *flow, const Node *pvm) noexcept nogil:
    if core.late != NULL:
        late_expect(core.late, digest(flow, pvm), core.now, core.now + timeout_of(core))


cdef bint datagram_like(const Node *a, Node *b) noexcept nogil:
    cdef uint16_t other = get16(a.data + a.packet.l4)
    cdef uint16_t own = get16(b.data + b.packet.l4)
    cdef bint alike
    if a.packet.end - a.packet.l3 != b.packet.end - b.packet.l3 or a.packet.kind != K_UDP:
        return False
    move_udp_port(&b.packet, b.data, b.packet.l4, own, other)
    alike = equal(a, b)
    move_udp_port(&b.packet, b.data, b.packet.l4, other, own)
    return alike


cdef void datagram_join(Flow *flow, Flow *svm) noexcept nogil:
    cdef Node *node = svm.svm.first
    flow.svm = svm.svm
    flow.waiting += svm.waiting
    while node != NULL:
        node.flow = flow
        node.begins += <uint64_t>flow.position
        move_udp_port(&node.packet, node.data, node.packet.l4, flow.svm_port, flow.key.local_port)
        node = node.flow_next
    memset(&svm.svm, 0, sizeof(svm.svm))
    svm.waiting = 0


cdef uint32_t first_difference(const Node *a, const Node *b) noexcept nogil:
    """The index of the first byte that differs; that of a checksum, which sums up the others, last."""
    cdef uint32_t from_a = content(&a.packet)
    cdef uint32_t from_b = content(&b.packet)
    cdef uint32_t shorter = min(max(a.packet.end, from_a) - from_a, max(b.packet.end, from_b) - from_b)
    cdef uint32_t sum_at = checksum_at(&a.packet)
    cdef uint32_t in_sum = 0
    cdef uint32_t index
    for index in range(shorter):
        if a.data[from_a + index] != b.data[from_b + index]:
            if sum_at == 0 or not 0 <= <int64_t>from_a + index - sum_at < 2:
                return index
            in_sum = in_sum or index
    if a.packet.end - from_a != b.packet.end - from_b:
        return shorter
    return in_sum  # or 0: the difference is in a header


cdef void datagram_mismatch(Core *core, Flow *flow) noexcept nogil:
    cdef Node *a = flow.pvm.first
    cdef Node *b = flow.svm.first
    diverge(core, flow, R_PAYLOAD, <int64_t>(a.begins + first_difference(a, b)), a, b)
    datagram_watch(core, flow)


cdef void datagram_commit(Core *core, Flow *flow, bint replaced) noexcept nogil:
    """The PVM's datagrams have left. Replaced, the SVM has the PVM's ports; else its copies come late."""
    flow.flags &= ~<uint32_t>F_BLOCKED
    flow.position = <int64_t>flow.said_bytes
    if replaced:
        flow.flags &= ~<uint32_t>F_ALONE
        flow.svm_port = flow.key.local_port
    datagram_watch(core, flow)
