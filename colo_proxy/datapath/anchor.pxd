"""Where the agreed range of a flow starts (docs/comparison.md, 3.1): at the PVM's SYN, or in mid-stream at
the first number that the PVM shows.

In mid-stream an empty segment shows it only provisionally: a keep-alive or a window probe has the number
before the next byte. Until the PVM shows bytes there the flow is F_PROVISIONAL; it is F_RAISED after they
have begun one higher.
"""

from colo_proxy.datapath.flow cimport Flow
from colo_proxy.datapath.pool cimport Node

# Whether a flow was first seen in mid-stream: neither guest's SYN will come.
cdef bint caught(const Flow *flow) noexcept nogil
# A segment of the PVM, already noted: the range starts there, empty, if it is the first, or if nothing is
# agreed yet and it shows another start.
cdef void anchor(Flow *flow, Node *node) noexcept nogil
# A segment of the SVM on a F_RAISED flow. Where it begins at the number of the PVM's empty segment, that was
# no keep-alive, and the PVM lacks a byte: the range starts there again.
cdef void lower_again(Flow *flow, const Node *node) noexcept nogil
