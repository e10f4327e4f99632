"""The SVM's duplicate acknowledgements (docs/comparison.md, T7a)."""

from colo_proxy.core.core cimport Core
from colo_proxy.core.flow.flow cimport Flow
from colo_proxy.core.flow.pool cimport Node
from colo_proxy.core.packet.seq cimport Seq

# For an SVM segment that `note` (stream.pyx) has processed, after what it releases has been sent. `before`:
# what the SVM had acknowledged, if `known`; `common`: the segment SACKs something that the SVM had not SACKed
# before and that the PVM has received too.
cdef void duplicate_tell(
    Core *core, Flow *flow, const Node *node, bint known, Seq before, bint common
) noexcept nogil
