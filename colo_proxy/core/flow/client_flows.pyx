"""Which UDP flows clients have begun recently.

A service answers from the port at which it was asked, while a guest that asks somebody else chooses a source
port; such flows of the two guests are paired in another way (pairing.pxd). Clients' frames make no flows,
since clients could fill the table with them. So only the hashes of their flows are noted here: 16,384, in
sets of four; in each set the one that was silent longest makes room. If a flood has displaced a flow that is
still to be answered, the guest counts as the one who has begun it.
"""

from libc.stdint cimport int64_t, uint32_t
from libc.stdlib cimport calloc, free

cdef enum:
    SETS = 4096  # a power of two
    WAYS = 4
    LATELY = 60  # s

cdef int64_t SECOND = 1000000000

cdef struct Heard:
    uint32_t hash
    uint32_t second  # one more than the second of the latest frame; 0: nothing noted

cdef struct Asked:
    Heard[SETS * WAYS] heard


cdef Asked *client_flows_new() except NULL:
    cdef Asked *asked = <Asked *>calloc(1, sizeof(Asked))
    if asked == NULL:
        raise MemoryError
    return asked


cdef void client_flows_free(Asked *asked) noexcept nogil:
    free(asked)


cdef inline uint32_t second_of(int64_t now) noexcept nogil:
    return <uint32_t>(now // SECOND) + 1


cdef void client_flows_note(Asked *asked, uint32_t hash, int64_t now) noexcept nogil:
    cdef Heard *entry = &asked.heard[(hash & (SETS - 1)) * WAYS]
    cdef Heard *chosen = entry
    cdef int _way
    for _way in range(WAYS):
        if entry.hash == hash and entry.second:
            chosen = entry
            break
        if entry.second < chosen.second:
            chosen = entry
        entry += 1
    chosen.hash = hash
    chosen.second = second_of(now)


cdef bint client_flows_lately(const Asked *asked, uint32_t hash, int64_t now) noexcept nogil:
    cdef const Heard *entry = &asked.heard[(hash & (SETS - 1)) * WAYS]
    cdef int _way
    for _way in range(WAYS):
        if entry.hash == hash and entry.second and second_of(now) - entry.second < LATELY:
            return True
        entry += 1
    return False
