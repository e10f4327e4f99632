# See ports_stream.pxd.

from libc cimport errno as c
from libc.stdint cimport int64_t, uint8_t, uint32_t
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memcpy, memmove, memset

from colo_proxy.datapath.kernel cimport (
    MSG_DONTWAIT,
    MSG_NOSIGNAL,
    SHUT_RDWR,
    iovec,
    msghdr,
    recv,
    recvmsg,
    send,
    sendmsg,
    shutdown,
)
from colo_proxy.datapath.pool cimport is_long, pool_lend, pool_return
from colo_proxy.datapath.ports cimport (
    BATCH,
    Batch,
    Frame,
    Port,
    count_sent,
    drop_unsent,
    is_full,
    next_slot,
    take_frame,
    wait_for_room,
)
from colo_proxy.datapath.wire cimport MAX_FRAME, VNET, get32, put32
from colo_proxy.datapath.words cimport D_OLD_EPOCH, D_OVERSIZED, D_SEND, D_TRUNCATED

cdef enum:
    LENGTH = 4
    # QEMU's headers have 10, 12 (mergeable buffers) or 20 bytes (hash report); all begin with the same 10.
    MAX_VNET = 64
    INTO = 524288  # bytes received and not yet taken
    TOGETHER = 170000  # bytes of long frames that are judged together: they should not leave the cache
    LEAST = 131072  # room for a system call to fill, more than the longest frame on the wire
    ROOM = 64  # in front of them, for the header of a frame that is judged where it was received
    COPIED = 512  # a frame up to this length is cheaper to copy, in and out, than to point at
    GATHER = 65536  # bytes of short frames and prefixes that go with one system call
    SENDS = 256  # frames that do
    OUT = 8388608  # what waits for a slow peer: two batches of super-frames; untouched pages cost nothing
    PREFIX = 2 * LENGTH + MAX_VNET


cdef Stream *stream_new(bint vnet) noexcept nogil:
    cdef Stream *stream = <Stream *>calloc(1, sizeof(Stream))
    if stream == NULL:
        return NULL
    stream.vnet = vnet
    stream.vnet_size = VNET
    stream.into = <uint8_t *>malloc(ROOM + INTO)
    stream.gather = <uint8_t *>malloc(GATHER)
    stream.out = <uint8_t *>malloc(OUT)
    stream.into_first = ROOM
    stream.into_end = ROOM
    if stream.into == NULL or stream.gather == NULL or stream.out == NULL:
        stream_free(stream)
        return NULL
    return stream


cdef void stream_free(Stream *stream) noexcept nogil:
    if stream != NULL:
        leave_home(stream)
        free(stream.into)
        free(stream.gather)
        free(stream.out)
        free(stream)


cdef void stream_attach(Port *port) noexcept nogil:
    cdef Stream *stream = port.stream
    leave_home(stream)
    stream.into_first = ROOM
    stream.into_end = ROOM
    stream.out_sent = 0
    stream.told = False
    stream.stale = False
    if not port.keep:
        while stream_waits(stream):
            port.dropped[<int>D_SEND] += 1
            forget_first(stream)


cdef int give_up(Port *port, int error) noexcept nogil:
    """End the connection, so that the peer notices too; the descriptor's owner closes it."""
    shutdown(port.fd, SHUT_RDWR)
    port.fd = -1
    return error


# Reading.

cdef void stream_stop(Stream *stream) noexcept nogil:
    stream.stale = stream.home != NULL or stream.into_end > stream.into_first


cdef int stream_receive(Port *port, Batch *batch) noexcept nogil:
    cdef Stream *stream = port.stream
    cdef ssize_t got
    cdef bint full
    cdef int error = take_frames(port, batch)
    if error:
        return give_up(port, error)
    if batch.count:  # some of them lie in `into`, which stays as it is until they have been judged
        batch.more = True
        return 0
    if stream.home != NULL:
        return receive_home(port, batch)
    # What is left is the beginning of one frame.
    if ROOM + INTO - stream.into_end < LEAST:
        memmove(stream.into + ROOM, stream.into + stream.into_first, stream.into_end - stream.into_first)
        stream.into_end -= stream.into_first - ROOM
        stream.into_first = ROOM
    got = recv(port.fd, stream.into + stream.into_end, ROOM + INTO - stream.into_end, MSG_DONTWAIT)
    if got == 0:
        return give_up(port, c.ENOTCONN)
    if got < 0:
        if c.errno == c.EINTR or is_full(c.errno):
            return 0
        return give_up(port, c.errno)
    stream.into_end += <uint32_t>got
    full = stream.into_end == ROOM + INTO
    error = take_frames(port, batch)
    if error:
        return give_up(port, error)
    batch.more = full or batch.count == BATCH
    return 0


cdef void leave_home(Stream *stream) noexcept nogil:
    """Forget a long frame that has come in part."""
    if stream.home != NULL:
        pool_return(stream.pool, stream.home)
        stream.home = NULL


cdef bint go_home(Stream *stream, Batch *batch, uint32_t head, uint32_t size, uint32_t vnet) noexcept nogil:
    """`into` holds the beginning of a long frame and nothing else: the rest goes where it can stay."""
    cdef uint8_t *at = stream.into + stream.into_first
    cdef uint32_t have = stream.into_end - stream.into_first - head - vnet
    if not is_long(VNET + size - vnet) or size - vnet > MAX_FRAME:
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
    """Read long frames one by one, each to where it can stay, with the prefix of the next one behind it.

    What lies in `into` meanwhile is a prefix or a frame so short that it is copied: nothing points there.
    """
    cdef Stream *stream = port.stream
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
        parts[1].iov_len = PREFIX
        got = recvmsg(port.fd, &message, MSG_DONTWAIT)
        if got == 0:
            return give_up(port, c.ENOTCONN)
        if got < 0:
            if c.errno == c.EINTR or is_full(c.errno):
                return 0
            return give_up(port, c.errno)
        stream.home_have += <uint32_t>min(got, <ssize_t>left)
        if <uint32_t>got < left:
            continue
        stream.into_end += <uint32_t>got - left
        if stream.stale:
            stream.stale = False
            port.dropped[<int>D_OLD_EPOCH] += 1
        elif take_frame(port, batch, stream.home.data, stream.home_size, 0):
            batch.frames[batch.count - 1].home = stream.home
            stream.home = NULL
        leave_home(stream)
        taken += stream.home_size
        error = take_frames(port, batch)
        if error:
            return give_up(port, error)
        if batch.count == BATCH or taken > TOGETHER:
            break
    batch.more = True
    return 0


cdef int take_frames(Port *port, Batch *batch) noexcept nogil:
    """Take whole frames out of `into` up to a full batch; return the errno of a peer that makes no sense.

    Short ones are copied. A longer one stays where it is and gets its header in front, over its prefix and,
    where that is shorter, over the end of the frame before, if that has been copied. So of a run of long
    frames every other one is copied.
    """
    cdef Stream *stream = port.stream
    cdef uint8_t *at
    cdef uint8_t *frame
    cdef uint8_t *slot
    cdef uint8_t[VNET] header
    cdef uint8_t *free_from = stream.into  # what lies between here and the next frame is of no more use
    cdef uint32_t have, size, head, vnet
    while batch.count < BATCH:
        at = stream.into + stream.into_first
        have = stream.into_end - stream.into_first
        head = 2 * LENGTH if stream.vnet else LENGTH
        if have < LENGTH:
            break
        size = get32(at)
        if size > MAX_FRAME + (MAX_VNET if stream.vnet else 0):
            port.dropped[<int>D_OVERSIZED] += 1
            return c.EMSGSIZE
        if have < head:
            break
        vnet = get32(at + LENGTH) if stream.vnet else 0
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
        if size - vnet > COPIED and frame - VNET >= free_from:
            slot = frame - VNET
            free_from = frame + (size - vnet)
        else:
            slot = next_slot(batch)
            memcpy(slot + VNET, frame, size - vnet)
        memcpy(slot, header, VNET)
        take_frame(port, batch, slot, VNET + <int64_t>(size - vnet), 0)
    if stream.into_first == stream.into_end:
        stream.into_first = ROOM
        stream.into_end = ROOM
    return 0


# Writing.

cdef bint stream_waits(const Stream *stream) noexcept nogil:
    return stream.out_end > stream.out_first


cdef bint stream_crowded(const Stream *stream) noexcept nogil:
    return stream.out_end - stream.out_first > OUT // 2


cdef inline uint32_t prefix_size(const Stream *stream) noexcept nogil:
    return 2 * LENGTH + stream.vnet_size if stream.vnet else LENGTH


cdef uint32_t write_prefix(const Stream *stream, uint8_t *into, const Frame *frame) noexcept nogil:
    """Write what goes in front of the Ethernet header; return its length."""
    cdef uint32_t size = frame.size - VNET
    if not stream.vnet:
        put32(into, size)
        return prefix_size(stream)
    put32(into, size + stream.vnet_size)
    put32(into + LENGTH, stream.vnet_size)
    memcpy(into + 2 * LENGTH, frame.base, VNET)
    memset(into + 2 * LENGTH + VNET, 0, stream.vnet_size - VNET)
    return prefix_size(stream)


cdef int stream_send(Port *port, Frame *frames, uint32_t count) noexcept nogil:
    cdef Stream *stream = port.stream
    cdef int64_t deadline = 0
    cdef uint32_t done = 0
    cdef int error = 0
    if port.fd >= 0:
        error = flush_out(port, &deadline)
        while not error and not stream_waits(stream) and done < count:
            error = send_some(port, frames, &done, count, &deadline)
        if error:
            give_up(port, error)
    if port.fd >= 0 or port.keep:
        while done < count and wait_in_out(port, &frames[done], 0):
            done += 1
    drop_unsent(port, frames + done, count - done, 0)
    return error


cdef int send_some(Port *port, Frame *frames, uint32_t *done, uint32_t count,
                   int64_t *deadline) noexcept nogil:
    """Send as many as one system call takes from frames[done]. What is left of one waits in `out`, goes next.

    Prefixes and short frames are gathered, so that a run of short frames is one part.
    """
    cdef iovec[2 * SENDS + 1] parts
    cdef msghdr message
    cdef Stream *stream = port.stream
    cdef Frame *frame
    cdef uint8_t *from_ = stream.gather  # the part that grows
    cdef uint8_t *to = stream.gather
    cdef uint32_t chunk = 0
    cdef uint32_t used = 0
    cdef uint32_t _
    cdef size_t wire
    cdef ssize_t sent
    while done[0] + chunk < count and chunk < SENDS and to - stream.gather + PREFIX + COPIED <= GATHER:
        frame = &frames[done[0] + chunk]
        chunk += 1
        to += write_prefix(stream, to, frame)
        if frame.size - VNET <= COPIED:
            memcpy(to, frame.base + VNET, frame.size - VNET)
            to += frame.size - VNET
            continue
        parts[used].iov_base = from_
        parts[used].iov_len = to - from_
        parts[used + 1].iov_base = frame.base + VNET
        parts[used + 1].iov_len = frame.size - VNET
        used += 2
        from_ = to
    if to > from_:
        parts[used].iov_base = from_
        parts[used].iov_len = to - from_
        used += 1
    memset(&message, 0, sizeof(message))
    message.msg_iov = parts
    message.msg_iovlen = used
    sent = sendmsg(port.fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL)
    if sent < 0:
        if c.errno == c.EINTR:
            return 0
        if not is_full(c.errno):
            return c.errno
        if not wait_for_room(port, c.errno, deadline):
            wait_in_out(port, &frames[done[0]], 0)  # `out` is empty: there is room
            done[0] += 1
        return 0
    for _ in range(chunk):
        wire = prefix_size(stream) + frames[done[0]].size - VNET
        if <size_t>sent < wire:
            break
        sent -= <ssize_t>wire
        count_sent(port, &frames[done[0]])
        done[0] += 1
    else:
        return 0
    if sent > 0:
        port.stalled = False
        wait_in_out(port, &frames[done[0]], <uint32_t>sent)
        done[0] += 1
    return flush_out(port, deadline)


cdef bint wait_in_out(Port *port, const Frame *frame, uint32_t sent) noexcept nogil:
    """Put a frame behind what waits, `sent` bytes of it being on their way; false: there is no room."""
    cdef Stream *stream = port.stream
    cdef uint32_t size = frame.size + PREFIX
    cdef uint32_t head
    if OUT - stream.out_end < size and stream.out_first:
        memmove(stream.out, stream.out + stream.out_first, stream.out_end - stream.out_first)
        stream.out_end -= stream.out_first
        stream.out_first = 0
    if OUT - stream.out_end < size:
        return False
    if not stream_waits(stream):
        stream.out_sent = sent
    head = write_prefix(stream, stream.out + stream.out_end, frame)
    memcpy(stream.out + stream.out_end + head, frame.base + VNET, frame.size - VNET)
    stream.out_end += head + frame.size - VNET
    return True


cdef void forget_first(Stream *stream) noexcept nogil:
    stream.out_first += LENGTH + (LENGTH if stream.vnet else 0) + get32(stream.out + stream.out_first)
    stream.out_sent = 0
    if stream.out_first == stream.out_end:
        stream.out_first = 0
        stream.out_end = 0


cdef int flush_out(Port *port, int64_t *deadline) noexcept nogil:
    """Send what waits, as far as the socket takes it and patience lasts."""
    cdef Stream *stream = port.stream
    cdef ssize_t sent
    cdef uint32_t left, head
    while stream_waits(stream):
        sent = send(port.fd, stream.out + stream.out_first + stream.out_sent,
                    stream.out_end - stream.out_first - stream.out_sent, MSG_DONTWAIT | MSG_NOSIGNAL)
        if sent < 0:
            if c.errno == c.EINTR or (is_full(c.errno) and wait_for_room(port, c.errno, deadline)):
                continue
            return 0 if is_full(c.errno) else c.errno
        stream.out_sent += <uint32_t>sent
        port.stalled = False
        while stream_waits(stream):
            head = LENGTH + (LENGTH if stream.vnet else 0)
            left = head + get32(stream.out + stream.out_first)
            if stream.out_sent < left:
                break
            sent = stream.out_sent - left
            port.sent += 1
            port.sent_bytes += left - head
            if stream.vnet:
                port.sent_bytes -= get32(stream.out + stream.out_first + LENGTH)
            forget_first(stream)
            stream.out_sent = <uint32_t>sent
    return 0
