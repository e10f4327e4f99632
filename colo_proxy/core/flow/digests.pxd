"""Keyed digests of bytes that are agreed but not yet acknowledged by the client (rule T14)."""

from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t

cdef enum:
    PIECE = 512  # bytes in a piece at most; a power of two
    PIECES = 25  # pieces in a chunk
    KEYS = 66  # words: for PIECE bytes, and two for the product

cdef struct Chunk:
    Chunk *older  # all that are in use, ordered by age
    Chunk *newer
    Chunk *behind  # the flow's next chunk; of a free chunk, the next free one
    Trail *trail
    int64_t begin  # no piece begins before this, and none ends after `end`
    int64_t end
    uint32_t count
    uint16_t[PIECES] lengths  # 0: forgotten
    int64_t[PIECES] starts
    uint64_t[PIECES] digests

# What is remembered of one flow; all zeros: nothing.
cdef struct Trail:
    Chunk *first  # the oldest
    Chunk *last
    int64_t end  # no piece ends after this

cdef struct Digests:
    uint64_t[KEYS] key
    Chunk *chunks
    uint64_t room  # number of chunks
    uint64_t used  # of these, ever used
    Chunk *free
    Chunk *oldest
    Chunk *newest

cdef Digests *digests_new(uint64_t room, uint64_t seed) except NULL
cdef void digests_free(Digests *digests) noexcept nogil
# Remember 1 to PIECE bytes from a position on. None of them may be remembered already (digests_cut).
cdef void digests_add(Digests *digests, Trail *trail, int64_t start, const uint8_t *data,
                      uint32_t count) noexcept nogil
# Forget the pieces that have a byte in [begin, end).
cdef void digests_cut(Trail *trail, int64_t begin, int64_t end) noexcept nogil
# Forget the oldest chunks, as far as they lie completely below a position.
cdef void digests_end(Digests *digests, Trail *trail, int64_t below) noexcept nogil
cdef void digests_drop(Digests *digests, Trail *trail) noexcept nogil
# Compare the bytes of [begin, end) with the pieces that lie completely inside and end after `after`. Returns
# how many positions of [after, before) these pieces have; `differs` becomes the beginning of the lowest piece
# that differs, or INT64_MAX.
cdef int64_t digests_check(const Digests *digests, const Trail *trail, int64_t begin, int64_t end,
                           const uint8_t *data, int64_t after, int64_t before,
                           int64_t *differs) noexcept nogil
