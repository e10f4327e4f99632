"""The path of frames through the loop: from a port into the comparator, and from the comparator to the ports.
"""

from libc.stdint cimport uint32_t

from colo_proxy.engine.ports.port cimport Frame
from colo_proxy.engine.state cimport Loop

# Read a batch from a port, judge it, and send what comes out.
cdef void forward_batch(Loop *loop, uint32_t number, int which) noexcept nogil
# Notice that a peer which should only read has closed its connection. Anything it sends is discarded.
cdef void forward_watch_listener(Loop *loop, uint32_t number, int which) noexcept nogil
# Give a part of the batch to the comparator; `forward_outs` sends what comes out.
cdef void forward_to_comparator(Loop *loop, uint32_t number, int which, uint32_t first,
                                uint32_t end) noexcept nogil
# Send what came out of the comparator: in order for each port, one batch at a time.
cdef void forward_outs(Loop *loop, uint32_t number) noexcept nogil
# Send frames; without frames, send what waits to be sent.
cdef void forward_send(Loop *loop, uint32_t number, int which, Frame *frames, uint32_t count) noexcept nogil
