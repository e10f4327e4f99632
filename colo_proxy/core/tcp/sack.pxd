"""SACK blocks in released segments (RFC 2018; docs/comparison.md, T4a): no more than the SVM has received
too.
"""

from libc.stdint cimport uint8_t, uint32_t

from colo_proxy.core.core cimport Core
from colo_proxy.core.flow.flow cimport Flow
from colo_proxy.core.flow.pool cimport Node
from colo_proxy.core.packet.parse cimport Packet

cdef enum:
    SACK_ROOM = 40  # the largest size of a segment's options in bytes (RFC 9293, 3.1)

cdef enum Sacked:
    SACK_NONE = 0  # nothing new
    SACK_NEW = 1
    SACK_COMMON = 2  # something new, of which the other guest has received something

# Remember what a segment of either guest SACKs, and forget what it has acknowledged. After `note` of
# stream.pyx.
cdef Sacked sack_note(Core *core, Flow *flow, const Node *node) noexcept nogil
# Whether a segment SACKs more than clients may learn.
cdef bint sack_exceeds(const Flow *flow, const Packet *p, const uint8_t *base) noexcept nogil
# Write a SACK option, after NOPs, with the SVM's blocks, cut to what the PVM has received too. Returns its
# size in bytes, `room` at most; 0: no block is left.
cdef uint32_t sack_common(const Flow *flow, const Node *node, uint8_t *to, uint32_t room) noexcept nogil
# The same with all ranges that the PVM has SACKed and the SVM has received too, the highest first. Only with
# F_BEYOND, and if the SVM's acknowledgement is the higher one by MAX_DISTANCE at most.
cdef uint32_t sack_completed(const Flow *flow, uint8_t *to, uint32_t room) noexcept nogil
# Cut a segment's blocks to what clients may learn; the checksum is updated.
cdef void sack_cut(const Flow *flow, Packet *p, uint8_t *base) noexcept nogil
