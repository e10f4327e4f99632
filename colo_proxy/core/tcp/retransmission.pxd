"""Whether a retransmission repeats what was agreed (docs/comparison.md, T14)."""

from colo_proxy.core.core cimport Core
from colo_proxy.core.flow.flow cimport Flow
from colo_proxy.core.flow.pool cimport Node
from colo_proxy.core.packet.seq cimport Seq

# The range grows from `at`, its end until now, to `until`; a held PVM segment has all of it.
cdef void retransmission_learn(Core *core, Flow *flow, const Node *node, Seq at, Seq until) noexcept nogil
# A held PVM segment is released by a commit: from now on clients have its bytes at these positions.
cdef void retransmission_replace(Core *core, Flow *flow, const Node *node) noexcept nogil
# A client's segment: how far it acknowledges what was released.
cdef void retransmission_end(Core *core, Flow *flow, const Node *node) noexcept nogil
# A held PVM segment that begins below the end of the range; true: it diverges, and waits for a commit.
cdef bint retransmission_differs(Core *core, Flow *flow, Node *node) noexcept nogil
