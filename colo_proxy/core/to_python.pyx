"""C records of the data path as the Python objects of colo_proxy.vocabulary."""

from libc.stdint cimport uint32_t, uint64_t

from colo_proxy.core.core cimport Diverged, core_free_diverged
from colo_proxy.core.flow.recorder cimport FATE_DROPPED, Recorded
from colo_proxy.core.nic cimport FlowRecord
from colo_proxy.core.vocabulary cimport DROPS, D_CLOSED, M_FAILED_OVER, R_MISSING_PRIMARY, SECONDARY

from colo_proxy.vocabulary import Divergence, Drop, Exchange, Fate, FlowInfo, Mode, Port, Reason

# The C enums and the Python enums must have the same members.
assert DROPS == len(Drop) and D_CLOSED == Drop.CLOSED
assert R_MISSING_PRIMARY == Reason.MISSING_PRIMARY and M_FAILED_OVER == Mode.FAILED_OVER
assert SECONDARY == Port.SECONDARY and FATE_DROPPED == Fate.DROPPED


cdef object to_python_divergence(Diverged *diverged, int nic):
    try:
        return Divergence(
            nic=nic,
            flow=diverged.flow.decode(),
            protocol=diverged.protocol.decode(),
            reason=Reason(diverged.reason),
            stream_offset=diverged.stream_offset,
            time=diverged.time,
            primary=diverged.primary[: diverged.primary_size] if diverged.primary != NULL else None,
            secondary=diverged.secondary[: diverged.secondary_size] if diverged.secondary != NULL else None,
            exchanges=exchanges_of(diverged),
            seq_offset=diverged.seq_offset,
            count=diverged.count,
        )
    finally:
        core_free_diverged(diverged)


cdef tuple exchanges_of(const Diverged *diverged):
    cdef list found = []
    cdef const Recorded *each
    cdef uint32_t index
    for index in range(diverged.exchange_count):
        each = &diverged.exchanges[index]
        found.append(
            Exchange(
                time=each.time,
                port=Port(each.port),
                data=(<const char *>each.data)[: each.kept],
                size=each.size,
                fate=Fate(each.fate),
                fate_time=each.fate_time,
            )
        )
    return tuple(found)


cdef uint64_t flow_cursor(uint64_t nic, uint32_t place) noexcept nogil:
    return (nic << 32) + place + 1


cdef object to_python_flow(const FlowRecord *record, int nic):
    return FlowInfo(
        id=flow_cursor(nic, record.place),
        nic=nic,
        flow=(<const char *>record.flow).decode(),
        protocol=(<const char *>record.protocol).decode(),
        held_frames=record.held_frames,
        held_bytes=record.held_bytes,
        matched_bytes=record.matched_bytes,
        seq_offset=record.offset,
        blocked=bool(record.blocked),
        divergences=record.divergences,
        idle_ms=record.idle // 1_000_000,
    )
