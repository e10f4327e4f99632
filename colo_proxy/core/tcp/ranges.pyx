"""Sets of sequence numbers: what both guests have sent beyond a hole of one (docs/comparison.md, 3.1).

How a set is laid out, and its invariants: ranges.pxd.
"""

from libc.stdint cimport uint32_t
from libc.string cimport memmove, memset

from colo_proxy.core.core cimport Core
from colo_proxy.core.flow.flow cimport F_BEYOND, Flow
from colo_proxy.core.flow.pool cimport Node, pool_give, pool_node_cost, pool_take
from colo_proxy.core.packet.seq cimport Seq, seq, seq_diff, seq_eq, seq_le, seq_lt, seq_max, seq_min

cdef enum:
    LASTING = 4  # sets take at most this fraction of the pool


cdef uint32_t first_beyond(const Ranges *ranges, Seq position) noexcept nogil:
    """The index of the first range that ends after a position, or `count`."""
    cdef uint32_t low = 0
    cdef uint32_t high = ranges.count
    cdef uint32_t middle
    while low < high:
        middle = (low + high) // 2
        if seq_le(ranges.each[middle].end, position):
            low = middle + 1
        else:
            high = middle
    return low


cdef bint add_part(Ranges *ranges, Seq begin, Seq end) noexcept nogil:
    """Add a part that does not overlap any range."""
    cdef uint32_t above = first_beyond(ranges, begin)
    cdef bint continues = above > 0 and seq_eq(ranges.each[above - 1].end, begin)
    cdef bint reaches = above < ranges.count and seq_eq(ranges.each[above].begin, end)
    if continues and reaches:
        ranges.each[above - 1].end = ranges.each[above].end
        ranges.count -= 1
        memmove(&ranges.each[above], &ranges.each[above + 1], (ranges.count - above) * sizeof(Range))
    elif continues:
        ranges.each[above - 1].end = end
    elif ranges.count == RANGES:
        return False
    elif reaches:
        ranges.each[above].begin = begin
    else:
        memmove(&ranges.each[above + 1], &ranges.each[above], (ranges.count - above) * sizeof(Range))
        ranges.each[above].begin = begin
        ranges.each[above].end = end
        ranges.count += 1
    return True


cdef bint ranges_add(Ranges *ranges, Seq begin, Seq end) noexcept nogil:
    cdef Seq at = begin
    cdef Seq until
    cdef bint all_in = True
    while ranges_gap(ranges, &at, end, &until):
        if not add_part(ranges, at, until):
            all_in = False
        at = until
    return all_in


cdef bint ranges_hold(const Ranges *ranges, Seq begin, Seq end) noexcept nogil:
    cdef uint32_t index = first_beyond(ranges, begin)
    # The ends are not compared: what begins nearly 2**31 away may end on the other side.
    return index < ranges.count and seq_le(ranges.each[index].begin, begin) and \
        seq_diff(ranges.each[index].end, begin) >= seq_diff(end, begin)


cdef bint ranges_meet(const Ranges *ranges, Seq begin, Seq end) noexcept nogil:
    cdef uint32_t index = first_beyond(ranges, begin)
    return index < ranges.count and seq_lt(ranges.each[index].begin, end)


cdef bint ranges_gap(const Ranges *ranges, Seq *at, Seq until, Seq *end) noexcept nogil:
    cdef uint32_t index = first_beyond(ranges, at[0])
    if index < ranges.count and seq_le(ranges.each[index].begin, at[0]):
        at[0] = ranges.each[index].end
        index += 1
    if seq_le(until, at[0]):
        return False
    end[0] = until
    if index < ranges.count:
        end[0] = seq_min(until, ranges.each[index].begin)
    return True


cdef void ranges_cut(Ranges *ranges, Seq below) noexcept nogil:
    cdef uint32_t gone = first_beyond(ranges, below)
    ranges.count -= gone
    memmove(&ranges.each[0], &ranges.each[gone], ranges.count * sizeof(Range))
    if ranges.count:
        ranges.each[0].begin = seq_max(ranges.each[0].begin, below)


cdef Beyond *ranges_make(Core *core, Flow *flow) noexcept nogil:
    cdef Node *node
    if not flow.flags & F_BEYOND:
        node = pool_take(core.pool, sizeof(Beyond))
        if node == NULL:
            return NULL
        # If memory that checkpoints do not free filled the pool, checkpoints would be requested without end.
        if core.pool.lasting_bytes + pool_node_cost(node) > core.pool.max_bytes // LASTING:
            pool_give(core.pool, node)
            return NULL
        core.pool.lasting_bytes += pool_node_cost(node)
        memset(node.data, 0, sizeof(Beyond))
        flow.beyond = node
        flow.flags |= F_BEYOND
    return ranges_of(flow)


cdef void ranges_settle(Core *core, Flow *flow) noexcept nogil:
    cdef Beyond *beyond = ranges_of(flow)
    if beyond.agreed.count == 0:
        beyond.pieced.count = 0
        if beyond.pvm_sacked.count == 0 and beyond.svm_sacked.count == 0:
            ranges_drop(core, flow)


cdef void ranges_drop(Core *core, Flow *flow) noexcept nogil:
    if flow.flags & F_BEYOND:
        core.pool.lasting_bytes -= pool_node_cost(flow.beyond)
        pool_give(core.pool, flow.beyond)
        flow.beyond = NULL
        flow.flags &= ~<uint32_t>F_BEYOND


cdef void ranges_commit(Core *core, Flow *flow, bint replaced) noexcept nogil:
    cdef Beyond *beyond
    if flow.flags & F_BEYOND:
        beyond = ranges_of(flow)
        beyond.agreed.count = beyond.pieced.count = 0
        beyond.finished = beyond.crowded = False
        if replaced:
            beyond.svm_sacked = beyond.pvm_sacked
        ranges_settle(core, flow)


cdef bint ranges_agreed(const Flow *flow, Seq start, Seq end, bint fin) noexcept nogil:
    cdef const Beyond *beyond = ranges_of(flow)
    if not ranges_hold(&beyond.agreed, start, end):
        return False
    return not fin or (beyond.finished and seq_eq(beyond.fin, end))


cdef class Positions:
    """A `Ranges` for tests: positions are integers modulo 2**32."""

    cdef Ranges ranges

    def __cinit__(self) -> None:
        self.ranges.count = 0

    def add(self, begin: int, end: int) -> bool:
        """Take in what lies from `begin` to `end`; False: not all of it found room."""
        return ranges_add(&self.ranges, seq(begin), seq(end))

    def hold(self, begin: int, end: int) -> bool:
        """Whether one range holds all from `begin` to `end`."""
        return ranges_hold(&self.ranges, seq(begin), seq(end))

    def meet(self, begin: int, end: int) -> bool:
        """Whether any range has any of what lies from `begin` to `end`."""
        return ranges_meet(&self.ranges, seq(begin), seq(end))

    def gaps(self, begin: int, end: int) -> list[tuple[int, int]]:
        """The parts of what lies from `begin` to `end` that no range has."""
        cdef Seq at = seq(begin)
        cdef Seq until
        found = []
        while ranges_gap(&self.ranges, &at, seq(end), &until):
            found.append((at.n, until.n))
            at = until
        return found

    def cut(self, below: int) -> None:
        """Forget what lies below a position."""
        ranges_cut(&self.ranges, seq(below))

    def each(self) -> list[tuple[int, int]]:
        """The ranges, in order."""
        return [(self.ranges.each[i].begin.n, self.ranges.each[i].end.n) for i in range(self.ranges.count)]
