"""The agreed range of a TCP flow: what both guests have sent identically (docs/comparison.md, 3.1 and T1 to
T3).
"""

from libc.stdint cimport int32_t, int64_t

from colo_proxy.core.core cimport Core
from colo_proxy.core.flow.flow cimport Flow, Side
from colo_proxy.core.flow.pool cimport N_SVM, Node
from colo_proxy.core.packet.seq cimport Seq, seq_add

cdef enum:
    # the largest window (RFC 7323, 2.3): nothing further away can belong to the stream now
    MAX_DISTANCE = 1 << 30

cdef enum What:
    IS_BYTE = 0
    IS_SYN = 1
    IS_FIN = 2

# Where a held node begins and ends, in the PVM's sequence numbers.
cdef inline Seq agreed_position_of(const Flow *flow, Seq raw, bint svm) noexcept nogil:
    return seq_add(raw, -<int64_t>flow.offset) if svm else raw

cdef inline Seq agreed_start_of(const Node *node) noexcept nogil:
    return agreed_position_of(<Flow *>node.flow, node.packet.seq, (node.flags & N_SVM) != 0)

cdef inline Seq agreed_end_of(const Node *node) noexcept nogil:
    return seq_add(agreed_start_of(node), node.packet.length)

# The stream offset of a position; positions before the first byte count as offset 0.
cdef int64_t agreed_offset_of(const Flow *flow, Seq position) noexcept nogil
# Whether everything that the node occupies lies in the agreed range, or in one range beyond it.
cdef bint agreed_covers(const Flow *flow, const Node *node) noexcept nogil
# Put a held node on its side's sorted list; false: it contradicts what that side sent before (T2).
cdef bint agreed_sort_in(Core *core, Flow *flow, Node *node) noexcept nogil
# The last sorted node that begins at `start` or before; NULL: there is none.
cdef Node *agreed_last_before(const Side *side, Seq start) noexcept nogil
# Whether two segments have positions in common, and which.
cdef bint agreed_overlap(const Node *a, const Node *b, Seq *at, Seq *until) noexcept nogil
# The first difference of two segments from `at` to `until`, or `until`; `kinds` receives what the two have
# there.
cdef Seq agreed_compare(const Node *a, const Node *b, Seq at, Seq until, What *kinds) noexcept nogil
# Agree on an SVM segment directly, without holding it, if it continues the prefix, equals what the PVM has
# there, and nothing else has to be examined. True: all of it is agreed; false: nothing has changed.
cdef bint agreed_continue(Core *core, Flow *flow, const Node *svm) noexcept nogil
# Compare what both sides have from `matched` on; true if the range has grown.
cdef bint agreed_advance(Core *core, Flow *flow) noexcept nogil
# Compare the PVM segments below the range again that something new, from `start` to `end`, may complete.
cdef void agreed_match_below(Core *core, Flow *flow, Seq start, Seq end) noexcept nogil
cdef void agreed_move(Flow *flow, Seq to) noexcept nogil
