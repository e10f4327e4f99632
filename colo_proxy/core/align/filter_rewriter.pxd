"""QEMU's filter-rewriter has been over the SVM's segments: they get the SVM's own numbers back."""

from colo_proxy.core.flow.flow cimport Flow
from colo_proxy.core.flow.pool cimport Node

# Undo it in the parsed numbers; the frame's bytes stay, for nothing of the SVM leaves.
cdef void filter_rewriter_undo(Flow *flow, Node *node) noexcept nogil
