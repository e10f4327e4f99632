"""The Internet checksum (RFC 1071), and rewriting a TCP header that keeps it right (RFC 1624).

A checksum is never computed again over a whole segment: the difference of the changed words is added to it.
"""

from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport free

from colo_proxy.core.packet.parse cimport K_TCP, VNET, Packet, get16, parse_exact_copy, parse_frame, put16


cdef uint16_t checksum_of(const uint8_t *at, uint32_t size, uint32_t start) noexcept nogil:
    cdef uint64_t total = start
    cdef uint32_t index = 0
    while index + 1 < size:
        total += get16(at + index)
        index += 2
    if index < size:
        total += <uint32_t>at[index] << 8
    while total >> 16:
        total = (total & 0xffff) + (total >> 16)
    return <uint16_t>~total


cdef void checksum_fix(uint8_t *at, uint16_t old, uint16_t new) noexcept nogil:
    cdef uint32_t total = <uint32_t>(<uint16_t>~get16(at)) + <uint16_t>~old + new
    total = (total & 0xffff) + (total >> 16)
    total = (total & 0xffff) + (total >> 16)
    put16(at, <uint16_t>~total)


cdef inline uint16_t swapped(uint16_t word) noexcept nogil:
    return <uint16_t>((word << 8) | (word >> 8))


cdef void checksum_set16(Packet *p, uint8_t *base, uint32_t at, uint16_t value) noexcept nogil:
    cdef uint16_t old = get16(base + at)
    put16(base + at, value)
    if p.partial:
        return
    if (at - p.l4) & 1:
        # Two halves of two words. The sum is the same if the bytes of each word are swapped, in the old
        # and in the new value (RFC 1071, 2 (B)), so one word made of both halves gives the same result.
        old = swapped(old)
        value = swapped(value)
    checksum_fix(base + p.l4 + 16, old, value)


cdef void checksum_set32(Packet *p, uint8_t *base, uint32_t at, uint32_t value) noexcept nogil:
    checksum_set16(p, base, at, <uint16_t>(value >> 16))
    checksum_set16(p, base, at + 2, <uint16_t>value)


def rewritten(frame: bytes, at: int, value: int, width: int, vnet: bytes | None = None) -> bytes:
    """The TCP frame with `width` (2 or 4) bytes of its header replaced, by `checksum_set16` or
    `checksum_set32`.

    `at` counts from the virtio-net header's start, as in `dissect`. Raises ValueError for what is not TCP,
    for another width, and for a place outside the TCP header.
    """
    cdef Packet p
    cdef uint32_t size
    cdef uint8_t *base = parse_exact_copy(frame, vnet, &size)
    try:
        parse_frame(&p, base, size)
        if p.kind != K_TCP or width not in (2, 4) or not p.l4 <= at <= p.payload - width:
            raise ValueError(f"no {width}-byte field of a TCP header at {at}")
        if width == 2:
            checksum_set16(&p, base, at, value)
        else:
            checksum_set32(&p, base, at, value)
        return base[VNET:size]
    finally:
        free(base)
