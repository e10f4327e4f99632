"""Behind a hole: what both guests have sent beyond the agreed prefix (docs/comparison.md, 3.1, T1 to T3).

A new segment is compared with what the other side has at the same positions. What is equal is agreed at once,
and goes into the flow's ranges (ranges.pxd), upwards until the first difference. Then the SVM's segments that
lie wholly inside a range are forgotten, and the PVM's leave the sorted list: both lists have only what is not
agreed.
"""

from colo_proxy.datapath.core cimport Core
from colo_proxy.datapath.flow cimport Flow
from colo_proxy.datapath.pool cimport Node
from colo_proxy.datapath.seq cimport Seq

# Compare a sorted node with what the other side has behind the hole (T2); true if more is agreed. Then call
# `forget_agreed` with the node's own beginning and end: it may forget the node itself. It returns how many of
# the PVM's segments that wait have come to be agreed, and one of them.
cdef bint compare_ahead(Core *core, Flow *flow, Node *node) noexcept nogil
cdef int forget_agreed(Core *core, Flow *flow, Seq start, Seq end, Node **one) noexcept nogil
# There may be room again for what had found none; true if more is agreed. Only with F_BEYOND.
cdef bint look_again(Core *core, Flow *flow) noexcept nogil
