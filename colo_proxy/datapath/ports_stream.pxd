"""QEMU's net stream over a connected socket: frames with their length in front.

Reading can never be misframed: bytes are taken only as whole frames, what an earlier peer sent in part is
forgotten when another is attached, and a length that no frame can have ends the connection. Writing keeps the
order: what the socket does not take waits in `out`, and while anything waits there nothing goes past it. A
frame that was partly written when its peer went away is written to the next one from its beginning.
"""

from libc.stdint cimport uint32_t

from colo_proxy.datapath.ports cimport Batch, Frame, Port, Stream

cdef Stream *stream_new(bint vnet) noexcept nogil
cdef void stream_free(Stream *stream) noexcept nogil
# Forgets what the last peer sent in part, and without `keep` what was to be sent to it.
cdef void stream_attach(Port *port) noexcept nogil
# The frame that has come in part belongs to before a stop, and is dropped when it is complete.
cdef void stream_stop(Stream *stream) noexcept nogil
cdef int stream_receive(Port *port, Batch *batch) noexcept nogil
cdef int stream_send(Port *port, Frame *frames, uint32_t count) noexcept nogil
cdef bint stream_crowded(const Stream *stream) noexcept nogil
cdef bint stream_waits(const Stream *stream) noexcept nogil
