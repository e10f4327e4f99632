"""The agreed range of a TCP flow: what both guests have said identically (docs/comparison.md, 3.1 and T1 to
T3).

Each side keeps the segments with bytes beyond the range in order of sequence numbers (`Side.low` to
`Side.high`). `advance` walks both lists from `matched` on, compares what both have, and moves `matched`; a
range beyond (ahead.pxd) that it reaches becomes part of the prefix. Segments are compared where they lie;
nothing is copied into a stream buffer.
"""

from libc.stdint cimport int32_t, int64_t

from colo_proxy.datapath.core cimport Core
from colo_proxy.datapath.flow cimport Flow, Side
from colo_proxy.datapath.pool cimport N_SVM, Node
from colo_proxy.datapath.seq cimport Seq, seq_add

cdef enum:
    FAR = 1 << 30  # the largest window (RFC 7323, 2.3): nothing further away can belong to the stream now

cdef enum What:
    IS_BYTE = 0
    IS_SYN = 1
    IS_FIN = 2

# Where a held node begins and ends, as positions of the PVM's.
cdef inline Seq position_of(const Flow *flow, Seq raw, bint svm) noexcept nogil:
    return seq_add(raw, -<int64_t>flow.offset) if svm else raw

cdef inline Seq start_of(const Node *node) noexcept nogil:
    return position_of(<Flow *>node.flow, node.packet.seq, (node.flags & N_SVM) != 0)

cdef inline Seq end_of(const Node *node) noexcept nogil:
    return seq_add(start_of(node), node.packet.length)

# The stream offset of a position; what lies before the first byte counts as offset 0.
cdef int64_t offset_of(const Flow *flow, Seq position) noexcept nogil
# Whether all that the node occupies is inside the agreed range, or inside one beyond it.
cdef bint agreed(const Flow *flow, const Node *node) noexcept nogil
# Put a held node on its side's sorted list; false: it contradicts what that side said before (T2).
cdef bint sort_in(Core *core, Flow *flow, Node *node) noexcept nogil
cdef void unsort(Node *node) noexcept nogil
# The last sorted node that begins at `start` or before; NULL: there is none.
cdef Node *last_before(const Side *side, Seq start) noexcept nogil
# Whether two segments have positions in common, and which.
cdef bint overlap(const Node *a, const Node *b, Seq *at, Seq *until) noexcept nogil
# The first difference of two segments from `at` to `until`, or `until`; `kinds` gets what the two have there.
cdef Seq compare(const Node *a, const Node *b, Seq at, Seq until, What *kinds) noexcept nogil
cdef bint advance(Core *core, Flow *flow) noexcept nogil
# Look again at the PVM segments below the range that something new, from `start` to `end`, may complete.
cdef void match_below(Core *core, Flow *flow, Seq start, Seq end) noexcept nogil
cdef void move_range(Flow *flow, Seq to) noexcept nogil
