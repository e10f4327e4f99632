# See orders.pxd.

from libc.stdint cimport INT64_MAX, int64_t, uint32_t

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
from colo_proxy.datapath.ports cimport P_PACKET, P_STREAM, Frame, port_receive, realtime
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
    cdef uint32_t at
    cdef int _
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
