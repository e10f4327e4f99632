"""When two datagrams are equal, and where they differ (docs/comparison.md, D2 and D3)."""

from libc.stdint cimport uint32_t, uint64_t

from colo_proxy.core.datagram.uso cimport Part
from colo_proxy.core.flow.flow cimport Flow
from colo_proxy.core.flow.pool cimport Node
from colo_proxy.core.packet.parse cimport Packet

# Where the bytes that `stream_offset` counts begin.
cdef uint32_t equal_content(const Packet *p) noexcept nogil
# Whether two frames are equal, of which neither is a super-frame, or both are cut in the same way.
cdef bint equal_frames(const Node *a, const Node *b) noexcept nogil
# Whether two UDP datagrams are equal, at least one of which is a part of a super-frame.
cdef bint equal_parts(const Part *a, const Part *b) noexcept nogil
# Whether two UDP frames have a datagram in common, apart from the source port and its effect on the checksum.
# `left`: how many more comparisons may be made.
cdef bint equal_but_for_port(const Node *a, Node *b, int *left) noexcept nogil
# A digest of what is compared of the datagram with this index: the same for equal datagrams.
cdef uint64_t equal_digest(const Flow *flow, const Node *node, uint32_t index) noexcept nogil
# The index of the first byte of content that differs between the first waiting datagrams of both frames.
cdef uint32_t equal_first_difference(const Node *a, const Node *b) noexcept nogil
