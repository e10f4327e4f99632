# Frames out of few bytes: what a fuzzer's input says (target.pyx), as frames that get past the parser.
#
# The VM is 192.0.2.2 / 2001:db8::2, the client 192.0.2.1 / 2001:db8::1. What a stream carries at a position
# is a function of the position, so that both guests agree unless the input says otherwise (`flip`).

cdef enum:
    ROOM = 10 + 69632 + 64  # a little more than the core takes

cdef enum What:
    SAY_TCP = 0
    SAY_UDP = 1
    SAY_ECHO = 2
    SAY_GRE = 3
    SAY_QUOTE = 4  # an ICMP error that quotes a segment
    SAY_ARP = 5
    SAY_ND = 6
    SAY_OTHER = 7

# What is said, before it has a speaker's numbers.
cdef struct Said:
    uint8_t what
    uint8_t shape  # bits: 0, 1 the client's port; 2 a source port of the speaker's own; 3 IPv6; 4, 5 VLANs;
    #                6 checksum partial; 7 Ethernet padding
    uint8_t flags
    uint8_t options
    uint32_t at
    uint32_t length
    uint32_t ack
    uint32_t window
    uint32_t urgent
    uint32_t flip  # 0: nothing; else one more than the index of the payload byte that differs

cdef struct Speaker:
    bint to_vm  # a client
    uint8_t port  # what bit 2 of `shape` adds to the VM's port
    uint32_t isn
    uint32_t other_isn
    uint32_t tsval

cdef uint8_t[ROOM] frame  # a virtio-net header and a frame
cdef uint32_t[16] FLAGS = [16, 16, 24, 2, 18, 17, 4, 20, 48, 25, 0, 3, 16, 24, 194, 6]


cdef uint8_t stream_byte(uint32_t at) noexcept nogil:
    return <uint8_t>((at * 167) >> 3)


cdef uint32_t put_options(uint32_t at, const Said *said, const Speaker *speaker) noexcept nogil:
    """TCP options; returns where they end, on a multiple of four."""
    cdef uint32_t begin = at
    if said.options & 1:
        frame[at], frame[at + 1] = 2, 4
        put16(&frame[at + 2], 1460 if said.options & 64 == 0 else 1400)
        at += 4
    if said.options & 2:
        frame[at], frame[at + 1], frame[at + 2] = 3, 3, said.options >> 3 & 15
        at += 3
    if said.options & 4:
        frame[at], frame[at + 1] = 8, 10
        put32(&frame[at + 2], speaker.tsval + said.at)
        put32(&frame[at + 6], speaker.tsval)
        at += 10
    if said.options & 128:
        frame[at], frame[at + 1] = 5, 18
        put32(&frame[at + 2], speaker.other_isn + said.ack)
        put32(&frame[at + 6], speaker.other_isn + said.ack + 10)
        put32(&frame[at + 10], speaker.other_isn + said.ack + 20)
        put32(&frame[at + 14], speaker.other_isn + said.ack + 30)
        at += 18
    elif said.options & 32:
        frame[at], frame[at + 1] = 4, 2
        at += 2
    while (at - begin) & 3:
        frame[at] = 1
        at += 1
    return at


cdef uint32_t put_payload(uint32_t at, const Said *said, uint32_t most) noexcept nogil:
    cdef uint32_t length = min(said.length, most)
    cdef uint32_t index
    for index in range(length):
        frame[at + index] = stream_byte(said.at + index)
    if said.flip and length:
        frame[at + (said.flip - 1) % length] ^= 1
    return at + length


cdef uint32_t put_tcp(uint32_t at, const Said *said, const Speaker *speaker) noexcept nogil:
    cdef uint32_t behind
    cdef uint16_t vm = 80 + (speaker.port if said.shape & 4 else 0)
    cdef uint16_t client = 4000 + (said.shape & 3)
    put16(&frame[at], client if speaker.to_vm else vm)
    put16(&frame[at + 2], vm if speaker.to_vm else client)
    put32(&frame[at + 4], speaker.isn + said.at + (0 if said.flags & 2 else 1))
    put32(&frame[at + 8], speaker.other_isn + said.ack)
    frame[at + 13] = said.flags
    put16(&frame[at + 14], said.window)
    put16(&frame[at + 16], 0x1234)
    put16(&frame[at + 18], said.urgent)
    behind = put_options(at + 20, said, speaker)
    frame[at + 12] = <uint8_t>((behind - at) // 4 << 4)
    return put_payload(behind, said, 65000)


cdef uint32_t put_layer4(uint32_t at, const Said *said, const Speaker *speaker, bint six,
                         uint8_t *proto) noexcept nogil:
    cdef uint32_t end
    if said.what == SAY_TCP:
        proto[0] = 6
        return put_tcp(at, said, speaker)
    if said.what == SAY_UDP:
        proto[0] = 17
        end = put_payload(at + 8, said, 65000)
        put16(&frame[at], 53)
        put16(&frame[at + 2], 5353 + (said.shape & 3))
        put16(&frame[at + 4], end - at)
        put16(&frame[at + 6], 0x4321)
        return end
    if said.what == SAY_GRE:
        proto[0] = 47
        return put_payload(at, said, 65000)
    proto[0] = 58 if six else 1
    put32(&frame[at + 4], 0)
    if said.what == SAY_QUOTE:
        frame[at] = 1 if six else 3
        return put_quoted(at + 8, said, speaker, six)
    if said.what == SAY_ND:
        proto[0] = 58
        frame[at] = 136 if said.options & 1 else 135
        put32(&frame[at + 4], <uint32_t>said.options << 24)
        put_address(at + 8, True, (said.options & 2) == 0)
        frame[at + 24], frame[at + 25] = 2 if said.options & 1 else 1, 1
        put_mac(at + 26, speaker.to_vm)
        return at + 32
    frame[at] = 129 if six else 0
    return put_payload(at + 8, said, 65000)


cdef void put_mac(uint32_t at, bint client) noexcept nogil:
    put32(&frame[at], 0x52540000)
    put16(&frame[at + 4], 1 if client else 2)


cdef uint32_t put_address(uint32_t at, bint six, bint client) noexcept nogil:
    if not six:
        put32(&frame[at], 0xc0000201 if client else 0xc0000202)
        return at + 4
    memset(&frame[at], 0, 16)
    put32(&frame[at], 0x20010db8)
    frame[at + 15] = 1 if client else 2
    return at + 16


cdef uint32_t put_ip(uint32_t at, bint six, bint client) noexcept nogil:
    """An IP header; its length and protocol come with end_ip."""
    if six:
        memset(&frame[at], 0, 8)
        frame[at] = 0x60
        frame[at + 7] = 255
        put_address(at + 8, True, client)
        return put_address(at + 24, True, not client)
    memset(&frame[at], 0, 12)
    frame[at] = 0x45
    frame[at + 8] = 64
    put_address(at + 12, False, client)
    return put_address(at + 16, False, not client)


cdef void end_ip(uint32_t at, uint32_t end, bint six, uint8_t proto) noexcept nogil:
    if six:
        put16(&frame[at + 4], end - at - 40)
        frame[at + 6] = proto
    else:
        put16(&frame[at + 2], end - at)
        frame[at + 9] = proto


cdef uint32_t put_quoted(uint32_t at, const Said *said, const Speaker *speaker, bint six) noexcept nogil:
    """The other side's packet, as an ICMP error quotes it."""
    cdef Said inner = said[0]
    cdef Speaker other = speaker[0]
    cdef uint32_t end
    other.to_vm = not speaker.to_vm
    other.isn, other.other_isn = speaker.other_isn, speaker.isn
    inner.length = min(inner.length, 64)
    end = put_tcp(put_ip(at, six, other.to_vm), &inner, &other)
    end_ip(at, end, six, 6)
    return end


cdef uint32_t build(const Said *said, const Speaker *speaker) noexcept nogil:
    """Put a frame together behind its virtio-net header; returns the size of both."""
    cdef uint32_t at = VNET + 12
    cdef uint32_t l3, l4, end
    cdef uint8_t proto
    cdef bint six = said.shape & 8 or said.what == SAY_ND
    memset(frame, 0, VNET)
    put_mac(VNET, not speaker.to_vm)
    put_mac(VNET + 6, speaker.to_vm)
    if said.shape & 32:
        put32(&frame[at], 0x88a80007)
        at += 4
    if said.shape & 16:
        put32(&frame[at], 0x81000005)
        at += 4
    put16(&frame[at], 0x0806 if said.what == SAY_ARP else 0x9999 if said.what == SAY_OTHER else
          0x86dd if six else 0x0800)
    l3 = at + 2
    if said.what == SAY_ARP:
        put32(&frame[l3], 0x00010800)
        put32(&frame[l3 + 4], 0x06040000 | (2 if said.options & 1 else 1))
        put_mac(l3 + 8, speaker.to_vm)
        put_address(l3 + 14, False, speaker.to_vm)
        put_mac(l3 + 18, not speaker.to_vm)
        end = put_address(l3 + 24, False, (said.options & 2) == 0)
    elif said.what == SAY_OTHER:
        end = put_payload(l3, said, 65000)
    else:
        l4 = put_ip(l3, six, speaker.to_vm)
        end = put_layer4(l4, said, speaker, six, &proto)
        end_ip(l3, end, six, proto)
        if said.shape & 64 and said.what <= SAY_UDP:
            frame[0] = 1  # VIRTIO_NET_HDR_F_NEEDS_CSUM
            # Little-endian, and sometimes elsewhere, as a hostile guest may say.
            frame[6] = <uint8_t>(l4 - VNET + (said.options >> 7))
            frame[8] = 6 if said.what == SAY_UDP else 16
    if said.shape & 128:
        memset(&frame[end], 0xaa, 40)
        end += 40 if end < 60 else 3
    return end


cdef uint32_t cut(uint32_t size, uint32_t begin, uint32_t length, uint32_t id, bint more) noexcept nogil:
    """Make the IP packet in `frame` a fragment of itself: `begin` and `length` in bytes of its IP payload."""
    cdef uint32_t l3 = VNET + 14
    cdef uint32_t header, have
    cdef bint six
    while get16(&frame[l3 - 2]) in (0x8100, 0x88a8):
        l3 += 4
    if get16(&frame[l3 - 2]) not in (0x0800, 0x86dd):
        return size
    frame[0] = 0
    six = get16(&frame[l3 - 2]) == 0x86dd
    header = 40 if six else 20
    have = size - l3 - header
    begin = min(begin, have) & ~<uint32_t>7
    length = min(length, have - begin)
    more = more or begin + length < have
    memmove(&frame[l3 + header + (8 if six else 0)], &frame[l3 + header + begin], length)
    if six:
        put16(&frame[l3 + 40], <uint32_t>frame[l3 + 6] << 8)
        put16(&frame[l3 + 42], begin | more)
        put32(&frame[l3 + 44], id)
        put16(&frame[l3 + 4], length + 8)
        frame[l3 + 6] = 44
        return l3 + header + 8 + length
    put16(&frame[l3 + 2], header + length)
    put16(&frame[l3 + 4], id)
    put16(&frame[l3 + 6], (0x2000 if more else 0) | begin >> 3)
    return l3 + header + length
