"""SACK blocks in released segments (RFC 2018; docs/comparison.md, T4a): no more than the SVM has received
too.

SACK blocks are in the client's numbers, so they need no alignment. For each guest a flow remembers what it
has SACKed beyond its acknowledgement (`Beyond.pvm_sacked`, `Beyond.svm_sacked`, ranges.pxd). A block in a
released segment is cut to what the SVM has acknowledged or SACKed. A block of which nothing is left is
removed, and NOPs take its place.
"""

from libc.stdint cimport uint8_t, uint32_t
from libc.string cimport memcpy, memset

from colo_proxy.core.core cimport Core
from colo_proxy.core.flow.flow cimport F_BEYOND, Flow, Side
from colo_proxy.core.flow.pool cimport N_SVM, N_UNPLACED, Node
from colo_proxy.core.packet.checksum cimport checksum_set16
from colo_proxy.core.packet.parse cimport ACK, RST, SYN, Packet, get16, get32, parse_options, put32
from colo_proxy.core.packet.seq cimport Seq, seq, seq_diff, seq_le, seq_lt, seq_max, seq_min
from colo_proxy.core.tcp.agreed cimport MAX_DISTANCE
from colo_proxy.core.tcp.ranges cimport (
    Beyond,
    Range,
    Ranges,
    ranges_add,
    ranges_cut,
    ranges_gap,
    ranges_make,
    ranges_meet,
    ranges_of,
    ranges_settle,
)

cdef enum:
    SACK = 5
    NOP = 1


cdef inline bint is_sack(const uint8_t *options, uint32_t at) noexcept nogil:
    return options[at] == SACK and options[at + 1] >= 10 and options[at + 1] % 8 == 2


cdef uint32_t next_option(const uint8_t *options, uint32_t at, uint32_t size) noexcept nogil:
    """Where the next whole option begins, as `parse_options` walks the list; `size`: there is none."""
    while at < size and options[at] == NOP:
        at += 1
    if at + 2 > size or options[at] == 0 or options[at + 1] < 2 or at + options[at + 1] > size:
        return size
    return at


cdef Sacked sack_note(Core *core, Flow *flow, const Node *node) noexcept nogil:
    cdef bint svm = (node.flags & N_SVM) != 0
    cdef const Side *side = &flow.svm if svm else &flow.pvm
    cdef Sacked found = SACK_NONE
    cdef const uint8_t *options
    cdef uint32_t size, at, block
    if not side.acked or node.flags & N_UNPLACED or node.packet.flags & (SYN | RST):
        return SACK_NONE
    if flow.flags & F_BEYOND:
        ranges_cut(sacked_by(flow, svm), side.ack)
        ranges_settle(core, flow)
    if not node.packet.sack_blocks or not node.packet.flags & ACK:
        return SACK_NONE
    options = node.data + node.packet.l4 + 20
    size = node.packet.payload - node.packet.l4 - 20
    at = next_option(options, 0, size)
    while at < size:
        if is_sack(options, at):
            for block in range(options[at + 1] // 8):
                found = max(found, note_block(core, flow, svm, options + at + 2 + 8 * block))
        at = next_option(options, at + options[at + 1], size)
    return found


cdef Ranges *sacked_by(const Flow *flow, bint svm) noexcept nogil:
    return &ranges_of(flow).svm_sacked if svm else &ranges_of(flow).pvm_sacked


cdef Sacked note_block(Core *core, Flow *flow, bint svm, const uint8_t *block) noexcept nogil:
    cdef Seq ack = flow.svm.ack if svm else flow.pvm.ack
    cdef Seq at = seq(get32(block))
    cdef Seq right = seq(get32(block + 4))
    cdef Seq left, end
    cdef Sacked found = SACK_NONE
    if not seq_lt(at, right) or not seq_lt(ack, right) or seq_diff(right, ack) > MAX_DISTANCE or \
            ranges_make(core, flow) == NULL:
        return SACK_NONE
    # A block that lies below the acknowledgement, or partly, reports duplicates (RFC 2883).
    left = at = seq_max(at, ack)
    while ranges_gap(sacked_by(flow, svm), &at, right, &end):
        found = max(found, SACK_COMMON if received(flow, not svm, at, end) else SACK_NEW)
        at = end
    ranges_add(sacked_by(flow, svm), left, right)
    return found


cdef bint received(const Flow *flow, bint svm, Seq begin, Seq end) noexcept nogil:
    """Whether a guest has acknowledged or SACKed any of what lies from `begin` to `end`."""
    cdef const Side *side = &flow.svm if svm else &flow.pvm
    return side.acked and (seq_lt(begin, side.ack) or ranges_meet(sacked_by(flow, svm), begin, end))


cdef bint cut_to(const Flow *flow, bint svm, Range *block) noexcept nogil:
    """Cut a block to the longest part, the first of equals, that a guest has received; false: it has none."""
    cdef Seq ack = flow.svm.ack if svm else flow.pvm.ack
    cdef Range best, part
    cdef const Ranges *ranges
    cdef uint32_t index
    cdef Seq least
    if not seq_lt(block.begin, block.end):
        return False  # it is unknown how clients interpret it
    if seq_le(block.end, ack):
        return True
    best.begin = block.begin
    best.end = least = seq_max(block.begin, ack)
    # Nothing further away can belong to this stream, and positions must be near each other to be compared.
    if flow.flags & F_BEYOND and seq_diff(block.end, ack) <= MAX_DISTANCE:
        ranges = sacked_by(flow, svm)
        for index in range(ranges.count):
            part.begin = seq_max(least, ranges.each[index].begin)
            part.end = seq_min(block.end, ranges.each[index].end)
            if seq_diff(part.end, part.begin) > seq_diff(best.end, best.begin):
                best = part
    block[0] = best
    return seq_lt(best.begin, best.end)


cdef uint32_t sack_common(const Flow *flow, const Node *node, uint8_t *to, uint32_t room) noexcept nogil:
    cdef const uint8_t *options = node.data + node.packet.l4 + 20
    cdef uint32_t size = node.packet.payload - node.packet.l4 - 20
    cdef uint32_t at = next_option(options, 0, size)
    cdef uint32_t end = 4
    cdef uint32_t index
    cdef Range block
    while at < size:
        if is_sack(options, at):
            for index in range(options[at + 1] // 8):
                block = block_at(options + at + 2 + 8 * index)
                if end + 8 <= room and cut_to(flow, False, &block):
                    put32(to + end, block.begin.n)
                    put32(to + end + 4, block.end.n)
                    end += 8
        at = next_option(options, at + options[at + 1], size)
    return finish_option(to, end)


cdef uint32_t sack_completed(const Flow *flow, uint8_t *to, uint32_t room) noexcept nogil:
    cdef const Beyond *beyond = ranges_of(flow)
    cdef uint32_t index = beyond.pvm_sacked.count
    cdef uint32_t other
    cdef uint32_t end = 4
    cdef Range acknowledged
    acknowledged.begin = flow.pvm.ack
    acknowledged.end = flow.svm.ack
    while index:
        index -= 1
        other = beyond.svm_sacked.count
        while other:
            other -= 1
            end = write_common(&beyond.pvm_sacked.each[index], &beyond.svm_sacked.each[other], to, end, room)
        end = write_common(&beyond.pvm_sacked.each[index], &acknowledged, to, end, room)
    return finish_option(to, end)


cdef uint32_t write_common(
    const Range *one, const Range *other, uint8_t *to, uint32_t end, uint32_t room
) noexcept nogil:
    """Write what two ranges have in common as a block, if there is any and room for it."""
    cdef Seq begin = seq_max(one.begin, other.begin)
    cdef Seq last = seq_min(one.end, other.end)
    if not seq_lt(begin, last) or end + 8 > room:
        return end
    put32(to + end, begin.n)
    put32(to + end + 4, last.n)
    return end + 8


cdef uint32_t finish_option(uint8_t *to, uint32_t end) noexcept nogil:
    """Write what comes before the blocks, if there are any; returns the size of everything."""
    if end == 4:
        return 0
    put32(to, 0x01010500 | (end - 2))
    return end


cdef Range block_at(const uint8_t *at) noexcept nogil:
    cdef Range block
    block.begin = seq(get32(at))
    block.end = seq(get32(at + 4))
    return block


cdef bint rewrite(const Flow *flow, const uint8_t *old, uint8_t *options, uint32_t size) noexcept nogil:
    """The options that a segment must have; true if they differ from what it has."""
    cdef Range block
    cdef uint32_t at, index, kept
    cdef bint changed = False
    memcpy(options, old, size)
    at = next_option(old, 0, size)
    while at < size:
        if is_sack(old, at):
            kept = at + 2
            for index in range(old[at + 1] // 8):
                block = block_at(old + at + 2 + 8 * index)
                if cut_to(flow, True, &block):
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
    cdef uint8_t[SACK_ROOM] options
    return not p.flags & SYN and rewrite(flow, base + p.l4 + 20, options, p.payload - p.l4 - 20)


cdef void sack_cut(const Flow *flow, Packet *p, uint8_t *base) noexcept nogil:
    cdef uint8_t[SACK_ROOM] options
    cdef uint32_t size = p.payload - p.l4 - 20
    cdef uint32_t at = 0
    rewrite(flow, base + p.l4 + 20, options, size)
    while at < size:
        checksum_set16(p, base, p.l4 + 20 + at, get16(options + at))  # a header has whole words
        at += 2
    p.sack = 0
    p.sack_blocks = 0
    parse_options(p, base)
