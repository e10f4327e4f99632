"""Heartbeats of one stream, and what their acknowledgements prove.

A heartbeat is made by a turn of the data path, so a data path that hangs has none. It has a number and the
time of its sending by the sender's own CLOCK_BOOTTIME, which does not stand still in a suspend. The other
host's data path sends both back as they came. So each host compares only times of its own clock:
`acked_sent` is the time at which the newest acknowledged heartbeat was *sent*, and its age bounds the age
of the other host's last sign of this one. The time that is trusted is the one noted here; an echo that
differs from it is refused, as is an acknowledgement of what was never sent, since either would prolong the
right to send.
"""

from libc.stdint cimport int64_t, uint8_t, uint64_t
from libc.string cimport memset

from colo_proxy.link.channel cimport Channel, ChannelState, channel_flush, channel_word
from colo_proxy.link.wire cimport (
    R_HEARTBEAT,
    R_HEARTBEAT_ACK,
    W_ACK,
    W_CONTENT,
    Record,
    wire_get64,
    wire_put64,
)

from colo_proxy.link.wire import REASONS, BadRecord


cdef void pulse_begin(Pulse *pulse, int64_t interval) noexcept nogil:
    memset(pulse, 0, sizeof(Pulse))
    pulse.interval = interval


cdef void pulse_turn(Pulse *pulse, ChannelState *channel, int64_t now) noexcept nogil:
    cdef uint8_t[16] body
    if pulse.number and now - pulse.sent[pulse.number % PULSE_KEPT] < pulse.interval:
        return
    pulse.number += 1
    pulse.sent[pulse.number % PULSE_KEPT] = now
    wire_put64(body, pulse.number)
    wire_put64(body + 8, <uint64_t>now)
    channel_word(channel, R_HEARTBEAT, 0, 0, body, sizeof(body))


cdef int pulse_take(Pulse *pulse, ChannelState *channel, const Record *record, int64_t now) noexcept nogil:
    cdef uint64_t number = wire_get64(record.body)
    cdef int64_t sent
    if record.type == R_HEARTBEAT:
        if number == 0:
            return -W_CONTENT
        channel_word(channel, R_HEARTBEAT_ACK, 0, 0, record.body, 16)
        return 0
    if number == 0 or number > pulse.number:
        return -W_ACK
    if number + PULSE_KEPT <= pulse.number or number <= pulse.acked:
        return 0  # too old to be of use
    sent = pulse.sent[number % PULSE_KEPT]
    if wire_get64(record.body + 8) != <uint64_t>sent:
        return -W_ACK
    pulse.acked = number
    pulse.acked_sent = sent
    pulse.round_trip = now - sent
    return 0


# For the tests.

cdef class Heartbeats:
    """A pulse on a channel, driven from Python; see pulse.pyi."""

    cdef Pulse pulse
    cdef Channel channel

    def __cinit__(self, Channel channel not None, int64_t interval):
        self.channel = channel
        pulse_begin(&self.pulse, interval)

    def turn(self, int64_t now):
        pulse_turn(&self.pulse, &self.channel.state, now)
        channel_flush(&self.channel.state)

    def take(self, kind, bytes body not None, int64_t now):
        cdef Record record
        if kind not in (R_HEARTBEAT, R_HEARTBEAT_ACK) or len(body) != 16:
            raise ValueError("this is no heartbeat")
        memset(&record, 0, sizeof(record))
        record.type = kind
        record.body = <const uint8_t *><char *>body
        wrong = pulse_take(&self.pulse, &self.channel.state, &record, now)
        if wrong:
            raise BadRecord(REASONS[-wrong])
        channel_flush(&self.channel.state)

    @property
    def acked_sent(self):
        return self.pulse.acked_sent if self.pulse.acked else None

    @property
    def round_trip(self):
        return self.pulse.round_trip if self.pulse.acked else None
