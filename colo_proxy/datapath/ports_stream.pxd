"""QEMU's net stream over a connected socket: frames with their length in front. Its life, and reading.

Reading can never be misframed: bytes are taken only as whole frames, what an earlier peer sent in part is
forgotten when another is attached, and a length that no frame can have ends the connection. Writing is in
ports_stream_out.
"""

from libc.stdint cimport uint32_t

from colo_proxy.datapath.ports cimport Batch, Port, Stream

cdef enum:
    LENGTH = 4  # of a length
    # QEMU's headers have 10, 12 (mergeable buffers) or 20 bytes (hash report); all begin with the same 10.
    MAX_VNET = 64
    PREFIX = 2 * LENGTH + MAX_VNET  # what may stand in front of a frame
    COPIED = 512  # a frame up to this length is cheaper to copy, in and out, than to point at

cdef Stream *stream_new(bint vnet) noexcept nogil
cdef void stream_free(Stream *stream) noexcept nogil
# Forgets what the last peer sent in part, and without `keep` what was to be sent to it.
cdef void stream_attach(Port *port) noexcept nogil
# The frame that has come in part belongs to before a stop, and is dropped when it is complete.
cdef void stream_stop(Stream *stream) noexcept nogil
cdef int stream_receive(Port *port, Batch *batch) noexcept nogil
# Ends the connection, so that the peer notices too; the descriptor's owner closes it. Returns `error`.
cdef int give_up(Port *port, int error) noexcept nogil
