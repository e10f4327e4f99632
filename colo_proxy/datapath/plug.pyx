# See plug.pxd.

from libc cimport errno as c
from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.string cimport memset

from colo_proxy.datapath.kernel cimport (
    EPOLL_CTL_ADD,
    EPOLL_CTL_DEL,
    EPOLL_CTL_MOD,
    EPOLLIN,
    EPOLLOUT,
    epoll_ctl,
    epoll_event,
)
from colo_proxy.datapath.loop cimport PORTS, SIDES, Loop, Nic, Plug
from colo_proxy.datapath.ports cimport P_STREAM, port_attach, port_crowded, port_waits
from colo_proxy.datapath.words cimport PRIMARY, UPLINK

cdef int64_t RETRY = 500000000  # ns


cdef void poll_port(Loop *loop, uint32_t number, int which) noexcept nogil:
    cdef Nic *nic = &loop.nics[number]
    cdef Plug *plug = &nic.plugs[which]
    cdef epoll_event event
    cdef int fd = -1
    memset(&event, 0, sizeof(event))
    event.data.u64 = <uint64_t>number * SIDES + <uint64_t>which
    event.events = (EPOLLIN if is_open(loop, nic, which) else 0) | (EPOLLOUT if port_waits(&plug.port) else 0)
    if event.events and loop.now >= plug.retry:  # else epoll would still tell of hang-ups
        fd = plug.port.fd
    if fd != plug.polled:
        if plug.polled >= 0:
            epoll_ctl(loop.epoll, EPOLL_CTL_DEL, plug.polled, NULL)
        plug.polled = -1
        plug.interest = 0
        if fd >= 0 and epoll_ctl(loop.epoll, EPOLL_CTL_ADD, fd, &event) == 0:
            plug.polled = fd
            plug.interest = event.events
            plug.ready = True
        elif fd >= 0:
            fail(loop, number, which, c.errno)
    elif fd >= 0 and plug.interest != event.events:
        epoll_ctl(loop.epoll, EPOLL_CTL_MOD, fd, &event)
        plug.interest = event.events


cdef bint is_open(const Loop *loop, const Nic *nic, int which) noexcept nogil:
    """A stream is not shut for longer than BACK_OFF at a time: whoever writes to it may be a QEMU that does
    nothing else meanwhile, a checkpoint least of all, and it may be the one whose reading we wait for.
    """
    if which == UPLINK or which >= PORTS or not outruns(nic, which):
        return True
    return nic.plugs[which].port.kind == P_STREAM and nic.shut_since and \
        loop.now >= nic.shut_since + BACK_OFF


cdef bint outruns(const Nic *nic, int which) noexcept nogil:
    """A little may always wait for the uplink: a QEMU with filters writes to us and reads from us in turn, in
    one thread, and would wait for us to read while we wait for it.

    A stream can wait where a device would drop: with half of what one flow may hold taken, only the guest
    that is behind is read. Both are never shut for that, and one that stays behind is found by its timeout.
    """
    cdef bint pvm_waits
    if port_crowded(&nic.plugs[writer(nic, UPLINK)].port):
        return True
    if nic.plugs[which].port.kind != P_STREAM or \
            nic.core.pool.held_bytes <= nic.core.settings.max_flow_bytes // 2:
        return False
    pvm_waits = nic.core.counts.held_frames != 0
    return pvm_waits == (which == PRIMARY)


cdef int writer(const Nic *nic, int which) noexcept nogil:
    return which + PORTS if nic.plugs[which + PORTS].port.stream != NULL else which


cdef void fail(Loop *loop, uint32_t number, int which, int error) noexcept nogil:
    cdef Plug *plug = &loop.nics[number].plugs[which]
    if plug.fault != error:
        plug.fault = error
        plug.untold = True
        plug.quiet = False
    plug.ready = False
    if plug.retry <= loop.now:
        plug.retry = loop.now + RETRY


cdef void heal(Plug *plug) noexcept nogil:
    if plug.fault:
        plug.fault = 0
        plug.untold = True
        plug.retry = 0


cdef void attach(Loop *loop, uint32_t number, int which, int fd) noexcept nogil:
    cdef Plug *plug = &loop.nics[number].plugs[which]
    if plug.polled >= 0:
        epoll_ctl(loop.epoll, EPOLL_CTL_DEL, plug.polled, NULL)
    plug.polled = -1
    plug.retry = 0
    if fd >= 0 and plug.quiet:
        plug.fault = 0
        plug.quiet = False
    elif fd >= 0:
        heal(plug)
    elif not plug.fault:
        plug.fault = c.ENOTCONN
        plug.quiet = True
    port_attach(&plug.port, fd)
    loop.nics[number].stirred = True
    poll_port(loop, number, which)
