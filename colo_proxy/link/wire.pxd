"""Records: what crosses the link once it is open (docs/link.md).

    0        1        2                 4                                   8
    +--------+--------+-----------------+-----------------------------------+----------
    |  type  |  flags |       NIC       |          length of the body       |  body ...
    +--------+--------+-----------------+-----------------------------------+----------

All numbers are big-endian. Whatever comes from the other host is read through `Record`, which `wire_parse`
has checked; nothing else does arithmetic on lengths that it sent.
"""

from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t

from colo_proxy.core.packet.parse cimport ETHERNET, MAX_FRAME, VNET

cdef enum:
    WIRE_HEADER = 8
    WIRE_TYPES = 64  # types are below this
    WIRE_MOST = VNET + MAX_FRAME  # bytes of the longest body

cdef enum RecordType:  # what the compiled code itself sends or takes; words.Kind names all
    R_FRAME = 0x01
    R_DROPPED = 0x02
    R_HEARTBEAT = 0x08
    R_HEARTBEAT_ACK = 0x09

cdef enum FrameFlag:
    F_SOURCE = 3  # the bits that tell who has sent it: 0 a client, 1 the PVM, 2 the SVM
    F_VNET = 4  # a virtio-net header of VNET bytes precedes the frame

cdef enum WireError:
    W_TYPE = 1  # no type of this version
    W_LENGTH = 2  # a length that this type cannot have
    W_FLAGS = 3
    W_NIC = 4  # a NIC where the type has none
    W_CONTENT = 5  # a value that has no meaning
    W_ACK = 6  # a heartbeat is acknowledged that was never sent
    W_FULL = 7  # a word finds no room: the other host has not read for too long

cdef struct Record:
    uint8_t type
    uint8_t flags
    uint16_t nic
    uint32_t size  # of the body
    const uint8_t *body

# The record at `at`, of which `have` bytes are there. Returns the bytes of the whole record; 0 if it is right
# so far and more is needed; -WireError if it is none. Looks at no more than the header and the flags.
cdef int wire_parse(Record *record, const uint8_t *at, uint64_t have) noexcept nogil
# Whether a record of this type, flags, NIC and length is one; 0 or -WireError.
cdef int wire_check(uint8_t kind, uint8_t flags, uint16_t nic, uint32_t size) noexcept nogil
# Write a header; the record has been checked.
cdef void wire_header(uint8_t *at, uint8_t kind, uint8_t flags, uint16_t nic, uint32_t size) noexcept nogil
# Whether records of this type may overtake frames.
cdef bint wire_is_urgent(uint8_t kind) noexcept nogil

cdef inline uint64_t wire_get64(const uint8_t *at) noexcept nogil:
    cdef uint64_t value = 0
    cdef int i
    for i in range(8):
        value = value << 8 | at[i]
    return value

cdef inline void wire_put64(uint8_t *at, uint64_t value) noexcept nogil:
    cdef int i
    for i in range(8):
        at[i] = <uint8_t>(value >> 8 * (7 - i))
