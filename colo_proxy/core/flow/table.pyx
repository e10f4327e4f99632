"""The table of flows: by key, and in order of last use. Flows are in slabs and never move.

Buckets are chained, and doubled when there are too many flows for them. The hash is seeded, so that nobody
outside can choose flows that collide. The order of last use shows which flow has been idle for longest.
"""

from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memset
from posix.stdlib cimport posix_memalign

from colo_proxy.core.flow.flow cimport F_ALIAS, F_FREE, Flow, Guess, Slab, Table
from colo_proxy.core.packet.key cimport Key, key_equal, key_hash

cdef extern from "<sys/mman.h>":
    int madvise(void *at, size_t size, int advice) nogil
    int MADV_HUGEPAGE

cdef extern from *:
    """
    #define colo_proxy_prefetch(at) __builtin_prefetch(at)
    """
    void prefetch "colo_proxy_prefetch"(const void *at) nogil

cdef enum:
    LINE = 64  # bytes of a cache line
    FETCHED = 384  # bytes of a flow that a segment in order touches
    # buckets for each flow: most flows are alone in theirs, so what was prefetched is the flow looked for
    SPARSE = 4
    FEW = 1024  # flows that need no huge page
    SMALL = 65536
    HUGE = 2097152  # a huge page of x86-64, and of arm64 with pages of 4 KiB

cdef int64_t GRAIN = 100000000  # ns


cdef inline uint32_t stride() noexcept nogil:
    """Bytes from one flow of a slab to the next."""
    return <uint32_t>((sizeof(Flow) + LINE - 1) // LINE * LINE)


cdef bint table_open(Table *table, uint64_t seed) except False:
    memset(table, 0, sizeof(Table))
    table.size = 1024
    table.seed = seed
    table.buckets = <Flow **>calloc(table.size, sizeof(Flow *))
    if table.buckets == NULL:
        raise MemoryError
    return True


cdef void table_close(Table *table) noexcept nogil:
    """Free every flow; the nodes that they held must have been returned."""
    cdef Slab *slab
    while table.idle_first != NULL:
        table_remove(table, table.idle_first)
    table.spare = NULL
    while table.slabs != NULL:
        slab = table.slabs
        table.slabs = slab.next
        free(slab)
    free(table.buckets)
    table.buckets = NULL


cdef Flow *table_find(Table *table, const Key *key, bint alias) noexcept nogil:
    cdef uint32_t hashed
    cdef Flow *flow = table.recent
    if alias:
        if table.aliases == 0:
            return NULL
    elif flow != NULL and key_equal(&flow.key, key):
        return flow
    hashed = <uint32_t>key_hash(key, table.seed)
    flow = table.buckets[hashed & (table.size - 1)]
    while flow != NULL:
        if flow.hash == hashed and ((flow.flags & F_ALIAS) != 0) == alias and key_equal(&flow.key, key):
            if not alias:
                table.recent = flow
            return flow
        flow = flow.chain
    return NULL


cdef void table_fetch_bucket(const Table *table, const Guess *guess) noexcept nogil:
    prefetch(&table.buckets[guess.hash & (table.size - 1)])


cdef void table_fetch_flow(const Table *table, Guess *guess) noexcept nogil:
    cdef size_t at = 0
    guess.flow = table.buckets[guess.hash & (table.size - 1)]
    guess.changes = table.changes
    while guess.flow != NULL and at < FETCHED:
        prefetch(<const char *>guess.flow + at)
        at += LINE


cdef void table_try(Table *table, const Guess *guess) noexcept nogil:
    if guess.changes == table.changes and guess.flow != NULL and not guess.flow.flags & F_ALIAS:
        table.recent = guess.flow


cdef Flow *fresh(Table *table) noexcept nogil:
    """Memory for a flow that was not in use before; NULL: there is none.

    Many flows are put into huge pages, where the system has some (madvise(2)). Otherwise almost every access
    to a flow would also miss the TLB.
    """
    cdef Slab *slab = table.slabs
    cdef size_t size = HUGE if table.count >= FEW else SMALL
    cdef Flow *flow
    if slab == NULL or slab.size - slab.used < stride():
        if posix_memalign(<void **>&slab, size, size) != 0:
            return NULL
        if size == HUGE:
            madvise(slab, size, MADV_HUGEPAGE)
        slab.first = 0
        if table.slabs != NULL:
            slab.first = table.slabs.first + <uint32_t>((table.slabs.used - LINE) // stride())
        slab.next = table.slabs
        slab.used = LINE
        slab.size = size
        table.slabs = slab
    flow = <Flow *>(<char *>slab + slab.used)
    slab.used += stride()
    return flow


cdef Flow *table_add(Table *table, const Key *key, bint alias, int64_t now) noexcept nogil:
    cdef Flow *older
    cdef Flow *flow = table.spare
    if flow != NULL:
        table.spare = flow.chain
    else:
        flow = fresh(table)
        if flow == NULL:
            return NULL
    memset(flow, 0, sizeof(Flow))
    flow.key = key[0]
    flow.hash = <uint32_t>key_hash(key, table.seed)
    flow.pvm.wscale = 255
    flow.svm.wscale = 255
    flow.svm_port = key.local_port
    flow.used = now
    if alias:
        flow.flags = F_ALIAS
        table.aliases += 1
    table.changes += 1
    if table.count >= table.size // SPARSE:
        grow(table)
    older = table_find(table, key, alias)
    if older != NULL:
        while older.newer != NULL:
            older = older.newer
        older.newer = flow
    else:
        enter(table, flow)
    table.count += 1
    flow.idle_prev = table.idle_last
    if table.idle_last != NULL:
        table.idle_last.idle_next = flow
    else:
        table.idle_first = flow
    table.idle_last = flow
    return flow


cdef void enter(Table *table, Flow *flow) noexcept nogil:
    cdef Flow **bucket = &table.buckets[flow.hash & (table.size - 1)]
    flow.chain = bucket[0]
    bucket[0] = flow


cdef void grow(Table *table) noexcept nogil:
    """Double the buckets; a table that cannot grow continues with longer chains."""
    cdef uint64_t size = table.size
    cdef uint64_t index
    cdef Flow *flow
    cdef Flow *behind
    cdef Flow **old = table.buckets
    cdef Flow **new = <Flow **>calloc(2 * size, sizeof(Flow *))
    if new == NULL:
        return
    table.buckets = new
    table.size = 2 * size
    for index in range(size):
        flow = old[index]
        while flow != NULL:
            behind = flow.chain
            enter(table, flow)
            flow = behind
    free(old)


cdef void table_remove(Table *table, Flow *flow) noexcept nogil:
    """Remove a flow; a newer incarnation takes its place in the bucket."""
    cdef Flow **bucket = &table.buckets[flow.hash & (table.size - 1)]
    cdef Flow *other = bucket[0]
    cdef Flow **link = bucket
    while other != NULL:
        if other == flow:
            if flow.newer != NULL:
                flow.newer.chain = flow.chain
                link[0] = flow.newer
            else:
                link[0] = flow.chain
            break
        if other.hash == flow.hash and unlink_newer(other, flow):
            break
        link = &other.chain
        other = other.chain
    if flow.idle_prev != NULL:
        flow.idle_prev.idle_next = flow.idle_next
    else:
        table.idle_first = flow.idle_next
    if flow.idle_next != NULL:
        flow.idle_next.idle_prev = flow.idle_prev
    else:
        table.idle_last = flow.idle_prev
    table.changes += 1
    table.count -= 1
    table.aliases -= 1 if flow.flags & F_ALIAS else 0
    if table.recent == flow:
        table.recent = NULL
    flow.flags = F_FREE
    flow.chain = table.spare
    table.spare = flow


cdef Flow *table_walk(const Table *table, uint32_t *place, uint32_t *steps) noexcept nogil:
    cdef Slab *slab = table.slabs
    cdef Flow *flow
    cdef size_t at
    while slab != NULL and slab.first > place[0]:  # the newest slab is first in the list
        slab = slab.next
    while slab != NULL and steps[0]:
        at = LINE + <size_t>(place[0] - slab.first) * stride()
        if at >= slab.used:
            slab = slab_behind(table, slab)
            continue
        flow = <Flow *>(<char *>slab + at)
        steps[0] -= 1
        if not flow.flags & F_FREE:
            return flow
        place[0] += 1
    return NULL


cdef Slab *slab_behind(const Table *table, const Slab *slab) noexcept nogil:
    """The slab that was made after `slab`; NULL: there is none."""
    cdef Slab *behind = table.slabs if table.slabs != slab else NULL
    while behind != NULL and behind.next != slab:
        behind = behind.next
    return behind


cdef bint unlink_newer(Flow *oldest, Flow *flow) noexcept nogil:
    cdef Flow *before = oldest
    while before.newer != NULL:
        if before.newer == flow:
            before.newer = flow.newer
            return True
        before = before.newer
    return False


cdef void table_use(Table *table, Flow *flow, int64_t now) noexcept nogil:
    """Mark a flow as used now: it moves to the end of the idle order.

    This is done once in GRAIN at most; otherwise each packet would touch the neighbours of its flow in that
    order.
    """
    if now - flow.used < GRAIN:
        return
    flow.used = now
    if flow == table.idle_last:
        return
    if flow.idle_prev != NULL:
        flow.idle_prev.idle_next = flow.idle_next
    else:
        table.idle_first = flow.idle_next
    flow.idle_next.idle_prev = flow.idle_prev
    flow.idle_prev = table.idle_last
    flow.idle_next = NULL
    table.idle_last.idle_next = flow
    table.idle_last = flow
