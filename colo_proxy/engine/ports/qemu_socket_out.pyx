"""The writing half of a net stream (qemu_socket.pxd): frames into a socket that may be slow.

What the socket does not accept waits in `out`, in order. While anything waits there, later frames wait behind
it. If the peer disconnects while a frame is partly written, the next peer gets that frame from its beginning.
"""

from libc cimport errno as c
from libc.stdint cimport int64_t, uint8_t, uint32_t
from libc.string cimport memcpy, memmove, memset

from colo_proxy.core.packet.parse cimport VNET, get32, put32
from colo_proxy.core.vocabulary cimport D_SEND
from colo_proxy.engine.kernel cimport MSG_DONTWAIT, MSG_NOSIGNAL, iovec, msghdr, send, sendmsg
from colo_proxy.engine.ports.port cimport (
    Frame,
    Port,
    QemuSocket,
    port_count_sent,
    port_drop_unsent,
    port_is_full,
    port_wait_for_room,
)
from colo_proxy.engine.ports.qemu_socket cimport LENGTH_PREFIX, MAX_PREFIX, SOCKET_COPIED, qemu_socket_give_up

cdef enum:
    SENDS = 256  # frames that one system call sends, at most


cdef bint qemu_socket_out_waits(const QemuSocket *stream) noexcept nogil:
    return stream.out_end > stream.out_first


cdef bint qemu_socket_out_crowded(const QemuSocket *stream) noexcept nogil:
    return stream.out_end - stream.out_first > SOCKET_OUT // 2


cdef inline uint32_t prefix_size(const QemuSocket *stream) noexcept nogil:
    return 2 * LENGTH_PREFIX + stream.vnet_size if stream.vnet else LENGTH_PREFIX


cdef uint32_t write_prefix(const QemuSocket *stream, uint8_t *into, const Frame *frame) noexcept nogil:
    """Write the prefix and the virtio-net header of a frame; return their length."""
    cdef uint32_t size = frame.size - VNET
    if not stream.vnet:
        put32(into, size)
        return prefix_size(stream)
    put32(into, size + stream.vnet_size)
    put32(into + LENGTH_PREFIX, stream.vnet_size)
    memcpy(into + 2 * LENGTH_PREFIX, frame.base, VNET)
    memset(into + 2 * LENGTH_PREFIX + VNET, 0, stream.vnet_size - VNET)
    return prefix_size(stream)


cdef int qemu_socket_out_send(Port *port, Frame *frames, uint32_t count) noexcept nogil:
    cdef QemuSocket *stream = port.stream
    cdef int64_t deadline = 0
    cdef uint32_t done = 0
    cdef int error = 0
    if port.fd >= 0:
        error = flush_out(port, &deadline)
        while not error and not qemu_socket_out_waits(stream) and done < count:
            error = send_some(port, frames, &done, count, &deadline)
        if error:
            qemu_socket_give_up(port, error)
    if port.fd >= 0 or port.keep:
        while done < count and wait_in_out(port, &frames[done], 0):
            done += 1
    port_drop_unsent(port, frames + done, count - done, 0)
    return error


cdef int send_some(Port *port, Frame *frames, uint32_t *done, uint32_t count,
                   int64_t *deadline) noexcept nogil:
    """Send as many frames from frames[done] on as one system call takes. The rest of a frame cut off waits in
    `out` and is sent next.

    Prefixes and short frames are gathered, so that a run of short frames is one part.
    """
    cdef iovec[2 * SENDS + 1] parts
    cdef msghdr message
    cdef QemuSocket *stream = port.stream
    cdef Frame *frame
    cdef uint8_t *from_ = stream.gather  # the part that is being gathered
    cdef uint8_t *to = stream.gather
    cdef uint32_t chunk = 0
    cdef uint32_t used = 0
    cdef uint32_t _
    cdef size_t wire
    cdef ssize_t sent
    while (done[0] + chunk < count and chunk < SENDS
           and to - stream.gather + MAX_PREFIX + SOCKET_COPIED <= SOCKET_GATHER):
        frame = &frames[done[0] + chunk]
        chunk += 1
        to += write_prefix(stream, to, frame)
        if frame.size - VNET <= SOCKET_COPIED:
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
        if not port_is_full(c.errno):
            return c.errno
        if not port_wait_for_room(port, c.errno, deadline):
            wait_in_out(port, &frames[done[0]], 0)  # `out` is empty: there is room
            done[0] += 1
        return 0
    for _ in range(chunk):
        wire = prefix_size(stream) + frames[done[0]].size - VNET
        if <size_t>sent < wire:
            break
        sent -= <ssize_t>wire
        port_count_sent(port, &frames[done[0]])
        done[0] += 1
    else:
        return 0
    if sent > 0:
        port.stalled = False
        wait_in_out(port, &frames[done[0]], <uint32_t>sent)
        done[0] += 1
    return flush_out(port, deadline)


cdef bint wait_in_out(Port *port, const Frame *frame, uint32_t sent) noexcept nogil:
    """Append a frame to what waits; `sent` bytes of it have been sent. False: there is no room."""
    cdef QemuSocket *stream = port.stream
    cdef uint32_t size = frame.size + MAX_PREFIX
    cdef uint32_t head
    if SOCKET_OUT - stream.out_end < size and stream.out_first:
        memmove(stream.out, stream.out + stream.out_first, stream.out_end - stream.out_first)
        stream.out_end -= stream.out_first
        stream.out_first = 0
    if SOCKET_OUT - stream.out_end < size:
        return False
    if not qemu_socket_out_waits(stream):
        stream.out_sent = sent
    head = write_prefix(stream, stream.out + stream.out_end, frame)
    memcpy(stream.out + stream.out_end + head, frame.base + VNET, frame.size - VNET)
    stream.out_end += head + frame.size - VNET
    return True


cdef void qemu_socket_out_forget(Port *port) noexcept nogil:
    while qemu_socket_out_waits(port.stream):
        port.dropped[<int>D_SEND] += 1
        forget_first(port.stream)


cdef void forget_first(QemuSocket *stream) noexcept nogil:
    stream.out_first += LENGTH_PREFIX * (2 if stream.vnet else 1) + get32(stream.out + stream.out_first)
    stream.out_sent = 0
    if stream.out_first == stream.out_end:
        stream.out_first = 0
        stream.out_end = 0


cdef int flush_out(Port *port, int64_t *deadline) noexcept nogil:
    """Send what waits, as far as the socket takes it and the time allowed for waiting lasts."""
    cdef QemuSocket *stream = port.stream
    cdef ssize_t sent
    cdef uint32_t left, head
    while qemu_socket_out_waits(stream):
        sent = send(port.fd, stream.out + stream.out_first + stream.out_sent,
                    stream.out_end - stream.out_first - stream.out_sent, MSG_DONTWAIT | MSG_NOSIGNAL)
        if sent < 0:
            if c.errno == c.EINTR or (port_is_full(c.errno) and port_wait_for_room(port, c.errno, deadline)):
                continue
            return 0 if port_is_full(c.errno) else c.errno
        stream.out_sent += <uint32_t>sent
        port.stalled = False
        while qemu_socket_out_waits(stream):
            head = LENGTH_PREFIX + (LENGTH_PREFIX if stream.vnet else 0)
            left = head + get32(stream.out + stream.out_first)
            if stream.out_sent < left:
                break
            sent = stream.out_sent - left
            port.sent += 1
            port.sent_bytes += left - head
            if stream.vnet:
                port.sent_bytes -= get32(stream.out + stream.out_first + LENGTH_PREFIX)
            forget_first(stream)
            stream.out_sent = <uint32_t>sent
    return 0
