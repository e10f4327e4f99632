"""While observing (C8), what clients say reaches the SVM at the SVM's own pace.

The PVM's output leaves at once, so clients acknowledge what the SVM has not said yet. A kernel ignores such
an acknowledgement, or resets a connection that it has not answered, and from then on the SVM is no replica to
observe. So, of what goes to the SVM:

    before its SYN   what acknowledges waits (`early`), and goes when the SVM has said its SYN
    from then on     acknowledges no more than the SVM has said; data need not wait for that
    what that took   is made up for by acknowledgements of our own, as the SVM says more, or repeats itself

Where the PVM's output waits for the SVM's, only the last of these is needed: an acknowledgement that was lost
on its way to the SVM is repeated where the SVM repeats what was acknowledged (T15). Clients would do that, if
they received what the SVM sends.
"""

from colo_proxy.datapath.core cimport Core
from colo_proxy.datapath.flow cimport Flow
from colo_proxy.datapath.key cimport Key
from colo_proxy.datapath.pool cimport Node

# A client's TCP frame, not aligned yet: note what it acknowledges.
cdef void pace_hear(Flow *flow, const Node *node) noexcept nogil
# The same, while observing: whether it waits for the SVM's SYN, and has been taken.
cdef bint pace_waits(Core *core, Flow *flow, Node *node) noexcept nogil
# The same, aligned: bring its acknowledgement down to what the SVM has said.
cdef void pace_clamp(const Flow *flow, Node *node) noexcept nogil
# An SVM segment that begins below what clients have acknowledged is answered with that (T15). While observing
# it may be any segment, and what waited for the SVM's SYN goes.
cdef void pace_answer(Core *core, Flow *flow, const Node *node) noexcept nogil
# Forget what waits.
cdef void pace_clear(Core *core) noexcept nogil
