"""While observing (C8), clients' segments reach the SVM no sooner than the SVM can use them.

The PVM's output is released on arrival, so clients acknowledge what the SVM has not sent yet. A kernel
ignores such an acknowledgement, or resets a connection that it has not answered; from then on the SVM is no
replica to observe. So clients' segments for the SVM are treated as follows:

    before its SYN   segments with ACK wait (`early`), and are sent when the SVM has sent its SYN
    after its SYN    they acknowledge no more than the SVM has sent; data need not wait for that
    later            acknowledgements of our own make up for it, when the SVM sends more or repeats itself

Where the PVM's output waits for the SVM's, only the last of these is needed: an acknowledgement that was lost
on its way to the SVM is repeated when the SVM repeats what was acknowledged (T15). Clients would do that, if
they received what the SVM sends.
"""

from libc.stdint cimport int64_t, uint32_t
from libc.string cimport memcpy, memset

from colo_proxy.core.align.aligner cimport Offset, aligner_to_svm
from colo_proxy.core.core cimport EARLY_FRAMES, Core, core_drop, core_emit_to, core_pooled
from colo_proxy.core.flow.flow cimport F_HEARD, Flow
from colo_proxy.core.flow.pool cimport Node, pool_give, pool_take
from colo_proxy.core.lookup cimport lookup_offset
from colo_proxy.core.packet.checksum cimport checksum_set32
from colo_proxy.core.packet.key cimport Key, key_equal, key_of
from colo_proxy.core.packet.parse cimport ACK, RST, SYN, VNET, put16, put32
from colo_proxy.core.packet.seq cimport Seq, seq_add, seq_le, seq_lt, seq_min
from colo_proxy.core.tcp.craft cimport craft_seal
from colo_proxy.core.tcp.tries cimport tries_name
from colo_proxy.core.vocabulary cimport D_SEND, SECONDARY

cdef int64_t GIVEN_UP = 3_000_000_000  # ns


cdef void observing_note_client(Flow *flow, const Node *node) noexcept nogil:
    """In the PVM's numbers. Nobody can have received what the PVM has not sent yet."""
    if not node.packet.flags & ACK or node.packet.flags & RST or not flow.pvm.open or \
            seq_lt(flow.pvm.end, node.packet.ack):
        return
    if not flow.flags & F_HEARD or seq_le(flow.heard_ack, node.packet.ack):
        flow.flags |= F_HEARD
        flow.heard_ack = node.packet.ack
        flow.heard_window = node.packet.window


cdef bint observing_waits(Core *core, Flow *flow, Node *node) noexcept nogil:
    cdef Node *kept
    if not node.packet.flags & ACK or node.packet.flags & RST:
        return False
    if not flow.pvm.syn or flow.svm.syn:
        return False
    while core.early_count and (core.early_count == EARLY_FRAMES or
                                core.now - core.early[core.early_first].time > GIVEN_UP):
        lose(core)
    kept = core_pooled(core, node)
    if kept == NULL:
        core_drop(core, node, D_SEND)
        return True
    core.early[(core.early_first + core.early_count) % EARLY_FRAMES] = kept
    core.early_count += 1
    return True


cdef Node *first_early(Core *core) noexcept nogil:
    cdef Node *node = core.early[core.early_first]
    core.early_first = (core.early_first + 1) % EARLY_FRAMES
    core.early_count -= 1
    return node


cdef void lose(Core *core) noexcept nogil:
    core_drop(core, first_early(core), D_SEND)


cdef void observing_clear(Core *core) noexcept nogil:
    while core.early_count:
        pool_give(core.pool, first_early(core))


cdef void observing_clamp(const Flow *flow, Node *node) noexcept nogil:
    if node.packet.flags & ACK and flow.svm.open and seq_lt(flow.svm.end, node.packet.ack):
        checksum_set32(&node.packet, node.data, node.packet.l4 + 8, flow.svm.end.n)
        node.packet.ack = flow.svm.end


cdef void let_early_go(Core *core, Flow *flow) noexcept nogil:
    """Send what waited for the SVM's SYN, in order; what waits for another SYN stays."""
    cdef Offset offset
    cdef Key key
    cdef Node *node
    cdef uint32_t _turn
    for _turn in range(core.early_count):
        node = first_early(core)
        key_of(&key, &node.packet, node.data, False)
        if key_equal(&key, &flow.key):
            tries_name(flow, core.now)
            aligner_to_svm(&node.packet, node.data, lookup_offset(flow, &offset))
            observing_clamp(flow, node)
            core_emit_to(core, node.data, node.size, SECONDARY, node)
        else:
            core.early[(core.early_first + core.early_count) % EARLY_FRAMES] = node
            core.early_count += 1


cdef void observing_answer(Core *core, Flow *flow, const Node *node) noexcept nogil:
    cdef Seq heard
    if node.packet.flags & RST or not node.packet.length:
        return
    if node.packet.flags & SYN and core.early_count:
        let_early_go(core, flow)
    heard = seq_add(flow.heard_ack, flow.offset)
    # Clients' own acknowledgements have covered everything before this segment.
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
    craft_seal(&made.packet, made.data)
    core_emit_to(core, made.data, size, SECONDARY, made)
