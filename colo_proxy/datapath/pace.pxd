"""While observing (C8), what clients say reaches the SVM at the SVM's own pace.

The PVM's output leaves at once, so clients acknowledge what the SVM has not said yet. A kernel ignores such
an acknowledgement, or resets a connection that it has not answered, and from then on the SVM is no replica to
observe. So, of what goes to the SVM:

    before its SYN   what acknowledges waits (`early`), and goes when the SVM has said its SYN
    from then on     acknowledges no more than the SVM has said; data need not wait for that
    what that took   is made up for by acknowledgements of our own, as the SVM says more, or repeats itself

With a real VMM none of this is needed: there the PVM's output waits for the SVM's.
"""

from colo_proxy.datapath.core cimport Core
from colo_proxy.datapath.flow cimport Flow
from colo_proxy.datapath.key cimport Key
from colo_proxy.datapath.pool cimport Node

# A client's TCP frame, not aligned yet: whether it waits for the SVM's SYN, and has been taken.
cdef bint pace_waits(Core *core, Flow *flow, Node *node) noexcept nogil
# The same, aligned: bring its acknowledgement down to what the SVM has said.
cdef void pace_clamp(const Flow *flow, Node *node) noexcept nogil
# The SVM has said a segment: what clients have acknowledged of it, it hears, and what waited for its SYN.
cdef void pace_answer(Core *core, Flow *flow, const Node *node) noexcept nogil
# Forget what waits.
cdef void pace_clear(Core *core) noexcept nogil
