# See loop.pxd for what a turn is.

from libc cimport errno as c
from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.string cimport memset

from colo_proxy.datapath.carry cimport hear_listener, send, send_outs, take_batch
from colo_proxy.datapath.due cimport core_tick
from colo_proxy.datapath.kernel cimport (
    EPOLL_CTL_ADD,
    EPOLLIN,
    EPOLLOUT,
    POLLOUT,
    epoll_ctl,
    epoll_event,
    epoll_wait,
    poll,
    pollfd,
    sched_yield,
)
from colo_proxy.datapath.mailbox cimport load_acquire, store
from colo_proxy.datapath.orders cimport report, take_commands
from colo_proxy.datapath.plug cimport BACK_OFF, fail, is_open, outruns, poll_port, writer
from colo_proxy.datapath.ports cimport monotonic, port_count_queue, port_gone, port_send, port_waits
from colo_proxy.datapath.ports cimport Port as PortState
from colo_proxy.datapath.words cimport PRIMARY, SECONDARY, UPLINK

cdef int64_t MICROSECOND = 1000
cdef int64_t MILLISECOND = 1000 * MICROSECOND
cdef int64_t TICK = MILLISECOND  # how late a deadline may be seen while frames arrive without a pause
cdef int64_t FAREWELL = 500 * MILLISECOND  # for the peer of an uplink to take what waits, at the end
cdef int64_t IDLE = 500 * MILLISECOND  # the longest turn, and the pace of housekeeping
cdef int64_t LINGER = 30 * MICROSECOND  # more gains nothing more
cdef int64_t SHARED = 25 * MICROSECOND  # a yield that takes longer met somebody who needs the processor

cdef enum:
    ROUNDS = 4  # batches of one port a turn
    READY = 64


cdef void loop_run(Loop *loop) noexcept nogil:
    cdef epoll_event[READY] ready
    cdef uint32_t nic
    cdef int got, at
    cdef uint64_t place
    loop.now = monotonic()
    loop.housekeeping = loop.now + IDLE
    poll_bell(loop)
    for nic in range(loop.count):
        for at in range(SIDES):
            poll_port(loop, nic, at)
    while not load_acquire(&loop.stopping):
        got = await_some(loop, ready)
        loop.now = monotonic()
        store(&loop.beat, loop.beat + 1)
        for at in range(got):
            place = ready[at].data.u64
            if place == loop.count * SIDES:
                take_commands(loop)
            else:
                loop.nics[place // SIDES].plugs[place % SIDES].ready = True
        for nic in range(loop.count):
            serve_nic(loop, nic)
        if loop.now >= loop.housekeeping:
            keep_house(loop)
    finish(loop)


cdef int await_some(Loop *loop, epoll_event *ready) noexcept nogil:
    """Wait for a port, a command or the nearest deadline; returns how many are ready.

    What follows soon is met awake: after each event the thread lingers, since a sleeper that has to be woken
    on an idle processor costs an answer up to 10 us, three times a round trip. It offers the processor to
    everybody else meanwhile, and does not linger where somebody took it: guests need it more.
    """
    cdef int milliseconds = time_to_wait(loop)
    cdef int64_t now = loop.now
    cdef int64_t before
    cdef int got = epoll_wait(loop.epoll, ready, READY, 0)
    while got == 0 and milliseconds and now < loop.last_event + LINGER:
        before = monotonic()
        sched_yield()
        now = monotonic()
        got = epoll_wait(loop.epoll, ready, READY, 0)
        if now - before > SHARED:
            break
    if got == 0 and milliseconds:
        got = epoll_wait(loop.epoll, ready, READY, milliseconds)
    if got > 0:
        loop.last_event = monotonic()
    return got


cdef void finish(Loop *loop) noexcept nogil:
    """Nothing is lost that had been committed: words that were posted are carried out, and what waits for the
    peer of an uplink gets some time to leave. What is held stays, and is lost with us."""
    cdef int64_t until = monotonic() + FAREWELL
    cdef uint32_t nic
    cdef PortState *uplink
    cdef pollfd which
    loop.now = monotonic()
    take_commands(loop)
    for nic in range(loop.count):
        uplink = &loop.nics[nic].plugs[writer(&loop.nics[nic], UPLINK)].port
        while uplink.fd >= 0 and port_waits(uplink) and monotonic() < until:
            which.fd = uplink.fd
            which.events = POLLOUT
            which.revents = 0
            poll(&which, 1, <int>((until - monotonic()) // MILLISECOND) + 1)
            if port_send(uplink, NULL, 0):
                break


cdef int time_to_wait(Loop *loop) noexcept nogil:
    """Milliseconds to the nearest deadline, rounded up; 0 where a port is known to have more."""
    cdef int64_t until = loop.housekeeping
    cdef uint32_t nic
    cdef int which
    for nic in range(loop.count):
        until = min(until, loop.nics[nic].deadline)
        if loop.nics[nic].shut_since and loop.now < loop.nics[nic].shut_since + BACK_OFF:
            until = min(until, loop.nics[nic].shut_since + BACK_OFF)
        for which in range(SIDES):
            if loop.nics[nic].plugs[which].ready and is_open(loop, &loop.nics[nic], which):
                return 0
    return <int>max((until - loop.now + MILLISECOND - 1) // MILLISECOND, 0)


cdef void serve_nic(Loop *loop, uint32_t number) noexcept nogil:
    cdef Nic *nic = &loop.nics[number]
    cdef int which, at, _
    for which in range(PORTS):
        at = writer(nic, which)
        if nic.plugs[at].interest & EPOLLOUT and port_waits(&nic.plugs[at].port):
            send(loop, number, which, NULL, 0)
        if at != which and nic.plugs[at].ready:
            hear_listener(loop, number, at)
    # In turns, so that what the guests say meets while it is in the cache.
    for _ in range(ROUNDS):
        for which in range(PORTS):
            if nic.plugs[which].ready and is_open(loop, nic, which):
                nic.stirred = True
                take_batch(loop, number, which)
    send_outs(loop, number)
    if nic.stirred:  # what has arrived may have a deadline of its own
        nic.stirred = False
        nic.deadline = min(nic.deadline, nic.ticked + TICK)
    if loop.now >= nic.deadline:
        nic.ticked = loop.now
        nic.deadline = core_tick(nic.core, loop.now)
        send_outs(loop, number)
    if not outruns(nic, PRIMARY) and not outruns(nic, SECONDARY):
        nic.shut_since = 0
    elif nic.shut_since == 0:
        nic.shut_since = loop.now
    for which in range(SIDES):
        poll_port(loop, number, which)
    report(loop, number)


cdef void keep_house(Loop *loop) noexcept nogil:
    cdef uint32_t nic
    cdef int which
    loop.housekeeping = loop.now + IDLE
    for nic in range(loop.count):
        for which in range(PORTS):
            port_count_queue(&loop.nics[nic].plugs[which].port)
            if loop.nics[nic].plugs[which].fault and port_gone(&loop.nics[nic].plugs[which].port):
                fail(loop, nic, which, c.ENODEV)
        loop.nics[nic].stirred = True


cdef void poll_bell(Loop *loop) noexcept nogil:
    cdef epoll_event event
    memset(&event, 0, sizeof(event))
    event.events = EPOLLIN
    event.data.u64 = <uint64_t>loop.count * SIDES
    epoll_ctl(loop.epoll, EPOLL_CTL_ADD, loop.commands.bell, &event)
