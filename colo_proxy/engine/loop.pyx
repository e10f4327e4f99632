"""The loop of the data path: frames that can be read are read, judged and sent; then deadlines are checked.

One thread owns a `Loop` while `loop_run` runs. Each turn

1. waits (epoll) for a port, a command or the nearest deadline, 500 ms at most;
2. takes the commands (requests.pyx);
3. serves each readable port: batches of up to 64 frames, a few of them, so that no port starves another
   (forward.pyx);
4. lets each comparator check its deadlines, sends what comes out, and reports events;
5. from time to time retries ports that have failed, and reads how many frames the kernel dropped.

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

cdef int64_t TICK = MILLISECOND  # how late a deadline may be noticed while frames arrive without a pause
cdef int64_t FAREWELL = 500 * MILLISECOND  # at the end: how long the peer of an uplink has to take what waits
cdef int64_t IDLE = 500 * MILLISECOND  # the longest turn, and the interval of housekeeping
cdef int64_t LINGER = 30 * MICROSECOND  # a longer time gains nothing
# a yield that takes longer shows that another process needs the processor
cdef int64_t SHARED = 25 * MICROSECOND
cdef int64_t UNSHARED = 250 * MILLISECOND  # after such a yield: how long the thread does not poll

cdef enum:
    ROUNDS = 4  # batches read from one port in one turn
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
    """Wait for a port, a command or the nearest deadline; return how many are ready.

    After each event the thread polls for a short time instead of sleeping, because waking a thread on an idle
    processor takes up to 10 us, three times in a round trip. While it polls it yields the processor. When
    another process uses it, the guests need it more, and the thread gets it back late: a yield gives up the
    rest of a time slice, so while the processor is needed, each frame waits 3 ms or more (Linux's EEVDF
    scheduler). So the thread then sleeps without polling for some time.
    """
    cdef int milliseconds = time_to_wait(loop)
    cdef int64_t now = loop.now
    cdef int64_t before
    cdef int got = epoll_wait(loop.epoll, ready, READY, 0)
    while got == 0 and milliseconds and loop.unshared <= now < loop.last_event + LINGER:
        before = port_monotonic()
        sched_yield()
        now = port_monotonic()
        got = epoll_wait(loop.epoll, ready, READY, 0)
        if now - before > SHARED:
            loop.unshared = now + UNSHARED
    if got == 0 and milliseconds:
        got = epoll_wait(loop.epoll, ready, READY, milliseconds)
    if got > 0:
        loop.last_event = port_monotonic()
    return got


cdef void finish(Loop *loop) noexcept nogil:
    """Lose nothing that was committed: posted commands are carried out, and the peer of an uplink gets some
    time to take what waits for it. Held output stays held and is lost when the process ends.
    """
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
    # By turns, so that the output of both guests meets in the cache.
    for _ in range(ROUNDS):
        for which in range(PORTS):
            if nic.attachments[which].ready and attachment_is_read(loop, nic, which):
                nic.stirred = True
                forward_batch(loop, number, which)
    forward_outs(loop, number)
    if nic.stirred:  # a frame that has arrived may have set a new deadline
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
