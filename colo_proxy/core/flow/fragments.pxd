"""Reassembly of IP fragments, with one table for each side (docs/comparison.md, section 5).

A table has a constant number of *entries*, one for each datagram (addresses, protocol, identification, VLAN).
An entry holds its fragments' nodes in order of arrival, linked by `chain`. States of an entry:

    free        nothing
    gathering   fragments are kept; when they cover the datagram it is built, and the entry is free
    bad         fragments overlapped or contradicted each other (F2): neither they nor later ones become a
                datagram (as RFC 5722 requires). They are kept, MOST at most, until the entry expires,
                because it must not be forgotten that a guest has sent something

A fragment that repeats another joins the chain and is sent with it. Each entry sorts its ranges by position.
Since they must not overlap, the datagram is complete when the lengths add up.

The table returns no node to the pool: what it refuses, what expires and what is asked for belongs to the
caller.
"""

from libc.stdint cimport int64_t, uint8_t, uint32_t

from colo_proxy.core.flow.pool cimport Node, Pool

cdef enum:
    ENTRIES = 256
    MOST = 128  # fragments of one datagram at most (F2): the longest needs 119 where the MTU is 576
    MOST_BYTES = 65535

cdef enum FragmentStatus:
    FRAGMENT_KEPT = 0  # the table keeps the node
    FRAGMENT_DONE = 1  # `out`: the datagram, a new node whose `chain` has its fragments
    FRAGMENT_BAD = 2  # more fragments of one datagram than are kept; `out`: the node, to be dropped
    FRAGMENT_FULL = 3  # no entry is free, or the pool is at its bound; `out`: what is to be dropped

cdef struct Range:
    uint32_t begin
    uint32_t end
    Node *node

cdef enum EntryState:
    E_FREE = 0
    E_GATHERING = 1
    E_BAD = 2

# What identifies a datagram, as plain bytes: unused ones are zero.
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
    int64_t since  # when the first fragment arrived
    int state
    uint32_t nodes  # number of nodes in the chain
    uint32_t ranges
    uint32_t bytes  # of data, in all ranges
    uint32_t total  # bytes of the datagram's data; 0: the last fragment has not arrived
    Node *first  # the chain
    Node *last
    Range[MOST] range

cdef struct Fragments:
    uint32_t used  # entries that are not free
    # a hash of each entry's name, 0 where it is free, so that a search reads little memory
    uint32_t[ENTRIES] tags
    Entry[ENTRIES] entries

cdef Fragments *fragments_new() except NULL
cdef void fragments_free(Fragments *table) noexcept nogil
# Take a fragment's node, which must be in the pool and belongs to the caller. An entry's age counts from the
# `time` of its first node. All results except FRAGMENT_KEPT return nodes to the caller.
cdef FragmentStatus fragments_add(Fragments *table, Pool *pool, Node *node, Node **out) noexcept nogil
# The chain of an entry whose first fragment arrived at `before` or earlier, or NULL; called until NULL.
cdef Node *fragments_expire(Fragments *table, int64_t before) noexcept nogil
# Everything that is kept, in order of arrival, as one chain; the table is empty afterwards.
cdef Node *fragments_take(Fragments *table) noexcept nogil
# When the oldest entry's first fragment arrived, or INT64_MAX.
cdef int64_t fragments_oldest(const Fragments *table) noexcept nogil
