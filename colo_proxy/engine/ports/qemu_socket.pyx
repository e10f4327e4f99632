"""QEMU's net stream over a connected socket: frames with their length in front. Attaching, ending and
reading.

The reader never loses its place between frames: bytes are taken only as whole frames, what an earlier peer
sent in part is forgotten when another is attached, and a length that no frame can have ends the connection.
Writing is in qemu_socket_out.pyx.
"""

from libc cimport errno as c
from libc.stdint cimport int64_t, uint8_t, uint32_t
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memcpy, memmove, memset

from colo_proxy.core.flow.pool cimport pool_is_long, pool_lend, pool_return
from colo_proxy.core.packet.parse cimport MAX_FRAME, VNET, get32
from colo_proxy.core.vocabulary cimport D_OLD_EPOCH, D_OVERSIZED, D_TRUNCATED
from colo_proxy.engine.kernel cimport MSG_DONTWAIT, SHUT_RDWR, iovec, msghdr, recv, recvmsg, shutdown
from colo_proxy.engine.ports.port cimport BATCH, Batch, Port, port_is_full, port_next_slot, port_take_frame
from colo_proxy.engine.ports.qemu_socket_out cimport SOCKET_GATHER, SOCKET_OUT, qemu_socket_out_forget

cdef enum:
    INTO = 524288  # bytes received and not yet taken
    TOGETHER = 170000  # bytes of long frames that are judged together: they should stay in the cache
    LEAST = 131072  # room for one system call to fill, more than the longest frame on the wire
    ROOM = 64  # room in front, for the header of a frame that is judged where it was received


cdef QemuSocket *qemu_socket_new(bint vnet) noexcept nogil:
    cdef QemuSocket *stream = <QemuSocket *>calloc(1, sizeof(QemuSocket))
    if stream == NULL:
        return NULL
    stream.vnet = vnet
    stream.vnet_size = VNET
    stream.into = <uint8_t *>malloc(ROOM + INTO)
    stream.gather = <uint8_t *>malloc(SOCKET_GATHER)
    stream.out = <uint8_t *>malloc(SOCKET_OUT)
    stream.into_first = ROOM
    stream.into_end = ROOM
    if stream.into == NULL or stream.gather == NULL or stream.out == NULL:
        qemu_socket_free(stream)
        return NULL
    return stream


cdef void qemu_socket_free(QemuSocket *stream) noexcept nogil:
    if stream != NULL:
        leave_home(stream)
        free(stream.into)
        free(stream.gather)
        free(stream.out)
        free(stream)


cdef void qemu_socket_attach(Port *port) noexcept nogil:
    cdef QemuSocket *stream = port.stream
    leave_home(stream)
    stream.into_first = ROOM
    stream.into_end = ROOM
    stream.out_sent = 0
    stream.told = False
    stream.stale = False
    if not port.keep:
        qemu_socket_out_forget(port)


cdef int qemu_socket_give_up(Port *port, int error) noexcept nogil:
    shutdown(port.fd, SHUT_RDWR)
    port.fd = -1
    return error


cdef void qemu_socket_stop(QemuSocket *stream) noexcept nogil:
    stream.stale = stream.home != NULL or stream.into_end > stream.into_first


cdef int qemu_socket_receive(Port *port, Batch *batch) noexcept nogil:
    cdef QemuSocket *stream = port.stream
    cdef ssize_t got
    cdef bint full
    cdef int error = take_frames(port, batch)
    if error:
        return qemu_socket_give_up(port, error)
    if batch.count:  # some of them are in `into`, which stays unchanged until they have been judged
        batch.more = True
        return 0
    if stream.home != NULL:
        return receive_home(port, batch)
    # The rest is the beginning of one frame.
    if ROOM + INTO - stream.into_end < LEAST:
        memmove(stream.into + ROOM, stream.into + stream.into_first, stream.into_end - stream.into_first)
        stream.into_end -= stream.into_first - ROOM
        stream.into_first = ROOM
    got = recv(port.fd, stream.into + stream.into_end, ROOM + INTO - stream.into_end, MSG_DONTWAIT)
    if got == 0:
        return qemu_socket_give_up(port, c.ENOTCONN)
    if got < 0:
        if c.errno == c.EINTR or port_is_full(c.errno):
            return 0
        return qemu_socket_give_up(port, c.errno)
    stream.into_end += <uint32_t>got
    full = stream.into_end == ROOM + INTO
    error = take_frames(port, batch)
    if error:
        return qemu_socket_give_up(port, error)
    batch.more = full or batch.count == BATCH
    return 0


cdef void leave_home(QemuSocket *stream) noexcept nogil:
    """Forget a long frame that has been received in part."""
    if stream.home != NULL:
        pool_return(stream.pool, stream.home)
        stream.home = NULL


cdef bint go_home(QemuSocket *stream, Batch *batch, uint32_t head, uint32_t size,
                  uint32_t vnet) noexcept nogil:
    """`into` holds only the beginning of a long frame: receive the rest into a node of the pool."""
    cdef uint8_t *at = stream.into + stream.into_first
    cdef uint32_t have = stream.into_end - stream.into_first - head - vnet
    if not pool_is_long(VNET + size - vnet) or size - vnet > MAX_FRAME:
        return False
    stream.home = pool_lend(batch.pool)
    if stream.home == NULL:
        return False
    stream.pool = batch.pool
    memset(stream.home.data, 0, VNET)
    if vnet:
        memcpy(stream.home.data, at + head, VNET)
        stream.vnet_size = vnet
        stream.told = True
    memcpy(stream.home.data + VNET, at + head + vnet, have)
    stream.home_have = VNET + have
    stream.home_size = VNET + size - vnet
    stream.into_first = ROOM
    stream.into_end = ROOM
    return True


cdef int receive_home(Port *port, Batch *batch) noexcept nogil:
    """Read long frames one by one, each into its own node, together with the prefix of the next one.

    `into` then holds only a prefix, or a frame so short that it is copied: no frame refers to it.
    """
    cdef QemuSocket *stream = port.stream
    cdef iovec[2] parts
    cdef msghdr message
    cdef uint32_t left
    cdef uint32_t taken = 0
    cdef ssize_t got
    cdef int error
    memset(&message, 0, sizeof(message))
    message.msg_iov = parts
    message.msg_iovlen = 2
    while stream.home != NULL:
        left = stream.home_size - stream.home_have
        parts[0].iov_base = stream.home.data + stream.home_have
        parts[0].iov_len = left
        parts[1].iov_base = stream.into + ROOM
        parts[1].iov_len = MAX_PREFIX
        got = recvmsg(port.fd, &message, MSG_DONTWAIT)
        if got == 0:
            return qemu_socket_give_up(port, c.ENOTCONN)
        if got < 0:
            if c.errno == c.EINTR or port_is_full(c.errno):
                return 0
            return qemu_socket_give_up(port, c.errno)
        stream.home_have += <uint32_t>min(got, <ssize_t>left)
        if <uint32_t>got < left:
            continue
        stream.into_end += <uint32_t>got - left
        if stream.stale:
            stream.stale = False
            port.dropped[<int>D_OLD_EPOCH] += 1
        elif port_take_frame(port, batch, stream.home.data, stream.home_size, 0):
            batch.frames[batch.count - 1].home = stream.home
            stream.home = NULL
        leave_home(stream)
        taken += stream.home_size
        error = take_frames(port, batch)
        if error:
            return qemu_socket_give_up(port, error)
        if batch.count == BATCH or taken > TOGETHER:
            break
    batch.more = True
    return 0


cdef int take_frames(Port *port, Batch *batch) noexcept nogil:
    """Take whole frames out of `into` up to a full batch; return the errno of a peer that violates the
    framing.

    Short frames are copied. A longer one stays where it is, and its header is written in front of it, over
    its prefix and, where the prefix is shorter, over the end of the frame before, if that one has been
    copied. So in a run of long frames every second one is copied.
    """
    cdef QemuSocket *stream = port.stream
    cdef uint8_t *at
    cdef uint8_t *frame
    cdef uint8_t *slot
    cdef uint8_t[VNET] header
    cdef uint8_t *free_from = stream.into  # from here to the next frame the memory is free to use
    cdef uint32_t have, size, head, vnet
    while batch.count < BATCH:
        at = stream.into + stream.into_first
        have = stream.into_end - stream.into_first
        head = 2 * LENGTH_PREFIX if stream.vnet else LENGTH_PREFIX
        if have < LENGTH_PREFIX:
            break
        size = get32(at)
        if size > MAX_FRAME + (MAX_VNET if stream.vnet else 0):
            port.dropped[<int>D_OVERSIZED] += 1
            return c.EMSGSIZE
        if have < head:
            break
        vnet = get32(at + LENGTH_PREFIX) if stream.vnet else 0
        if vnet > size or vnet > MAX_VNET or 0 < vnet < VNET:
            port.dropped[<int>D_TRUNCATED] += 1
            return c.EPROTO
        if have < head + size:
            if have >= head + vnet:
                go_home(stream, batch, head, size, vnet)
            break
        stream.into_first += head + size
        if vnet:
            stream.vnet_size = vnet
            stream.told = True
        if stream.stale:
            stream.stale = False
            port.dropped[<int>D_OLD_EPOCH] += 1
            continue
        if size - vnet > MAX_FRAME:
            port.dropped[<int>D_OVERSIZED] += 1
            continue
        frame = at + head + vnet
        memset(header, 0, VNET)
        if vnet:
            memcpy(header, at + head, VNET)
        if size - vnet > SOCKET_COPIED and frame - VNET >= free_from:
            slot = frame - VNET
            free_from = frame + (size - vnet)
        else:
            slot = port_next_slot(batch)
            memcpy(slot + VNET, frame, size - vnet)
        memcpy(slot, header, VNET)
        port_take_frame(port, batch, slot, VNET + <int64_t>(size - vnet), 0)
    if stream.into_first == stream.into_end:
        stream.into_first = ROOM
        stream.into_end = ROOM
    return 0
