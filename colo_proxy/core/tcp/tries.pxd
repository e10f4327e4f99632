"""A SYN/ACK that is repeated with another ISN (T10): SYN cookies, where nothing is kept of the former one
(RFC 4987, 3.6).
"""

from libc.stdint cimport int64_t, uint8_t

from colo_proxy.core.flow.flow cimport Flow, Side
from colo_proxy.core.flow.pool cimport Node
from colo_proxy.core.packet.parse cimport Packet
from colo_proxy.core.packet.seq cimport Seq

# Whether a SYN/ACK is the side's former one with another ISN.
cdef bint tries_another(const Side *side, const Node *node) noexcept nogil
# Take it in.
cdef void tries_note(Flow *flow, Node *node) noexcept nogil
# A segment of a guest, with F_TRIES: may show its ISN. False: where it lies in the stream is not known.
cdef bint tries_place(Flow *flow, const Node *node) noexcept nogil
# A client acknowledges the PVM's SYN, perhaps: that shows the ISN. `now`: in ns.
cdef void tries_answered(Flow *flow, Seq ack, int64_t now) noexcept nogil
# A client's acknowledgement goes to the SVM, in the numbers of its present ISN.
cdef void tries_name(Flow *flow, int64_t now) noexcept nogil
# In captures: the SVM has received this acknowledgement of a client's. Then `tries_name` does nothing more.
cdef void tries_received(Flow *flow, Seq ack, int64_t now) noexcept nogil
# Whether a number of the SVM's is the first one behind its SYN, with any of its ISNs.
cdef bint tries_begin(const Flow *flow, Seq number) noexcept nogil
# Before a segment of the SVM is aligned for clients: a SYN/ACK gets the ISN that the offset is told by.
cdef void tries_align(const Flow *flow, Packet *p, uint8_t *base) noexcept nogil
# The SVM has the PVM's state: its ISNs, too.
cdef void tries_copy(Flow *flow) noexcept nogil
# Keep the ISNs that both go on with, for good.
cdef void tries_forget(Flow *flow) noexcept nogil
