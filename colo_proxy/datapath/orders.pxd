"""What the control plane asks of the data path, and what it is told: both over rings (mailbox.pxd)."""

from libc.stdint cimport uint32_t

from colo_proxy.datapath.loop cimport Loop

cdef void take_commands(Loop *loop) noexcept nogil
# Put on the ring of events what there is to say of a NIC; what finds no room is said later.
cdef void report(Loop *loop, uint32_t number) noexcept nogil
