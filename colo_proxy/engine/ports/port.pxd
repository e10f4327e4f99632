"""Ports: places where frames enter and leave, as file descriptors that the caller has opened.

All three kinds have the same functions. `port_receive` fills a batch with what there is to read now;
`port_send` sends frames in the order given. Neither blocks for longer than `PATIENCE`. Inside the program
each frame is one block of memory: the virtio-net header (VNET bytes, virtio 1.2, 5.1.6), then the frame. Each
header that is received is made valid for sending: of its flags only NEEDS_CSUM is kept, since DATA_VALID is
for receivers.

What a descriptor must be (`port_open` checks what can be checked and reports what is missing):

packet   AF_PACKET, SOCK_RAW, bound to the interface with ETH_P_ALL. SOL_PACKET options PACKET_VNET_HDR,
         PACKET_AUXDATA and PACKET_IGNORE_OUTGOING are 1; SOL_SOCKET option SO_TIMESTAMPNS is 1. Recommended
         besides: promiscuous membership, and SO_RCVBUFFORCE and SO_SNDBUFFORCE of some megabytes, because
         three super-frames fill the default buffers.
tap      /dev/net/tun with IFF_TAP | IFF_NO_PI | IFF_VNET_HDR, TUNSETVNETHDRSZ 10, host byte order.
stream   a connected UNIX or TCP socket that carries QEMU's net stream: a 4-byte big-endian frame length, then
         (`vnet`) a 4-byte big-endian virtio-net header length, then the frame, which begins with the
         header; the frame length counts both. A stream port may be without a descriptor (-1) until one is
         attached.

All are non-blocking. A descriptor belongs to the one who opened it, who keeps it open as long as the port
uses it. One thread calls the functions of a port; any thread may read its counters.
"""

from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t

from colo_proxy.core.flow.pool cimport Node, Pool
from colo_proxy.core.vocabulary cimport DROPS

cdef enum:
    BATCH = 64
    PATIENCE = 5000000  # ns: the longest wait for a full device, where the port waits at all (`patient`)

cdef enum PortKind:
    P_PACKET = 0
    P_TAP = 1
    P_QEMU_SOCKET = 2

cdef struct Frame:
    uint8_t *base
    uint32_t size  # the virtio-net header and the frame
    # When the kernel received it, ns of CLOCK_REALTIME. For a TAP or a stream: when we read it, a little
    # later.
    int64_t stamp
    Node *home  # the node of the pool that holds the frame, or NULL; whoever keeps the node sets this to NULL

cdef struct Batch:
    Pool *pool  # long frames are received into nodes of this pool
    Node *homes[BATCH]  # packet ports: nodes for the next frames
    uint8_t *arena
    size_t used  # bytes of the arena in use, in ports that pack their frames
    void *scratch  # packet ports: message headers, set up once
    uint32_t count
    bint more  # the port may have more to read immediately
    # packet ports: the largest number of frames to read at a time; BATCH unless they must be counted
    uint32_t most
    Frame[BATCH] frames

cdef struct QemuSocket:
    bint vnet  # the stream carries a virtio-net header and its length
    uint32_t vnet_size  # length of the headers sent: the peer's own, once it has sent one (`told`)
    bint told
    uint8_t *into  # bytes received and not yet taken
    uint32_t into_first
    uint32_t into_end
    Pool *pool  # the pool that `home` belongs to
    Node *home  # a node with a long frame of which a part has been received, or NULL
    uint32_t home_size  # size of that frame, with its virtio-net header
    uint32_t home_have
    bint stale  # the frame that was received in part is to be dropped
    uint8_t *gather  # what the next system call sends
    uint8_t *out  # whole frames with their prefixes that wait for the socket
    uint32_t out_first
    uint32_t out_end
    uint32_t out_sent  # how many bytes of the first have been sent

cdef struct Port:
    int fd  # -1: none
    PortKind kind
    bint patient  # wait a short time for a full device before a frame is dropped
    bint keep  # a stream without a peer keeps what is to be sent for the next peer
    bint stalled  # the wait has been used up and nothing has been sent since
    QemuSocket *stream
    int64_t newest  # the latest stamp received
    # Packet ports: the number of frames that the kernel has put into the socket's queue, as last read, and
    # the number taken out of it, invalid ones included.
    uint64_t queued
    uint64_t taken
    uint64_t received
    uint64_t received_bytes  # from the Ethernet header, as all bytes counted
    uint64_t sent
    uint64_t sent_bytes
    uint64_t overruns  # frames that the kernel dropped because they were not read in time
    uint64_t[<int>DROPS] dropped  # by DropId

cdef int64_t port_realtime() noexcept nogil
# `pool` must outlive the batch and the ports whose frames it received.
cdef Batch *port_batch_new(Pool *pool) except NULL
cdef void port_batch_free(Batch *batch) noexcept nogil
# Raise OSError or ValueError where the descriptor is not what the kind needs; the port is then unchanged.
cdef int port_open(Port *port, PortKind kind, int fd, bint vnet) except -1
# Give an open port another descriptor, -1 for none. What an earlier peer sent in part is forgotten.
cdef int port_attach(Port *port, int fd) noexcept nogil
cdef void port_close(Port *port) noexcept nogil
# Both return 0, or the errno of a fault of the whole port. Even then, what could be received is in the batch;
# what could not be sent is counted. A stream that has failed gives up its descriptor (fd is then -1).
cdef int port_receive(Port *port, Batch *batch) noexcept nogil
cdef int port_send(Port *port, Frame *frames, uint32_t count) noexcept nogil
# Something waits for POLLOUT: a stream whose peer reads too slowly, or one without a peer that keeps frames.
cdef bint port_waits(const Port *port) noexcept nogil
# More waits than a short stall explains.
cdef bint port_crowded(const Port *port) noexcept nogil
# Update `overruns` and `queued`.
cdef void port_count_queue(Port *port) noexcept nogil
# The interface has been removed and the port will never work again.
cdef bint port_gone(const Port *port) noexcept nogil

# Used by the kinds of ports.
cdef bint port_take_frame(Port *port, Batch *batch, uint8_t *base, int64_t size, int64_t stamp) noexcept nogil
cdef uint8_t *port_next_slot(Batch *batch) noexcept nogil
cdef void port_count_sent(Port *port, const Frame *frame) noexcept nogil
# Wait for room until `deadline` (0: sets it); false: the wait has taken too long.
cdef bint port_wait_for_room(Port *port, int error, int64_t *deadline) noexcept nogil
cdef bint port_is_full(int error) noexcept nogil
cdef bint port_is_frames_fault(int error) noexcept nogil
cdef void port_drop_unsent(Port *port, const Frame *frames, uint32_t count, int error) noexcept nogil
cdef int64_t port_monotonic() noexcept nogil
