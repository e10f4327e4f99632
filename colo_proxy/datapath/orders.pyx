# See orders.pxd.

from libc.stdint cimport int64_t, uint32_t, uint64_t

from colo_proxy.datapath.carry cimport judge, send_outs
from colo_proxy.datapath.entry cimport (
    W_COMMIT,
    W_PVM_STOP,
    W_SVM_LOADED,
    W_SVM_STOP,
    Word,
    core_divergence,
    core_exhausted,
    core_word,
)
from colo_proxy.datapath.epoch cimport epoch_drop_stragglers
from colo_proxy.datapath.loop cimport (
    C_CALL,
    C_WORD,
    E_DIVERGED,
    E_DONE,
    E_EXHAUSTED,
    E_FAULT,
    SIDES,
    Command,
    Event,
    Loop,
    Nic,
    Plug,
)
from colo_proxy.datapath.mailbox cimport (
    ring_give_back,
    ring_oldest,
    ring_publish,
    ring_room,
    ring_silence,
    ring_vacant,
)
from colo_proxy.datapath.plug cimport attach, fail
from colo_proxy.datapath.ports cimport (
    BATCH,
    P_PACKET,
    P_STREAM,
    Frame,
    port_count_queue,
    port_receive,
    realtime,
)
from colo_proxy.datapath.ports_stream cimport stream_stop
from colo_proxy.datapath.words cimport DROPS, PRIMARY, SECONDARY

cdef enum:
    DRAIN = 1024  # batches taken when a stopped guest's port is drained: more than any queue holds
    # Room that reports leave in the ring of events for the answers to commands: as many as can be under way.
    RESERVED = 256


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
                loop.nics[nic].core.now = max(loop.nics[nic].core.now, loop.now)
                command.call(loop.nics[nic].core, nic, command.argument)
                send_outs(loop, nic)
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
    """Judge what a guest said before it stopped, and apply the word; true: what came later had been judged.

    With a stop that is being waited for (`stamp` 0) what had been received by now is old, and no clock is
    asked: a stopped guest says nothing. With a stop that is past, and the guest perhaps running again, a port
    with times is read up to the first frame that is younger. Of the others, what is still there is taken the
    safe way: the SVM's is old, and dropped; the PVM's is new, and compared.
    """
    cdef Plug *plug = &loop.nics[number].plugs[which]
    cdef bint timed = is_timed(&loop.nics[number], which)
    cdef bint late = timed and stamp != 0 and plug.port.newest > stamp
    cdef int error = 0
    if timed and stamp != 0:
        error = drain_until(loop, number, which, word, stamp)
    else:
        if stamp == 0 or which == SECONDARY:
            error = drain_queue(loop, number, which)
        core_word(loop.nics[number].core, word, loop.now)
        send_outs(loop, number)
    if plug.port.kind == P_STREAM and (stamp == 0 or which == SECONDARY):
        stream_stop(plug.port.stream)
    if error:
        fail(loop, number, which, error)
    return late


cdef int drain_queue(Loop *loop, uint32_t number, int which) noexcept nogil:
    """Judge what the kernel had for the port when this began. Returns the errno of a fault, or 0.

    Of a packet socket that is a number of frames, so what somebody else floods the interface with meanwhile
    is left. Of the others nobody tells how much it is: they are read until they are empty, but for no more
    batches than any queue holds. A frame of a stream whose beginning is there counts as there.
    """
    cdef Plug *plug = &loop.nics[number].plugs[which]
    cdef bint counted = plug.port.kind == P_PACKET
    cdef int error = 0
    cdef int _
    port_count_queue(&plug.port)
    for _ in range(DRAIN):
        if counted:
            if plug.port.taken >= plug.port.queued:
                break
            loop.batch.most = <uint32_t>min(plug.port.queued - plug.port.taken, <uint64_t>BATCH)
        error = port_receive(&plug.port, loop.batch)
        judge(loop, number, which, 0, loop.batch.count)
        send_outs(loop, number)
        if error or (not loop.batch.more and loop.batch.count == 0):
            break
    loop.batch.most = BATCH
    plug.ready = True
    return error


cdef int drain_until(Loop *loop, uint32_t number, int which, Word word, int64_t stamp) noexcept nogil:
    """Judge what a port with times received up to `stamp`, apply the word, judge the rest of the batch."""
    cdef Plug *plug = &loop.nics[number].plugs[which]
    cdef Frame *frames = loop.batch.frames
    cdef uint32_t at = 0
    cdef int error = 0
    cdef int _
    for _ in range(DRAIN):
        error = port_receive(&plug.port, loop.batch)
        at = 0
        while at < loop.batch.count and frames[at].stamp <= stamp:
            at += 1
        judge(loop, number, which, 0, at)
        send_outs(loop, number)
        if at < loop.batch.count or error or (not loop.batch.more and loop.batch.count == 0):
            break
    core_word(loop.nics[number].core, word, loop.now)
    send_outs(loop, number)
    judge(loop, number, which, at, loop.batch.count)
    send_outs(loop, number)
    plug.ready = loop.batch.more
    return error


cdef void report(Loop *loop, uint32_t number) noexcept nogil:
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
            for which in range(<int>DROPS):
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
