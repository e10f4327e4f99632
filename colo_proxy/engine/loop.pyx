"""The turning of the data path: what can be read is read, judged and sent; then time has its say.

One thread owns a `Loop` while `loop_run` runs. Each turn

1. waits (epoll) for a port, a command or the nearest deadline, 500 ms at most;
2. takes the commands (requests.pyx);
3. serves each readable port: batches of up to 64 frames, a few of them, so that no port starves another
   (forward.pyx);
4. lets each comparator see the time, sends what comes out and reports;
5. now and then looks after ports that have failed and counts what the kernel dropped.

Nothing here allocates memory, locks or reads a file.
"""

from libc cimport errno as c
from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.string cimport memset

from colo_proxy.core.atomic cimport atomic_load_acquire, atomic_store
from colo_proxy.core.timers cimport timers_tick
from colo_proxy.core.vocabulary cimport MICROSECOND, MILLISECOND, PRIMARY, SECONDARY, UPLINK
from colo_proxy.engine.attachment cimport (
    MAX_BACK_OFF,
    attachment_fail,
    attachment_is_read,
    attachment_outruns,
    attachment_poll,
    attachment_writer,
)
from colo_proxy.engine.forward cimport forward_batch, forward_outs, forward_send, forward_watch_listener
from colo_proxy.engine.kernel cimport (
    EPOLLIN,
    EPOLLOUT,
    EPOLL_CTL_ADD,
    POLLOUT,
    epoll_ctl,
    epoll_event,
    epoll_wait,
    poll,
    pollfd,
    sched_yield,
)
from colo_proxy.engine.ports.port cimport (
    Port as PortState,
    port_count_queue,
    port_gone,
    port_monotonic,
    port_send,
    port_waits,
)
from colo_proxy.engine.requests cimport requests_report, requests_take
from colo_proxy.engine.state cimport PORTS, SIDES, Loop, Nic

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
    loop.now = port_monotonic()
    loop.housekeeping = loop.now + IDLE
    poll_bell(loop)
    for nic in range(loop.count):
        for at in range(SIDES):
            attachment_poll(loop, nic, at)
    while not atomic_load_acquire(&loop.stopping):
        got = await_some(loop, ready)
        loop.now = port_monotonic()
        atomic_store(&loop.beat, loop.beat + 1)
        for at in range(got):
            place = ready[at].data.u64
            if place == loop.count * SIDES:
                requests_take(loop)
            else:
                loop.nics[place // SIDES].attachments[place % SIDES].ready = True
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
        before = port_monotonic()
        sched_yield()
        now = port_monotonic()
        got = epoll_wait(loop.epoll, ready, READY, 0)
        if now - before > SHARED:
            break
    if got == 0 and milliseconds:
        got = epoll_wait(loop.epoll, ready, READY, milliseconds)
    if got > 0:
        loop.last_event = port_monotonic()
    return got


cdef void finish(Loop *loop) noexcept nogil:
    """Nothing is lost that had been committed: words that were posted are carried out, and what waits for the
    peer of an uplink gets some time to leave. What is held stays, and is lost with us."""
    cdef int64_t until = port_monotonic() + FAREWELL
    cdef uint32_t nic
    cdef PortState *uplink
    cdef pollfd which
    loop.now = port_monotonic()
    requests_take(loop)
    for nic in range(loop.count):
        uplink = &loop.nics[nic].attachments[attachment_writer(&loop.nics[nic], UPLINK)].port
        while uplink.fd >= 0 and port_waits(uplink) and port_monotonic() < until:
            which.fd = uplink.fd
            which.events = POLLOUT
            which.revents = 0
            poll(&which, 1, <int>((until - port_monotonic()) // MILLISECOND) + 1)
            if port_send(uplink, NULL, 0):
                break


cdef int time_to_wait(Loop *loop) noexcept nogil:
    """Milliseconds to the nearest deadline, rounded up; 0 where a port is known to have more."""
    cdef int64_t until = loop.housekeeping
    cdef uint32_t nic
    cdef int which
    for nic in range(loop.count):
        until = min(until, loop.nics[nic].deadline)
        if loop.nics[nic].shut_since and loop.now < loop.nics[nic].shut_since + MAX_BACK_OFF:
            until = min(until, loop.nics[nic].shut_since + MAX_BACK_OFF)
        for which in range(SIDES):
            if loop.nics[nic].attachments[which].ready and attachment_is_read(loop, &loop.nics[nic], which):
                return 0
    return <int>max((until - loop.now + MILLISECOND - 1) // MILLISECOND, 0)


cdef void serve_nic(Loop *loop, uint32_t number) noexcept nogil:
    cdef Nic *nic = &loop.nics[number]
    cdef int which, at, _
    for which in range(PORTS):
        at = attachment_writer(nic, which)
        if nic.attachments[at].interest & EPOLLOUT and port_waits(&nic.attachments[at].port):
            forward_send(loop, number, which, NULL, 0)
        if at != which and nic.attachments[at].ready:
            forward_watch_listener(loop, number, at)
    # In turns, so that what the guests say meets while it is in the cache.
    for _ in range(ROUNDS):
        for which in range(PORTS):
            if nic.attachments[which].ready and attachment_is_read(loop, nic, which):
                nic.stirred = True
                forward_batch(loop, number, which)
    forward_outs(loop, number)
    if nic.stirred:  # what has arrived may have a deadline of its own
        nic.stirred = False
        nic.deadline = min(nic.deadline, nic.ticked + TICK)
    if loop.now >= nic.deadline:
        nic.ticked = loop.now
        nic.deadline = timers_tick(nic.core, loop.now)
        forward_outs(loop, number)
    if not attachment_outruns(nic, PRIMARY) and not attachment_outruns(nic, SECONDARY):
        nic.shut_since = 0
    elif nic.shut_since == 0:
        nic.shut_since = loop.now
    for which in range(SIDES):
        attachment_poll(loop, number, which)
    requests_report(loop, number)


cdef void keep_house(Loop *loop) noexcept nogil:
    cdef uint32_t nic
    cdef int which
    loop.housekeeping = loop.now + IDLE
    for nic in range(loop.count):
        for which in range(PORTS):
            port_count_queue(&loop.nics[nic].attachments[which].port)
            if loop.nics[nic].attachments[which].fault and port_gone(&loop.nics[nic].attachments[which].port):
                attachment_fail(loop, nic, which, c.ENODEV)
        loop.nics[nic].stirred = True


cdef void poll_bell(Loop *loop) noexcept nogil:
    cdef epoll_event event
    memset(&event, 0, sizeof(event))
    event.events = EPOLLIN
    event.data.u64 = <uint64_t>loop.count * SIDES
    epoll_ctl(loop.epoll, EPOLL_CTL_ADD, loop.commands.bell, &event)
