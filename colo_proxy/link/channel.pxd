"""One stream of the link, between the thread that has its socket and the one that has the frames.

    data path                                                     the link's thread
    channel_frame, channel_word -> ordered: frames, marks       ->
                                -> urgent: heartbeats, reports -> channel_outgoing, channel_sent -> TLS
    channel_next, channel_done  <- inbound: whatever comes     <- channel_room, channel_filled    <- TLS

Each function is for one of the two threads. None blocks, none allocates, none needs the GIL.
"""

from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t

from colo_proxy.link.mirror cimport Mirror
from colo_proxy.link.wire cimport Record

cdef struct Bell:
    uint64_t rung  # since the reader last silenced it
    int fd  # eventfd, readable while it rings

cdef struct ChannelState:
    Mirror ordered
    Mirror urgent
    Mirror inbound
    Bell to_link  # there is something to send, or room again to receive
    Bell to_data  # something has been received, or the stream has ended
    uint64_t heard  # CLOCK_BOOTTIME, ns, of the last bytes received
    uint64_t failure  # a WireError of the data path's, for which the stream is to end; 0: none
    uint64_t ended  # nothing more is received or sent
    # The data path's.
    uint64_t bound  # bytes of `ordered` that frames may use
    uint64_t taken  # bytes of `inbound` parsed
    uint64_t frames  # sent
    uint64_t dropped_frames
    uint64_t dropped_bytes
    bint untold  # of dropped frames, to the other host
    # The link's.
    Mirror *lane  # which the record under way is in
    uint64_t left  # bytes of it that have not been sent
    uint64_t offered  # bytes that TLS has been given and must be given again
    uint64_t starved  # no room to receive: the data path rings when it has made some

# ---- the data path's

# Queue a frame; False: it is dropped, counted and told. `vnet` is NULL for none.
cdef bint channel_frame(ChannelState *channel, uint16_t nic, uint8_t source, const uint8_t *vnet,
                        const uint8_t *frame, uint32_t size) noexcept nogil
# Queue a word, in the lane of its type; False: there is no room, and the stream ends.
cdef bint channel_word(ChannelState *channel, uint8_t kind, uint8_t flags, uint16_t nic, const uint8_t *body,
                       uint32_t size) noexcept nogil
# Let what has been queued go: once a turn.
cdef void channel_flush(ChannelState *channel) noexcept nogil
# The next record, valid until channel_done. 1: there is one; 0: none yet; -WireError: the stream ends.
cdef int channel_next(ChannelState *channel, Record *record) noexcept nogil
# Give the memory of the records taken back: once a turn.
cdef void channel_done(ChannelState *channel) noexcept nogil
cdef void channel_fail(ChannelState *channel, int error) noexcept nogil
# Before it looks for what it then would not wait for.
cdef void channel_silence(Bell *bell) noexcept nogil
cdef int64_t channel_boottime() noexcept nogil

# ---- the link's

# How many bytes from the head of `lane` on are to be sent now; the same until channel_sent.
cdef uint64_t channel_offer(ChannelState *channel) noexcept nogil
# So many of them have been sent.
cdef void channel_sent(ChannelState *channel, uint64_t size) noexcept nogil
# How many bytes may be put behind what `inbound` holds; 0: the data path rings when there is room again.
cdef uint64_t channel_room(ChannelState *channel) noexcept nogil
# So many bytes have been put there: a sign of life.
cdef void channel_filled(ChannelState *channel, uint64_t size) noexcept nogil

cdef class Channel:
    cdef ChannelState state
