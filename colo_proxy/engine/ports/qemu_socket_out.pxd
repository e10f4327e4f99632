"""The writing half of a net stream (qemu_socket.pxd): frames into a socket that may be slow."""

from libc.stdint cimport uint32_t

from colo_proxy.engine.ports.port cimport Frame, Port, QemuSocket

cdef enum:
    SOCKET_GATHER = 65536  # bytes of short frames and prefixes that one system call sends
    # What waits for a slow peer: two batches of super-frames. Pages that are never touched cost nothing.
    SOCKET_OUT = 8388608

cdef int qemu_socket_out_send(Port *port, Frame *frames, uint32_t count) noexcept nogil
cdef bint qemu_socket_out_waits(const QemuSocket *stream) noexcept nogil
# More waits than a short stall explains.
cdef bint qemu_socket_out_crowded(const QemuSocket *stream) noexcept nogil
# Drop and count what waits.
cdef void qemu_socket_out_forget(Port *port) noexcept nogil
