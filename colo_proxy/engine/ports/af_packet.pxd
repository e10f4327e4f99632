"""A packet socket: a batch of frames in each system call, kernel timestamps, VLAN tags put back."""

from libc.stdint cimport uint8_t, uint32_t

from colo_proxy.engine.ports.port cimport Batch, Frame, Port

# Message headers for a batch: its first frame is received at `first`, each further one `stride` bytes later.
cdef void *af_packet_scratch_new(uint8_t *first, uint32_t stride) noexcept nogil
cdef void af_packet_scratch_free(void *scratch) noexcept nogil
cdef int af_packet_receive(Port *port, Batch *batch) noexcept nogil
cdef int af_packet_send(Port *port, Frame *frames, uint32_t count) noexcept nogil
cdef void af_packet_count_queue(Port *port) noexcept nogil
# The interface has been removed: this socket will never have an interface again.
cdef bint af_packet_gone(const Port *port) noexcept nogil
