"""The table of flows: by key, and in order of last use. Flows lie in slabs and never move."""

from libc.stdint cimport int64_t, uint32_t, uint64_t

from colo_proxy.core.flow.flow cimport Flow, Guess, Table
from colo_proxy.core.packet.key cimport Key

cdef bint table_open(Table *table, uint64_t seed) except False
cdef void table_close(Table *table) noexcept nogil
# The oldest incarnation under the key; of the SVM's aliases or of the PVM's flows.
cdef Flow *table_find(Table *table, const Key *key, bint alias) noexcept nogil
# A new flow, the newest incarnation of its key; NULL without memory. The caller has seen to the bound.
cdef Flow *table_add(Table *table, const Key *key, bint alias, int64_t now) noexcept nogil
# Two steps that bring what a later search will read into the cache: the bucket, then the flow in it. Memory
# that is waited for one packet after the other is what many flows cost. `guess.hash` is set by the caller.
cdef void table_fetch_bucket(const Table *table, const Guess *guess) noexcept nogil
cdef void table_fetch_flow(const Table *table, Guess *guess) noexcept nogil
# Let the next search look there first; a guess from before the table last changed is left alone.
cdef void table_try(Table *table, const Guess *guess) noexcept nogil
cdef void table_remove(Table *table, Flow *flow) noexcept nogil
# Walk all flows in an order that use does not change: each has a place in memory that it keeps as long as it
# lives. Returns the first from `place` on, and its place; NULL: there are no more, or none among the next
# `steps` places. `place` is then where to go on, and `steps` what is left of them.
cdef Flow *table_walk(const Table *table, uint32_t *place, uint32_t *steps) noexcept nogil
cdef void table_use(Table *table, Flow *flow, int64_t now) noexcept nogil
