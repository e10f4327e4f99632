"""Releasing what the PVM sent on a TCP connection: rules T1 and T4 to T9 of docs/comparison.md."""

from libc.stdint cimport uint8_t, uint16_t, uint64_t

from colo_proxy.core.core cimport Core
from colo_proxy.core.flow.flow cimport Flow
from colo_proxy.core.flow.pool cimport Node
from colo_proxy.core.packet.seq cimport Seq

cdef struct Clamp:
    bint change  # something differs from what the PVM sent
    bint sack  # its SACK blocks differ
    Seq ack
    uint16_t window
    Seq edge
    uint64_t order  # arrival number of the segment that carries it

# By how much the PVM's windows are scaled; 0 where no SYN was seen.
cdef uint8_t release_shift_of(const Flow *flow) noexcept nogil
# Release everything that may leave now, in the order in which the PVM sent it.
cdef void release_all(Core *core, Flow *flow) noexcept nogil
# Whether clients know a later window than that of this acknowledgement.
cdef bint release_out_of_date(const Flow *flow, const Node *node) noexcept nogil
# Whether clients still need the part of a released segment's acknowledgement that was cut off (T6).
cdef bint release_still_owed(const Flow *flow, const Node *owed) noexcept nogil
# Judge the one node that has just been put on the lists.
cdef void release_new(Core *core, Flow *flow, Node *node) noexcept nogil
# A frame that is released unchanged, uncompared or committed: remember what clients learn from it.
cdef void release_note_told(Flow *flow, const Node *node) noexcept nogil
# Give a segment that is released a TSval no older than any released before (T16).
cdef void release_stamp(Flow *flow, Node *node) noexcept nogil
# What a segment may acknowledge and offer (T4, T5); write it into the segment; note that it was released.
cdef Clamp release_clamp_of(const Flow *flow, const Node *node) noexcept nogil
cdef void release_apply(const Flow *flow, Node *node, const Clamp *clamp) noexcept nogil
cdef void release_tell(Flow *flow, const Clamp *clamp) noexcept nogil
# A digest of a reset's text (RFC 9293, 3.5.3), 0 where it has none.
cdef uint64_t release_reset_text(const Core *core, const Node *node) noexcept nogil
# Whether a reset that only one guest has sent answers a stray segment of a connection that is over (M1).
cdef bint release_stray_reset(const Core *core, const Flow *flow, const Node *node) noexcept nogil
