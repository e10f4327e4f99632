"""What the control plane requests of the data path, and what the data path reports: both over rings
(ring.pxd).

Each command is applied to all NICs and then answered by one Done. A checkpoint word that stops a guest first
drains that guest's port, so that the frames sent before the stop are judged in the old epoch.
"""

from libc.stdint cimport int64_t, uint32_t, uint64_t

from colo_proxy.core.epoch cimport epoch_drop_stragglers
from colo_proxy.core.nic cimport (
    W_COMMIT,
    W_PVM_STOP,
    W_SVM_LOADED,
    W_SVM_STOP,
    Word,
    nic_divergence,
    nic_exhausted,
    nic_word,
)
from colo_proxy.core.vocabulary cimport DROPS, PRIMARY, SECONDARY
from colo_proxy.engine.attachment cimport attachment_fail, attachment_replace
from colo_proxy.engine.forward cimport forward_outs, forward_to_comparator
from colo_proxy.engine.ports.port cimport (
    BATCH,
    P_PACKET,
    P_QEMU_SOCKET,
    Frame,
    port_count_queue,
    port_realtime,
    port_receive,
)
from colo_proxy.engine.ports.qemu_socket cimport qemu_socket_stop
from colo_proxy.engine.ring cimport (
    ring_give_back,
    ring_oldest,
    ring_publish,
    ring_room,
    ring_silence,
    ring_vacant,
)
from colo_proxy.engine.state cimport (
    C_CALL,
    C_WORD,
    E_DIVERGED,
    E_DONE,
    E_EXHAUSTED,
    E_FAULT,
    SIDES,
    Attachment,
    Command,
    Event,
    Loop,
    Nic,
)

cdef enum:
    DRAIN = 1024  # batches read when a stopped guest's port is drained: more than any queue holds
    # Slots of the ring of events that reports leave free for the answers to commands: as many as can be under
    # way.
    RESERVED = 256


cdef void requests_take(Loop *loop) noexcept nogil:
    cdef Command *command
    cdef Event *done
    cdef uint32_t nic
    ring_silence(&loop.commands)
    while True:
        command = <Command *>ring_oldest(&loop.commands)
        if command == NULL:
            return
        # never NULL: fewer commands can be under way than slots are reserved
        done = <Event *>ring_vacant(&loop.events)
        done.kind = E_DONE
        done.late = False
        if command.kind == C_WORD:
            done.late = apply_word(loop, <Word><int>command.code, command.stamp)
        elif command.kind == C_CALL:
            for nic in range(loop.count):
                loop.nics[nic].core.now = max(loop.nics[nic].core.now, loop.now)
                command.call(loop.nics[nic].core, nic, command.argument)
                forward_outs(loop, nic)
                loop.nics[nic].stirred = True
        else:
            attachment_replace(loop, command.code // SIDES, command.code % SIDES, command.fd)
        done.command = command[0]
        ring_give_back(&loop.commands)
        ring_publish(&loop.events)


cdef bint apply_word(Loop *loop, Word word, int64_t stamp) noexcept nogil:
    """Apply a checkpoint's word; true: frames from after the stop had already been judged (`late`).

    The commit is refused then. Where a port has no time stamps, only the end of the stop shows whether what
    was received until then had been sent before it.
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
            loop.nics[nic].old_until = loop.nics[nic].attachments[<int>PRIMARY].port.newest
        else:
            if word == W_SVM_LOADED and stamp and not is_timed(&loop.nics[nic], SECONDARY):
                epoch_drop_stragglers(loop.nics[nic].core, loop.now - (port_realtime() - stamp))
            nic_word(loop.nics[nic].core, word, loop.now)
            forward_outs(loop, nic)
        loop.nics[nic].stirred = True
    return late


cdef bint is_timed(const Nic *nic, int which) noexcept nogil:
    """Whether a port reports when its frames were sent, and not only when we read them."""
    return nic.attachments[which].port.kind == P_PACKET


cdef bint drain(Loop *loop, uint32_t number, int which, Word word, int64_t stamp) noexcept nogil:
    """Judge what a guest sent before it stopped, and apply the word; true: later frames had been judged
    already.

    If the stop is still in effect (`stamp` 0), everything received by now is old, and no clock is needed: a
    stopped guest sends nothing. If the stop is over, and the guest perhaps runs again, a port with time
    stamps is read up to the first frame that is younger. For the other ports the safe side is taken: what is
    still unread counts as old from the SVM, and is dropped, and as new from the PVM, and is compared.
    """
    cdef Attachment *attachment = &loop.nics[number].attachments[which]
    cdef bint timed = is_timed(&loop.nics[number], which)
    cdef bint late = timed and stamp != 0 and attachment.port.newest > stamp
    cdef int error = 0
    if timed and stamp != 0:
        error = drain_until(loop, number, which, word, stamp)
    else:
        if stamp == 0 or which == SECONDARY:
            error = drain_queue(loop, number, which)
        nic_word(loop.nics[number].core, word, loop.now)
        forward_outs(loop, number)
    if attachment.port.kind == P_QEMU_SOCKET and (stamp == 0 or which == SECONDARY):
        qemu_socket_stop(attachment.port.stream)
    if error:
        attachment_fail(loop, number, which, error)
    return late


cdef int drain_queue(Loop *loop, uint32_t number, int which) noexcept nogil:
    """Judge what the kernel had for the port when this began. Return the errno of a fault, or 0.

    For a packet socket this is a number of frames, so frames that others flood the interface with meanwhile
    are not read. The other ports do not report a number: they are read until they are empty, but for no more
    batches than any queue holds. A frame whose beginning a stream has received counts as received.
    """
    cdef Attachment *attachment = &loop.nics[number].attachments[which]
    cdef bint counted = attachment.port.kind == P_PACKET
    cdef int error = 0
    cdef int _
    port_count_queue(&attachment.port)
    for _ in range(DRAIN):
        if counted:
            if attachment.port.taken >= attachment.port.queued:
                break
            loop.batch.most = <uint32_t>min(attachment.port.queued - attachment.port.taken, <uint64_t>BATCH)
        error = port_receive(&attachment.port, loop.batch)
        forward_to_comparator(loop, number, which, 0, loop.batch.count)
        forward_outs(loop, number)
        if error or (not loop.batch.more and loop.batch.count == 0):
            break
    loop.batch.most = BATCH
    attachment.ready = True
    return error


cdef int drain_until(Loop *loop, uint32_t number, int which, Word word, int64_t stamp) noexcept nogil:
    """Judge what a port with time stamps received up to `stamp`, apply the word, judge the rest of the batch.
    """
    cdef Attachment *attachment = &loop.nics[number].attachments[which]
    cdef Frame *frames = loop.batch.frames
    cdef uint32_t at = 0
    cdef int error = 0
    cdef int _
    for _ in range(DRAIN):
        error = port_receive(&attachment.port, loop.batch)
        at = 0
        while at < loop.batch.count and frames[at].stamp <= stamp:
            at += 1
        forward_to_comparator(loop, number, which, 0, at)
        forward_outs(loop, number)
        if at < loop.batch.count or error or (not loop.batch.more and loop.batch.count == 0):
            break
    nic_word(loop.nics[number].core, word, loop.now)
    forward_outs(loop, number)
    forward_to_comparator(loop, number, which, at, loop.batch.count)
    forward_outs(loop, number)
    attachment.ready = loop.batch.more
    return error


cdef void requests_report(Loop *loop, uint32_t number) noexcept nogil:
    cdef Nic *nic = &loop.nics[number]
    cdef Event *event
    cdef int which
    nic.exhausted |= nic_exhausted(nic.core)
    while ring_room(&loop.events) > RESERVED:
        event = <Event *>ring_vacant(&loop.events)
        event.nic = number
        event.time = loop.now
        if nic_divergence(nic.core, &event.diverged):
            event.kind = E_DIVERGED
        elif nic.exhausted:
            event.kind = E_EXHAUSTED
            for which in range(<int>DROPS):
                if nic.exhausted & (<uint32_t>1 << which):
                    event.code = which
            nic.exhausted &= ~(<uint32_t>1 << event.code)
        else:
            for which in range(SIDES):
                if nic.attachments[which].untold:
                    event.kind = E_FAULT
                    event.code = which
                    event.error = nic.attachments[which].fault
                    nic.attachments[which].untold = False
                    break
            else:
                return
        ring_publish(&loop.events)
