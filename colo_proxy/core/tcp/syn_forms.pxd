"""SYNs that are repeated with other options (T3b): some guests leave out options that a path may not support.
"""

from libc.stdint cimport uint32_t

from colo_proxy.core.core cimport Core
from colo_proxy.core.flow.flow cimport F_FORMS, Flow
from colo_proxy.core.flow.pool cimport Node

# The options of a SYN that must be equal, packed.
cdef uint32_t syn_forms_options(const Node *node) noexcept nogil
# Note a SYN; the number of its side is known already.
cdef void syn_forms_note(Flow *flow, const Node *node) noexcept nogil
# Whether the guests' forms differ, as far as both have sent any.
cdef bint syn_forms_differ(const Flow *flow) noexcept nogil
# Whether the PVM's SYN has a form that it has sent before; and whether the SVM has sent that form too.
cdef bint syn_forms_known(const Flow *flow, const Node *node) noexcept nogil
cdef bint syn_forms_agreed(const Flow *flow, const Node *node) noexcept nogil
# Report a divergence if repeated forms differ, or if a guest that acknowledges lacks a form that the other
# has sent.
cdef inline void syn_forms_judge(Core *core, Flow *flow, const Node *node) noexcept nogil:
    if flow.flags & F_FORMS:  # otherwise the forms are not examined for each segment
        syn_forms_compare(core, flow, node)

cdef void syn_forms_compare(Core *core, Flow *flow, const Node *node) noexcept nogil
# The same when a client's SYN/ACK arrives: it answers what both have sent, and no further form can follow.
cdef void syn_forms_answered(Core *core, Flow *flow) noexcept nogil
# Count the PVM's forms as sent by the SVM too (C4, C8), or because they are known now.
cdef void syn_forms_copy(Flow *flow) noexcept nogil
cdef void syn_forms_settle(Flow *flow) noexcept nogil
