# See loop.pxd for what a turn is.

from libc cimport errno as c
from libc.stdint cimport INT64_MAX, int64_t, uint32_t, uint64_t
from libc.string cimport memset

from colo_proxy.datapath.core cimport Core, Out
from colo_proxy.datapath.entry cimport (
    W_COMMIT,
    W_PVM_STOP,
    W_SVM_LOADED,
    W_SVM_STOP,
    Word,
    core_counts,
    core_crowded,
    core_divergence,
    core_exhausted,
    core_expect,
    core_fetch,
    core_outs,
    core_primary,
    core_secondary,
    core_sent,
    core_tick,
    core_try,
    core_uplink,
    core_word,
)
from colo_proxy.datapath.epoch cimport epoch_drop_stragglers
from colo_proxy.datapath.flow cimport Guess
from colo_proxy.datapath.kernel cimport (
    EPOLL_CTL_ADD,
    EPOLL_CTL_DEL,
    EPOLL_CTL_MOD,
    EPOLLIN,
    EPOLLOUT,
    POLLOUT,
    epoll_ctl,
    epoll_event,
    epoll_wait,
    poll,
    pollfd,
)
from colo_proxy.datapath.mailbox cimport (
    load_acquire,
    ring_give_back,
    ring_oldest,
    ring_publish,
    ring_room,
    ring_silence,
    ring_vacant,
    store,
)
from colo_proxy.datapath.ports cimport (
    BATCH,
    P_PACKET,
    P_STREAM,
    Frame,
    Stream,
    monotonic,
    port_attach,
    port_crowded,
    port_count_overruns,
    port_gone,
    port_receive,
    port_send,
    port_waits,
    realtime,
)
from colo_proxy.datapath.ports cimport Port as PortState
from colo_proxy.datapath.ports_stream cimport stream_stop
from colo_proxy.datapath.words cimport DROPS, M_FAILED_OVER, PRIMARY, SECONDARY, UPLINK

cdef int64_t MILLISECOND = 1000000
cdef int64_t TICK = MILLISECOND  # how late a deadline may be seen while frames arrive without a pause
cdef int64_t FAREWELL = 500 * MILLISECOND  # for the peer of an uplink to take what waits, at the end
cdef int64_t BACK_OFF = 1000 * MILLISECOND
cdef int64_t IDLE = 500 * MILLISECOND  # the longest turn, and the pace of housekeeping

cdef enum:
    ROUNDS = 4  # batches of one port a turn
    DRAIN = 1024  # batches taken when a stopped guest's port is drained: more than any queue holds
    READY = 64
    GATHERED = 65536  # bytes that may wait for more to leave with
    AHEAD = 8  # frames whose flows are on their way to the cache while others are judged
    # Room that reports leave in the ring of events for the answers to commands: as many as can be under way.
    RESERVED = 256


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
        got = epoll_wait(loop.epoll, ready, READY, time_to_wait(loop))
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


cdef bint is_open(const Loop *loop, const Nic *nic, int which) noexcept nogil:
    """Whether a port is read now.

    A stream is not shut for longer than BACK_OFF at a time: whoever writes to it may be a QEMU that does
    nothing else meanwhile, a checkpoint least of all, and it may be the one whose reading we wait for.
    """
    if which == UPLINK or which >= PORTS or not outruns(nic, which):
        return True
    return nic.plugs[which].port.kind == P_STREAM and nic.shut_since and \
        loop.now >= nic.shut_since + BACK_OFF


cdef bint outruns(const Nic *nic, int which) noexcept nogil:
    """Whether a guest says more than can be taken: what was released waits for the uplink, or the other is
    behind.

    A little may always wait for the uplink: a QEMU with filters writes to us and reads from us in turn, in
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


# Ports.

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


cdef void take_batch(Loop *loop, uint32_t number, int which) noexcept nogil:
    """Read a batch from a port and take it all the way."""
    cdef Plug *plug = &loop.nics[number].plugs[which]
    cdef int error = port_receive(&plug.port, loop.batch)
    plug.ready = loop.batch.more
    if loop.batch.count:
        heal(plug)
        if plug.port.kind == P_STREAM:
            pass_on_headers(&loop.nics[number], plug.port.stream)
        judge(loop, number, which, 0, loop.batch.count)
        if not may_gather(loop.nics[number].core):
            send_outs(loop, number)
    if error:
        fail(loop, number, which, error)


cdef void hear_listener(Loop *loop, uint32_t number, int which) noexcept nogil:
    """Notice that a peer which only reads has gone. What it says, for it should not, is thrown away."""
    cdef Plug *plug = &loop.nics[number].plugs[which]
    cdef int error = port_receive(&plug.port, loop.batch)
    plug.ready = loop.batch.more
    if error:
        fail(loop, number, which, error)


cdef void pass_on_headers(Nic *nic, const Stream *of) noexcept nogil:
    """A peer that only listens does not say how long its virtio-net headers are: as those of who speaks.

    All are one NIC's. A QEMU that gets 10 bytes where its NIC has 12 takes two of the frame.
    """
    cdef int which
    cdef Stream *to
    for which in range(SIDES):
        to = nic.plugs[which].port.stream
        if to != NULL and not to.told:
            to.vnet_size = of.vnet_size


cdef bint may_gather(Core *core) noexcept nogil:
    """Whether what came out can wait for what the next batch lets go, to leave in fewer system calls.

    Not what lies in a receive buffer that the next batch overwrites.
    """
    cdef uint32_t count, at
    cdef Out *outs = core_outs(core, &count)
    cdef uint32_t size = 0
    if count >= OUTGOING:
        return False
    for at in range(count):
        size += outs[at].size
        if outs[at].node == NULL:
            return False
    if size > GATHERED:
        return False
    return True


cdef void judge(Loop *loop, uint32_t number, int which, uint32_t first, uint32_t end) noexcept nogil:
    """Give a part of the batch to the comparator; what comes out is sent by `send_outs`."""
    cdef Nic *nic = &loop.nics[number]
    cdef Frame *frames = loop.batch.frames
    cdef Guess[BATCH] guesses
    cdef bint crowded
    cdef uint32_t at
    if which == UPLINK:
        if not nic.core.settings.compare_only:
            mirror(loop, number, first, end)
    else:
        crowded = core_crowded(nic.core)
        if crowded:
            for at in range(first, end):
                core_expect(nic.core, frames[at].base, frames[at].size, &guesses[at])
            for at in range(first, min(first + AHEAD, end)):
                core_fetch(nic.core, &guesses[at])
        for at in range(first, end):
            if crowded:
                if at + AHEAD < end:
                    core_fetch(nic.core, &guesses[at + AHEAD])
                core_try(nic.core, &guesses[at])
            nic.core.home = frames[at].home
            if which == PRIMARY:
                core_primary(nic.core, frames[at].base, frames[at].size, loop.now)
            else:
                core_secondary(nic.core, frames[at].base, frames[at].size, loop.now)
            frames[at].home = nic.core.home
        nic.core.home = NULL


cdef void mirror(Loop *loop, uint32_t number, uint32_t first, uint32_t end) noexcept nogil:
    """Clients' frames: to the PVM as they are, then to the SVM as the comparator rewrites them."""
    cdef Nic *nic = &loop.nics[number]
    cdef Plug *copies = &nic.plugs[<int>SECONDARY]
    cdef Frame *frames = loop.batch.frames
    cdef uint32_t at
    if core_counts(nic.core).mode != M_FAILED_OVER:
        send(loop, number, PRIMARY, frames + first, end - first)
    for at in range(first, end):
        if core_uplink(nic.core, frames[at].base, frames[at].size, loop.now):
            copies.outgoing[copies.count] = frames[at]
            copies.count += 1
    send(loop, number, SECONDARY, copies.outgoing, copies.count)
    copies.count = 0


cdef void send_outs(Loop *loop, uint32_t number) noexcept nogil:
    """Send what came out of the comparator: in order for each port, a batch at a time."""
    cdef Nic *nic = &loop.nics[number]
    cdef uint32_t count, at
    cdef int which
    cdef Plug *plug
    cdef Out *outs = core_outs(nic.core, &count)
    for at in range(count):
        which = <int>outs[at].port
        plug = &nic.plugs[which]
        plug.outgoing[plug.count].base = outs[at].base
        plug.outgoing[plug.count].size = outs[at].size
        plug.count += 1
        if plug.count == OUTGOING:
            send(loop, number, which, plug.outgoing, plug.count)
            plug.count = 0
    for which in range(PORTS):
        plug = &nic.plugs[which]
        if plug.count:
            send(loop, number, which, plug.outgoing, plug.count)
            plug.count = 0
    core_sent(nic.core)


cdef void send(Loop *loop, uint32_t number, int which, Frame *frames, uint32_t count) noexcept nogil:
    cdef int by = writer(&loop.nics[number], which)
    cdef Plug *plug = &loop.nics[number].plugs[by]
    cdef uint64_t sent = plug.port.sent
    cdef int error = port_send(&plug.port, frames, count)
    if error:
        fail(loop, number, by, error)
    elif plug.port.sent != sent:
        heal(plug)


# Ports that fail.

cdef void fail(Loop *loop, uint32_t number, int which, int error) noexcept nogil:
    cdef Plug *plug = &loop.nics[number].plugs[which]
    if plug.fault != error:
        plug.fault = error
        plug.untold = True
        plug.quiet = False
    plug.ready = False
    if plug.retry <= loop.now:
        plug.retry = loop.now + IDLE


cdef void heal(Plug *plug) noexcept nogil:
    if plug.fault:
        plug.fault = 0
        plug.untold = True
        plug.retry = 0


cdef void poll_port(Loop *loop, uint32_t number, int which) noexcept nogil:
    """Let epoll know what is wanted of a port now; a system call only where that has changed."""
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


cdef void poll_bell(Loop *loop) noexcept nogil:
    cdef epoll_event event
    memset(&event, 0, sizeof(event))
    event.events = EPOLLIN
    event.data.u64 = <uint64_t>loop.count * SIDES
    epoll_ctl(loop.epoll, EPOLL_CTL_ADD, loop.commands.bell, &event)


cdef void keep_house(Loop *loop) noexcept nogil:
    cdef uint32_t nic
    cdef int which
    loop.housekeeping = loop.now + IDLE
    for nic in range(loop.count):
        for which in range(PORTS):
            port_count_overruns(&loop.nics[nic].plugs[which].port)
            if loop.nics[nic].plugs[which].fault and port_gone(&loop.nics[nic].plugs[which].port):
                fail(loop, nic, which, c.ENODEV)
        loop.nics[nic].stirred = True


# Reports.

cdef void report(Loop *loop, uint32_t number) noexcept nogil:
    """Put on the ring of events what there is to say; what finds no room is said later."""
    cdef Nic *nic = &loop.nics[number]
    cdef Event *event
    cdef int which
    nic.exhausted |= core_exhausted(nic.core)
    while ring_room(&loop.events) > RESERVED:
        event = <Event *>ring_vacant(&loop.events)
        event.nic = number
        event.time = loop.now
        if core_divergence(nic.core, &event.diverged):
            event.kind = E_DIVERGED
        elif nic.exhausted:
            event.kind = E_EXHAUSTED
            for which in range(DROPS):
                if nic.exhausted & (<uint32_t>1 << which):
                    event.code = which
            nic.exhausted &= ~(<uint32_t>1 << event.code)
        else:
            for which in range(SIDES):
                if nic.plugs[which].untold:
                    event.kind = E_FAULT
                    event.code = which
                    event.error = nic.plugs[which].fault
                    nic.plugs[which].untold = False
                    break
            else:
                return
        ring_publish(&loop.events)


# Commands.

cdef void take_commands(Loop *loop) noexcept nogil:
    cdef Command *command
    cdef Event *done
    cdef uint32_t nic
    ring_silence(&loop.commands)
    while True:
        command = <Command *>ring_oldest(&loop.commands)
        if command == NULL:
            return
        done = <Event *>ring_vacant(&loop.events)  # never NULL: its reader has fewer commands on the way
        done.kind = E_DONE
        done.late = False
        if command.kind == C_WORD:
            done.late = apply_word(loop, <Word><int>command.code, command.stamp)
        elif command.kind == C_CALL:
            for nic in range(loop.count):
                command.call(loop.nics[nic].core, nic, command.argument)
                loop.nics[nic].stirred = True
        else:
            attach(loop, command.code // SIDES, command.code % SIDES, command.fd)
        done.command = command[0]
        ring_give_back(&loop.commands)
        ring_publish(&loop.events)


cdef bint apply_word(Loop *loop, Word word, int64_t stamp) noexcept nogil:
    """Apply a checkpoint's word; true: frames from after the stop had already been judged.

    A commit is then not applied: where a port has no times of its own, it is the end of the stop that shows
    whether what was received by then had been said before.
    """
    cdef bint late = False
    cdef uint32_t nic
    if word == W_COMMIT and stamp:
        for nic in range(loop.count):
            late |= not is_timed(&loop.nics[nic], PRIMARY) and loop.nics[nic].old_until > stamp
        if late:
            return True
    for nic in range(loop.count):
        if word == W_SVM_STOP:
            late |= drain(loop, nic, SECONDARY, word, stamp)
        elif word == W_PVM_STOP:
            late |= drain(loop, nic, PRIMARY, word, stamp)
            loop.nics[nic].old_until = loop.nics[nic].plugs[<int>PRIMARY].port.newest
        else:
            if word == W_SVM_LOADED and stamp and not is_timed(&loop.nics[nic], SECONDARY):
                epoch_drop_stragglers(loop.nics[nic].core, loop.now - (realtime() - stamp))
            core_word(loop.nics[nic].core, word, loop.now)
            send_outs(loop, nic)
        loop.nics[nic].stirred = True
    return late


cdef bint is_timed(const Nic *nic, int which) noexcept nogil:
    """Whether a port tells when its frames were sent, and not only when we had them."""
    return nic.plugs[which].port.kind == P_PACKET


cdef bint drain(Loop *loop, uint32_t number, int which, Word word, int64_t stamp) noexcept nogil:
    """Judge what a guest said before it stopped, apply the word, then judge the rest of what was read.

    A port with times is read up to the first frame that is younger than the stop. Of the others, with a stop
    that is being waited for (`stamp` 0), all that is there is old: a stopped guest says nothing, and so is a
    frame of a stream whose beginning is there. With a stop that is past, and the guest perhaps running
    again, what is still there is taken the safe way: the SVM's is old, and dropped; the PVM's is new, and
    compared.
    """
    cdef Plug *plug = &loop.nics[number].plugs[which]
    cdef Frame *frames = loop.batch.frames
    cdef uint32_t at, _
    cdef int error = 0
    cdef bint timed = is_timed(&loop.nics[number], which)
    cdef bint late = timed and stamp != 0 and plug.port.newest > stamp
    if not timed and stamp != 0 and which == PRIMARY:
        core_word(loop.nics[number].core, word, loop.now)
        send_outs(loop, number)
        return False
    if not timed:
        stamp = INT64_MAX
    elif stamp == 0:
        stamp = realtime()
    at = 0
    for _ in range(DRAIN):
        error = port_receive(&plug.port, loop.batch)
        at = 0
        while at < loop.batch.count and frames[at].stamp <= stamp:
            at += 1
        if at < loop.batch.count:
            break
        judge(loop, number, which, 0, at)
        send_outs(loop, number)
        if error or (not loop.batch.more and loop.batch.count == 0):
            break
    if at == loop.batch.count:
        core_word(loop.nics[number].core, word, loop.now)
        send_outs(loop, number)
    else:
        judge(loop, number, which, 0, at)
        core_word(loop.nics[number].core, word, loop.now)
        send_outs(loop, number)
        judge(loop, number, which, at, loop.batch.count)
        send_outs(loop, number)
    plug.ready = loop.batch.more
    if plug.port.kind == P_STREAM:
        stream_stop(plug.port.stream)
    if error:
        fail(loop, number, which, error)
    return late


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
