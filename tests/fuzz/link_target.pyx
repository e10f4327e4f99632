"""What the fuzzer calls for the link: an input becomes a story of two channels, checked after each step.

The input: a byte for the bound of frames, then steps of one byte and what they need; where the input ends,
zeros are read. Two channels are joined: what the first has to send is carried to the second in pieces of any
size. Bytes of the input itself reach a third one, whose peer is hostile. What must hold:

- each record that comes out is one that went in, unchanged, in the order of its lane, and no word is missing;
- a record lies within the bytes that have come, whatever its header says;
- a channel that has failed never gives a record again;
- an acknowledgement never makes a heartbeat newer than it is.

Built by build.py, as target.pyx is.
"""

from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdio cimport fprintf, stderr
from libc.stdlib cimport abort, calloc, free
from libc.string cimport memcpy

from colo_proxy.core.packet.parse cimport VNET
from colo_proxy.link.channel cimport (
    Channel,
    ChannelState,
    channel_done,
    channel_filled,
    channel_flush,
    channel_frame,
    channel_next,
    channel_offer,
    channel_room,
    channel_sent,
    channel_word,
)
from colo_proxy.link.mirror cimport mirror_at
from colo_proxy.link.pulse cimport Pulse, pulse_begin, pulse_take, pulse_turn
from colo_proxy.link.wire cimport (
    R_DROPPED,
    R_FRAME,
    R_HEARTBEAT,
    R_HEARTBEAT_ACK,
    WIRE_MOST,
    Record,
    wire_check,
    wire_get64,
    wire_is_urgent,
)

cdef extern from *:
    """
    PyMODINIT_FUNC PyInit_link_target(void);
    int LLVMFuzzerInitialize(int *argc, char ***argv) {
        (void)argc; (void)argv;
        if (PyImport_AppendInittab("link_target", PyInit_link_target)) return 1;
        Py_InitializeEx(0);
        if (PyImport_ImportModule("link_target") == NULL) {
            PyErr_Print();
            abort();
        }
        return 0;
    }
    """

cdef enum:
    MOST_STEPS = 2000
    QUEUE = 4096  # records of a lane on their way, more than there are steps

cdef struct Lane:
    uint64_t[<int>QUEUE] digests
    uint32_t first
    uint32_t end

cdef struct LinkStory:
    const uint8_t *at
    const uint8_t *end
    ChannelState *sender
    ChannelState *receiver
    ChannelState *victim
    Lane[2] lanes  # ordered, urgent
    Pulse pulse
    int64_t now
    uint64_t crossed
    uint64_t told  # dropped frames, as the receiver knows
    bint failed  # the victim has
    const char *broken

cdef uint8_t[<int>WIRE_MOST] FILLING  # what frames and words are made of
for i in range(WIRE_MOST):
    FILLING[i] = <uint8_t>((i * 7 + i // 251) & 255)


cdef void fail(LinkStory *story, const char *why) noexcept nogil:
    if story.broken == NULL:
        story.broken = why


cdef uint32_t byte(LinkStory *story) noexcept nogil:
    if story.at == story.end:
        return 0
    story.at += 1
    return story.at[-1]


cdef uint64_t digest(uint8_t kind, uint8_t flags, uint16_t nic, const uint8_t *body,
                     uint32_t size) noexcept nogil:
    """FNV-1a of all that a record says."""
    cdef uint64_t value = 14695981039346656037U ^ (<uint64_t>kind << 40 | <uint64_t>flags << 32 | nic)
    cdef uint32_t i
    for i in range(size):
        value = (value ^ body[i]) * 1099511628211U
    return value ^ size


cdef void note(LinkStory *story, uint8_t kind, uint8_t flags, uint16_t nic, const uint8_t *body,
               uint32_t size) noexcept nogil:
    cdef Lane *lane = &story.lanes[<int>wire_is_urgent(kind)]
    lane.digests[lane.end % QUEUE] = digest(kind, flags, nic, body, size)
    lane.end += 1


cdef void send_frame(LinkStory *story) noexcept nogil:
    cdef uint32_t how = byte(story)
    cdef uint32_t size = byte(story) | (how & 15) << 8 | (1 << 16 if how & 16 else 0)
    cdef uint16_t nic = <uint16_t>byte(story)
    cdef bint vnet = how & 32 != 0
    cdef uint8_t source = <uint8_t>(how >> 6)
    cdef uint32_t head = VNET if vnet else 0
    if source == 3 or size + VNET > WIRE_MOST:
        return
    if channel_frame(story.sender, nic, source, FILLING if vnet else NULL, FILLING + head, size):
        note(story, R_FRAME, source | (4 if vnet else 0), nic, FILLING, head + size)


cdef void send_word(LinkStory *story) noexcept nogil:
    cdef uint8_t kind = <uint8_t>byte(story)
    cdef uint8_t flags = <uint8_t>(byte(story) & 1)
    cdef uint16_t nic = <uint16_t>(byte(story) & 1)
    cdef uint32_t size = byte(story) | byte(story) << 8
    if kind in (R_FRAME, R_DROPPED, R_HEARTBEAT, R_HEARTBEAT_ACK) or wire_check(kind, flags, nic, size):
        return
    if channel_word(story.sender, kind, flags, nic, FILLING + kind, size):
        note(story, kind, flags, nic, FILLING + kind, size)
    elif story.sender.failure == 0:
        fail(story, "a word has found no room, and the stream goes on")


cdef void deliver(ChannelState *into, const uint8_t *data, uint64_t size) noexcept nogil:
    """What has been received; what finds no room would stay in the kernel."""
    size = min(size, channel_room(into))
    memcpy(mirror_at(&into.inbound, into.inbound.written), data, size)
    channel_filled(into, size)


cdef void carry(LinkStory *story) noexcept nogil:
    cdef uint64_t size = byte(story) | byte(story) << 8
    cdef uint64_t offered = channel_offer(story.sender)
    size = min(min(size, offered), channel_room(story.receiver))
    if size:
        deliver(story.receiver, mirror_at(story.sender.lane, story.sender.lane.head), size)
        channel_sent(story.sender, size)


cdef void take(LinkStory *story, const Record *record) noexcept nogil:
    cdef Lane *lane = &story.lanes[<int>wire_is_urgent(record.type)]
    cdef uint64_t dropped
    if record.type == R_DROPPED:
        dropped = wire_get64(record.body)
        if dropped <= story.told or dropped > story.sender.dropped_frames:
            fail(story, "dropped frames are told that were none, or twice")
        story.told = dropped
        return
    story.crossed += 1
    if record.type == R_HEARTBEAT:
        return
    if lane.first == lane.end:
        fail(story, "a record has come that was not sent")
    elif lane.digests[lane.first % QUEUE] != digest(record.type, record.flags, record.nic, record.body,
                                                    record.size):
        fail(story, "a record has come changed, or out of order")
    lane.first += 1


cdef void read_records(LinkStory *story, ChannelState *channel) noexcept nogil:
    cdef Record record
    cdef int found = channel_next(channel, &record)
    while found > 0:
        if record.body + record.size > mirror_at(&channel.inbound, channel.inbound.head) + (
                channel.inbound.tail - channel.inbound.head):
            fail(story, "a record goes beyond what has come")
        elif channel == story.receiver:
            take(story, &record)
        elif story.failed:
            fail(story, "a channel that has failed gives a record")
        elif record.type in (R_HEARTBEAT, R_HEARTBEAT_ACK):
            pulse_take(&story.pulse, channel, &record, story.now)
            if story.pulse.acked > story.pulse.number or story.pulse.acked_sent > story.now:
                fail(story, "an acknowledgement is of a heartbeat that was not sent")
        found = channel_next(channel, &record)
    if found < 0:
        if channel == story.receiver:
            fail(story, "what was sent is no record")
        else:
            story.failed = True
    channel_done(channel)


cdef void step(LinkStory *story) noexcept nogil:
    cdef uint32_t what = byte(story) & 7
    cdef uint64_t size
    if what == 0:
        send_frame(story)
    elif what == 1:
        send_word(story)
    elif what == 2:
        channel_flush(story.sender)
    elif what == 3 or what == 4:
        carry(story)
        if what == 4:
            read_records(story, story.receiver)
    elif what == 5:  # the hostile peer
        size = byte(story)
        size = min(size, <uint64_t>(story.end - story.at))
        deliver(story.victim, story.at, size)
        story.at += size
        read_records(story, story.victim)
    elif what == 6:
        story.now += byte(story) * 1000000
        pulse_turn(&story.pulse, story.victim, story.now)
        channel_flush(story.victim)
    else:
        pulse_turn(&story.pulse, story.sender, story.now)


cdef void finish(LinkStory *story) noexcept nogil:
    """Let all cross: then nothing may be missing."""
    cdef uint64_t size
    channel_flush(story.sender)
    while story.broken == NULL:
        read_records(story, story.receiver)
        size = channel_offer(story.sender)
        if size == 0:
            break
        deliver(story.receiver, mirror_at(story.sender.lane, story.sender.lane.head), size)
        channel_sent(story.sender, size)
    if story.lanes[0].first != story.lanes[0].end or story.lanes[1].first != story.lanes[1].end:
        fail(story, "a record is missing")
    if story.told != story.sender.dropped_frames:
        fail(story, "dropped frames have not been told")


cdef const char *tell(const uint8_t *data, size_t size, uint64_t *crossed) except? NULL nogil:
    cdef LinkStory *story = <LinkStory *>calloc(1, sizeof(LinkStory))
    cdef const char *broken
    cdef int steps = 0
    story.at = data
    story.end = data + size
    with gil:
        channels = Channel(1 << (byte(story) & 15) + 6), Channel(), Channel()
        story.sender = &(<Channel>channels[0]).state
        story.receiver = &(<Channel>channels[1]).state
        story.victim = &(<Channel>channels[2]).state
    story.now = 1
    pulse_begin(&story.pulse, 20000000)
    while story.at != story.end and steps < MOST_STEPS and story.broken == NULL:
        step(story)
        steps += 1
    finish(story)
    broken = story.broken
    crossed[0] = story.crossed
    free(story)
    with gil:
        channels = None
    return broken


cdef public int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) noexcept nogil:
    cdef uint64_t crossed = 0
    cdef const char *broken = tell(data, size, &crossed)
    if broken != NULL:
        fprintf(stderr, b"broken: %s\n", broken)
        abort()
    return 0


# For the tests.

def run(bytes data):
    """Tell the story of an input. Returns the rule that was broken, or None, and how many records crossed."""
    cdef uint64_t crossed = 0
    cdef const char *broken = tell(data, len(data), &crossed)
    return None if broken == NULL else broken.decode(), crossed
