"""A packet socket: batches of frames a system call, kernel timestamps, and VLAN tags put back."""

from libc.stdint cimport uint8_t, uint32_t

from colo_proxy.engine.ports.port cimport Batch, Frame, Port

# Message headers for a batch: its first frame goes to `first`, each next one `stride` bytes further.
cdef void *af_packet_scratch_new(uint8_t *first, uint32_t stride) noexcept nogil
cdef void af_packet_scratch_free(void *scratch) noexcept nogil
cdef int af_packet_receive(Port *port, Batch *batch) noexcept nogil
cdef int af_packet_send(Port *port, Frame *frames, uint32_t count) noexcept nogil
cdef void af_packet_count_queue(Port *port) noexcept nogil
# The interface has been removed: the socket stays without one for ever.
cdef bint af_packet_gone(const Port *port) noexcept nogil
