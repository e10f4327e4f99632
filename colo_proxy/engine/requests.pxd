"""What the control plane asks of the data path, and what it is told: both over rings (ring.pxd)."""

from libc.stdint cimport uint32_t

from colo_proxy.engine.state cimport Loop

cdef void requests_take(Loop *loop) noexcept nogil
# Put on the ring of events what there is to say of a NIC; what finds no room is said later.
cdef void requests_report(Loop *loop, uint32_t number) noexcept nogil
