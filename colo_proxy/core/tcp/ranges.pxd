"""Sets of sequence numbers: what both guests have sent beyond a hole of one (docs/comparison.md, 3.1).

    ... agreed prefix ...|  hole  |--- range ---|  hole  |-- range --|
                      matched     begin        end

A `Ranges` is a set of positions, kept as a short list. Invariants, between any two calls:

- each range is not empty: `begin` lies before `end`;
- they are in order, and no two touch: each `end` lies before the next `begin`;
- there are RANGES at most. Going upwards, a position is taken in if it continues a range, or while there is
  room for another one; so it makes no difference how what is added was cut.
- all positions of one set lie within 2**31 of each other. Callers see to that: they take in what lies at most
  FAR (agreed.pxd) beyond a number that only grows, and `ranges_cut` forgets what it has passed.

The sets of a flow are in its `Beyond`, in a node of the pool that the flow has only while one of them is not
empty (F_BEYOND): a flow without holes pays one test of a flag, and no memory. `agreed` has these too:

- every range of it begins beyond `matched`, as soon as `advance` (agreed.pxd) has returned: a range that the
  prefix reaches becomes part of it;
- no node of the SVM lies wholly inside a range (it is forgotten), and none of the PVM's that does is on the
  sorted list;
- it is empty after a commit: all that the PVM has sent is below `matched` then.

`pvm_sacked` and `svm_sacked` are what that guest has SACKed beyond its acknowledgement, in the client's
numbers.
"""

from libc.stdint cimport uint32_t

from colo_proxy.core.core cimport Core
from colo_proxy.core.flow.flow cimport F_BEYOND, Flow
from colo_proxy.core.packet.seq cimport Seq, seq_lt

cdef enum:
    RANGES = 48  # more than a window of 4,000 segments needs if 1 % of them is lost
    FEW = RANGES // 2

cdef struct Range:
    Seq begin
    Seq end  # one past the last position

cdef struct Ranges:
    uint32_t count
    Range[RANGES] each

cdef struct Beyond:
    Ranges agreed
    bint finished  # a FIN is agreed here, `fin` is one past it
    Seq fin
    bint crowded  # something agreed could not be added for lack of room
    Ranges pvm_sacked
    Ranges svm_sacked
    Ranges pieced  # what was released as pieces of held segments (T13)

# Add what lies from `begin` to `end`; false: there was not room for all of it.
cdef bint ranges_add(Ranges *ranges, Seq begin, Seq end) noexcept nogil
# Whether one range contains everything from `begin` to `end`.
cdef bint ranges_hold(const Ranges *ranges, Seq begin, Seq end) noexcept nogil
# The first part of what lies from `at` to `until` that is in no range: moves `at` to its beginning and sets
# `end` to its end. False: there is none.
cdef bint ranges_gap(const Ranges *ranges, Seq *at, Seq until, Seq *end) noexcept nogil
# Whether any range contains a part of what lies from `begin` to `end`.
cdef bint ranges_meet(const Ranges *ranges, Seq begin, Seq end) noexcept nogil
# Forget what lies below a position.
cdef void ranges_cut(Ranges *ranges, Seq below) noexcept nogil

cdef inline Beyond *ranges_of(const Flow *flow) noexcept nogil:
    """A flow's sets; only with F_BEYOND."""
    return <Beyond *>flow.beyond.data

cdef inline bint ranges_any(const Flow *flow) noexcept nogil:
    """Whether anything is agreed beyond the prefix."""
    return flow.flags & F_BEYOND and ranges_of(flow).agreed.count

cdef inline bint ranges_beyond_gap(const Flow *flow, Seq *at, Seq until, Seq *end) noexcept nogil:
    """`ranges_gap` for what is agreed beyond the prefix, which may be nothing."""
    if flow.flags & F_BEYOND:
        return ranges_gap(&ranges_of(flow).agreed, at, until, end)
    end[0] = until
    return seq_lt(at[0], until)

cdef inline Seq ranges_last_end(const Flow *flow) noexcept nogil:
    """Where the last of its ranges ends; only with some."""
    return ranges_of(flow).agreed.each[ranges_of(flow).agreed.count - 1].end

# A flow's sets, made if there are none; NULL: the pool is full, and everything is as without ranges.
cdef Beyond *ranges_make(Core *core, Flow *flow) noexcept nogil
# Free the sets if all are empty, or in any case.
cdef void ranges_settle(Core *core, Flow *flow) noexcept nogil
cdef void ranges_drop(Core *core, Flow *flow) noexcept nogil
# Forget what is agreed beyond the prefix, after a commit has passed it. If the SVM was replaced, it has
# SACKed what the PVM had.
cdef void ranges_commit(Core *core, Flow *flow, bint replaced) noexcept nogil
# Whether a range contains everything from `start` to `end`; `fin`: its last position is a FIN.
cdef bint ranges_agreed(const Flow *flow, Seq start, Seq end, bint fin) noexcept nogil
