"""The SVM's duplicate acknowledgements (docs/comparison.md, T7a).

What only the SVM has lost, the PVM has acknowledged, so it tells clients nothing of the loss. An SVM's pure
acknowledgement that shows it is made into one that clients take for the PVM's, with no more than both guests
have received: the SVM's acknowledgement where it is the lower one, and what both have SACKed.

`svm_again` counts the duplicates that the SVM has sent of its acknowledgement, `told_again` those of
`told_ack` that have left: of one loss clients receive those of the guest that has sent more.
"""

from colo_proxy.datapath.core cimport Core
from colo_proxy.datapath.flow cimport Flow
from colo_proxy.datapath.pool cimport Node

# An SVM segment that `note` (stream.pyx) has taken in, and what it lets go of has left. `common`: it SACKs
# what the SVM had not SACKed before and the PVM has received too.
cdef void duplicate_tell(Core *core, Flow *flow, const Node *node, bint common) noexcept nogil
