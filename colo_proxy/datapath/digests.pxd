"""Keyed digests of bytes that were agreed and are not acknowledged by the client yet (rule T14).

A retransmission is compared with what left before, and what left is not kept: a digest of 8 bytes stands for
each *piece* of it, which has 512 bytes at most. So full pieces take a 28th of the memory of the
stream that is under way.

Pieces. One run of bytes that one segment of each guest made agreed, cut where the stream offset is a multiple
of PIECE and where a super-frame of the PVM is cut. So a retransmission that repeats segments as they were is
verified whole, and of one that is cut otherwise (another path MTU, segments joined, a super-frame cut anew)
what lies between two cuts. Positions are stream offsets in 64 bits (`Flow.position`), which do not wrap.
Pieces of one flow never overlap; they may lie in any order.

Memory. `Digests` has a fixed number of chunks, 8,322 in 4 MiB, for all flows of a NIC; each belongs to one
flow's `Trail`. Nothing is allocated for a packet. At the bound the oldest chunk of all is forgotten, which is
the oldest of its flow; what it stood for cannot be verified any more. A chunk ends when the client has
acknowledged the last of its bytes.

The digest. NH (RFC 4418, 5.2) with 64-bit words, as VMAC has it, of 32 bytes at a time: the sum, modulo
2**128, of (m0 + k0)(m1 + k1) over pairs of words. Two pieces of one length that differ have the same sum for
one key in 2**64 at most. The upper half of its product with an odd 128-bit key is kept, whose collisions are
as rare (multiply-shift; Dietzfelbinger et al., 1997). Guests never see a digest, and the key comes from the
core's seed, so no guest can compute a collision. It costs two multiplications for 32 bytes: dearer than the
comparison itself (bench/README.md).
"""

from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t

cdef enum:
    PIECE = 512  # bytes at most; a power of two
    PIECES = 25  # in a chunk
    KEYS = 66  # words: PIECE bytes of them, and two for the product

cdef struct Chunk:
    Chunk *older  # all that are in use, by age
    Chunk *newer
    Chunk *behind  # the flow's next; of a free chunk, the next free one
    Trail *trail
    int64_t begin  # no piece begins before, none ends behind `end`
    int64_t end
    uint32_t count
    uint16_t[PIECES] lengths  # 0: forgotten
    int64_t[PIECES] starts
    uint64_t[PIECES] digests

# What is remembered of one flow; all zeros: nothing.
cdef struct Trail:
    Chunk *first  # the oldest
    Chunk *last
    int64_t end  # no piece ends behind it

cdef struct Digests:
    uint64_t[KEYS] key
    Chunk *chunks
    uint64_t room  # chunks
    uint64_t used  # of them, ever
    Chunk *free
    Chunk *oldest
    Chunk *newest

cdef Digests *digests_new(uint64_t room, uint64_t seed) except NULL
cdef void digests_free(Digests *digests) noexcept nogil
# Remember 1 to PIECE bytes from a position on. Nothing of them may be remembered already (digests_cut).
cdef void digests_add(Digests *digests, Trail *trail, int64_t start, const uint8_t *data,
                      uint32_t count) noexcept nogil
# Forget the pieces that have a byte in [begin, end).
cdef void digests_cut(Trail *trail, int64_t begin, int64_t end) noexcept nogil
# Forget the oldest chunks as long as all of one lies below a position.
cdef void digests_end(Digests *digests, Trail *trail, int64_t below) noexcept nogil
cdef void digests_drop(Digests *digests, Trail *trail) noexcept nogil
# Compare the bytes of [begin, end) with the pieces that lie wholly inside and end behind `after`. Returns how
# many positions of [after, before) these have; `differs` gets the beginning of the lowest that is another, or
# INT64_MAX.
cdef int64_t digests_check(const Digests *digests, const Trail *trail, int64_t begin, int64_t end,
                           const uint8_t *data, int64_t after, int64_t before,
                           int64_t *differs) noexcept nogil
