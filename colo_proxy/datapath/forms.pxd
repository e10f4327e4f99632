"""The forms of a SYN (T3b): some guests repeat it with fewer options, which a path may not know.

The k-th form of the PVM's leaves when the SVM's k-th is the same. What binds the connection is then the
latest form that both have sent: it is in `syn_options` and `wscale` of both sides.
"""

from libc.stdint cimport uint32_t

from colo_proxy.datapath.core cimport Core
from colo_proxy.datapath.flow cimport Flow
from colo_proxy.datapath.pool cimport Node

# The options of a SYN that bind, packed.
cdef uint32_t options_of(const Node *node) noexcept nogil
# Take in a SYN, whose side has its number already.
cdef void forms_note(Flow *flow, const Node *node) noexcept nogil
# Whether the guests' forms differ, as far as both have sent some.
cdef bint forms_differ(const Flow *flow) noexcept nogil
# Whether the form of a PVM's SYN is one it may repeat its SYN in; and whether the SVM has sent it too.
cdef bint form_known(const Flow *flow, const Node *node) noexcept nogil
cdef bint form_agreed(const Flow *flow, const Node *node) noexcept nogil
# A divergence where repeated forms differ, or a guest that acknowledges has not sent a form of the other's.
cdef void forms_judge(Core *core, Flow *flow, const Node *node) noexcept nogil
# The same where clients' SYN/ACK arrives: it answers what both have sent, and nothing else can follow.
cdef void forms_answered(Core *core, Flow *flow) noexcept nogil
# The SVM counts as having sent what the PVM has (C4, C8), or its forms have come to be known.
cdef void forms_copy(Flow *flow) noexcept nogil
cdef void forms_settle(Flow *flow) noexcept nogil
