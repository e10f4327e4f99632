"""A TAP: one frame in each system call, the virtio-net header in front, VLAN tags in the frame."""

from libc.stdint cimport uint32_t

from colo_proxy.engine.ports.port cimport Batch, Frame, Port

cdef int tap_receive(Port *port, Batch *batch) noexcept nogil
cdef int tap_send(Port *port, Frame *frames, uint32_t count) noexcept nogil
