"""QEMU's filter-rewriter has been over the SVM's segments: they get the SVM's own numbers back.

It stands beside an SVM that colo-compare compares. What it does to the SVM's output (QEMU 11.1, seen on its
wire): a SYN and a SYN/ACK pass as they are and give it `isn_svm - isn_pvm`; from every later segment with
ACK, and no SYN, it takes that off; a segment without ACK (a bare RST) passes as it is; after a checkpoint
nothing is taken off. So of one connection the SVM's SYN/ACK comes in its own numbers, and the rest in the
PVM's, while the comparator takes all of a side to be of one kind.

Of a connection that the guests opened it takes nothing off, and it may be missing. Its first segment with ACK
shows that: it goes on where the SVM's own SYN ended.
"""

from colo_proxy.datapath.flow cimport Flow
from colo_proxy.datapath.pool cimport Node

# Undo it in the parsed numbers; the frame's bytes stay, for nothing of the SVM leaves.
cdef void undo_rewriter(Flow *flow, Node *node) noexcept nogil
