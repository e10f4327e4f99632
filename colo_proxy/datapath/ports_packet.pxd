"""A packet socket: batches of frames a system call, kernel timestamps, and VLAN tags put back.

The kernel takes the outermost VLAN tag out of each frame that it gives to a packet socket and reports it
beside the frame (PACKET_AUXDATA). The rest of the program sees frames as they were on the wire.
"""

from libc.stdint cimport uint8_t, uint32_t

from colo_proxy.datapath.ports cimport Batch, Frame, Port

# Message headers for a batch: its first frame goes to `first`, each next one `stride` bytes further.
cdef void *packet_scratch_new(uint8_t *first, uint32_t stride) noexcept nogil
cdef void packet_scratch_free(void *scratch) noexcept nogil
cdef int packet_receive(Port *port, Batch *batch) noexcept nogil
cdef int packet_send(Port *port, Frame *frames, uint32_t count) noexcept nogil
cdef void packet_count_queue(Port *port) noexcept nogil
# The interface has been removed: the socket stays without one for ever.
cdef bint packet_gone(const Port *port) noexcept nogil
