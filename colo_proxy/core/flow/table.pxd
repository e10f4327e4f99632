"""The table of flows: by key, and in order of last use. Flows are in slabs and never move."""

from libc.stdint cimport int64_t, uint32_t, uint64_t

from colo_proxy.core.flow.flow cimport Flow, Guess, Table
from colo_proxy.core.packet.key cimport Key

cdef bint table_open(Table *table, uint64_t seed) except False
cdef void table_close(Table *table) noexcept nogil
# The oldest incarnation under the key, among the SVM's aliases or among the PVM's flows.
cdef Flow *table_find(Table *table, const Key *key, bint alias) noexcept nogil
# A new flow, the newest incarnation of its key; NULL without memory. The caller has checked the bound.
cdef Flow *table_add(Table *table, const Key *key, bint alias, int64_t now) noexcept nogil
# Prefetch in two steps what a later search will read: the bucket, then the flow in it. Without this, a search
# among many flows waits for memory at each packet. The caller sets `guess.hash`.
cdef void table_fetch_bucket(const Table *table, const Guess *guess) noexcept nogil
cdef void table_fetch_flow(const Table *table, Guess *guess) noexcept nogil
# Let the next search look at the guess first. A guess from before the table's last change is not used.
cdef void table_try(Table *table, const Guess *guess) noexcept nogil
cdef void table_remove(Table *table, Flow *flow) noexcept nogil
# Walk all flows in an order that does not depend on use: each has a fixed place in memory as long as it
# lives. Returns the first flow from `place` on, and its place; NULL: there are no more, or none among the
# next `steps` places. `place` is then where to continue, and `steps` what is left of them.
cdef Flow *table_walk(const Table *table, uint32_t *place, uint32_t *steps) noexcept nogil
cdef void table_use(Table *table, Flow *flow, int64_t now) noexcept nogil
