"""The Internet checksum (RFC 1071), and rewriting a TCP header that keeps it right (RFC 1624)."""

from libc.stdint cimport uint8_t, uint16_t, uint32_t

from colo_proxy.core.packet.parse cimport Packet

# Update the checksum at `at` for a 16-bit word that changes from `old` to `new` (RFC 1624, equation 3).
cdef void checksum_fix(uint8_t *at, uint16_t old, uint16_t new) noexcept nogil
# The Internet checksum (RFC 1071) of `size` bytes; `start` is an initial sum of 16-bit words.
cdef uint16_t checksum_of(const uint8_t *at, uint32_t size, uint32_t start) noexcept nogil

# Rewrite a field and update the checksum (RFC 1624, equation 3). `at` is an offset from base inside the TCP
# header. A partial checksum covers the pseudo-header alone and is left unchanged.
cdef void checksum_set16(Packet *p, uint8_t *base, uint32_t at, uint16_t value) noexcept nogil
cdef void checksum_set32(Packet *p, uint8_t *base, uint32_t at, uint32_t value) noexcept nogil
