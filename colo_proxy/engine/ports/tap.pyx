"""A TAP: one frame in each system call, the virtio-net header in front, VLAN tags in the frame.

The kernel delivers and takes one frame for each read(2) or write(2), and drops what a full queue cannot take.
"""

from libc cimport errno as c
from libc.stdint cimport int64_t, uint8_t, uint32_t

from colo_proxy.core.packet.parse cimport MAX_FRAME, VNET
from colo_proxy.engine.kernel cimport read, write
from colo_proxy.engine.ports.port cimport (
    BATCH,
    Batch,
    Frame,
    Port,
    port_count_sent,
    port_drop_unsent,
    port_is_frames_fault,
    port_is_full,
    port_next_slot,
    port_take_frame,
    port_wait_for_room,
)


cdef int tap_receive(Port *port, Batch *batch) noexcept nogil:
    cdef uint8_t *slot
    cdef ssize_t size
    cdef int _
    for _ in range(BATCH):
        slot = port_next_slot(batch)
        # The kernel cuts a longer frame off without an error. The buffer has one byte more than any valid
        # frame, so a full buffer shows it.
        size = read(port.fd, slot, VNET + MAX_FRAME + 1)
        if size < 0:
            if c.errno == c.EINTR:
                continue
            return 0 if port_is_full(c.errno) else c.errno
        port_take_frame(port, batch, slot, size, 0)
    batch.more = True
    return 0


cdef int tap_send(Port *port, Frame *frames, uint32_t count) noexcept nogil:
    cdef int64_t deadline = 0
    cdef uint32_t at = 0
    cdef int error
    while at < count:
        if write(port.fd, frames[at].base, frames[at].size) >= 0:
            port_count_sent(port, &frames[at])
            at += 1
            continue
        error = c.errno
        if error == c.EINTR or (port_is_full(error) and port_wait_for_room(port, error, &deadline)):
            continue
        if not port_is_full(error) and not port_is_frames_fault(error):  # EIO: the interface is down
            port_drop_unsent(port, frames + at, count - at, error)
            return error
        port_drop_unsent(port, frames + at, 1, error)
        at += 1
    return 0
