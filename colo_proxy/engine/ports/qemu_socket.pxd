"""QEMU's net stream over a connected socket: frames with their length in front. Attaching, ending and
reading.
"""

from libc.stdint cimport uint32_t

from colo_proxy.engine.ports.port cimport Batch, Port, QemuSocket

cdef enum:
    LENGTH_PREFIX = 4  # bytes of a length field
    # QEMU's headers have 10, 12 (mergeable buffers) or 20 bytes (hash report); all begin with the same 10.
    MAX_VNET = 64
    MAX_PREFIX = 2 * LENGTH_PREFIX + MAX_VNET  # the longest prefix of a frame
    SOCKET_COPIED = 512  # a frame up to this length is cheaper to copy, in and out, than to reference

cdef QemuSocket *qemu_socket_new(bint vnet) noexcept nogil
cdef void qemu_socket_free(QemuSocket *stream) noexcept nogil
# Forget what the last peer sent in part and, without `keep`, what was to be sent to it.
cdef void qemu_socket_attach(Port *port) noexcept nogil
# The frame received in part is from before a stop; it is dropped when it is complete.
cdef void qemu_socket_stop(QemuSocket *stream) noexcept nogil
cdef int qemu_socket_receive(Port *port, Batch *batch) noexcept nogil
# End the connection, so that the peer notices too; the descriptor's owner closes it. Return `error`.
cdef int qemu_socket_give_up(Port *port, int error) noexcept nogil
