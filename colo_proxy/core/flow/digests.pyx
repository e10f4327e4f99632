"""Keyed digests of bytes that are agreed but not yet acknowledged by the client (rule T14).

A retransmission is compared with what was released before, but released bytes are not kept: a digest of 8
bytes stands for each *piece* of them, which has 512 bytes at most. Full pieces take a 28th of the memory of
the unacknowledged stream.

Pieces. A piece is a run of bytes that one segment of each guest made agreed, cut where the stream offset is a
multiple of PIECE and where a super-frame of the PVM is cut. So a retransmission that repeats segments as they
were is verified completely. If it is cut otherwise (another path MTU, segments joined, a super-frame cut
anew), only whole pieces in it are verified. Positions are stream offsets in 64 bits (`Flow.position`), which
do not wrap. Pieces of one flow never overlap; they may be stored in any order.

Memory. `Digests` has a fixed number of chunks, 8,322 in 4 MiB, for all flows of a NIC; each belongs to one
flow's `Trail`. Nothing is allocated for a packet. At the bound the oldest chunk of all is forgotten, which is
the oldest of its flow; its bytes can then no longer be verified. A chunk is freed when the client has
acknowledged the last of its bytes.

The digest. NH (RFC 4418, 5.2) with 64-bit words, as in VMAC, of 32 bytes at a time: the sum, modulo
2**128, of (m0 + k0)(m1 + k1) over pairs of words. Two different pieces of one length have the same sum for
at most one key in 2**64. The upper half of its product with an odd 128-bit key is kept, whose collisions are
as rare (multiply-shift; Dietzfelbinger et al., 1997). Guests never see a digest, and the key comes from the
core's seed, so no guest can compute a collision. The cost is two multiplications for 32 bytes: more than
that of the comparison itself (bench/README.md).
"""

from libc.stdint cimport INT64_MAX, int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free, malloc

cdef extern from *:
    """
    #include <stdint.h>
    #include <string.h>

    typedef unsigned __int128 colo_proxy_u128;

    static inline colo_proxy_u128 colo_proxy_pair(const uint8_t *at, const uint64_t *key) {
        uint64_t words[2];
        memcpy(words, at, 16);
        return (colo_proxy_u128)(words[0] + key[0]) * (words[1] + key[1]);
    }

    /* `key` has 64 words for 512 bytes, and two more. */
    static uint64_t colo_proxy_digest(const uint64_t *key, const uint8_t *data, uint32_t count) {
        colo_proxy_u128 sum = 0, other = 0;
        uint8_t rest[32] = {0};
        uint32_t at = 0;
        for (; at + 32 <= count; at += 32) {
            sum += colo_proxy_pair(data + at, key + at / 8);
            other += colo_proxy_pair(data + at + 16, key + at / 8 + 2);
        }
        if (at < count) {
            memcpy(rest, data + at, count - at);
            sum += colo_proxy_pair(rest, key + at / 8);
            other += colo_proxy_pair(rest + 16, key + at / 8 + 2);
        }
        sum += other;
        return (uint64_t)((sum * ((colo_proxy_u128)key[64] << 64 | key[65])) >> 64);
    }
    """
    uint64_t digest "colo_proxy_digest"(const uint64_t *key, const uint8_t *data, uint32_t count) nogil


cdef void make_key(uint64_t *key, uint64_t seed) noexcept nogil:
    """Expand the seed (SplitMix64; Steele, Lea and Flood, 2014)."""
    cdef uint64_t word
    cdef int at
    for at in range(KEYS):
        seed += <uint64_t>0x9e3779b97f4a7c15ULL
        word = (seed ^ (seed >> 30)) * <uint64_t>0xbf58476d1ce4e5b9ULL
        word = (word ^ (word >> 27)) * <uint64_t>0x94d049bb133111ebULL
        key[at] = word ^ (word >> 31)
    key[KEYS - 1] |= 1  # the multiplier must be odd


cdef Digests *digests_new(uint64_t room, uint64_t seed) except NULL:
    """Room for so many bytes of digests, one chunk at least; pages that are not needed are not touched."""
    cdef Digests *digests = <Digests *>calloc(1, sizeof(Digests))
    if digests == NULL:
        raise MemoryError
    digests.room = max(room // sizeof(Chunk), <uint64_t>1)
    digests.chunks = <Chunk *>malloc(digests.room * sizeof(Chunk))
    if digests.chunks == NULL:
        free(digests)
        raise MemoryError
    make_key(digests.key, seed)
    return digests


cdef void digests_free(Digests *digests) noexcept nogil:
    """The trails are invalid from here on."""
    if digests != NULL:
        free(digests.chunks)
        free(digests)


cdef void unlink(Digests *digests, Chunk *chunk) noexcept nogil:
    """Remove a trail's first chunk from it, and from the order of age."""
    cdef Trail *trail = chunk.trail
    trail.first = chunk.behind
    if trail.first == NULL:
        trail.last = NULL
    if chunk.older != NULL:
        chunk.older.newer = chunk.newer
    else:
        digests.oldest = chunk.newer
    if chunk.newer != NULL:
        chunk.newer.older = chunk.older
    else:
        digests.newest = chunk.older


cdef Chunk *take(Digests *digests, Trail *trail) noexcept nogil:
    """Return an empty chunk at the end of a trail; at the bound it is the oldest of all."""
    cdef Chunk *chunk = digests.free
    if chunk != NULL:
        digests.free = chunk.behind
    elif digests.used < digests.room:
        chunk = &digests.chunks[digests.used]
        digests.used += 1
    else:
        chunk = digests.oldest
        unlink(digests, chunk)
    chunk.trail = trail
    chunk.behind = NULL
    chunk.count = 0
    chunk.older = digests.newest
    chunk.newer = NULL
    if digests.newest != NULL:
        digests.newest.newer = chunk
    else:
        digests.oldest = chunk
    digests.newest = chunk
    if trail.last != NULL:
        trail.last.behind = chunk
    else:
        trail.first = chunk
    trail.last = chunk
    return chunk


cdef void give_back(Digests *digests, Chunk *chunk) noexcept nogil:
    unlink(digests, chunk)
    chunk.behind = digests.free
    digests.free = chunk


cdef void digests_add(Digests *digests, Trail *trail, int64_t start, const uint8_t *data,
                      uint32_t count) noexcept nogil:
    cdef Chunk *chunk = trail.last
    cdef int64_t end = start + count
    trail.end = end if chunk == NULL else max(trail.end, end)
    if chunk == NULL or chunk.count == PIECES:
        chunk = take(digests, trail)
    if chunk.count == 0:
        chunk.begin = start
        chunk.end = end
    else:
        chunk.begin = min(chunk.begin, start)
        chunk.end = max(chunk.end, end)
    chunk.starts[chunk.count] = start
    chunk.lengths[chunk.count] = <uint16_t>count
    chunk.digests[chunk.count] = digest(digests.key, data, count)
    chunk.count += 1


cdef void digests_cut(Trail *trail, int64_t begin, int64_t end) noexcept nogil:
    cdef Chunk *chunk = trail.first if begin < trail.end else NULL
    cdef uint32_t at
    while chunk != NULL:
        if chunk.begin < end and begin < chunk.end:
            for at in range(chunk.count):
                if chunk.starts[at] < end and begin < chunk.starts[at] + chunk.lengths[at]:
                    chunk.lengths[at] = 0
        chunk = chunk.behind


cdef void digests_end(Digests *digests, Trail *trail, int64_t below) noexcept nogil:
    while trail.first != NULL and trail.first.end <= below:
        give_back(digests, trail.first)


cdef void digests_drop(Digests *digests, Trail *trail) noexcept nogil:
    while trail.first != NULL:
        give_back(digests, trail.first)


cdef int64_t digests_check(const Digests *digests, const Trail *trail, int64_t begin, int64_t end,
                           const uint8_t *data, int64_t after, int64_t before,
                           int64_t *differs) noexcept nogil:
    cdef const Chunk *chunk = trail.first
    cdef int64_t covered = 0
    cdef int64_t start, behind
    cdef uint32_t at
    differs[0] = INT64_MAX
    while chunk != NULL:
        if chunk.begin < end and begin < chunk.end:
            for at in range(chunk.count):
                start = chunk.starts[at]
                behind = start + chunk.lengths[at]
                if chunk.lengths[at] == 0 or start < begin or end < behind or behind <= after:
                    continue
                covered += max(min(behind, before) - max(start, after), 0)
                if digest(digests.key, data + (start - begin), chunk.lengths[at]) != chunk.digests[at]:
                    differs[0] = min(differs[0], start)
        chunk = chunk.behind
    return covered


def digest_of(data: bytes, seed: int) -> int:
    """The digest of 0 to 512 bytes under the key that a core with this seed has; for tests."""
    cdef uint64_t[KEYS] key
    cdef const uint8_t *view = data
    if len(data) > PIECE:
        raise ValueError(f"a piece has {PIECE} bytes at most, not {len(data)}")
    make_key(key, seed)
    return digest(key, view, <uint32_t>len(data))
