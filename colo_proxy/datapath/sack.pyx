# See sack.pxd.

from libc.stdint cimport uint8_t, uint32_t
from libc.string cimport memcpy, memset

from colo_proxy.datapath.core cimport Core
from colo_proxy.datapath.flow cimport F_BEYOND, Flow, Side
from colo_proxy.datapath.pool cimport N_SVM, N_UNPLACED, Node
from colo_proxy.datapath.prefix cimport FAR
from colo_proxy.datapath.ranges cimport (
    Range,
    Ranges,
    beyond_make,
    beyond_of,
    beyond_settle,
    ranges_add,
    ranges_cut,
)
from colo_proxy.datapath.seq cimport Seq, seq, seq_diff, seq_le, seq_lt, seq_max, seq_min
from colo_proxy.datapath.wire cimport ACK, RST, SYN, Packet, get16, get32, parse_options, put32, set16

cdef enum:
    SACK = 5
    NOP = 1
    OPTIONS = 40  # bytes there may be of them (RFC 9293, 3.1)


cdef inline bint is_sack(const uint8_t *options, uint32_t at) noexcept nogil:
    return options[at] == SACK and options[at + 1] >= 10 and options[at + 1] % 8 == 2


cdef uint32_t next_option(const uint8_t *options, uint32_t at, uint32_t size) noexcept nogil:
    """Where the next whole option begins, as `parse_options` walks the list; `size`: there is none."""
    while at < size and options[at] == NOP:
        at += 1
    if at + 2 > size or options[at] == 0 or options[at + 1] < 2 or at + options[at + 1] > size:
        return size
    return at


cdef bint sack_note(Core *core, Flow *flow, const Node *node) noexcept nogil:
    cdef bint svm = (node.flags & N_SVM) != 0
    cdef const Side *side = &flow.svm if svm else &flow.pvm
    cdef bint grown = False
    cdef const uint8_t *options
    cdef uint32_t size, at, block
    if not side.acked or node.flags & N_UNPLACED or node.packet.flags & (SYN | RST):
        return False
    if flow.flags & F_BEYOND:
        ranges_cut(sacked_by(flow, svm), side.ack)
        beyond_settle(core, flow)
    if not node.packet.sack_blocks or not node.packet.flags & ACK:
        return False
    options = node.data + node.packet.l4 + 20
    size = node.packet.payload - node.packet.l4 - 20
    at = next_option(options, 0, size)
    while at < size:
        if is_sack(options, at):
            for block in range(options[at + 1] // 8):
                grown = note_block(core, flow, svm, options + at + 2 + 8 * block) or grown
        at = next_option(options, at + options[at + 1], size)
    return grown


cdef Ranges *sacked_by(const Flow *flow, bint svm) noexcept nogil:
    return &beyond_of(flow).svm_sacked if svm else &beyond_of(flow).pvm_sacked


cdef bint note_block(Core *core, Flow *flow, bint svm, const uint8_t *block) noexcept nogil:
    cdef Seq ack = flow.svm.ack if svm else flow.pvm.ack
    cdef Seq left = seq(get32(block))
    cdef Seq right = seq(get32(block + 4))
    if not seq_lt(left, right) or not seq_lt(ack, right) or seq_diff(right, ack) > FAR or \
            beyond_make(core, flow) == NULL:
        return False
    # A block below, or partly below, the acknowledgement tells of duplicates (RFC 2883).
    left = seq_max(left, ack)
    return add_new(sacked_by(flow, svm), left, right)


cdef bint add_new(Ranges *ranges, Seq left, Seq right) noexcept nogil:
    cdef uint32_t count = ranges.count
    cdef uint32_t size = extent(ranges)
    ranges_add(ranges, left, right)
    return ranges.count != count or extent(ranges) != size


cdef uint32_t extent(const Ranges *ranges) noexcept nogil:
    """How many positions a set has."""
    cdef uint32_t index
    cdef uint32_t sum = 0
    for index in range(ranges.count):
        sum += ranges.each[index].end.n - ranges.each[index].begin.n
    return sum


cdef bint committed(const Flow *flow, Range *block) noexcept nogil:
    """Cut a block to the longest part, the first of equals, that the SVM has too; false: there is none."""
    cdef Range best, part
    cdef const Ranges *ranges
    cdef uint32_t index
    cdef Seq least
    if not seq_lt(block.begin, block.end):
        return False  # nobody knows what clients make of it
    if seq_le(block.end, flow.svm.ack):
        return True
    best.begin = block.begin
    best.end = least = seq_max(block.begin, flow.svm.ack)
    # Nothing further away can be of this stream, and places must be near each other to be compared.
    if flow.flags & F_BEYOND and seq_diff(block.end, flow.svm.ack) <= FAR:
        ranges = &beyond_of(flow).svm_sacked
        for index in range(ranges.count):
            part.begin = seq_max(least, ranges.each[index].begin)
            part.end = seq_min(block.end, ranges.each[index].end)
            if seq_diff(part.end, part.begin) > seq_diff(best.end, best.begin):
                best = part
    block[0] = best
    return seq_lt(best.begin, best.end)


cdef bint rewrite(const Flow *flow, const uint8_t *old, uint8_t *options, uint32_t size) noexcept nogil:
    """What the options of a segment have to become; true if that is something else."""
    cdef Range block
    cdef uint32_t at, index, kept
    cdef bint changed = False
    memcpy(options, old, size)
    at = next_option(old, 0, size)
    while at < size:
        if is_sack(old, at):
            kept = at + 2
            for index in range(old[at + 1] // 8):
                block.begin = seq(get32(old + at + 2 + 8 * index))
                block.end = seq(get32(old + at + 6 + 8 * index))
                if committed(flow, &block):
                    put32(options + kept, block.begin.n)
                    put32(options + kept + 4, block.end.n)
                    kept += 8
            options[at + 1] = <uint8_t>(kept - at)
            if kept == at + 2:
                kept = at
            memset(options + kept, NOP, at + old[at + 1] - kept)
        at = next_option(old, at + old[at + 1], size)
    for index in range(size):
        changed = changed or options[index] != old[index]
    return changed


cdef bint sack_exceeds(const Flow *flow, const Packet *p, const uint8_t *base) noexcept nogil:
    cdef uint8_t[OPTIONS] options
    return not p.flags & SYN and rewrite(flow, base + p.l4 + 20, options, p.payload - p.l4 - 20)


cdef void sack_cut(const Flow *flow, Packet *p, uint8_t *base) noexcept nogil:
    cdef uint8_t[OPTIONS] options
    cdef uint32_t size = p.payload - p.l4 - 20
    cdef uint32_t at = 0
    rewrite(flow, base + p.l4 + 20, options, size)
    while at < size:
        set16(p, base, p.l4 + 20 + at, get16(options + at))  # a header has whole words
        at += 2
    p.sack = 0
    p.sack_blocks = 0
    parse_options(p, base)
