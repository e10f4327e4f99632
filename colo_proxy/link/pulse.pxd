"""Heartbeats of one stream, and what their acknowledgements prove."""

from libc.stdint cimport int64_t, uint64_t

from colo_proxy.link.channel cimport ChannelState
from colo_proxy.link.wire cimport Record

cdef enum:
    PULSE_KEPT = 256  # heartbeats whose acknowledgement is still of use

cdef struct Pulse:
    int64_t interval  # ns between two heartbeats
    uint64_t number  # of the last one sent; the first is 1
    int64_t[<int>PULSE_KEPT] sent  # when, CLOCK_BOOTTIME in ns, by number % PULSE_KEPT
    uint64_t acked  # the highest number acknowledged; 0: none
    int64_t acked_sent  # when that one was sent
    int64_t round_trip  # of the last one acknowledged, ns

cdef void pulse_begin(Pulse *pulse, int64_t interval) noexcept nogil
# A turn of the data path: sends a heartbeat if it is time.
cdef void pulse_turn(Pulse *pulse, ChannelState *channel, int64_t now) noexcept nogil
# Take a heartbeat (and acknowledge it) or an acknowledgement. 0, or -WireError.
cdef int pulse_take(Pulse *pulse, ChannelState *channel, const Record *record, int64_t now) noexcept nogil
