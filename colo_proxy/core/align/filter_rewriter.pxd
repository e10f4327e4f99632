"""Undo what QEMU's filter-rewriter did to the SVM's segments, so that they have the SVM's own numbers again.
"""

from colo_proxy.core.flow.flow cimport Flow
from colo_proxy.core.flow.pool cimport Node

# Undo it in the parsed numbers; the frame's bytes stay unchanged, because no frame of the SVM is sent.
cdef void filter_rewriter_undo(Flow *flow, Node *node) noexcept nogil
