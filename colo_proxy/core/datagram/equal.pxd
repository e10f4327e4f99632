"""When two datagrams are equal, and where they differ (docs/comparison.md, D2 and D3)."""

from libc.stdint cimport uint32_t, uint64_t

from colo_proxy.core.datagram.uso cimport Part
from colo_proxy.core.flow.flow cimport Flow
from colo_proxy.core.flow.pool cimport Node
from colo_proxy.core.packet.parse cimport Packet

# Where the bytes that `stream_offset` counts begin.
cdef uint32_t equal_content(const Packet *p) noexcept nogil
# Two frames that are no super-frames, or are cut in the same way.
cdef bint equal_frames(const Node *a, const Node *b) noexcept nogil
# Two datagrams of UDP, at least one of which is a part of a super-frame.
cdef bint equal_parts(const Part *a, const Part *b) noexcept nogil
# Whether two frames of UDP have a datagram in common, but for the source port and what that changes in the
# checksum. `left`: how many comparisons more may be made.
cdef bint equal_but_for_port(const Node *a, Node *b, int *left) noexcept nogil
# A digest of what is compared of the datagram of this index: the same for equal ones.
cdef uint64_t equal_digest(const Flow *flow, const Node *node, uint32_t index) noexcept nogil
# The index of the first byte of content that differs between what waits first of both frames.
cdef uint32_t equal_first_difference(const Node *a, const Node *b) noexcept nogil
