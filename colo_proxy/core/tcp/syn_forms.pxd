"""The forms of a SYN (T3b): some guests repeat it with fewer options, which a path may not know."""

from libc.stdint cimport uint32_t

from colo_proxy.core.core cimport Core
from colo_proxy.core.flow.flow cimport F_FORMS, Flow
from colo_proxy.core.flow.pool cimport Node

# The options of a SYN that bind, packed.
cdef uint32_t syn_forms_options(const Node *node) noexcept nogil
# Take in a SYN, whose side has its number already.
cdef void syn_forms_note(Flow *flow, const Node *node) noexcept nogil
# Whether the guests' forms differ, as far as both have sent some.
cdef bint syn_forms_differ(const Flow *flow) noexcept nogil
# Whether the form of a PVM's SYN is one it may repeat its SYN in; and whether the SVM has sent it too.
cdef bint syn_forms_known(const Flow *flow, const Node *node) noexcept nogil
cdef bint syn_forms_agreed(const Flow *flow, const Node *node) noexcept nogil
# A divergence where repeated forms differ, or a guest that acknowledges has not sent a form of the other's.
cdef inline void syn_forms_judge(Core *core, Flow *flow, const Node *node) noexcept nogil:
    if flow.flags & F_FORMS:  # else the forms are not looked at, segment by segment
        syn_forms_compare(core, flow, node)

cdef void syn_forms_compare(Core *core, Flow *flow, const Node *node) noexcept nogil
# The same where clients' SYN/ACK arrives: it answers what both have sent, and nothing else can follow.
cdef void syn_forms_answered(Core *core, Flow *flow) noexcept nogil
# The SVM counts as having sent what the PVM has (C4, C8), or its forms have come to be known.
cdef void syn_forms_copy(Flow *flow) noexcept nogil
cdef void syn_forms_settle(Flow *flow) noexcept nogil
