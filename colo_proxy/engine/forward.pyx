"""The path of frames through the loop: from a port into the comparator, and from the comparator to the ports.

A client's frame is sent to the PVM first, because the copy for the SVM is made in the same memory. Frames
that the comparator releases are gathered for each port, and sent when the batch has been judged.
"""

from libc.stdint cimport uint32_t, uint64_t

from colo_proxy.core.core cimport Core, Out
from colo_proxy.core.flow.flow cimport Guess
from colo_proxy.core.nic cimport (
    nic_counts,
    nic_crowded,
    nic_expect,
    nic_fetch,
    nic_outs,
    nic_primary,
    nic_secondary,
    nic_sent,
    nic_try,
    nic_uplink,
)
from colo_proxy.core.vocabulary cimport M_FAILED_OVER, PRIMARY, SECONDARY, UPLINK
from colo_proxy.engine.attachment cimport attachment_fail, attachment_heal, attachment_writer
from colo_proxy.engine.ports.port cimport BATCH, P_QEMU_SOCKET, Frame, QemuSocket, port_receive, port_send
from colo_proxy.engine.state cimport OUTGOING, PORTS, SIDES, Attachment, Loop, Nic

cdef enum:
    GATHERED = 65536  # bytes that may wait for more, to be sent together
    AHEAD = 8  # frames whose flows are prefetched into the cache while others are judged


cdef void forward_batch(Loop *loop, uint32_t number, int which) noexcept nogil:
    cdef Attachment *attachment = &loop.nics[number].attachments[which]
    cdef int error = port_receive(&attachment.port, loop.batch)
    attachment.ready = loop.batch.more
    if loop.batch.count:
        attachment_heal(attachment)
        if attachment.port.kind == P_QEMU_SOCKET:
            pass_on_headers(&loop.nics[number], attachment.port.stream)
        forward_to_comparator(loop, number, which, 0, loop.batch.count)
        if not may_gather(loop.nics[number].core):
            forward_outs(loop, number)
    if error:
        attachment_fail(loop, number, which, error)


cdef void forward_watch_listener(Loop *loop, uint32_t number, int which) noexcept nogil:
    cdef Attachment *attachment = &loop.nics[number].attachments[which]
    cdef int error = port_receive(&attachment.port, loop.batch)
    attachment.ready = loop.batch.more
    if error:
        attachment_fail(loop, number, which, error)


cdef void pass_on_headers(Nic *nic, const QemuSocket *of) noexcept nogil:
    """Copy to a peer that only reads the header length of one that sends: it never reports a length itself.

    All attachments belong to one NIC. A QEMU that receives a 10-byte header where its NIC has 12 would take
    two bytes of the frame for the header.
    """
    cdef int which
    cdef QemuSocket *to
    for which in range(SIDES):
        to = nic.attachments[which].port.stream
        if to != NULL and not to.told:
            to.vnet_size = of.vnet_size


cdef bint may_gather(Core *core) noexcept nogil:
    """Whether what came out can wait for what the next batch releases, to be sent in fewer system calls.

    Frames in a receive buffer cannot wait, because the next batch overwrites them.
    """
    cdef uint32_t count, at
    cdef Out *outs = nic_outs(core, &count)
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


cdef void forward_to_comparator(Loop *loop, uint32_t number, int which, uint32_t first,
                                uint32_t end) noexcept nogil:
    cdef Nic *nic = &loop.nics[number]
    cdef Frame *frames = loop.batch.frames
    cdef Guess[BATCH] guesses
    cdef bint crowded
    cdef uint32_t at
    if which == UPLINK:
        if not nic.core.settings.compare_only:
            mirror(loop, number, first, end)
    else:
        crowded = nic_crowded(nic.core)
        if crowded:
            for at in range(first, end):
                nic_expect(nic.core, frames[at].base, frames[at].size, &guesses[at])
            for at in range(first, min(first + AHEAD, end)):
                nic_fetch(nic.core, &guesses[at])
        for at in range(first, end):
            if crowded:
                if at + AHEAD < end:
                    nic_fetch(nic.core, &guesses[at + AHEAD])
                nic_try(nic.core, &guesses[at])
            nic.core.home = frames[at].home
            if which == PRIMARY:
                nic_primary(nic.core, frames[at].base, frames[at].size, loop.now)
            else:
                nic_secondary(nic.core, frames[at].base, frames[at].size, loop.now)
            frames[at].home = nic.core.home
        nic.core.home = NULL


cdef void mirror(Loop *loop, uint32_t number, uint32_t first, uint32_t end) noexcept nogil:
    """Clients' frames: to the PVM unchanged, then to the SVM as rewritten by the comparator."""
    cdef Nic *nic = &loop.nics[number]
    cdef Attachment *copies = &nic.attachments[<int>SECONDARY]
    cdef Frame *frames = loop.batch.frames
    cdef uint32_t at
    if nic_counts(nic.core).mode != M_FAILED_OVER:
        forward_send(loop, number, PRIMARY, frames + first, end - first)
    for at in range(first, end):
        if nic_uplink(nic.core, frames[at].base, frames[at].size, loop.now):
            copies.outgoing[copies.count] = frames[at]
            copies.count += 1
    forward_send(loop, number, SECONDARY, copies.outgoing, copies.count)
    copies.count = 0


cdef void forward_outs(Loop *loop, uint32_t number) noexcept nogil:
    cdef Nic *nic = &loop.nics[number]
    cdef uint32_t count, at
    cdef int which
    cdef Attachment *attachment
    cdef Out *outs = nic_outs(nic.core, &count)
    for at in range(count):
        which = <int>outs[at].port
        attachment = &nic.attachments[which]
        attachment.outgoing[attachment.count].base = outs[at].base
        attachment.outgoing[attachment.count].size = outs[at].size
        attachment.count += 1
        if attachment.count == OUTGOING:
            forward_send(loop, number, which, attachment.outgoing, attachment.count)
            attachment.count = 0
    for which in range(PORTS):
        attachment = &nic.attachments[which]
        if attachment.count:
            forward_send(loop, number, which, attachment.outgoing, attachment.count)
            attachment.count = 0
    nic_sent(nic.core)


cdef void forward_send(Loop *loop, uint32_t number, int which, Frame *frames, uint32_t count) noexcept nogil:
    cdef int by = attachment_writer(&loop.nics[number], which)
    cdef Attachment *attachment = &loop.nics[number].attachments[by]
    cdef uint64_t sent = attachment.port.sent
    cdef int error = port_send(&attachment.port, frames, count)
    if error:
        attachment_fail(loop, number, by, error)
    elif attachment.port.sent != sent:
        attachment_heal(attachment)
