"""Ports: what all kinds have in common, receiving and sending by kind, opening, and a Python class for tests.

How a port is laid out, and what a descriptor must be: port.pxd. Each kind has a file of its own
(af_packet.pyx, tap.pyx, qemu_socket.pyx, qemu_socket_out.pyx).

Past 400 lines: the common part of all kinds of port, and their one Python class for tests.
"""

from libc cimport errno as c
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy, memset
from posix.stdlib cimport posix_memalign

import os

from colo_proxy.core.flow.pool cimport HEADROOM, Pool, pool_free, pool_new, pool_return
from colo_proxy.core.packet.parse cimport ETHERNET, MAX_FRAME, NEEDS_CSUM, VNET
from colo_proxy.core.vocabulary cimport DROPS, D_OVERSIZED, D_SEND, D_TRUNCATED
from colo_proxy.engine.kernel cimport (
    CLOCK_MONOTONIC,
    CLOCK_REALTIME,
    IFF_NO_PI,
    IFF_TAP,
    IFF_VNET_HDR,
    PACKET_AUXDATA,
    PACKET_IGNORE_OUTGOING,
    PACKET_VNET_HDR,
    POLLOUT,
    SOCK_STREAM,
    SOL_PACKET,
    SOL_SOCKET,
    SO_TIMESTAMPNS,
    SO_TYPE,
    TUNGETIFF,
    TUNGETVNETHDRSZ,
    clock_gettime,
    getsockopt,
    ifreq,
    ioctl,
    nanosleep,
    poll,
    pollfd,
    socklen_t,
    timespec,
)
from colo_proxy.engine.ports.af_packet cimport (
    af_packet_count_queue,
    af_packet_gone,
    af_packet_receive,
    af_packet_scratch_free,
    af_packet_scratch_new,
    af_packet_send,
)
from colo_proxy.engine.ports.qemu_socket cimport (
    qemu_socket_attach,
    qemu_socket_free,
    qemu_socket_new,
    qemu_socket_receive,
)
from colo_proxy.engine.ports.qemu_socket_out cimport (
    qemu_socket_out_crowded,
    qemu_socket_out_send,
    qemu_socket_out_waits,
)
from colo_proxy.engine.ports.tap cimport tap_receive, tap_send

cdef enum:
    LINE = 64  # bytes of a cache line
    # A slot of the arena: headroom, header, frame, and one byte more, which shows that a frame is too long.
    # An odd number of cache lines, so that the first lines of the slots do not all fall into one set of the
    # cache.
    SLOT = MAX_FRAME + 192


cdef int64_t port_monotonic() noexcept nogil:
    cdef timespec now
    clock_gettime(CLOCK_MONOTONIC, &now)
    return <int64_t>now.tv_sec * 1000000000 + now.tv_nsec


# Batches.

cdef Batch *port_batch_new(Pool *pool) except NULL:
    cdef Batch *batch = <Batch *>calloc(1, sizeof(Batch))
    if batch == NULL:
        raise MemoryError
    batch.pool = pool
    batch.most = BATCH
    if posix_memalign(<void **>&batch.arena, 64, <size_t>BATCH * SLOT) != 0:
        free(batch)
        raise MemoryError
    batch.scratch = af_packet_scratch_new(batch.arena + HEADROOM, SLOT)
    if batch.scratch == NULL:
        port_batch_free(batch)
        raise MemoryError
    return batch


cdef void port_batch_free(Batch *batch) noexcept nogil:
    cdef int at
    if batch != NULL:
        batch_clear(batch)
        for at in range(BATCH):
            if batch.homes[at] != NULL:
                pool_return(batch.pool, batch.homes[at])
        af_packet_scratch_free(batch.scratch)
        free(batch.arena)
        free(batch)


cdef void batch_clear(Batch *batch) noexcept nogil:
    """Take back the nodes of frames that nobody kept."""
    cdef uint32_t at
    for at in range(batch.count):
        if batch.frames[at].home != NULL:
            pool_return(batch.pool, batch.frames[at].home)
    batch.count = 0
    batch.used = 0


cdef uint8_t *port_next_slot(Batch *batch) noexcept nogil:
    """Room for one more header and frame, VNET + MAX_FRAME + 1 bytes; the batch must not be full.

    It follows directly behind the one before, because short frames that share pages need fewer cache misses.
    """
    return batch.arena + batch.used + HEADROOM


cdef bint port_take_frame(Port *port, Batch *batch, uint8_t *base, int64_t size,
                          int64_t stamp) noexcept nogil:
    """Add what was received at `base` to the batch if it is a valid frame; otherwise count it as dropped."""
    cdef Frame *frame = &batch.frames[batch.count]
    if size > VNET + MAX_FRAME:
        port.dropped[<int>D_OVERSIZED] += 1
        return False
    if size < VNET + ETHERNET:
        port.dropped[<int>D_TRUNCATED] += 1
        return False
    base[0] &= NEEDS_CSUM
    frame.base = base
    frame.size = <uint32_t>size
    frame.stamp = stamp
    frame.home = NULL
    if base == port_next_slot(batch):
        batch.used += (HEADROOM + <size_t>size + LINE - 1) // LINE * LINE  # less than a SLOT
    if stamp > port.newest:
        port.newest = stamp
    batch.count += 1
    port.received += 1
    port.received_bytes += <uint32_t>size - VNET
    return True


# Receiving and sending, by kind.

cdef int port_receive(Port *port, Batch *batch) noexcept nogil:
    cdef int error
    cdef uint32_t at
    batch_clear(batch)
    batch.more = False
    if port.fd < 0:
        return 0
    if port.kind == P_PACKET:
        return af_packet_receive(port, batch)
    error = tap_receive(port, batch) if port.kind == P_TAP else qemu_socket_receive(port, batch)
    if batch.count:
        port.newest = port_realtime()
        for at in range(batch.count):
            batch.frames[at].stamp = port.newest
    return error


cdef int64_t port_realtime() noexcept nogil:
    cdef timespec now
    clock_gettime(CLOCK_REALTIME, &now)
    return <int64_t>now.tv_sec * 1000000000 + now.tv_nsec


cdef int port_send(Port *port, Frame *frames, uint32_t count) noexcept nogil:
    if port.kind == P_QEMU_SOCKET:
        return qemu_socket_out_send(port, frames, count)
    if port.fd < 0:
        port_drop_unsent(port, frames, count, 0)
        return 0
    if port.kind == P_PACKET:
        return af_packet_send(port, frames, count)
    return tap_send(port, frames, count)


cdef bint port_waits(const Port *port) noexcept nogil:
    return port.stream != NULL and qemu_socket_out_waits(port.stream)


cdef bint port_crowded(const Port *port) noexcept nogil:
    return port.stream != NULL and qemu_socket_out_crowded(port.stream)


cdef void port_count_queue(Port *port) noexcept nogil:
    if port.kind == P_PACKET and port.fd >= 0:
        af_packet_count_queue(port)


cdef bint port_gone(const Port *port) noexcept nogil:
    return port.kind == P_PACKET and port.fd >= 0 and af_packet_gone(port)


# What may go wrong in sending, for all kinds.

cdef bint port_is_full(int error) noexcept nogil:
    """The device or its queue is full for now. A packet socket returns ENOBUFS when the device drops."""
    return error == c.EAGAIN or error == c.ENOBUFS or error == c.ENOMEM


cdef bint port_is_frames_fault(int error) noexcept nogil:
    """This frame cannot be sent (longer than the MTU, a header that contradicts it), but others can."""
    return error == c.EMSGSIZE or error == c.EINVAL


cdef void port_count_sent(Port *port, const Frame *frame) noexcept nogil:
    port.sent += 1
    port.sent_bytes += frame.size - VNET
    port.stalled = False


cdef void port_drop_unsent(Port *port, const Frame *frames, uint32_t count, int error) noexcept nogil:
    port.dropped[<int>D_OVERSIZED if error == c.EMSGSIZE else <int>D_SEND] += count


cdef bint port_wait_for_room(Port *port, int error, int64_t *deadline) noexcept nogil:
    """The wait is granted once in a stall: a device that stays full must not slow down everything else."""
    cdef pollfd which
    cdef timespec nap
    cdef int64_t now
    if not port.patient or port.stalled:
        return False
    now = port_monotonic()
    if deadline[0] == 0:
        deadline[0] = now + PATIENCE
    if now >= deadline[0]:
        port.stalled = True
        return False
    if error == c.EAGAIN:
        which.fd = port.fd
        which.events = POLLOUT
        which.revents = 0
        poll(&which, 1, <int>((deadline[0] - now) // 1000000) + 1)
    else:  # the socket is writable but the device is full: only waiting helps
        nap.tv_sec = 0
        nap.tv_nsec = 100000
        nanosleep(&nap, NULL)
    return True


# Opening.

cdef int option(int fd, int level, int name) except? -1:
    cdef int value = 0
    cdef socklen_t size = sizeof(value)
    if getsockopt(fd, level, name, &value, &size) < 0:
        raise OSError(c.errno, f"descriptor {fd}: {os.strerror(c.errno)}")
    return value


cdef int check(PortKind kind, int fd) except -1:
    """Refuse a descriptor that would fail later without anybody noticing."""
    cdef ifreq interface
    cdef int size = 0
    if os.get_blocking(fd):
        raise ValueError(f"descriptor {fd} is in blocking mode")
    if kind == P_PACKET:
        for level, name, label in (
            (SOL_PACKET, PACKET_VNET_HDR, "PACKET_VNET_HDR"),
            (SOL_PACKET, PACKET_AUXDATA, "PACKET_AUXDATA"),
            (SOL_PACKET, PACKET_IGNORE_OUTGOING, "PACKET_IGNORE_OUTGOING"),
            (SOL_SOCKET, SO_TIMESTAMPNS, "SO_TIMESTAMPNS"),
        ):
            if option(fd, level, name) != 1:
                raise ValueError(f"packet socket {fd} has no {label}")
    elif kind == P_TAP:
        memset(&interface, 0, sizeof(interface))
        if ioctl(fd, TUNGETIFF, &interface) < 0 or ioctl(fd, TUNGETVNETHDRSZ, &size) < 0:
            raise OSError(c.errno, f"descriptor {fd} is no TAP: {os.strerror(c.errno)}")
        for bit, label in ((IFF_TAP, "IFF_TAP"), (IFF_NO_PI, "IFF_NO_PI"), (IFF_VNET_HDR, "IFF_VNET_HDR")):
            if not interface.ifr_flags & bit:
                raise ValueError(f"TAP {fd} has no {label}")
        if size != VNET:
            raise ValueError(f"TAP {fd} has virtio-net headers of {size} bytes, not {VNET}")
    elif option(fd, SOL_SOCKET, SO_TYPE) != SOCK_STREAM:
        raise ValueError(f"socket {fd} is no stream")
    return 0


cdef int port_open(Port *port, PortKind kind, int fd, bint vnet) except -1:
    if fd >= 0:
        check(kind, fd)
    elif kind != P_QEMU_SOCKET:
        raise ValueError("only a stream port can be without a descriptor")
    memset(port, 0, sizeof(Port))
    if kind == P_QEMU_SOCKET:
        port.stream = qemu_socket_new(vnet)
        if port.stream == NULL:
            raise MemoryError
    port.kind = kind
    port.fd = fd
    return 0


cdef int port_attach(Port *port, int fd) noexcept nogil:
    if port.stream != NULL:
        qemu_socket_attach(port)
    port.fd = fd
    port.queued = port.taken = 0
    port.stalled = False
    return 0


cdef void port_close(Port *port) noexcept nogil:
    """Forget the descriptor and free what belongs to the port."""
    port.fd = -1
    qemu_socket_free(port.stream)
    port.stream = NULL


# For Python.

cdef uint64_t HELD = 16777216  # at most so many bytes of spare nodes; nothing is held

KINDS = {"packet": P_PACKET, "tap": P_TAP, "stream": P_QEMU_SOCKET}


cdef class PortIO:
    """One port by itself, for tools and tests: the same code as in the engine, for a list of frames at a
    time.
    """

    cdef Port port
    cdef Pool *pool
    cdef Batch *batch

    def __cinit__(self, spec, *, patient=False, keep=False):
        port_open(&self.port, <PortKind><int>KINDS[spec.kind], spec.fd, spec.vnet)
        self.port.patient = patient
        self.port.keep = keep
        self.pool = pool_new(HELD, 0)
        self.batch = port_batch_new(self.pool)

    def __dealloc__(self):
        port_close(&self.port)
        port_batch_free(self.batch)
        pool_free(self.pool)

    def receive(self):
        """Return [(virtio-net header, frame, kernel timestamp)] and the errno of a fault, or 0."""
        cdef int fault
        cdef Frame *frame
        cdef uint32_t at
        with nogil:
            fault = port_receive(&self.port, self.batch)
        frames = []
        for at in range(self.batch.count):
            frame = &self.batch.frames[at]
            frames.append((
                frame.base[:VNET], (frame.base + VNET)[:frame.size - VNET], frame.stamp,
            ))
        return frames, fault

    def send(self, frames):
        """Send [(virtio-net header, frame)], 64 at most; return the errno of a fault, or 0."""
        cdef Frame[BATCH] batch
        cdef uint32_t count = 0
        cdef const uint8_t[::1] header, data
        if len(frames) > BATCH:
            raise ValueError(f"{len(frames)} frames are more than a batch of {BATCH}")
        for vnet, frame in frames:
            header = vnet
            data = frame
            if len(header) != VNET or not 0 < len(data) <= MAX_FRAME:
                raise ValueError(f"a header of {len(header)} and a frame of {len(data)} bytes")
            batch[count].base = self.batch.arena + <size_t>count * SLOT + HEADROOM
            batch[count].size = VNET + <uint32_t>len(data)
            batch[count].stamp = 0
            memcpy(batch[count].base, &header[0], VNET)
            memcpy(batch[count].base + VNET, &data[0], len(data))
            count += 1
        with nogil:
            fault = port_send(&self.port, &batch[0], count)
        return fault

    def flush(self):
        """Try to send what waits; return the errno of a fault, or 0."""
        with nogil:
            fault = port_send(&self.port, NULL, 0)
        return fault

    def attach(self, int fd):
        """Take another descriptor, -1 for none."""
        if fd >= 0:
            check(self.port.kind, fd)
        port_attach(&self.port, fd)

    @property
    def fd(self):
        return self.port.fd

    @property
    def waits(self):
        """Whether frames wait for the socket."""
        return bool(port_waits(&self.port))

    @property
    def counters(self):
        port_count_queue(&self.port)
        return {
            "received": self.port.received,
            "received_bytes": self.port.received_bytes,
            "sent": self.port.sent,
            "sent_bytes": self.port.sent_bytes,
            "overruns": self.port.overruns,
            "dropped": [self.port.dropped[at] for at in range(<int>DROPS)],
        }
