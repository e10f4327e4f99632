"""Ports: places where frames enter and leave, as file descriptors that somebody else has opened.

One shape for all three kinds. `port_receive` fills a batch with what there is to read now; `port_send` sends
frames in the order given. Neither blocks for longer than `PATIENCE`. Inside the program each frame is one
piece of memory: the virtio-net header (VNET bytes, virtio 1.2, 5.1.6), the frame behind it. Every header that
comes in is made valid for going out again: of the flags only NEEDS_CSUM stays, since DATA_VALID belongs to
receivers.

What a descriptor must be (`port_open` checks what can be checked and says what is missing):

packet   AF_PACKET, SOCK_RAW, bound to the interface with ETH_P_ALL. SOL_PACKET options PACKET_VNET_HDR,
         PACKET_AUXDATA and PACKET_IGNORE_OUTGOING are 1; SOL_SOCKET option SO_TIMESTAMPNS is 1. Wanted
         besides: promiscuous membership, and SO_RCVBUFFORCE and SO_SNDBUFFORCE of some megabytes, because
         three super-frames fill the default buffers.
tap      /dev/net/tun with IFF_TAP | IFF_NO_PI | IFF_VNET_HDR, TUNSETVNETHDRSZ 10, host byte order.
stream   a connected UNIX or TCP socket that speaks QEMU's net stream: a 4-byte big-endian frame length, then
         (`vnet`) a 4-byte big-endian virtio-net header length, then the frame, which begins with the
         header; the frame length counts both. A stream port may be without a descriptor (-1) until one is
         attached.

All are non-blocking. A descriptor belongs to its opener, who keeps it open as long as the port has it.
Of one port, the functions belong to one thread; counters may be read from any.
"""

from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t

from colo_proxy.core.flow.pool cimport Node, Pool
from colo_proxy.core.vocabulary cimport DROPS

cdef enum:
    BATCH = 64
    PATIENCE = 5000000  # ns: how long one stall of a patient port is waited for

cdef enum PortKind:
    P_PACKET = 0
    P_TAP = 1
    P_QEMU_SOCKET = 2

cdef struct Frame:
    uint8_t *base
    uint32_t size  # the virtio-net header and the frame
    # When the kernel received it, ns of CLOCK_REALTIME. Of a TAP or a stream: when we had, a little later.
    int64_t stamp
    Node *home  # the node of the pool in which it lies, or NULL; who keeps the node writes NULL here

cdef struct Batch:
    Pool *pool  # long frames are received into its nodes
    Node *homes[BATCH]  # of the packet ports' next frames
    uint8_t *arena
    size_t used  # of the arena, by ports that pack their frames
    void *scratch  # of the packet ports: message headers, set up once
    uint32_t count
    bint more  # the port may have more to read at once
    uint32_t most  # packet ports: frames to read at a time at most, BATCH unless somebody counts them
    Frame[BATCH] frames

cdef struct QemuSocket:
    bint vnet  # the wire carries a virtio-net header and its length
    uint32_t vnet_size  # length of the headers sent: as the peer's, once it has sent one (`told`)
    bint told
    uint8_t *into  # bytes received and not yet taken
    uint32_t into_first
    uint32_t into_end
    Pool *pool  # whose node `home` is
    Node *home  # a long frame that has come in part lies there, or NULL
    uint32_t home_size  # of it, the virtio-net header included
    uint32_t home_have
    bint stale  # the frame that has come in part is to be dropped
    uint8_t *gather  # what goes with the next system call
    uint8_t *out  # whole frames that wait for the socket, framed
    uint32_t out_first
    uint32_t out_end
    uint32_t out_sent  # how much of the first is on its way already

cdef struct Port:
    int fd  # -1: none
    PortKind kind
    bint patient  # a full device is waited for a little before a frame is dropped
    bint keep  # a stream without a peer keeps what is to be sent for the next one
    bint stalled  # patience has been spent and nothing has gone since
    QemuSocket *stream
    int64_t newest  # the latest stamp received
    # Packet ports: frames that the kernel has put into the descriptor's queue, as far as it has been asked,
    # and frames taken out of it, also those that are none.
    uint64_t queued
    uint64_t taken
    uint64_t received
    uint64_t received_bytes  # from the Ethernet header, as all bytes counted
    uint64_t sent
    uint64_t sent_bytes
    uint64_t overruns  # frames that the kernel dropped because they were not read in time
    uint64_t[<int>DROPS] dropped  # by DropId

cdef int64_t port_realtime() noexcept nogil
# `pool` must outlive the batch and the ports that were read into it.
cdef Batch *port_batch_new(Pool *pool) except NULL
cdef void port_batch_free(Batch *batch) noexcept nogil
# Raises OSError or ValueError where the descriptor is not what the kind needs; the port is unchanged then.
cdef int port_open(Port *port, PortKind kind, int fd, bint vnet) except -1
# Gives an open port another descriptor, -1 for none. What an earlier peer sent in part is forgotten.
cdef int port_attach(Port *port, int fd) noexcept nogil
cdef void port_close(Port *port) noexcept nogil
# Both return 0, or the errno of a fault of the port as a whole. What could be received is in the batch all
# the same; what could not be sent is counted. A stream that has failed gives up its descriptor (fd is -1
# after).
cdef int port_receive(Port *port, Batch *batch) noexcept nogil
cdef int port_send(Port *port, Frame *frames, uint32_t count) noexcept nogil
# Something waits for POLLOUT: a stream whose peer reads too slowly, or that has no peer and keeps.
cdef bint port_waits(const Port *port) noexcept nogil
# More of it than a moment's stall explains.
cdef bint port_crowded(const Port *port) noexcept nogil
# Brings `overruns` and `queued` up to date.
cdef void port_count_queue(Port *port) noexcept nogil
# The interface has been removed and the port will never work again.
cdef bint port_gone(const Port *port) noexcept nogil

# For the kinds.
cdef bint port_take_frame(Port *port, Batch *batch, uint8_t *base, int64_t size, int64_t stamp) noexcept nogil
cdef uint8_t *port_next_slot(Batch *batch) noexcept nogil
cdef void port_count_sent(Port *port, const Frame *frame) noexcept nogil
# Waits for room until `deadline` (0: sets it); false: patience is at its end.
cdef bint port_wait_for_room(Port *port, int error, int64_t *deadline) noexcept nogil
cdef bint port_is_full(int error) noexcept nogil
cdef bint port_is_frames_fault(int error) noexcept nogil
cdef void port_drop_unsent(Port *port, const Frame *frames, uint32_t count, int error) noexcept nogil
cdef int64_t port_monotonic() noexcept nogil
