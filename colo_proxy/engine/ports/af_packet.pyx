"""A packet socket: a batch of frames in each system call, kernel timestamps, VLAN tags put back.

The kernel takes the outermost VLAN tag out of each frame that it gives to a packet socket and reports it
beside the frame (PACKET_AUXDATA). This file puts the tag back, so the rest of the program sees frames as they
were on the wire.
"""

from libc cimport errno as c
from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy, memmove, memset

from colo_proxy.core.flow.pool cimport HEADROOM, pool_is_long, pool_lend
from colo_proxy.core.packet.parse cimport MAX_FRAME, VNET, put16
from colo_proxy.core.vocabulary cimport D_OVERSIZED, D_TRUNCATED
from colo_proxy.engine.kernel cimport (
    CMSG_DATA,
    CMSG_FIRSTHDR,
    CMSG_NXTHDR,
    MSG_DONTWAIT,
    MSG_TRUNC,
    PACKET_AUXDATA,
    PACKET_STATISTICS,
    SCM_TIMESTAMPNS,
    SOL_PACKET,
    SOL_SOCKET,
    TP_STATUS_VLAN_TPID_VALID,
    TP_STATUS_VLAN_VALID,
    cmsghdr,
    getsockname,
    getsockopt,
    iovec,
    mmsghdr,
    msghdr,
    recvmmsg,
    sendmmsg,
    sockaddr,
    sockaddr_ll,
    socklen_t,
    timespec,
    tpacket_auxdata,
    tpacket_stats,
)
from colo_proxy.engine.ports.port cimport (
    BATCH,
    Batch,
    Frame,
    Port,
    port_count_sent,
    port_drop_unsent,
    port_is_frames_fault,
    port_is_full,
    port_take_frame,
    port_wait_for_room,
)

cdef enum:
    CONTROL = 128  # a timestamp and the auxiliary data take 80 bytes
    MACS = 12
    TAG = 4
    ETH_P_8021Q = 0x8100

cdef struct Scratch:
    mmsghdr[BATCH] messages
    iovec[BATCH] parts
    uint8_t[BATCH][CONTROL] control
    uint8_t *first
    uint32_t stride

# virtio 1.2, 5.1.6 (the legacy layout, which is in the byte order of the host).
cdef packed struct Vnet:
    uint8_t flags
    uint8_t gso_type
    uint16_t hdr_len
    uint16_t gso_size
    uint16_t csum_start
    uint16_t csum_offset


cdef void *af_packet_scratch_new(uint8_t *first, uint32_t stride) noexcept nogil:
    cdef Scratch *scratch = <Scratch *>calloc(1, sizeof(Scratch))
    cdef msghdr *message
    cdef int at
    if scratch == NULL:
        return NULL
    scratch.first = first
    scratch.stride = stride
    for at in range(BATCH):
        scratch.parts[at].iov_base = first + <size_t>at * stride
        scratch.parts[at].iov_len = VNET + MAX_FRAME
        message = &scratch.messages[at].msg_hdr
        message.msg_iov = &scratch.parts[at]
        message.msg_iovlen = 1
        message.msg_control = scratch.control[at]
        message.msg_controllen = CONTROL
    return scratch


cdef void af_packet_scratch_free(void *scratch) noexcept nogil:
    free(scratch)


cdef int af_packet_receive(Port *port, Batch *batch) noexcept nogil:
    cdef Scratch *scratch = <Scratch *>batch.scratch
    cdef mmsghdr *message
    cdef uint8_t *base
    cdef int64_t size, stamp
    cdef int at, got
    lend_homes(batch, scratch)
    got = recvmmsg(port.fd, scratch.messages, batch.most, MSG_DONTWAIT, NULL)
    if got < 0:
        return receive_error(port, batch, c.errno)
    port.taken += <uint32_t>got
    for at in range(got):
        message = &scratch.messages[at]
        base = <uint8_t *>scratch.parts[at].iov_base
        size = message.msg_len
        if message.msg_hdr.msg_flags & MSG_TRUNC:
            port.dropped[<int>D_OVERSIZED] += 1
        elif size < VNET + MACS:
            port.dropped[<int>D_TRUNCATED] += 1
        else:
            stamp = unwrap(&message.msg_hdr, &base, &size)
            if port_take_frame(port, batch, base, size, stamp) and pool_is_long(<uint32_t>size):
                batch.frames[batch.count - 1].home = batch.homes[at]
                batch.homes[at] = NULL
        message.msg_hdr.msg_controllen = CONTROL
    batch.more = <uint32_t>got == batch.most
    return 0


cdef void lend_homes(Batch *batch, Scratch *scratch) noexcept nogil:
    """Have a node of the pool ready for each frame that may arrive, as far as there is memory."""
    cdef int at
    for at in range(BATCH):
        if batch.homes[at] == NULL:
            batch.homes[at] = pool_lend(batch.pool)
            if batch.homes[at] == NULL:
                scratch.parts[at].iov_base = scratch.first + <size_t>at * scratch.stride
            else:
                scratch.parts[at].iov_base = batch.homes[at].data + HEADROOM


cdef int receive_error(Port *port, Batch *batch, int error) noexcept nogil:
    if error == c.EINVAL:  # one frame, of a GSO kind that the header cannot describe; it is lost
        port.dropped[<int>D_TRUNCATED] += 1
        port.taken += 1
        batch.more = True
        return 0
    if error == c.EINTR or port_is_full(error):
        batch.more = error == c.EINTR
        return 0
    # ENETDOWN is returned for an interface that is down, and for one that was removed
    return c.ENODEV if af_packet_gone(port) else error


cdef bint af_packet_gone(const Port *port) noexcept nogil:
    cdef sockaddr_ll bound
    cdef socklen_t size = sizeof(bound)
    memset(&bound, 0, sizeof(bound))
    return getsockname(port.fd, <sockaddr *>&bound, &size) == 0 and bound.sll_ifindex <= 0


cdef int64_t unwrap(msghdr *message, uint8_t **base, int64_t *size) noexcept nogil:
    """Read what the kernel reports beside the frame; return its timestamp and put its VLAN tag back."""
    cdef cmsghdr *part = CMSG_FIRSTHDR(message)
    cdef tpacket_auxdata beside
    cdef timespec when
    cdef int64_t stamp = 0
    while part != NULL:
        if part.cmsg_level == SOL_SOCKET and part.cmsg_type == SCM_TIMESTAMPNS:
            memcpy(&when, CMSG_DATA(part), sizeof(when))
            stamp = <int64_t>when.tv_sec * 1000000000 + when.tv_nsec
        elif part.cmsg_level == SOL_PACKET and part.cmsg_type == PACKET_AUXDATA:
            memcpy(&beside, CMSG_DATA(part), sizeof(beside))
            if beside.tp_status & TP_STATUS_VLAN_VALID:
                base[0] -= TAG
                size[0] += TAG
                put_tag_back(base[0], &beside)
        part = CMSG_NXTHDR(message, part)
    return stamp


cdef void put_tag_back(uint8_t *base, const tpacket_auxdata *beside) noexcept nogil:
    """Move header and addresses into the headroom, insert the tag behind them and shift the header's offsets.
    """
    cdef Vnet *vnet = <Vnet *>base
    cdef uint8_t *tag = base + VNET + MACS
    memmove(base, base + TAG, VNET + MACS)
    put16(tag, beside.tp_vlan_tpid if beside.tp_status & TP_STATUS_VLAN_TPID_VALID else ETH_P_8021Q)
    put16(tag + 2, beside.tp_vlan_tci)
    if vnet.flags & 1:  # NEEDS_CSUM
        vnet.csum_start += TAG
    if vnet.gso_type:
        vnet.hdr_len += TAG


cdef int af_packet_send(Port *port, Frame *frames, uint32_t count) noexcept nogil:
    cdef mmsghdr[BATCH] messages
    cdef iovec[BATCH] parts
    cdef int64_t deadline = 0
    cdef uint32_t at, done, chunk
    cdef int sent, error
    done = 0
    while done < count:
        chunk = min(count - done, <uint32_t>BATCH)
        memset(messages, 0, chunk * sizeof(mmsghdr))
        for at in range(chunk):
            parts[at].iov_base = frames[done + at].base
            parts[at].iov_len = frames[done + at].size
            messages[at].msg_hdr.msg_iov = &parts[at]
            messages[at].msg_hdr.msg_iovlen = 1
        at = 0
        while at < chunk:
            sent = sendmmsg(port.fd, messages + at, chunk - at, MSG_DONTWAIT)
            if sent > 0:
                for at in range(at, at + <uint32_t>sent):
                    port_count_sent(port, &frames[done + at])
                at += 1
                continue
            error = c.errno
            if error == c.EINTR or (port_is_full(error) and port_wait_for_room(port, error, &deadline)):
                continue
            if not port_is_full(error) and not port_is_frames_fault(error):  # ENETDOWN, ENXIO
                port_drop_unsent(port, frames + done + at, count - done - at, error)
                return c.ENODEV if af_packet_gone(port) else error
            port_drop_unsent(port, frames + done + at, 1, error)
            at += 1
        done += chunk
    return 0


cdef void af_packet_count_queue(Port *port) noexcept nogil:
    """Reading the statistics resets them in the kernel. `tp_packets` includes the dropped frames."""
    cdef tpacket_stats stats
    cdef socklen_t size = sizeof(stats)
    memset(&stats, 0, sizeof(stats))
    if getsockopt(port.fd, SOL_PACKET, PACKET_STATISTICS, &stats, &size) == 0:
        port.overruns += stats.tp_drops
        port.queued += stats.tp_packets - stats.tp_drops
