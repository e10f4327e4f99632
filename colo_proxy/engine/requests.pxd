"""What the control plane requests of the data path, and what the data path reports: both over rings
(ring.pxd).
"""

from libc.stdint cimport uint32_t

from colo_proxy.engine.state cimport Loop

cdef void requests_take(Loop *loop) noexcept nogil
# Put on the ring of events what there is to report about a NIC. What finds no room is reported later.
cdef void requests_report(Loop *loop, uint32_t number) noexcept nogil
