"""Reassembly of IP fragments, with one table for each side (docs/comparison.md, section 5).

How a table is laid out, and the states of an entry: fragments.pxd. Here: finding the entry, noting which
range a fragment covers, building the datagram, and a Python class for tests.
"""

from libc.stdint cimport INT64_MAX, int64_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcmp, memcpy, memmove, memset

from colo_proxy.core.flow.pool cimport N_SENT, N_SVM, N_WHOLE, Pool, pool_free, pool_give, pool_new, pool_take
from colo_proxy.core.packet.checksum cimport checksum_of
from colo_proxy.core.packet.parse cimport K_FRAGMENT, VNET, Packet, get16, parse_extension, parse_frame, put16


cdef Fragments *fragments_new() except NULL:
    cdef Fragments *table = <Fragments *>calloc(1, sizeof(Fragments))
    if table == NULL:
        raise MemoryError
    return table


cdef void fragments_free(Fragments *table) noexcept nogil:
    """Free the table; what it kept must have been taken out."""
    free(table)


cdef void name_of(Name *name, const Node *node) noexcept nogil:
    cdef const Packet *p = &node.packet
    cdef const uint8_t *ip = node.data + p.l3
    cdef uint32_t length = 4 if p.version == 4 else 16
    cdef uint32_t at = 12 if p.version == 4 else 8
    memset(name, 0, sizeof(Name))
    memcpy(name.source, ip + at, length)
    memcpy(name.destination, ip + at + length, length)
    name.vlan = p.vlan
    name.id = p.frag_id
    name.version = p.version
    name.proto = p.proto


cdef uint32_t tag_of(const Name *name) noexcept nogil:
    """A hash of the whole name; never 0. It only saves comparisons of names, so collisions gain an attacker
    nothing.
    """
    cdef const uint32_t *words = <const uint32_t *>name
    cdef uint32_t tag = 2166136261U
    cdef uint32_t index
    for index in range(sizeof(Name) // 4):
        tag = (tag ^ words[index]) * 16777619U
    return tag | 1


cdef Entry *find(Fragments *table, const Name *name, int64_t came) noexcept nogil:
    """The entry of that name, perhaps a new one; NULL if there is no room."""
    cdef uint32_t tag = tag_of(name)
    cdef int index
    cdef Entry *entry
    if table.used:
        for index in range(ENTRIES):
            if table.tags[index] == tag and memcmp(&table.entries[index].name, name, sizeof(Name)) == 0:
                return &table.entries[index]
    for index in range(ENTRIES):
        if table.tags[index] == 0:
            entry = &table.entries[index]
            memset(entry, 0, sizeof(Entry))
            entry.name = name[0]
            entry.since = came
            entry.state = E_GATHERING
            table.tags[index] = tag
            table.used += 1
            return entry
    return NULL


cdef void close(Fragments *table, Entry *entry) noexcept nogil:
    table.tags[entry - &table.entries[0]] = 0
    table.used -= 1
    entry.state = E_FREE
    entry.first = entry.last = NULL


cdef void join(Entry *entry, Node *node) noexcept nogil:
    if entry.last != NULL:
        entry.last.chain = node
    else:
        entry.first = node
    entry.last = node
    entry.nodes += 1


cdef bint place(Entry *entry, Node *node) noexcept nogil:
    """Note what the fragment covers; false if it contradicts another, or is no valid fragment (F2)."""
    cdef const Packet *p = &node.packet
    cdef const Packet *said
    cdef uint32_t length = p.end - p.frag_data
    cdef uint32_t begin = p.frag_offset
    cdef uint32_t end = begin + length
    cdef uint32_t index = 0
    cdef Range *other
    if entry.nodes == MOST or length == 0 or end > MOST_BYTES or (p.frag_more and length & 7):
        return False
    while index < entry.ranges and entry.range[index].begin < begin:
        index += 1
    if index < entry.ranges:
        other = &entry.range[index]
        said = &other.node.packet
        if other.begin == begin and other.end == end and said.frag_more == p.frag_more and \
                memcmp(other.node.data + said.frag_data, node.data + p.frag_data, length) == 0:
            return True  # a repetition
        if other.begin < end:
            return False
    if index and entry.range[index - 1].end > begin:
        return False
    if not p.frag_more:
        # This is the last fragment, and the only last one: nothing lies behind it.
        if entry.total or index < entry.ranges:
            return False
        entry.total = end
    elif entry.total and end > entry.total:
        return False
    memmove(&entry.range[index + 1], &entry.range[index], (entry.ranges - index) * sizeof(Range))
    entry.range[index].begin = begin
    entry.range[index].end = end
    entry.range[index].node = node
    entry.ranges += 1
    entry.bytes += length
    return True


cdef uint32_t headers(const Node *first) noexcept nogil:
    """Where the datagram's data will begin: it has the first fragment's headers, without the fragment header.
    """
    return first.packet.frag_data - (8 if first.packet.version == 6 else 0)


cdef Node *build(Entry *entry, Pool *pool, const Node *latest) noexcept nogil:
    """The datagram as one frame, in a node of its own."""
    cdef const Node *first = entry.range[0].node
    cdef uint32_t at = headers(first)
    cdef uint32_t l3 = first.packet.l3
    cdef uint32_t index
    cdef Range *range_
    cdef uint8_t *ip
    cdef Node *whole = pool_take(pool, at + entry.total)
    if whole == NULL:
        return NULL
    memcpy(whole.data, first.data, at)
    memset(whole.data, 0, VNET)
    for index in range(entry.ranges):
        range_ = &entry.range[index]
        memcpy(whole.data + at + range_.begin, range_.node.data + range_.node.packet.frag_data,
               range_.end - range_.begin)
    ip = whole.data + l3
    if first.packet.version == 4:
        put16(ip + 2, at - l3 + entry.total)
        put16(ip + 6, get16(ip + 6) & 0x4000)
        put16(ip + 10, 0)
        put16(ip + 10, checksum_of(ip, at - l3, 0))
    else:
        put16(ip + 4, at - l3 - 40 + entry.total)
        # The header before the fragment header, found at `at`, gets the type of what followed the fragment
        # header.
        whole.data[named_at(whole.data, l3, at)] = first.packet.proto
    whole.size = at + entry.total
    whole.flags = (latest.flags & (N_SVM | N_SENT)) | N_WHOLE
    whole.time = latest.time
    whole.order = latest.order
    parse_frame(&whole.packet, whole.data, whole.size)
    return whole


cdef uint32_t named_at(const uint8_t *base, uint32_t l3, uint32_t end) noexcept nogil:
    """The position at which the last of the IPv6 headers before `end` names the next header; `parse_frame`
    has walked them.
    """
    cdef uint32_t at = l3 + 6
    cdef uint32_t behind = l3 + 40
    cdef uint8_t proto
    while behind < end:
        proto = base[at]
        at = behind
        behind += parse_extension(base, at, end, proto)
    return at


cdef FragmentStatus spoil(Entry *entry, Node *node, Node **out) noexcept nogil:
    """Mark the datagram as bad: it can never be compared."""
    entry.state = E_BAD
    if entry.nodes == MOST:
        return FRAGMENT_BAD
    join(entry, node)
    out[0] = NULL
    return FRAGMENT_KEPT


cdef FragmentStatus fragments_add(Fragments *table, Pool *pool, Node *node, Node **out) noexcept nogil:
    cdef Name name
    cdef Entry *entry
    cdef Node *whole
    node.chain = NULL
    out[0] = node
    name_of(&name, node)
    entry = find(table, &name, node.time)
    if entry == NULL:
        return FRAGMENT_FULL
    if entry.state == E_BAD or not place(entry, node):
        return spoil(entry, node, out)
    if entry.total == entry.bytes and \
            headers(entry.range[0].node) - entry.range[0].node.packet.l3 + entry.total > MOST_BYTES:
        return spoil(entry, node, out)
    join(entry, node)
    if entry.total == 0 or entry.bytes < entry.total:
        out[0] = NULL
        return FRAGMENT_KEPT
    out[0] = entry.first
    whole = build(entry, pool, node)
    close(table, entry)
    if whole == NULL:
        return FRAGMENT_FULL
    whole.chain = out[0]
    out[0] = whole
    return FRAGMENT_DONE


cdef Node *fragments_expire(Fragments *table, int64_t before) noexcept nogil:
    cdef int index
    cdef Entry *entry
    cdef Node *chain = NULL
    if table.used == 0:
        return NULL
    for index in range(ENTRIES):
        entry = &table.entries[index]
        if table.tags[index] != 0 and entry.since <= before:
            chain = entry.first
            close(table, entry)
            break
    return chain


cdef Node *fragments_take(Fragments *table) noexcept nogil:
    """Merge the entries' chains, each of which is in order of arrival."""
    cdef Node *first = NULL
    cdef Node *last = NULL
    cdef Entry *entry
    cdef Entry *next_
    cdef int index
    while table.used:
        next_ = NULL
        for index in range(ENTRIES):
            entry = &table.entries[index]
            if table.tags[index] == 0:
                continue
            if entry.first == NULL:
                close(table, entry)
            elif next_ == NULL or entry.first.order < next_.first.order:
                next_ = entry
        if next_ == NULL:
            break
        if last != NULL:
            last.chain = next_.first
        else:
            first = next_.first
        last = next_.first
        next_.first = last.chain
        last.chain = NULL
    return first


cdef int64_t fragments_oldest(const Fragments *table) noexcept nogil:
    cdef int64_t oldest = INT64_MAX
    cdef int index
    if table.used:
        for index in range(ENTRIES):
            if table.tags[index] != 0:
                oldest = min(oldest, table.entries[index].since)
    return oldest


STATUSES = ("kept", "done", "bad", "full")


cdef class Reassembler:
    """One side's table with a pool of its own, for tests and tools. Frames begin at the Ethernet header."""

    cdef Fragments *table
    cdef Pool *pool
    cdef uint64_t order

    def __cinit__(self, max_bytes: int = 64 << 20):
        self.pool = pool_new(max_bytes, 1)
        self.table = fragments_new()

    def __dealloc__(self):
        if self.table != NULL:
            pool_give(self.pool, fragments_take(self.table))
        fragments_free(self.table)
        pool_free(self.pool)

    cdef list unchain(self, Node *node):
        frames = []
        chain = node
        while node != NULL:
            frames.append(node.data[VNET:node.size])
            node = node.chain
        pool_give(self.pool, chain)
        return frames

    def add(self, frame: bytes, now: int) -> tuple[str, list[bytes]]:
        """Take a fragment. Returns "kept", "done", "bad" or "full", and what came out: the datagram first, if
        it is done, then its fragments in order of arrival.

        Raises ValueError for a frame that is not an IP fragment, MemoryError where the pool has no room for
        it.
        """
        cdef uint32_t size = <uint32_t>len(frame) + VNET
        cdef FragmentStatus status
        cdef Node *out = NULL
        cdef Node *node = pool_take(self.pool, size)
        if node == NULL:
            raise MemoryError
        memset(node.data, 0, VNET)
        memcpy(node.data + VNET, <const uint8_t *>frame, len(frame))
        node.size = size
        node.time = now
        node.order = self.order
        self.order += 1
        parse_frame(&node.packet, node.data, size)
        if node.packet.kind != K_FRAGMENT:
            pool_give(self.pool, node)
            raise ValueError("the frame is no IP fragment")
        status = fragments_add(self.table, self.pool, node, &out)
        return STATUSES[status], self.unchain(out)

    def expire(self, before: int) -> list[list[bytes]]:
        """The datagrams whose first fragment arrived at `before` or earlier, each as a list of its fragments.
        """
        chains = []
        while frames := self.unchain(fragments_expire(self.table, before)):
            chains.append(frames)
        return chains

    def take(self) -> list[bytes]:
        """All fragments that are kept, in order of arrival."""
        return self.unchain(fragments_take(self.table))

    @property
    def oldest(self) -> int | None:
        """When the oldest datagram's first fragment arrived; None if there is none."""
        cdef int64_t oldest = fragments_oldest(self.table)
        return None if oldest == INT64_MAX else oldest

    @property
    def held_bytes(self) -> int:
        """How much memory of the pool the kept fragments take."""
        return self.pool.held_bytes
