"""The aligner: rewriting that lets the SVM take part in the PVM's TCP connections (RFC 9293, 7323, 2018).

The guests choose different sequence numbers, their timestamp clocks differ, and sometimes their ports do.
Frames from clients are converted to the SVM's numbers, frames from the SVM to the PVM's. These are pure
functions of a parsed frame and the offsets that the caller has learned, so this stage could run in another
process, beside the SVM.

Checksums are updated incrementally (RFC 1624); the parsed `Packet` is kept consistent with the frame.
"""

from libc.stdint cimport uint8_t, uint16_t, uint32_t
from libc.stdlib cimport free
from libc.string cimport memcmp, memcpy, memset

from colo_proxy.core.packet.checksum cimport checksum_fix, checksum_of, checksum_set16, checksum_set32
from colo_proxy.core.packet.parse cimport (
    ACK,
    IPV6_EXTENSIONS,
    IPV6_FRAGMENT,
    IP_ICMP,
    IP_ICMPV6,
    IP_TCP,
    IP_UDP,
    K_IP,
    K_TCP,
    K_UDP,
    OPTION_MULTIPATH,
    VNET,
    get16,
    get32,
    parse_exact_copy,
    parse_extension,
    parse_frame,
    parse_is_extension,
    parse_options,
    parse_sums_at,
    put16,
)


cdef void move32(Packet *p, uint8_t *base, uint32_t at, uint32_t by) noexcept nogil:
    if by:
        checksum_set32(p, base, at, get32(base + at) + by)


cdef void move_port(Packet *p, uint8_t *base, uint32_t at, uint16_t old, uint16_t new) noexcept nogil:
    if old != new and get16(base + at) == old:
        checksum_set16(p, base, at, new)


cdef void aligner_move_udp_port(Packet *p, uint8_t *base, uint32_t at, uint16_t old,
                                uint16_t new) noexcept nogil:
    cdef uint32_t sum_at = p.l4 + 6
    if old == new or get16(base + at) != old:
        return
    put16(base + at, new)
    # A partial sum that belongs to this header covers the pseudo-header alone; 0: there is no checksum (RFC
    # 768).
    if get16(base + sum_at) == 0 or (p.partial and parse_sums_at(base, p.l4, 6)):
        return
    checksum_fix(base + sum_at, old, new)
    if get16(base + sum_at) == 0:
        put16(base + sum_at, 0xffff)


cdef void aligner_to_svm(Packet *p, uint8_t *base, const Offset *offset) noexcept nogil:
    cdef uint32_t at = p.sack
    cdef int _edge
    if p.kind == K_UDP:
        aligner_move_udp_port(p, base, p.l4 + 2, offset.pvm_port, offset.svm_port)
    if p.kind != K_TCP:
        return
    move_port(p, base, p.l4 + 2, offset.pvm_port, offset.svm_port)
    if not p.flags & ACK:
        return  # without ACK, the acknowledgement number and TSecr (RFC 7323, 3.2) have no meaning
    move32(p, base, p.l4 + 8, offset.seq)
    p.ack.n += offset.seq
    for _edge in range(2 * p.sack_blocks):
        move32(p, base, at, offset.seq)
        at += 4
    if p.timestamps:
        move32(p, base, p.timestamps + 4, offset.ts)


cdef void aligner_from_svm(Packet *p, uint8_t *base, const Offset *offset) noexcept nogil:
    if p.kind == K_UDP:
        aligner_move_udp_port(p, base, p.l4, offset.svm_port, offset.pvm_port)
    if p.kind != K_TCP:
        return
    move_port(p, base, p.l4, offset.svm_port, offset.pvm_port)
    move32(p, base, p.l4 + 4, -offset.seq)
    p.seq.n -= offset.seq
    if p.timestamps:
        move32(p, base, p.timestamps, -offset.ts)


# ICMP errors (RFC 792, RFC 4443): 8 bytes of header, then the packet that caused it, which may be cut
# anywhere. An error is used only if it has at least the first 8 bytes of the TCP header (ports, sequence
# number) or the whole UDP header.

cdef void aligner_strip_multipath(Packet *p, uint8_t *base) noexcept nogil:
    """Its data-level acknowledgements are in options, which are not compared. Without the option both ends
    continue as they do with any middlebox that does not know it (RFC 8684, 3.7).
    """
    cdef uint32_t at = p.l4 + 20
    cdef uint32_t until
    cdef uint8_t kind
    while at + 1 < p.payload and base[at] != 0:  # the list, as `parse_options` walks it
        kind = base[at]
        if kind == 1:
            at += 1
            continue
        until = at + base[at + 1]
        if until < at + 2 or until > p.payload:
            break
        while kind == OPTION_MULTIPATH and at < until:
            if at + 1 < until:
                checksum_set16(p, base, at, 0x0101)
            else:
                checksum_set16(p, base, at - 1, <uint16_t>(base[at - 1] << 8 | 1))
            at += 2
        at = until
    p.others = 0
    p.multipath = 0
    parse_options(p, base)


cdef struct Quote:
    uint32_t l3
    uint32_t l4
    uint8_t proto  # IP_TCP or IP_UDP


cdef bint find_quote(Quote *quote, const Packet *p, const uint8_t *base, bint from_vm) noexcept nogil:
    """An error of a VM quotes what the VM received, an error to it what it sent: one of the two addresses is
    the same.
    """
    cdef uint32_t at = p.l4 + 8
    cdef uint32_t header
    cdef uint8_t kind
    cdef uint8_t proto
    cdef int left = IPV6_EXTENSIONS
    if p.kind != K_IP or at > p.end:
        return False
    kind = base[p.l4]
    quote.l3 = at
    if p.version == 4 and p.proto == IP_ICMP:
        # Unreachable, source quench, redirect, time exceeded, parameter problem.
        if kind not in (3, 4, 5, 11, 12) or at + 20 > p.end or base[at] >> 4 != 4:
            return False
        header = (base[at] & 15) * 4
        quote.proto = base[at + 9]
        # Later fragments have no layer-4 header.
        if header < 20 or quote.proto not in (IP_TCP, IP_UDP) or get16(base + at + 6) & 0x1fff or \
                memcmp(base + at + (16 if from_vm else 12), base + p.l3 + (12 if from_vm else 16), 4) != 0:
            return False
        quote.l4 = at + header
        return quote.l4 + 8 <= p.end
    if p.version != 6 or p.proto != IP_ICMPV6:
        return False
    # Unreachable, packet too big, time exceeded, parameter problem.
    if not 1 <= kind <= 4 or at + 40 > p.end or base[at] >> 4 != 6 or \
            memcmp(base + at + (24 if from_vm else 8), base + p.l3 + (8 if from_vm else 24), 16) != 0:
        return False
    proto = base[at + 6]
    at += 40
    while parse_is_extension(proto):
        header = parse_extension(base, at, p.end, proto)
        if left == 0 or header == 0 or (proto == IPV6_FRAGMENT and get16(base + at + 2) & 0xfff8):
            return False
        left -= 1
        proto = base[at]
        at += header
    quote.l4 = at
    quote.proto = proto
    return proto in (IP_TCP, IP_UDP) and at + 8 <= p.end


cdef bint aligner_quoted_flow(Key *key, const Packet *p, const uint8_t *base, bint from_vm) noexcept nogil:
    cdef Quote quote
    cdef const uint8_t *source
    cdef const uint8_t *target
    cdef uint32_t size = 4 if p.version == 4 else 16
    if not find_quote(&quote, p, base, from_vm):
        return False
    memset(key, 0, sizeof(Key))
    key.vlan = p.vlan
    key.ethertype = p.ethertype
    key.version = p.version
    key.proto = quote.proto
    key.kind = K_TCP if quote.proto == IP_TCP else K_UDP
    source = base + quote.l3 + (12 if p.version == 4 else 8)
    target = source + size
    key.local_port = get16(base + quote.l4 + (2 if from_vm else 0))
    key.remote_port = get16(base + quote.l4 + (0 if from_vm else 2))
    memcpy(key.local, target if from_vm else source, size)
    memcpy(key.remote, source if from_vm else target, size)
    return True


cdef void describe_quoted(Packet *inner, const uint8_t *base, uint32_t room) noexcept nogil:
    """As much of a TCP segment as is quoted."""
    cdef uint32_t header
    inner.flags = base[inner.l4 + 13] if room >= 14 else 0
    inner.partial = room < 18  # its checksum was cut off
    if room >= 20:
        header = (base[inner.l4 + 12] >> 4) * 4
        if 20 <= header <= room:
            inner.payload = inner.l4 + header
            parse_options(inner, base)


cdef void aligner_fix_quote(Packet *p, uint8_t *base, const Offset *offset, bint from_vm) noexcept nogil:
    """In an error to the SVM the quote is a segment of the SVM, aligned in reverse; in an error from it, a
    client's.
    """
    cdef Quote quote
    cdef Offset back
    cdef Packet inner  # only the part that rewriting needs
    cdef uint32_t room
    cdef uint16_t old
    if not find_quote(&quote, p, base, from_vm):
        return
    back.seq = -offset.seq
    back.ts = -offset.ts
    back.svm_port = offset.pvm_port
    back.pvm_port = offset.svm_port
    memset(&inner, 0, sizeof(Packet))
    inner.kind = K_TCP if quote.proto == IP_TCP else K_UDP
    inner.l4 = quote.l4
    room = p.end - quote.l4
    if inner.kind == K_TCP:
        describe_quoted(&inner, base, room)
    room = min(room, 60)
    # The quote begins at an even distance from the ICMP header, so its sum is part of the outer one.
    old = ~checksum_of(base + quote.l4, room, 0)
    if from_vm:
        aligner_to_svm(&inner, base, &back)
    else:
        aligner_from_svm(&inner, base, &back)
    if not p.partial:
        checksum_fix(base + p.l4 + 2, old, ~checksum_of(base + quote.l4, room, 0))


cdef enum Way:
    TO_SVM = 0
    FROM_SVM = 1
    QUOTED_TO_SVM = 2
    QUOTED_FROM_SVM = 3


cdef bytes aligned(Way way, bytes frame, seq_offset, ts_offset, svm_port, pvm_port, bytes vnet):
    cdef Packet p
    cdef Offset offset
    cdef uint32_t size
    cdef uint8_t *base
    offset.seq = seq_offset & 0xffffffff
    offset.ts = ts_offset & 0xffffffff
    offset.svm_port = svm_port
    offset.pvm_port = pvm_port
    base = parse_exact_copy(frame, vnet, &size)
    parse_frame(&p, base, size)
    if way == TO_SVM:
        aligner_to_svm(&p, base, &offset)
    elif way == FROM_SVM:
        aligner_from_svm(&p, base, &offset)
    else:
        aligner_fix_quote(&p, base, &offset, way == QUOTED_FROM_SVM)
    rewritten = base[VNET:size]
    free(base)
    return rewritten


def to_svm(frame: bytes, *, seq: int = 0, ts: int = 0, svm_port: int = 0, pvm_port: int = 0,
           vnet: bytes | None = None) -> bytes:
    """Return a client's TCP segment or UDP datagram as the SVM must receive it.

    `seq` is `isn_svm - isn_pvm`, `ts` the same of TSval. Other frames are returned unchanged. Raises
    ValueError for a virtio-net header that is not 10 bytes long, OverflowError for a port beyond 16 bits.
    """
    return aligned(TO_SVM, frame, seq, ts, svm_port, pvm_port, vnet)


def from_svm(frame: bytes, *, seq: int = 0, ts: int = 0, svm_port: int = 0, pvm_port: int = 0,
             vnet: bytes | None = None) -> bytes:
    """Return a TCP segment or UDP datagram of the SVM as clients must receive it; arguments and errors as of
    `to_svm`.
    """
    return aligned(FROM_SVM, frame, seq, ts, svm_port, pvm_port, vnet)


def quoted_to_svm(frame: bytes, *, seq: int = 0, ts: int = 0, svm_port: int = 0, pvm_port: int = 0,
                  vnet: bytes | None = None) -> bytes:
    """An ICMP or ICMPv6 error that quotes TCP or UDP of the VM, for the SVM; arguments as of `to_svm`."""
    return aligned(QUOTED_TO_SVM, frame, seq, ts, svm_port, pvm_port, vnet)


def quoted_from_svm(frame: bytes, *, seq: int = 0, ts: int = 0, svm_port: int = 0, pvm_port: int = 0,
                    vnet: bytes | None = None) -> bytes:
    """An ICMP or ICMPv6 error of the SVM that quotes TCP or UDP of a client; arguments as of `to_svm`."""
    return aligned(QUOTED_FROM_SVM, frame, seq, ts, svm_port, pvm_port, vnet)


def quoted_flow(frame: bytes, from_vm: bool = False) -> bytes | None:
    """The key (as `key.flow_key` gives it) of the flow that an ICMP error is about; None for other frames."""
    cdef Packet p
    cdef Key key
    cdef uint32_t size
    cdef uint8_t *base = parse_exact_copy(frame, None, &size)
    parse_frame(&p, base, size)
    found = aligner_quoted_flow(&key, &p, base, from_vm)
    free(base)
    return (<uint8_t *>&key)[:sizeof(Key)] if found else None
