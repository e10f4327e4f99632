"""What the PVM's capture does not have, though the client has acknowledged it (docs/comparison.md, M4).

In captures alone: it has lost that, so nobody knows whether the guests have sent the same. It is reported as
not compared, once, and the comparison goes on behind it. Live, a client's acknowledgement proves nothing.
"""

from colo_proxy.datapath.core cimport Core
from colo_proxy.datapath.flow cimport Flow
from colo_proxy.datapath.key cimport Key
from colo_proxy.datapath.pool cimport Node

# A client's segment, as the PVM received it: what it acknowledges the PVM has sent.
cdef void gap_hear(Core *core, const Key *key, const Node *node) noexcept nogil
# Go on behind what the PVM's capture lacks at the end of the agreed range; whether there was such a gap.
cdef bint gap_skip(Core *core, Flow *flow) noexcept nogil
# No more of a flow will come: what the client has acknowledged of it beyond what its capture has.
cdef void gap_at_end(Core *core, const Flow *flow) noexcept nogil
