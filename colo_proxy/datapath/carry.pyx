# See carry.pxd.

from libc.stdint cimport uint32_t, uint64_t

from colo_proxy.datapath.core cimport Core, Out
from colo_proxy.datapath.entry cimport (
    core_counts,
    core_crowded,
    core_expect,
    core_fetch,
    core_outs,
    core_primary,
    core_secondary,
    core_sent,
    core_try,
    core_uplink,
)
from colo_proxy.datapath.flow cimport Guess
from colo_proxy.datapath.loop cimport OUTGOING, PORTS, SIDES, Loop, Nic, Plug
from colo_proxy.datapath.plug cimport fail, heal, writer
from colo_proxy.datapath.ports cimport BATCH, P_STREAM, Frame, Stream, port_receive, port_send
from colo_proxy.datapath.words cimport M_FAILED_OVER, PRIMARY, SECONDARY, UPLINK

cdef enum:
    GATHERED = 65536  # bytes that may wait for more to leave with
    AHEAD = 8  # frames whose flows are on their way to the cache while others are judged


cdef void take_batch(Loop *loop, uint32_t number, int which) noexcept nogil:
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
