"""Segments that the proxy makes itself, from one that the PVM has sent."""

from libc.stdint cimport uint8_t, uint32_t

from colo_proxy.core.core cimport Core
from colo_proxy.core.flow.pool cimport Node
from colo_proxy.core.packet.parse cimport Packet
from colo_proxy.core.packet.seq cimport Seq

cdef uint32_t craft_gso_size(const Node *node) noexcept nogil
# A pure acknowledgement with a segment's headers, as the PVM would send it right after that segment.
cdef Node *craft_acknowledgement(Core *core, const Node *node, Seq ack, uint8_t scale) noexcept nogil
# Set the lengths and the checksums of a TCP segment.
cdef void craft_seal(const Packet *p, uint8_t *base) noexcept nogil
# `count` bytes of a segment's payload from `begin` on, as a segment of their own, without FIN and PSH.
cdef Node *craft_part(Core *core, const Node *node, Seq begin, uint32_t count) noexcept nogil
