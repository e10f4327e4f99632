"""Records: their layout, and the one place where what the other host sends is checked.

Compiled, since frames cross the link at many Gbit/s and the data path's thread reads them without the GIL.
The words share the frames' framing, for their order among the frames matters, so there is one parser for
both; what a word says beyond its length is read in Python (words.py), where it is rare.

A header is judged as soon as its 8 bytes are there, before its body: what is no record is refused at once,
and never buffered. `RULES` has the lengths, flags and lane of each type; a type that it does not have is
refused, because both hosts have agreed on a version before the first record.
"""

from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memset

from colo_proxy.core.packet.parse cimport ETHERNET, MAX_FRAME, VNET, get16, get32, put16, put32


cdef struct Rule:
    bint known
    bint urgent  # it may overtake frames
    bint nic  # it is about a NIC
    uint8_t flags  # those that it may have
    uint32_t least  # bytes of its body
    uint32_t most
    uint32_t unit  # its body is a multiple of this

cdef Rule[<int>WIRE_TYPES] RULES

cdef enum:
    TEXT = 200  # bytes of a reason for a person, at most
    FLOW = 44
    POLICIES = 65536
    DATAGRAMS = 8192  # bytes of numbers of frames


cdef void rule(uint8_t kind, uint32_t least, uint32_t most, bint urgent, bint nic, uint32_t unit=1) noexcept:
    RULES[kind] = Rule(True, urgent, nic, 0, least, most, unit)


cdef void make_rules() noexcept:
    cdef int kind
    memset(RULES, 0, sizeof(RULES))
    rule(R_FRAME, ETHERNET, WIRE_MOST, False, True)
    RULES[<int>R_FRAME].flags = F_SOURCE | F_VNET
    rule(R_DROPPED, 16, 16, False, False)
    rule(0x03, 1, TEXT, False, False)  # close
    rule(R_HEARTBEAT, 16, 16, True, False)
    rule(R_HEARTBEAT_ACK, 16, 16, True, False)
    rule(0x10, 8, 8, False, False)  # stopped
    rule(0x11, 8, 8, False, False)  # loaded
    rule(0x12, 8, 8, False, False)  # committed
    rule(0x13, 8, 8, False, False)  # aborted
    rule(0x14, 8, 8, False, False)  # stopped-late
    rule(0x15, 9, 8 + TEXT, True, False)  # checkpoint-wanted
    rule(0x16, 1, TEXT, True, True)  # port-fault
    rule(0x17, 1, TEXT, True, False)  # vm-gone
    rule(0x20, 8, DATAGRAMS, False, True, 8)  # datagrams-sent
    rule(0x21, FLOW, FLOW, False, True)  # syn-ack-sent
    rule(0x22, 24, 24, False, True)  # address
    rule(0x23, FLOW + 12, FLOW + 12, False, True)  # offset
    rule(0x24, 2, POLICIES, False, False)  # policies
    for kind in range(0x30, 0x38):  # the right to speak
        rule(<uint8_t>kind, 16, 16, False, False)


make_rules()


cdef int wire_check(uint8_t kind, uint8_t flags, uint16_t nic, uint32_t size) noexcept nogil:
    cdef const Rule *known
    cdef uint32_t vnet
    if kind >= WIRE_TYPES or not RULES[kind].known:
        return -W_TYPE
    known = &RULES[kind]
    if flags & ~known.flags:
        return -W_FLAGS
    if nic and not known.nic:
        return -W_NIC
    if size < known.least or size > known.most or size % known.unit:
        return -W_LENGTH
    if kind == R_FRAME:
        if flags & F_SOURCE == F_SOURCE:
            return -W_FLAGS
        vnet = VNET if flags & F_VNET else 0
        if size < vnet + ETHERNET or size - vnet > MAX_FRAME:
            return -W_LENGTH
    return 0


cdef int wire_parse(Record *record, const uint8_t *at, uint64_t have) noexcept nogil:
    cdef int wrong
    if have < WIRE_HEADER:
        return 0
    record.type = at[0]
    record.flags = at[1]
    record.nic = get16(at + 2)
    record.size = get32(at + 4)
    record.body = at + WIRE_HEADER
    wrong = wire_check(record.type, record.flags, record.nic, record.size)
    if wrong:
        return wrong
    if have - WIRE_HEADER < record.size:
        return 0
    return WIRE_HEADER + <int>record.size


cdef void wire_header(uint8_t *at, uint8_t kind, uint8_t flags, uint16_t nic, uint32_t size) noexcept nogil:
    at[0] = kind
    at[1] = flags
    put16(at + 2, nic)
    put32(at + 4, size)


cdef bint wire_is_urgent(uint8_t kind) noexcept nogil:
    return kind < WIRE_TYPES and RULES[kind].urgent


# For Python.

class BadRecord(ValueError):
    """What the other host has sent is no record; the message says why, in one line."""


REASONS = {
    <int>W_TYPE: "it has sent a record of an unknown type",
    <int>W_LENGTH: "it has sent a record of a length that its type cannot have",
    <int>W_FLAGS: "it has sent a record with unknown flags",
    <int>W_NIC: "it has sent a record about a NIC that is about none",
    <int>W_CONTENT: "it has sent a record whose content has no meaning",
    <int>W_ACK: "it has acknowledged a heartbeat that was never sent",
    <int>W_FULL: "it has not read for so long that a word finds no room",
}


def rules():
    """By type: the least and the greatest length, whether it is urgent, about a NIC, and in what units."""
    return {
        kind: (RULES[kind].least, RULES[kind].most, bool(RULES[kind].urgent), bool(RULES[kind].nic),
               RULES[kind].unit)
        for kind in range(WIRE_TYPES) if RULES[kind].known
    }


def header(int kind, int flags, int nic, int size):
    """The header of a record. Raises BadRecord where `wire_parse` would refuse it."""
    cdef uint8_t[<int>WIRE_HEADER] at
    if not (0 <= kind < 256 and 0 <= flags < 256 and 0 <= nic < 65536 and 0 <= size <= WIRE_MOST):
        raise BadRecord("a field is out of its range")
    wrong = wire_check(kind, flags, nic, size)
    if wrong:
        raise BadRecord(REASONS[-wrong])
    wire_header(at, kind, flags, nic, size)
    return (<char *>at)[:WIRE_HEADER]
