"""One stream of the link, between the thread that has its socket and the one that has the frames.

A stream has two lanes out. What is *ordered* (frames, and words whose place among the frames matters) goes
one behind the other. What is *urgent* (heartbeats, and words that mean the same wherever they come)
overtakes it, at the next end of a record. Frames may fill `ordered` up to `bound` only; beyond, a frame is
dropped and counted, and `dropped` tells the other host where it would have been. The rest of the ring is
for words, which are never dropped: if one finds no room, the stream ends. What comes in is one ring: the
link's thread decrypts into it, the data path parses where it lies, and a full ring stops the reading, so
that memory is bounded whatever the other host sends.

Two positions are the link's alone. `left` counts down to the end of the record under way, where the lane
may change. `offered` is what an SSL_write was given and did not finish: TLS has encrypted it, so the same
bytes must be offered again (SSL_write(3)), and they lie where they lay.

Doorbells ring once: who rings swaps `rung` from 0 to 1 and only then writes to the eventfd. The reader
empties the eventfd first, then clears `rung`, and then looks: whatever was published before it cleared, it
sees; whatever later, rings again.
"""

from cpython.buffer cimport PyBUF_READ, PyBUF_WRITE
from cpython.memoryview cimport PyMemoryView_FromMemory
from libc cimport errno as c
from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcpy, memset
from posix.unistd cimport close

from colo_proxy.core.atomic cimport (
    atomic_exchange,
    atomic_load,
    atomic_load_acquire,
    atomic_store,
    atomic_store_release,
)
from colo_proxy.core.packet.parse cimport MAX_FRAME, VNET
from colo_proxy.engine.kernel cimport (
    CLOCK_BOOTTIME,
    EFD_CLOEXEC,
    EFD_NONBLOCK,
    clock_gettime,
    eventfd,
    read,
    timespec,
    write,
)
from colo_proxy.link.mirror cimport (
    Mirror,
    mirror_at,
    mirror_close,
    mirror_end,
    mirror_give_back,
    mirror_open,
    mirror_publish,
    mirror_used,
)
from colo_proxy.link.wire cimport (
    F_VNET,
    R_DROPPED,
    R_FRAME,
    W_FULL,
    WIRE_HEADER,
    WIRE_MOST,
    Record,
    wire_check,
    wire_header,
    wire_is_urgent,
    wire_parse,
    wire_put64,
)

from colo_proxy.link.wire import REASONS, BadRecord

import os

cdef enum:
    ORDERED = 16777216  # bytes: half of it for frames (two batches of super-frames), half for words
    BOUND = 8388608
    URGENT = 65536
    INBOUND = 4194304
    MOST_OFFERED = 65536  # bytes given to TLS at once: what is urgent waits for them
    DROPPED = 16  # bytes of the body of `dropped`


# ---- doorbells

cdef void ring(Bell *bell) noexcept nogil:
    cdef uint64_t one = 1
    if atomic_exchange(&bell.rung, 1) == 0:
        write(bell.fd, &one, sizeof(one))


cdef void channel_silence(Bell *bell) noexcept nogil:
    cdef uint64_t rung
    read(bell.fd, &rung, sizeof(rung))
    atomic_exchange(&bell.rung, 0)


cdef int64_t channel_boottime() noexcept nogil:
    cdef timespec now
    clock_gettime(CLOCK_BOOTTIME, &now)
    return <int64_t>now.tv_sec * 1000000000 + now.tv_nsec


# ---- the data path: sending

cdef uint8_t *begin(Mirror *lane, uint8_t kind, uint8_t flags, uint16_t nic, uint32_t size) noexcept nogil:
    """Write a record's header, for which there is room with its body; returns where the body goes."""
    cdef uint8_t *at = mirror_at(lane, lane.written)
    wire_header(at, kind, flags, nic, size)
    lane.written += WIRE_HEADER + size
    return at + WIRE_HEADER


cdef void tell_dropped(ChannelState *channel) noexcept nogil:
    """Say how many frames have been dropped, where they would have been."""
    cdef uint8_t *body
    if channel.untold and channel.ordered.size - mirror_used(&channel.ordered) >= WIRE_HEADER + DROPPED:
        body = begin(&channel.ordered, R_DROPPED, 0, 0, DROPPED)
        wire_put64(body, channel.dropped_frames)
        wire_put64(body + 8, channel.dropped_bytes)
        channel.untold = False


cdef bint channel_frame(ChannelState *channel, uint16_t nic, uint8_t source, const uint8_t *vnet,
                        const uint8_t *frame, uint32_t size) noexcept nogil:
    cdef uint32_t head = VNET if vnet != NULL else 0
    cdef uint8_t flags = source | (F_VNET if vnet != NULL else 0)
    cdef uint8_t *body
    if size > MAX_FRAME or wire_check(R_FRAME, flags, nic, head + size):
        channel.dropped_frames += 1
        channel.dropped_bytes += size
        channel.untold = True
        return False
    if mirror_used(&channel.ordered) + WIRE_HEADER + head + size > channel.bound:
        channel.dropped_frames += 1
        channel.dropped_bytes += size
        channel.untold = True
        return False
    tell_dropped(channel)
    body = begin(&channel.ordered, R_FRAME, flags, nic, head + size)
    if vnet != NULL:
        memcpy(body, vnet, VNET)
    memcpy(body + head, frame, size)
    channel.frames += 1
    return True


cdef bint channel_word(ChannelState *channel, uint8_t kind, uint8_t flags, uint16_t nic, const uint8_t *body,
                       uint32_t size) noexcept nogil:
    cdef Mirror *lane = &channel.urgent if wire_is_urgent(kind) else &channel.ordered
    cdef uint8_t *at
    if lane == &channel.ordered:
        tell_dropped(channel)
    if lane.size - mirror_used(lane) < WIRE_HEADER + size:
        channel_fail(channel, W_FULL)
        return False
    at = begin(lane, kind, flags, nic, size)
    memcpy(at, body, size)
    return True


cdef void channel_flush(ChannelState *channel) noexcept nogil:
    tell_dropped(channel)
    if channel.ordered.written != channel.ordered.tail or channel.urgent.written != channel.urgent.tail:
        mirror_publish(&channel.ordered)
        mirror_publish(&channel.urgent)
        ring(&channel.to_link)


cdef void channel_fail(ChannelState *channel, int error) noexcept nogil:
    if atomic_load(&channel.failure) == 0:
        atomic_store_release(&channel.failure, <uint64_t>error)
        ring(&channel.to_link)


# ---- the data path: receiving

cdef int channel_next(ChannelState *channel, Record *record) noexcept nogil:
    cdef Mirror *inbound = &channel.inbound
    cdef int size
    if atomic_load(&channel.failure):
        return -<int>atomic_load(&channel.failure)
    size = wire_parse(record, mirror_at(inbound, channel.taken), mirror_end(inbound) - channel.taken)
    if size < 0:
        channel_fail(channel, -size)
        return size
    channel.taken += <uint64_t>size
    return size > 0


cdef void channel_done(ChannelState *channel) noexcept nogil:
    if channel.taken != channel.inbound.head:
        mirror_give_back(&channel.inbound, channel.taken)
        if atomic_exchange(&channel.starved, 0):
            ring(&channel.to_link)


# ---- the link's thread

cdef uint64_t channel_offer(ChannelState *channel) noexcept nogil:
    cdef uint64_t ready, urgent
    if channel.offered:
        return channel.offered
    urgent = mirror_end(&channel.urgent) - channel.urgent.head
    if channel.left == 0:
        channel.lane = &channel.urgent if urgent else &channel.ordered
    ready = mirror_end(channel.lane) - channel.lane.head
    if urgent and channel.lane == &channel.ordered:
        ready = channel.left
    channel.offered = min(ready, <uint64_t>MOST_OFFERED)
    return channel.offered


cdef void channel_sent(ChannelState *channel, uint64_t size) noexcept nogil:
    cdef Mirror *lane = channel.lane
    cdef uint64_t at = lane.head
    cdef uint64_t step
    cdef Record record
    cdef uint64_t end = at + size
    while at != end:
        if channel.left == 0:
            channel.left = <uint64_t>wire_parse(&record, mirror_at(lane, at), mirror_end(lane) - at)
        step = min(channel.left, end - at)
        channel.left -= step
        at += step
    channel.offered = 0
    mirror_give_back(lane, at)


cdef uint64_t channel_room(ChannelState *channel) noexcept nogil:
    cdef uint64_t free = channel.inbound.size - mirror_used(&channel.inbound)
    if free == 0:
        atomic_exchange(&channel.starved, 1)
        free = channel.inbound.size - mirror_used(&channel.inbound)
    return free


cdef void channel_filled(ChannelState *channel, uint64_t size) noexcept nogil:
    atomic_store(&channel.heard, <uint64_t>channel_boottime())
    channel.inbound.written += size
    mirror_publish(&channel.inbound)
    ring(&channel.to_data)


cdef class Channel:
    """The memory of one stream, for both threads; see channel.pyi."""

    def __cinit__(self, uint64_t bound=BOUND):
        memset(&self.state, 0, sizeof(ChannelState))
        self.state.to_link.fd = -1
        self.state.to_data.fd = -1
        if bound > BOUND:
            raise ValueError(f"frames may use {BOUND} bytes at most")
        self.state.bound = bound
        self.state.lane = &self.state.ordered
        mirror_open(&self.state.ordered, ORDERED)
        mirror_open(&self.state.urgent, URGENT)
        mirror_open(&self.state.inbound, INBOUND)
        for bell in range(2):
            fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)
            if fd < 0:
                raise OSError(c.errno, f"eventfd: {os.strerror(c.errno)}")
            if bell:
                self.state.to_data.fd = fd
            else:
                self.state.to_link.fd = fd

    def __dealloc__(self):
        for fd in (self.state.to_link.fd, self.state.to_data.fd):
            if fd >= 0:
                close(fd)
        mirror_close(&self.state.ordered)
        mirror_close(&self.state.urgent)
        mirror_close(&self.state.inbound)

    # ---- the data path's

    def send_frame(self, int nic, int source, const uint8_t[::1] frame not None, vnet=None):
        cdef bytes header = b"" if vnet is None else bytes(vnet)
        if not (0 <= nic < 65536 and 0 <= source < 3) or (vnet is not None and len(header) != VNET):
            raise ValueError("no such NIC, source or virtio-net header")
        cdef const uint8_t *its_header = NULL
        if vnet is not None:
            its_header = <const uint8_t *><const char *>header
        return channel_frame(&self.state, <uint16_t>nic, <uint8_t>source, its_header,
                             &frame[0] if frame.shape[0] else NULL,
                             <uint32_t>min(frame.shape[0], <Py_ssize_t>MAX_FRAME + 1))

    def send_word(self, int kind, int flags, int nic, bytes body not None):
        if not (0 <= kind < 256 and 0 <= flags < 256 and 0 <= nic < 65536 and len(body) <= WIRE_MOST):
            raise BadRecord("a field is out of its range")
        wrong = wire_check(kind, flags, nic, <uint32_t>len(body))
        if wrong:
            raise BadRecord(REASONS[-wrong])
        return channel_word(&self.state, <uint8_t>kind, <uint8_t>flags, <uint16_t>nic,
                            <const uint8_t *><char *>body, <uint32_t>len(body))

    def flush(self):
        channel_flush(&self.state)

    def receive(self):
        cdef Record record
        memset(&record, 0, sizeof(record))
        found = channel_next(&self.state, &record)
        if found < 0:
            raise BadRecord(REASONS[-found])
        if not found:
            return None
        body = (<const char *>record.body)[:record.size]
        channel_done(&self.state)
        return record.type, record.flags, record.nic, body

    def hear(self):
        channel_silence(&self.state.to_data)

    @property
    def data_bell(self):
        return self.state.to_data.fd

    @property
    def heard(self):
        return atomic_load(&self.state.heard)

    @property
    def ended(self):
        return bool(atomic_load_acquire(&self.state.ended))

    @property
    def counters(self):
        return {"frames": self.state.frames, "dropped_frames": self.state.dropped_frames,
                "dropped_bytes": self.state.dropped_bytes}

    # ---- the link's thread's

    def outgoing(self):
        cdef uint64_t size = channel_offer(&self.state)
        if size == 0:
            return None
        return PyMemoryView_FromMemory(
            <char *>mirror_at(self.state.lane, self.state.lane.head), size, PyBUF_READ
        )

    def sent(self, uint64_t size):
        if size > self.state.offered:
            raise ValueError("more than was offered")
        channel_sent(&self.state, size)

    def room(self):
        cdef uint64_t size = channel_room(&self.state)
        if size == 0:
            return None
        return PyMemoryView_FromMemory(
            <char *>mirror_at(&self.state.inbound, self.state.inbound.written), size, PyBUF_WRITE
        )

    def filled(self, uint64_t size):
        if size > channel_room(&self.state):
            raise ValueError("more than there was room for")
        channel_filled(&self.state, size)

    def silence(self):
        channel_silence(&self.state.to_link)

    def end(self):
        atomic_store_release(&self.state.ended, 1)
        ring(&self.state.to_data)

    def wake(self):
        ring(&self.state.to_link)

    @property
    def mid_record(self):
        return self.state.left != 0

    @property
    def failure(self):
        error = atomic_load_acquire(&self.state.failure)
        return REASONS[<int>error] if error else None

    @property
    def link_bell(self):
        return self.state.to_link.fd
