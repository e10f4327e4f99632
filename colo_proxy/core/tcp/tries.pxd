"""A SYN/ACK that is repeated with another ISN (T10): SYN cookies, where the guest keeps nothing of the former
one (RFC 4987, 3.6).
"""

from libc.stdint cimport int64_t, uint8_t

from colo_proxy.core.flow.flow cimport Flow, Side
from colo_proxy.core.flow.pool cimport Node
from colo_proxy.core.packet.parse cimport Packet
from colo_proxy.core.packet.seq cimport Seq

# Whether a SYN/ACK repeats the side's former one with another ISN.
cdef bint tries_another(const Side *side, const Node *node) noexcept nogil
# Note it.
cdef void tries_note(Flow *flow, Node *node) noexcept nogil
# For a segment of a guest, with F_TRIES: it may show the ISN. False: its position in the stream is unknown.
cdef bint tries_place(Flow *flow, const Node *node) noexcept nogil
# A client's segment may acknowledge the PVM's SYN: that shows the ISN. `now`: in ns.
cdef void tries_answered(Flow *flow, Seq ack, int64_t now) noexcept nogil
# A client's acknowledgement is forwarded to the SVM, in the numbers of its present ISN.
cdef void tries_name(Flow *flow, int64_t now) noexcept nogil
# In captures: the SVM has received this acknowledgement of a client. From then on `tries_name` does nothing.
cdef void tries_received(Flow *flow, Seq ack, int64_t now) noexcept nogil
# Whether an SVM's number is the first one behind its SYN, for any of its ISNs.
cdef bint tries_begin(const Flow *flow, Seq number) noexcept nogil
# Before a segment of the SVM is aligned for clients: give a SYN/ACK the ISN to which the offset refers.
cdef void tries_align(const Flow *flow, Packet *p, uint8_t *base) noexcept nogil
# The SVM has the PVM's state, and so its ISNs.
cdef void tries_copy(Flow *flow) noexcept nogil
# Keep only the ISNs with which both continue, for good.
cdef void tries_forget(Flow *flow) noexcept nogil
