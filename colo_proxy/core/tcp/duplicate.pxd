"""The SVM's duplicate acknowledgements (docs/comparison.md, T7a)."""

from colo_proxy.core.core cimport Core
from colo_proxy.core.flow.flow cimport Flow
from colo_proxy.core.flow.pool cimport Node

# An SVM segment that `note` (stream.pyx) has taken in, and what it lets go of has left. `common`: it SACKs
# what the SVM had not SACKed before and the PVM has received too.
cdef void duplicate_tell(Core *core, Flow *flow, const Node *node, bint common) noexcept nogil
