"""A port's place in the loop: whether it is read now, what epoll watches, and what happens when it fails."""

from libc.stdint cimport uint32_t

from colo_proxy.engine.state cimport Attachment, Loop, Nic

cdef enum:
    MAX_BACK_OFF = 1000000000  # ns: the longest time for which a stream is not read

# Register with epoll what is wanted of a port now; a system call only where that has changed.
cdef void attachment_poll(Loop *loop, uint32_t number, int which) noexcept nogil
# Whether a port is read now.
cdef bint attachment_is_read(const Loop *loop, const Nic *nic, int which) noexcept nogil
# Whether a guest sends more than can be taken: what was released waits for the uplink, or the other guest is
# behind.
cdef bint attachment_outruns(const Nic *nic, int which) noexcept nogil
# The attachment through which a port's frames are sent.
cdef int attachment_writer(const Nic *nic, int which) noexcept nogil
# `error` is an errno.
cdef void attachment_fail(Loop *loop, uint32_t number, int which, int error) noexcept nogil
cdef void attachment_heal(Attachment *attachment) noexcept nogil
# Give a port another descriptor, or none (-1).
cdef void attachment_replace(Loop *loop, uint32_t number, int which, int fd) noexcept nogil
