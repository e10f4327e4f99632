"""Reassembly of IP fragments, one table a side (docs/comparison.md, section 5).

A table has a constant number of *entries*, one a datagram (addresses, protocol, identification, VLAN),
and each entry holds its fragments' nodes in order of arrival, linked by `chain`. States of an entry:

    free        nothing
    gathering   fragments are kept; when they cover the datagram it is built, and the entry is free
    bad         fragments overlapped or contradicted each other (F2): they never become a datagram, nor do
                more of the same (as RFC 5722 asks). They are kept, MOST at most, until the entry expires:
                that a guest said something must not be forgotten

A fragment that says again what one has said joins the chain and leaves with it. Each entry sorts what it has
by position; since nothing may overlap, the datagram is complete when the lengths add up.

The table gives no node back to the pool: what it refuses, expires or is asked for is the caller's.
"""

from libc.stdint cimport int64_t, uint8_t, uint32_t

from colo_proxy.core.flow.pool cimport Node, Pool

cdef enum:
    ENTRIES = 256
    MOST = 128  # fragments of one datagram (F2): the longest takes 119 where the MTU is 576
    MOST_BYTES = 65535

cdef enum FragmentStatus:
    FRAGMENT_KEPT = 0  # the table has the node
    FRAGMENT_DONE = 1  # `out`: the datagram, a new node whose `chain` is what it came as
    FRAGMENT_BAD = 2  # more of one datagram than are kept; `out`: the node, to be dropped
    FRAGMENT_FULL = 3  # no entry is free, or the pool is at its bound; `out`: what is to be dropped

cdef struct Range:
    uint32_t begin
    uint32_t end
    Node *node

cdef enum EntryState:
    E_FREE = 0
    E_GATHERING = 1
    E_BAD = 2

# What names a datagram, as plain bytes: what is not used is zero.
cdef struct Name:
    uint8_t[16] source
    uint8_t[16] destination
    uint32_t vlan
    uint32_t id
    uint8_t version
    uint8_t proto
    uint8_t[6] zero

cdef struct Entry:
    Name name
    int64_t since  # when the first fragment came
    int state
    uint32_t nodes  # in the chain
    uint32_t ranges
    uint32_t bytes  # of data, in all ranges
    uint32_t total  # bytes of the datagram's data; 0: the last fragment has not come
    Node *first  # the chain
    Node *last
    Range[MOST] range

cdef struct Fragments:
    uint32_t used  # entries that are not free
    uint32_t[ENTRIES] tags  # a hash of each entry's name, 0 where it is free: so a search reads little memory
    Entry[ENTRIES] entries

cdef Fragments *fragments_new() except NULL
cdef void fragments_free(Fragments *table) noexcept nogil
# Take in a fragment's node, which lies in the pool and is the caller's; an entry counts from its first node's
# `time` on. All but FRAGMENT_KEPT hand nodes out.
cdef FragmentStatus fragments_add(Fragments *table, Pool *pool, Node *node, Node **out) noexcept nogil
# The chain of an entry whose first fragment came at `before` or earlier, or NULL; called until NULL.
cdef Node *fragments_expire(Fragments *table, int64_t before) noexcept nogil
# All that is kept, in order of arrival, as one chain; the table is empty after.
cdef Node *fragments_take(Fragments *table) noexcept nogil
# When the oldest entry's first fragment came, or INT64_MAX.
cdef int64_t fragments_oldest(const Fragments *table) noexcept nogil
