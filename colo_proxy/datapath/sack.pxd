"""SACK blocks in what leaves (RFC 2018; docs/comparison.md, T4a): no more than the SVM has received too.

SACK blocks are in the client's numbers, so nothing moves them. For each guest a flow remembers what it has
SACKed beyond its acknowledgement (`Beyond.pvm_sacked`, `Beyond.svm_sacked`, ranges.pxd). A block in a segment
that leaves is cut to what the SVM has acknowledged or SACKed; one of which nothing is left goes, and NOPs take
its room.
"""

from libc.stdint cimport uint8_t

from colo_proxy.datapath.core cimport Core
from colo_proxy.datapath.flow cimport Flow
from colo_proxy.datapath.pool cimport Node
from colo_proxy.datapath.wire cimport Packet

# Remember what a segment of either guest SACKs, and forget what it has acknowledged; true if it SACKs
# anything new. After `note` (stream.pyx).
cdef bint sack_note(Core *core, Flow *flow, const Node *node) noexcept nogil
# Whether clients may not be told all that a segment SACKs.
cdef bint sack_exceeds(const Flow *flow, const Packet *p, const uint8_t *base) noexcept nogil
# Cut a segment's blocks to what clients may be told; the checksum is kept right.
cdef void sack_cut(const Flow *flow, Packet *p, uint8_t *base) noexcept nogil
