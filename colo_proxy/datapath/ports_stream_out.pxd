"""The writing half of a net stream (ports_stream.pxd): frames into a socket that may be slow.

What the socket does not take waits in `out`, in order, and while anything waits there nothing goes past it.
A frame that was partly written when its peer went away is written to the next one from its beginning.
"""

from libc.stdint cimport uint32_t

from colo_proxy.datapath.ports cimport Frame, Port, Stream

cdef enum:
    GATHER = 65536  # bytes of short frames and prefixes that go with one system call
    OUT = 8388608  # what waits for a slow peer: two batches of super-frames; untouched pages cost nothing

cdef int stream_send(Port *port, Frame *frames, uint32_t count) noexcept nogil
cdef bint stream_waits(const Stream *stream) noexcept nogil
# More waits than a moment's stall explains.
cdef bint stream_crowded(const Stream *stream) noexcept nogil
# Drop and count what waits.
cdef void forget_waiting(Port *port) noexcept nogil
