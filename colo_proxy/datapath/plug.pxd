"""A port's place in the loop: whether it is read now, what epoll knows of it, and what happens when it fails.

A port that fails is reported once, taken out of epoll and tried again every 500 ms; another report, with
errno 0, follows when frames pass again.
"""

from libc.stdint cimport uint32_t

from colo_proxy.datapath.loop cimport Loop, Nic, Plug

cdef enum:
    BACK_OFF = 1000000000  # ns for which a stream is shut at most

# Let epoll know what is wanted of a port now; a system call only where that has changed.
cdef void poll_port(Loop *loop, uint32_t number, int which) noexcept nogil
# Whether a port is read now.
cdef bint is_open(const Loop *loop, const Nic *nic, int which) noexcept nogil
# Whether a guest says more than can be taken: what was released waits for the uplink, or the other is behind.
cdef bint outruns(const Nic *nic, int which) noexcept nogil
# The plug that a port's frames leave by.
cdef int writer(const Nic *nic, int which) noexcept nogil
# `error` is an errno.
cdef void fail(Loop *loop, uint32_t number, int which, int error) noexcept nogil
cdef void heal(Plug *plug) noexcept nogil
# Give a port another descriptor, or none (-1).
cdef void attach(Loop *loop, uint32_t number, int which, int fd) noexcept nogil
