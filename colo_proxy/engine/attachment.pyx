"""A port's place in the loop: whether it is read now, what epoll watches, and what happens when it fails.

A port that fails is reported once, taken out of epoll and tried again every 500 ms. When frames pass again, a
second report, with errno 0, follows.

A guest that sends faster than the uplink or the other guest can take is not read for a while (back-pressure);
only streams wait for this, because a device would drop frames instead.
"""

from libc cimport errno as c
from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.string cimport memset

from colo_proxy.core.vocabulary cimport PRIMARY, UPLINK
from colo_proxy.engine.kernel cimport (
    EPOLLIN,
    EPOLLOUT,
    EPOLL_CTL_ADD,
    EPOLL_CTL_DEL,
    EPOLL_CTL_MOD,
    epoll_ctl,
    epoll_event,
)
from colo_proxy.engine.ports.port cimport P_QEMU_SOCKET, port_attach, port_crowded, port_waits
from colo_proxy.engine.state cimport PORTS, SIDES, Attachment, Loop, Nic

cdef int64_t RETRY = 500000000  # ns


cdef void attachment_poll(Loop *loop, uint32_t number, int which) noexcept nogil:
    cdef Nic *nic = &loop.nics[number]
    cdef Attachment *attachment = &nic.attachments[which]
    cdef epoll_event event
    cdef int fd = -1
    memset(&event, 0, sizeof(event))
    event.data.u64 = <uint64_t>number * SIDES + <uint64_t>which
    event.events = EPOLLIN if attachment_is_read(loop, nic, which) else 0
    if port_waits(&attachment.port):
        event.events |= EPOLLOUT
    if event.events and loop.now >= attachment.retry:  # otherwise epoll would keep reporting hang-ups
        fd = attachment.port.fd
    if fd != attachment.polled:
        if attachment.polled >= 0:
            epoll_ctl(loop.epoll, EPOLL_CTL_DEL, attachment.polled, NULL)
        attachment.polled = -1
        attachment.interest = 0
        if fd >= 0 and epoll_ctl(loop.epoll, EPOLL_CTL_ADD, fd, &event) == 0:
            attachment.polled = fd
            attachment.interest = event.events
            attachment.ready = True
        elif fd >= 0:
            attachment_fail(loop, number, which, c.errno)
    elif fd >= 0 and attachment.interest != event.events:
        epoll_ctl(loop.epoll, EPOLL_CTL_MOD, fd, &event)
        attachment.interest = event.events


cdef bint attachment_is_read(const Loop *loop, const Nic *nic, int which) noexcept nogil:
    """A stream is not left unread for longer than MAX_BACK_OFF at a time. The process that writes to it may
    be a QEMU that is blocked meanwhile and makes no checkpoint, and it may be the one that we wait for.
    """
    if which == UPLINK or which >= PORTS or not attachment_outruns(nic, which):
        return True
    return nic.attachments[which].port.kind == P_QEMU_SOCKET and nic.shut_since and \
        loop.now >= nic.shut_since + MAX_BACK_OFF


cdef bint attachment_outruns(const Nic *nic, int which) noexcept nogil:
    """Some frames may always wait for the uplink: a QEMU with filters writes to us and reads from us by turns
    in one thread. If we stopped reading at once, each would wait for the other.

    A stream can wait where a device would drop. When half of what one flow may hold is used, only the guest
    that is behind is read. Both guests are never left unread for this reason; the timeout finds one that
    stays behind.
    """
    cdef bint pvm_waits
    if port_crowded(&nic.attachments[attachment_writer(nic, UPLINK)].port):
        return True
    if nic.attachments[which].port.kind != P_QEMU_SOCKET or \
            nic.core.pool.held_bytes <= nic.core.settings.max_flow_bytes // 2:
        return False
    pvm_waits = nic.core.counts.held_frames != 0
    return pvm_waits == (which == PRIMARY)


cdef int attachment_writer(const Nic *nic, int which) noexcept nogil:
    return which + PORTS if nic.attachments[which + PORTS].port.stream != NULL else which


cdef void attachment_fail(Loop *loop, uint32_t number, int which, int error) noexcept nogil:
    cdef Attachment *attachment = &loop.nics[number].attachments[which]
    if attachment.fault != error:
        attachment.fault = error
        attachment.untold = True
        attachment.quiet = False
    attachment.ready = False
    if attachment.retry <= loop.now:
        attachment.retry = loop.now + RETRY


cdef void attachment_heal(Attachment *attachment) noexcept nogil:
    if attachment.fault:
        attachment.fault = 0
        attachment.untold = True
        attachment.retry = 0


cdef void attachment_replace(Loop *loop, uint32_t number, int which, int fd) noexcept nogil:
    cdef Attachment *attachment = &loop.nics[number].attachments[which]
    if attachment.polled >= 0:
        epoll_ctl(loop.epoll, EPOLL_CTL_DEL, attachment.polled, NULL)
    attachment.polled = -1
    attachment.retry = 0
    if fd >= 0 and attachment.quiet:
        attachment.fault = 0
        attachment.quiet = False
    elif fd >= 0:
        attachment_heal(attachment)
    elif not attachment.fault:
        attachment.fault = c.ENOTCONN
        attachment.quiet = True
    port_attach(&attachment.port, fd)
    loop.nics[number].stirred = True
    attachment_poll(loop, number, which)
