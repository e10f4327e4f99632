"""Which flow a frame belongs to: the 5-tuple seen from the VM, plus VLAN (docs/comparison.md, section 2).

How a key is laid out: key.pxd. A key is written and hashed in 64-bit words, with a secret seed, so that
strangers cannot fill one bucket of the flow table.
"""

from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.stdio cimport snprintf
from libc.string cimport memcpy, memset, strlen

from colo_proxy.core.packet.parse cimport (
    ETHERNET,
    IP_ICMP,
    IP_ICMPV6,
    K_IP,
    K_OTHER,
    K_TCP,
    K_UDP,
    NO_VLAN,
    VNET,
    get16,
    parse_frame,
)

cdef extern from "<arpa/inet.h>" nogil:
    const char *inet_ntop(int family, const void *address, char *into, uint32_t size)
    int AF_INET
    int AF_INET6

cdef extern from *:
    """
    #include <stdint.h>
    #include <string.h>
    /* Parts of a key as words in the host's byte order. A key is written in the words in which it is hashed
       and compared right after: a load that spans several stores waits until they have reached the cache. */
    #if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    #define COLO_PROXY_AT(value, byte, size) ((uint64_t)(value) << 8 * (byte))
    #else
    #define COLO_PROXY_AT(value, byte, size) ((uint64_t)(value) << 8 * (8 - (size) - (byte)))
    #endif
    static inline uint64_t colo_proxy_first_four(const uint8_t *from) {
        uint32_t four;
        memcpy(&four, from, 4);
        return COLO_PROXY_AT(four, 0, 4);
    }
    static inline uint64_t colo_proxy_ports_word(uint32_t vlan, uint16_t local, uint16_t remote) {
        return COLO_PROXY_AT(vlan, 0, 4) | COLO_PROXY_AT(local, 4, 2) | COLO_PROXY_AT(remote, 6, 2);
    }
    static inline uint64_t colo_proxy_kind_word(uint16_t type, uint8_t version, uint8_t proto, uint8_t kind) {
        return COLO_PROXY_AT(type, 0, 2) | COLO_PROXY_AT(version, 2, 1) | COLO_PROXY_AT(proto, 3, 1) |
            COLO_PROXY_AT(kind, 4, 1);
    }
    """
    uint64_t first_four "colo_proxy_first_four"(const uint8_t *start) nogil
    uint64_t ports_word "colo_proxy_ports_word"(uint32_t vlan, uint16_t local, uint16_t remote) nogil
    uint64_t kind_word "colo_proxy_kind_word"(uint16_t ethertype, uint8_t version, uint8_t proto,
                                              uint8_t kind) nogil


cdef void key_of(Key *key, const Packet *p, const uint8_t *base, bint from_vm) noexcept nogil:
    cdef const uint8_t *source
    cdef const uint8_t *destination
    cdef uint16_t source_port = 0
    cdef uint16_t destination_port = 0
    cdef uint8_t kind = K_IP if p.version else K_OTHER
    if p.version == 4:
        source = base + p.l3 + 12
        destination = base + p.l3 + 16
    elif p.version == 6:
        source = base + p.l3 + 8
        destination = base + p.l3 + 24
    else:
        destination = base + VNET
        source = destination + 6
    if p.kind == K_TCP or p.kind == K_UDP:
        kind = p.kind
        source_port = get16(base + p.l4)
        destination_port = get16(base + p.l4 + 2)
    if not from_vm:
        source, destination = destination, source
        source_port, destination_port = destination_port, source_port
    if p.version == 4:
        store(key.local, first_four(source), 0)
        store(key.remote, first_four(destination), 0)
    elif p.version == 6:
        memcpy(key.local, source, 16)
        memcpy(key.remote, destination, 16)
    else:
        memset(key.local, 0, 16)
        memset(key.remote, 0, 16)
        if p.size >= VNET + ETHERNET:
            memcpy(key.local, source, 6)
            memcpy(key.remote, destination, 6)
    store(<uint8_t *>&key.vlan, ports_word(p.vlan, source_port, destination_port),
          kind_word(p.ethertype, p.version, p.proto, kind))


cdef inline void store(uint8_t *into, uint64_t first, uint64_t second) noexcept nogil:
    memcpy(into, &first, 8)
    memcpy(into + 8, &second, 8)


cdef inline uint64_t rotated(uint64_t word, int bits) noexcept nogil:
    return (word << bits) | (word >> (64 - bits))


cdef inline void sip_round(uint64_t *v) noexcept nogil:
    v[0] += v[1]
    v[2] += v[3]
    v[1] = rotated(v[1], 13) ^ v[0]
    v[3] = rotated(v[3], 16) ^ v[2]
    v[0] = rotated(v[0], 32)
    v[2] += v[1]
    v[0] += v[3]
    v[1] = rotated(v[1], 17) ^ v[2]
    v[3] = rotated(v[3], 21) ^ v[0]
    v[2] = rotated(v[2], 32)


cdef void sip_begin(uint64_t *v, uint64_t seed) noexcept nogil:
    cdef uint64_t second = seed * <uint64_t>0x9e3779b97f4a7c15ULL
    v[0] = seed ^ <uint64_t>0x736f6d6570736575ULL
    v[1] = second ^ <uint64_t>0x646f72616e646f6dULL
    v[2] = seed ^ <uint64_t>0x6c7967656e657261ULL
    v[3] = second ^ <uint64_t>0x7465646279746573ULL


cdef void sip_word(uint64_t *v, uint64_t word) noexcept nogil:
    v[3] ^= word
    sip_round(v)
    v[0] ^= word


cdef uint64_t sip_end(uint64_t *v) noexcept nogil:
    cdef int _index
    v[2] ^= 0xff
    for _index in range(3):
        sip_round(v)
    return v[0] ^ v[1] ^ v[2] ^ v[3]


cdef uint64_t key_hash(const Key *key, uint64_t seed) noexcept nogil:
    """SipHash (Aumasson and Bernstein, 2012) with one round for each word and three at the end, as hash
    tables use it.

    Its 128-bit key is the seed and the seed times an odd number. The zeros behind two IPv4 addresses are left
    out, because the version, which is among the other words, implies them.
    """
    cdef uint64_t[4] v
    cdef uint64_t word
    cdef uint32_t at = 0
    cdef uint64_t length = sizeof(Key)
    sip_begin(v, seed)
    if key.version == 4:
        memcpy(&word, key.local, 4)
        memcpy(<uint8_t *>&word + 4, key.remote, 4)
        sip_word(v, word)
        at = sizeof(key.local) + sizeof(key.remote)
        length -= at - 8
    while at <= sizeof(Key):
        if at == sizeof(Key):
            word = length << 56
        else:
            memcpy(&word, <const uint8_t *>key + at, 8)
        sip_word(v, word)
        at += 8
    return sip_end(v)


cdef uint64_t key_text_hash(const uint8_t *text, uint32_t length, uint64_t seed) noexcept nogil:
    cdef uint64_t[4] v
    cdef uint64_t word
    cdef uint32_t at = 0
    if length == 0:
        return 0
    sip_begin(v, seed)
    while length - at >= 8:
        memcpy(&word, text + at, 8)
        sip_word(v, word)
        at += 8
    word = <uint64_t>length << 56
    memcpy(&word, text + at, length - at)
    sip_word(v, word)
    word = sip_end(v)
    return word if word else 1


cdef void key_protocol(const Key *key, char *into, size_t size) noexcept nogil:
    if key.version == 0:
        snprintf(into, size, "ethertype")
    elif key.kind == K_TCP:
        snprintf(into, size, "tcp")
    elif key.kind == K_UDP:
        snprintf(into, size, "udp")
    elif key.version == 4 and key.proto == IP_ICMP:
        snprintf(into, size, "icmp")
    elif key.version == 6 and key.proto == IP_ICMPV6:
        snprintf(into, size, "icmpv6")
    else:
        snprintf(into, size, "ip-%u", <unsigned int>key.proto)


cdef void endpoint_text(const Key *key, const uint8_t *address, unsigned int port, char *into,
                        size_t size) noexcept nogil:
    cdef char[48] text
    cdef bint ports = key.kind == K_TCP or key.kind == K_UDP
    if key.version == 0:
        snprintf(into, size, "%02x:%02x:%02x:%02x:%02x:%02x",
                 <unsigned int>address[0], <unsigned int>address[1], <unsigned int>address[2],
                 <unsigned int>address[3], <unsigned int>address[4], <unsigned int>address[5])
        return
    inet_ntop(AF_INET if key.version == 4 else AF_INET6, address, text, sizeof(text))
    if not ports:
        snprintf(into, size, "%s", <char *>text)
    elif key.version == 4:
        snprintf(into, size, "%s:%u", <char *>text, port)
    else:
        snprintf(into, size, "[%s]:%u", <char *>text, port)


cdef void key_text(const Key *key, char *into, size_t size) noexcept nogil:
    cdef char[KEY_PROTOCOL] protocol
    cdef char[64] local
    cdef char[64] remote
    cdef char[24] vlan
    cdef char[8] ethertype
    cdef unsigned int outer = key.vlan >> 16
    cdef unsigned int inner = key.vlan & 0xffff
    vlan[0] = 0
    ethertype[0] = 0
    key_protocol(key, protocol, sizeof(protocol))
    endpoint_text(key, key.local, key.local_port, local, sizeof(local))
    endpoint_text(key, key.remote, key.remote_port, remote, sizeof(remote))
    if key.version == 0:
        snprintf(ethertype, sizeof(ethertype), " 0x%04x", <unsigned int>key.ethertype)
    if inner != NO_VLAN:
        snprintf(vlan, sizeof(vlan), " vlan %u.%u", outer, inner)
    elif outer != NO_VLAN:
        snprintf(vlan, sizeof(vlan), " vlan %u", outer)
    snprintf(into, size, "%s%s %s > %s%s",
             <char *>protocol, <char *>ethertype, <char *>local, <char *>remote, <char *>vlan)


cdef Key key_of_bytes(bytes frame, bint from_vm):
    cdef bytes raw = bytes(VNET) + frame
    cdef const uint8_t *base = raw
    cdef Packet p
    cdef Key key
    parse_frame(&p, base, <uint32_t>len(raw))
    key_of(&key, &p, base, from_vm)
    return key


def flow_text(frame: bytes, from_vm: bool = True) -> str:
    """The flow of a frame as people read it: `tcp 192.0.2.2:80 > 192.0.2.1:40000`, the VM first."""
    cdef Key key = key_of_bytes(frame, from_vm)
    cdef char[KEY_TEXT] text
    key_text(&key, text, sizeof(text))
    return text[:strlen(text)].decode()


def flow_protocol(frame: bytes, from_vm: bool = True) -> str:
    """The protocol's word: tcp, udp, icmp, icmpv6, ip-47, ethertype."""
    cdef Key key = key_of_bytes(frame, from_vm)
    cdef char[KEY_PROTOCOL] text
    key_protocol(&key, text, sizeof(text))
    return text[:strlen(text)].decode()


def flow_key(frame: bytes, from_vm: bool = True) -> bytes:
    """The key's bytes: two frames belong to one flow if these are equal."""
    cdef Key key = key_of_bytes(frame, from_vm)
    return (<uint8_t *>&key)[:sizeof(Key)]


def flow_hash(frame: bytes, seed: int, from_vm: bool = True) -> int:
    """The 64-bit hash under which the flow table files a frame's flow."""
    cdef Key key = key_of_bytes(frame, from_vm)
    return key_hash(&key, seed)
