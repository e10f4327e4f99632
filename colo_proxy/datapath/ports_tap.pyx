# See ports_tap.pxd.

from libc cimport errno as c
from libc.stdint cimport int64_t, uint8_t, uint32_t

from colo_proxy.datapath.kernel cimport read, write
from colo_proxy.datapath.ports cimport (
    BATCH,
    Batch,
    Frame,
    Port,
    count_sent,
    drop_unsent,
    is_frames_fault,
    is_full,
    next_slot,
    take_frame,
    wait_for_room,
)
from colo_proxy.datapath.wire cimport MAX_FRAME, VNET


cdef int tap_receive(Port *port, Batch *batch) noexcept nogil:
    cdef uint8_t *slot
    cdef ssize_t size
    cdef int _
    for _ in range(BATCH):
        slot = next_slot(batch)
        # A longer frame is cut off silently; the byte more than any frame may have gives it away.
        size = read(port.fd, slot, VNET + MAX_FRAME + 1)
        if size < 0:
            if c.errno == c.EINTR:
                continue
            return 0 if is_full(c.errno) else c.errno
        take_frame(port, batch, slot, size, 0)
    batch.more = True
    return 0


cdef int tap_send(Port *port, Frame *frames, uint32_t count) noexcept nogil:
    cdef int64_t deadline = 0
    cdef uint32_t at = 0
    cdef int error
    while at < count:
        if write(port.fd, frames[at].base, frames[at].size) >= 0:
            count_sent(port, &frames[at])
            at += 1
            continue
        error = c.errno
        if error == c.EINTR or (is_full(error) and wait_for_room(port, error, &deadline)):
            continue
        if not is_full(error) and not is_frames_fault(error):  # EIO: the interface is down
            drop_unsent(port, frames + at, count - at, error)
            return error
        drop_unsent(port, frames + at, 1, error)
        at += 1
    return 0
