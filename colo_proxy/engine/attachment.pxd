"""A port's place in the loop: whether it is read now, what epoll knows of it, and what happens when it fails.
"""

from libc.stdint cimport uint32_t

from colo_proxy.engine.state cimport Attachment, Loop, Nic

cdef enum:
    MAX_BACK_OFF = 1000000000  # ns for which a stream is shut at most

# Let epoll know what is wanted of a port now; a system call only where that has changed.
cdef void attachment_poll(Loop *loop, uint32_t number, int which) noexcept nogil
# Whether a port is read now.
cdef bint attachment_is_read(const Loop *loop, const Nic *nic, int which) noexcept nogil
# Whether a guest says more than can be taken: what was released waits for the uplink, or the other is behind.
cdef bint attachment_outruns(const Nic *nic, int which) noexcept nogil
# The attachment that a port's frames leave by.
cdef int attachment_writer(const Nic *nic, int which) noexcept nogil
# `error` is an errno.
cdef void attachment_fail(Loop *loop, uint32_t number, int which, int error) noexcept nogil
cdef void attachment_heal(Attachment *attachment) noexcept nogil
# Give a port another descriptor, or none (-1).
cdef void attachment_replace(Loop *loop, uint32_t number, int which, int fd) noexcept nogil
