# See pace.pxd.

from libc.stdint cimport int64_t, uint32_t
from libc.string cimport memcpy, memset

from colo_proxy.datapath.align cimport Offset, align_to_svm
from colo_proxy.datapath.core cimport EARLY, Core, drop, emit_to, pooled
from colo_proxy.datapath.craft cimport seal
from colo_proxy.datapath.flow cimport F_HEARD, Flow
from colo_proxy.datapath.flows cimport offset_of_flow
from colo_proxy.datapath.key cimport Key, key_equal, key_of
from colo_proxy.datapath.pool cimport Node, pool_give, pool_take
from colo_proxy.datapath.seq cimport Seq, seq_add, seq_le, seq_lt, seq_min
from colo_proxy.datapath.wire cimport ACK, RST, SYN, VNET, put16, put32, set32
from colo_proxy.datapath.words cimport D_SEND, SECONDARY

cdef int64_t GIVEN_UP = 3_000_000_000  # ns


cdef void pace_hear(Flow *flow, const Node *node) noexcept nogil:
    """In the PVM's numbers. What the PVM has not sent yet, nobody can have received."""
    if not node.packet.flags & ACK or node.packet.flags & RST or not flow.pvm.open or \
            seq_lt(flow.pvm.end, node.packet.ack):
        return
    if not flow.flags & F_HEARD or seq_le(flow.heard_ack, node.packet.ack):
        flow.flags |= F_HEARD
        flow.heard_ack = node.packet.ack
        flow.heard_window = node.packet.window


cdef bint pace_waits(Core *core, Flow *flow, Node *node) noexcept nogil:
    cdef Node *kept
    if not node.packet.flags & ACK or node.packet.flags & RST:
        return False
    if not flow.pvm.syn or flow.svm.syn:
        return False
    while core.early_count and (core.early_count == EARLY or
                                core.now - core.early[core.early_first].time > GIVEN_UP):
        lose(core)
    kept = pooled(core, node)
    if kept == NULL:
        drop(core, node, D_SEND)
        return True
    core.early[(core.early_first + core.early_count) % EARLY] = kept
    core.early_count += 1
    return True


cdef Node *first_early(Core *core) noexcept nogil:
    cdef Node *node = core.early[core.early_first]
    core.early_first = (core.early_first + 1) % EARLY
    core.early_count -= 1
    return node


cdef void lose(Core *core) noexcept nogil:
    drop(core, first_early(core), D_SEND)


cdef void pace_clear(Core *core) noexcept nogil:
    while core.early_count:
        pool_give(core.pool, first_early(core))


cdef void pace_clamp(const Flow *flow, Node *node) noexcept nogil:
    if node.packet.flags & ACK and flow.svm.open and seq_lt(flow.svm.end, node.packet.ack):
        set32(&node.packet, node.data, node.packet.l4 + 8, flow.svm.end.n)
        node.packet.ack = flow.svm.end


cdef void let_early_go(Core *core, Flow *flow) noexcept nogil:
    """What waited for the SVM's SYN goes, in order; what waits for another's stays."""
    cdef Offset offset
    cdef Key key
    cdef Node *node
    cdef uint32_t _turn
    for _turn in range(core.early_count):
        node = first_early(core)
        key_of(&key, &node.packet, node.data, False)
        if key_equal(&key, &flow.key):
            align_to_svm(&node.packet, node.data, offset_of_flow(flow, &offset))
            pace_clamp(flow, node)
            emit_to(core, node.data, node.size, SECONDARY, node)
        else:
            core.early[(core.early_first + core.early_count) % EARLY] = node
            core.early_count += 1


cdef void pace_answer(Core *core, Flow *flow, const Node *node) noexcept nogil:
    cdef Seq heard
    if node.packet.flags & RST or not node.packet.length:
        return
    if node.packet.flags & SYN and core.early_count:
        let_early_go(core, flow)
    heard = seq_add(flow.heard_ack, flow.offset)
    # Up to the start of this segment clients' own acknowledgements have told it.
    if flow.flags & F_HEARD and node.packet.flags & ACK and seq_lt(node.packet.seq, heard):
        answer(core, flow, node, seq_min(heard, flow.svm.end))


cdef void answer(Core *core, Flow *flow, const Node *node, Seq ack) noexcept nogil:
    """A pure acknowledgement of the SVM's segment, as its client would send it."""
    cdef uint32_t options = 12 if node.packet.timestamps else 0
    cdef uint32_t size = node.packet.l4 + 20 + options
    cdef uint32_t at = node.packet.l3 + (12 if node.packet.version == 4 else 8)
    cdef uint32_t width = 4 if node.packet.version == 4 else 16
    cdef Node *made = pool_take(core.pool, size)
    if made == NULL:
        return
    memcpy(made.data, node.data, node.packet.l4 + 20)
    memset(made.data, 0, VNET)
    memcpy(made.data + VNET, node.data + VNET + 6, 6)
    memcpy(made.data + VNET + 6, node.data + VNET, 6)
    memcpy(made.data + at, node.data + at + width, width)
    memcpy(made.data + at + width, node.data + at, width)
    made.packet = node.packet
    made.packet.size = made.packet.end = made.packet.payload = made.size = size
    made.packet.partial = False
    at = node.packet.l4
    memcpy(made.data + at, node.data + at + 2, 2)
    memcpy(made.data + at + 2, node.data + at, 2)
    put32(made.data + at + 4, node.packet.ack.n)
    put32(made.data + at + 8, ack.n)
    made.data[at + 12] = <unsigned char>((20 + options) << 2)
    made.data[at + 13] = ACK
    put16(made.data + at + 14, flow.heard_window)
    put16(made.data + at + 18, 0)
    if options:
        put32(made.data + at + 20, 0x0101080a)
        memcpy(made.data + at + 24, node.data + node.packet.timestamps + 4, 4)
        memcpy(made.data + at + 28, node.data + node.packet.timestamps, 4)
    seal(&made.packet, made.data)
    emit_to(core, made.data, size, SECONDARY, made)
