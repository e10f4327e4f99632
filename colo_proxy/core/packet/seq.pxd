"""TCP sequence numbers: a type of their own, compared modulo 2**32 (RFC 9293, section 3.4).

It is a struct and not an integer, so that the compiler refuses `a < b`.
"""

from libc.stdint cimport int32_t, int64_t, uint32_t


cdef struct Seq:
    uint32_t n


cdef inline Seq seq(uint32_t n) noexcept nogil:
    cdef Seq s
    s.n = n
    return s


cdef inline Seq seq_add(Seq a, int64_t count) noexcept nogil:
    return seq(a.n + <uint32_t>count)


cdef inline int32_t seq_diff(Seq a, Seq b) noexcept nogil:
    """How far `a` is ahead of `b`; negative where it is behind."""
    return <int32_t>(a.n - b.n)


cdef inline bint seq_lt(Seq a, Seq b) noexcept nogil:
    return seq_diff(a, b) < 0


cdef inline bint seq_le(Seq a, Seq b) noexcept nogil:
    return seq_diff(a, b) <= 0


cdef inline bint seq_eq(Seq a, Seq b) noexcept nogil:
    return a.n == b.n


cdef inline Seq seq_min(Seq a, Seq b) noexcept nogil:
    return a if seq_diff(a, b) < 0 else b


cdef inline Seq seq_max(Seq a, Seq b) noexcept nogil:
    return a if seq_diff(a, b) > 0 else b
