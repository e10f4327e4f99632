"""Whether a retransmission repeats what was agreed (docs/comparison.md, T14).

    advance           -> retransmission_learn     the PVM's bytes that have just come to be agreed
    commit            -> retransmission_replace   what leaves without having been compared
    client's segment  -> retransmission_end       what is acknowledged needs no digest any more
    PVM segment that begins in the agreed range -> retransmission_differs

What is known of the bytes of the agreed range: digests of whole pieces (digests.pxd), and segments of either
guest that wait with one end in the range and the other beyond it. A piece can be compared only where the
retransmission repeats all of it; where it repeats a part, and no segment that waits has the rest, its bytes
leave unverified and the segment is counted.

Without digests (`core.digests` NULL) retransmissions are trusted, and each one is counted.
"""

from colo_proxy.datapath.core cimport Core
from colo_proxy.datapath.flow cimport Flow
from colo_proxy.datapath.pool cimport Node
from colo_proxy.datapath.seq cimport Seq

# The range grows from `at`, its end until now, to `until`; a held PVM segment has all of it.
cdef void retransmission_learn(Core *core, Flow *flow, const Node *node, Seq at, Seq until) noexcept nogil
# A held PVM segment leaves on a commit: its bytes are what clients know of these positions from now on.
cdef void retransmission_replace(Core *core, Flow *flow, const Node *node) noexcept nogil
# A client's segment: how far it acknowledges what has left.
cdef void retransmission_end(Core *core, Flow *flow, const Node *node) noexcept nogil
# A held PVM segment that begins below the end of the range; true: it diverges, and waits for a commit.
cdef bint retransmission_differs(Core *core, Flow *flow, Node *node) noexcept nogil
