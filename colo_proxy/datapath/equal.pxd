"""When two datagrams are equal, and where they differ (docs/comparison.md, D2 and D3).

Frames are compared by their datagrams: a super-frame of UDP has several (uso.pxd), any other one.
"""

from libc.stdint cimport uint32_t, uint64_t

from colo_proxy.datapath.flow cimport Flow
from colo_proxy.datapath.pool cimport Node
from colo_proxy.datapath.uso cimport Part
from colo_proxy.datapath.wire cimport Packet

# Where the bytes that `stream_offset` counts begin.
cdef uint32_t content(const Packet *p) noexcept nogil
# Two frames that are no super-frames, or are cut in the same way.
cdef bint datagram_equal(const Node *a, const Node *b) noexcept nogil
# Two datagrams of UDP, at least one of which is a part of a super-frame.
cdef bint part_equal(const Part *a, const Part *b) noexcept nogil
# Whether two frames of UDP have a datagram in common, but for the source port and what that changes in the
# checksum. `left`: how many comparisons more may be made.
cdef bint frames_alike(const Node *a, Node *b, int *left) noexcept nogil
# A digest of what is compared of the datagram of this index: the same for equal ones.
cdef uint64_t part_digest(const Flow *flow, const Node *node, uint32_t index) noexcept nogil
# The index of the first byte of content that differs between what waits first of both frames.
cdef uint32_t first_difference(const Node *a, const Node *b) noexcept nogil
