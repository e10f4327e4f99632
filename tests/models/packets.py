"""Frames to and from plain objects, for the models and the tests alone.

This parser shares nothing with `colo_proxy/core/packet/parse.pyx`: it is the second opinion. It is
written for reading, and answers one question: which class of docs/comparison.md, section 2, does a
frame belong to, and where are its parts?

Past 400 lines: the second parser reads every format that the first does.
"""

import struct
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from ipaddress import ip_address

FIN, SYN, RST, PSH, ACK, URG = 0x01, 0x02, 0x04, 0x08, 0x10, 0x20

PVM_MAC = bytes.fromhex("020000000002")
CLIENT_MAC = bytes.fromhex("020000000001")
VLAN_TYPES = (0x8100, 0x88A8, 0x9100)
NEIGHBOURLY = [bytes([kind]) for kind in (*range(130, 138), 143)]  # MLD and neighbour discovery
IPV6_EXTENSIONS = (0, 43, 60)  # hop-by-hop, routing, destination options: RFC 8200, section 4


@dataclass
class Packet:
    """One frame, taken apart. `kind` is tcp, udp, ip, ether, fragment or house (housekeeping)."""

    frame: bytes
    kind: str = "ether"
    vlans: tuple[int, ...] = ()
    source: bytes = b""  # IP addresses; MAC addresses where there is no usable IP header
    target: bytes = b""
    protocol: int = 0  # IP protocol; EtherType for kind ether
    sport: int = 0
    dport: int = 0
    l3: int = 14  # where the network header begins
    l4: int = 14  # where what follows the network header begins
    end: int = 0  # where the IP header says that the packet ends
    # TCP
    seq: int = 0
    ack: int = 0
    flags: int = 0
    window: int = 0
    urgent: int = 0
    options: dict[int, bytes] = field(default_factory=dict)
    payload: bytes = b""
    # fragments
    fragment_id: int = 0
    fragment_offset: int = 0
    more: bool = False
    named: int = 0  # where the header before says what follows
    atomic: int = 0  # where the fragment header of a whole packet is (RFC 6946)

    @property
    def length(self) -> int:
        """Sequence numbers that the segment occupies."""
        return len(self.payload) + bool(self.flags & SYN) + bool(self.flags & FIN)

    def flow(self, from_vm: bool) -> tuple[object, ...]:
        """The flow, seen from the VM: (kind, protocol, vlans, local, lport, remote, rport)."""
        ends = [(self.source, self.sport), (self.target, self.dport)]
        (local, lport), (remote, rport) = ends if from_vm else ends[::-1]
        return (self.kind, self.protocol, self.vlans, local, lport, remote, rport)


def parse(frame: bytes) -> Packet:
    """Take a frame apart. Whatever is truncated or contradicts itself stays kind `ether`."""
    packet = Packet(frame)
    packet.end = len(frame)
    if len(frame) < 14:
        return packet
    at = 12
    ethertype = int.from_bytes(frame[at : at + 2])
    while ethertype in VLAN_TYPES and len(packet.vlans) < 2 and len(frame) >= at + 6:
        packet.vlans += (int.from_bytes(frame[at + 2 : at + 4]) & 0x0FFF,)
        at += 4
        ethertype = int.from_bytes(frame[at : at + 2])
    packet.l3 = packet.l4 = at + 2
    packet.protocol = ethertype
    packet.target, packet.source = frame[0:6], frame[6:12]
    if ethertype <= 1500 and packet.l3 + ethertype <= len(frame):
        packet.end = packet.l3 + ethertype  # 802.3: a length, and padding behind it
    if ethertype == 0x0800:
        _ipv4(packet)
    elif ethertype == 0x86DD:
        _ipv6(packet)
    elif ethertype in (0x0806, 0x88CC):  # ARP, LLDP
        packet.kind = "house"
    return packet


def leading(packet: Packet) -> Packet:
    """A fragment that begins a TCP segment or a UDP datagram, with its whole header, as that."""
    if packet.kind != "fragment" or packet.fragment_offset:
        return packet
    segment = replace(packet)
    if packet.protocol == 17 and packet.end - packet.l4 >= 8:
        segment.kind = "udp"
        segment.sport, segment.dport = struct.unpack("!HH", packet.frame[packet.l4 : packet.l4 + 4])
        return segment
    if packet.protocol != 6:
        return packet
    _transport(segment)
    return segment if segment.kind == "tcp" else packet


def _ipv4(packet: Packet) -> None:
    data = packet.frame[packet.l3 :]
    if len(data) < 20 or data[0] >> 4 != 4:
        return
    header, total = (data[0] & 15) * 4, int.from_bytes(data[2:4])
    if header < 20 or total < header or total > len(data):
        return
    fragment = int.from_bytes(data[6:8])
    offset, more = (fragment & 0x1FFF) * 8, bool(fragment & 0x2000)
    _ip(packet, data[12:16], data[16:20], data[9], packet.l3 + header, packet.l3 + total)
    if offset or more:
        packet.kind = "fragment"
        packet.fragment_id = int.from_bytes(data[4:6])
        packet.fragment_offset, packet.more = offset, more
        return
    _transport(packet)


def _ipv6(packet: Packet) -> None:
    data = packet.frame[packet.l3 :]
    if len(data) < 40 or data[0] >> 4 != 6:
        return
    end = 40 + int.from_bytes(data[4:6])
    if end > len(data):
        return
    after, at, named = data[6], 40, 6
    while after in (*IPV6_EXTENSIONS, 44):
        if at + 8 > end:
            return
        if after == 44:
            word = int.from_bytes(data[at + 2 : at + 4])
            offset, more = word & 0xFFF8, bool(word & 1)
            if offset or more:  # an atomic fragment (RFC 6946) is a whole datagram
                _ip(packet, data[8:24], data[24:40], data[at], packet.l3 + at + 8, packet.l3 + end)
                packet.kind = "fragment"
                packet.fragment_id = int.from_bytes(data[at + 4 : at + 8])
                packet.fragment_offset, packet.more = offset, more
                packet.named = packet.l3 + named
                return
            size = 8
            packet.atomic = packet.l3 + at
        else:
            size = 8 + 8 * data[at + 1]
        if at + size > end:
            return
        after, at, named = data[at], at + size, at
    _ip(packet, data[8:24], data[24:40], after, packet.l3 + at, packet.l3 + end)
    _transport(packet)


def _ip(packet: Packet, source: bytes, target: bytes, protocol: int, l4: int, end: int) -> None:
    packet.kind, packet.source, packet.target = "ip", source, target
    packet.protocol, packet.l4, packet.end = protocol, l4, end


def _transport(packet: Packet) -> None:
    """The ports and the TCP header of an unfragmented datagram; sets the kind."""
    data = packet.frame[packet.l4 : packet.end]
    packet.payload = data
    if packet.protocol == 6:
        header = (data[12] >> 4) * 4 if len(data) >= 20 else 0
        if header < 20 or header > len(data):
            return _contradiction(packet)
        packet.kind = "tcp"
        (
            packet.sport,
            packet.dport,
            packet.seq,
            packet.ack,
            _,
            packet.flags,
            packet.window,
            _,
            packet.urgent,
        ) = struct.unpack("!HHIIBBHHH", data[:20])
        packet.flags &= 0x3F
        packet.options = tcp_options(data[20:header])
        packet.payload = data[header:]
    elif packet.protocol == 17:
        if len(data) < 8 or not 8 <= int.from_bytes(data[4:6]) <= len(data):
            return _contradiction(packet)
        packet.kind = "udp"
        packet.sport, packet.dport = struct.unpack("!HH", data[:4])
        packet.payload = data[8 : int.from_bytes(data[4:6])]
    elif packet.protocol == 2 and len(packet.source) == 4:
        packet.kind = "house"  # IGMP
    elif packet.protocol == 58 and len(packet.source) == 16 and data[:1] in NEIGHBOURLY:
        packet.kind = "house"
    return None


def _contradiction(packet: Packet) -> None:
    packet.kind, packet.protocol = "ether", 0x0800 if len(packet.source) == 4 else 0x86DD
    packet.target, packet.source = packet.frame[0:6], packet.frame[6:12]
    packet.l4, packet.end = packet.l3, len(packet.frame)


def tcp_options(data: bytes) -> dict[int, bytes]:
    """Options by kind; a malformed rest is ignored."""
    found: dict[int, bytes] = {}
    at = 0
    while at < len(data) and data[at] != 0:
        if data[at] == 1:
            at += 1
            continue
        if at + 1 >= len(data) or data[at + 1] < 2 or at + data[at + 1] > len(data):
            break
        found.setdefault(data[at], data[at + 2 : at + data[at + 1]])
        at += data[at + 1]
    return found


# ------------------------------------------------------------------ building


def checksum(data: bytes) -> int:
    """The Internet checksum (RFC 1071)."""
    if len(data) % 2:
        data += b"\0"
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def ethernet(
    payload: bytes, ethertype: int, *, vlans: tuple[int, ...] = (), from_vm: bool = True, pad: int = 0
) -> bytes:
    """An Ethernet frame between the VM and its client; `pad` octets of padding follow."""
    macs = CLIENT_MAC + PVM_MAC if from_vm else PVM_MAC + CLIENT_MAC
    tags = b"".join(struct.pack("!HH", 0x8100, tag) for tag in vlans)
    return macs + tags + struct.pack("!H", ethertype) + payload + bytes([0xEE]) * pad


def ip(
    source: str, target: str, protocol: int, data: bytes, *, ident: int = 0, ttl: int = 64, fragment: int = 0
) -> bytes:
    """An IP datagram. `ident` is IPv4's ID and IPv6's flow label, `fragment` IPv4's flags-and-offset word."""
    src, dst = ip_address(source).packed, ip_address(target).packed
    if len(src) == 16:
        return struct.pack("!IHBB", 6 << 28 | ident, len(data), protocol, ttl) + src + dst + data
    head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(data), ident, fragment, ttl, protocol, 0) + src + dst
    return head[:10] + struct.pack("!H", checksum(head)) + head[12:] + data


def fragments(packet: bytes, ident: int, size: Callable[[], int]) -> list[bytes]:
    """The fragments of an IP datagram; `size` gives each one's, a multiple of 8."""
    six = packet[0] >> 4 == 6
    begin, pieces = 40 if six else 20, []
    head, data, at = packet[:begin], packet[begin:], 0
    while at < len(data):
        piece = data[at : at + min(size(), (len(data) - 1) // 8 * 8 if at == 0 else len(data))]
        more = at + len(piece) < len(data)
        if six:
            extra = struct.pack("!BBHI", head[6], 0, at | more, ident)
            length = struct.pack("!H", 8 + len(piece))
            pieces.append(head[:4] + length + bytes([44]) + head[7:] + extra + piece)
        else:
            source, target = (str(ip_address(head[i : i + 4])) for i in (12, 16))
            word = at // 8 | (0x2000 if more else 0)
            pieces.append(ip(source, target, head[9], piece, ident=ident, fragment=word))
        at += len(piece)
    return pieces


def with_options(packet: bytes) -> bytes:
    """An IPv6 datagram with a header of destination options (RFC 8200, section 4.6), 8 octets of padding."""
    length = struct.pack("!H", len(packet) - 40 + 8)
    return (
        packet[:4]
        + length
        + bytes([60])
        + packet[7:40]
        + bytes([packet[6], 0, 1, 4, 0, 0, 0, 0])
        + packet[40:]
    )


def partial(frame: bytes, gso: int = 0) -> tuple[bytes, bytes | None]:
    """The frame as a guest with checksum offload sends it, and a virtio-net header (virtio 1.2, 5.1.6.2).

    With `gso` it is a super-frame of segments, or datagrams, of that size.
    """
    packet = parse(frame)
    offset = {"tcp": 16, "udp": 6}.get(packet.kind)
    if offset is None:
        return frame, None
    length = packet.end - packet.l4
    covered = packet.source + packet.target + struct.pack("!II", length, packet.protocol)
    at = packet.l4 + offset
    frame = frame[:at] + struct.pack("!H", ~checksum(covered) & 0xFFFF) + frame[at + 2 :]
    kind = (5 if packet.kind == "udp" else 1 if len(packet.source) == 4 else 4) if gso else 0
    headers = packet.end - len(packet.payload) if gso else 0
    return frame, struct.pack("<BBHHHH", 1, kind, headers, gso, packet.l4, offset)


def datagrams_of(packet: Packet, gso: int = 0) -> list[Packet]:
    """What a super-frame of UDP is cut into; any other frame is its own only part."""
    length = len(packet.frame[packet.l4 : packet.end]) - 8
    uncut = packet.kind != "udp" or packet.atomic or len(packet.payload) != length
    if uncut or not gso or not 0 < length <= 128 * gso:
        return [packet]
    pieces = [packet.payload[at : at + gso] for at in range(0, length, gso)]
    return [parse(_datagram(packet, number, piece)) for number, piece in enumerate(pieces)]


def _datagram(packet: Packet, number: int, payload: bytes) -> bytes:
    """One datagram of a super-frame; Linux counts its IPv4 ID up."""
    head = bytearray(packet.frame[: packet.l4])
    at, length = packet.l3, 8 + len(payload)
    if len(packet.source) == 4:
        ident = int.from_bytes(head[at + 4 : at + 6]) + number
        struct.pack_into("!HH", head, at + 2, packet.l4 - at + length, ident % 2**16)
        struct.pack_into("!H", head, at + 10, 0)
        struct.pack_into("!H", head, at + 10, checksum(bytes(head[at:])))
    else:
        struct.pack_into("!H", head, at + 4, packet.l4 - at - 40 + length)
    data = struct.pack("!HHHH", packet.sport, packet.dport, length, 0) + payload
    cover = packet.source + packet.target + struct.pack("!II", length, 17)
    summed = checksum(cover + data) or 0xFFFF
    return bytes(head) + data[:6] + struct.pack("!H", summed) + data[8:]


def finished(frame: bytes, vnet: bytes | None) -> bytes:
    """The frame after who sends it has put in the checksum that was left to it."""
    if not vnet or not vnet[0] & 1:
        return frame
    begin, offset = struct.unpack("<HH", vnet[6:10])
    value = checksum(frame[begin:])
    if value == 0 and offset == 6:
        value = 0xFFFF  # UDP
    return frame[: begin + offset] + struct.pack("!H", value) + frame[begin + offset + 2 :]


def on_the_wire(frame: bytes, vnet: bytes | None) -> list[bytes]:
    """What becomes of a frame: a super-frame of UDP is cut."""
    whole = finished(frame, vnet)
    gso = int.from_bytes(vnet[4:6], "little") if vnet and vnet[1] == 5 else 0
    return [packet.frame for packet in datagrams_of(parse(whole), gso)] if gso else [whole]


def pseudo(source: str, target: str, protocol: int, length: int) -> bytes:
    """The pseudo-header of both IP versions, for the checksum."""
    return ip_address(source).packed + ip_address(target).packed + struct.pack("!II", length, protocol)


def tcp(
    source: tuple[str, int],
    target: tuple[str, int],
    *,
    seq: int,
    ack: int = 0,
    flags: int = ACK,
    window: int = 65535,
    options: bytes = b"",
    payload: bytes = b"",
    urgent: int = 0,
    **ip_fields: int,
) -> bytes:
    """A TCP segment in its IP datagram, checksum full."""
    options += b"\1" * (-len(options) % 4)
    head = struct.pack(
        "!HHIIBBHHH",
        source[1],
        target[1],
        seq % 2**32,
        ack % 2**32,
        (20 + len(options)) * 4,
        flags,
        window,
        0,
        urgent,
    )
    data = head + options + payload
    summed = checksum(pseudo(source[0], target[0], 6, len(data)) + data)
    return ip(source[0], target[0], 6, data[:16] + struct.pack("!H", summed) + data[18:], **ip_fields)


def udp(source: tuple[str, int], target: tuple[str, int], payload: bytes, **ip_fields: int) -> bytes:
    """A UDP datagram in its IP datagram."""
    data = struct.pack("!HHHH", source[1], target[1], 8 + len(payload), 0) + payload
    summed = checksum(pseudo(source[0], target[0], 17, len(data)) + data) or 0xFFFF
    return ip(source[0], target[0], 17, data[:6] + struct.pack("!H", summed) + data[8:], **ip_fields)


def with_tcp(frame: bytes, **fields: int) -> bytes:
    """A copy with other seq, ack, window, sport or flags (and `cut`: no payload), checksums made anew."""
    packet = leading(parse(frame))
    head = bytearray(frame[: packet.end])
    at = packet.l4
    for name, value in fields.items():
        if name == "cut":
            continue
        offset, form = {
            "sport": (0, "!H"),
            "seq": (4, "!I"),
            "ack": (8, "!I"),
            "flags": (13, "!B"),
            "window": (14, "!H"),
            "urgent": (18, "!H"),
        }[name]
        struct.pack_into(form, head, at + offset, value)
    padding = frame[packet.end :]
    if fields.get("cut"):
        padding = b""
        del head[at + (head[at + 12] >> 4) * 4 :]
        _measure(packet, head)
    return _summed(packet, head) + padding


def bare(packet: Packet, options: bytes) -> bytes:
    """A TCP segment without payload, with these options (whole words) in place of its own."""
    head = bytearray(packet.frame[: packet.l4 + 20]) + options
    head[packet.l4 + 12] = len(head[packet.l4 :]) // 4 << 4
    _measure(packet, head)
    return _summed(packet, head)


def _measure(packet: Packet, head: bytearray) -> None:
    """Write the length into the IP header."""
    if len(packet.source) == 4:
        struct.pack_into("!H", head, packet.l3 + 2, len(head) - packet.l3)
        struct.pack_into("!H", head, packet.l3 + 10, 0)
        struct.pack_into("!H", head, packet.l3 + 10, checksum(bytes(head[packet.l3 : packet.l4])))
    else:
        struct.pack_into("!H", head, packet.l3 + 4, len(head) - packet.l3 - 40)


def slice_of(packet: Packet, begin: int, end: int) -> bytes:
    """A TCP segment with a part of a segment's payload, without FIN and PSH."""
    head = bytearray(packet.frame[: packet.end - len(packet.payload)]) + packet.payload[begin:end]
    struct.pack_into("!I", head, packet.l4 + 4, (packet.seq + begin) % 2**32)
    head[packet.l4 + 13] &= ~(FIN | PSH)
    _measure(packet, head)
    return _summed(packet, head)


def raw_options(packet: Packet) -> bytes:
    """The TCP options of a segment, as they stand in its header."""
    return packet.frame[packet.l4 + 20 : packet.l4 + (packet.frame[packet.l4 + 12] >> 4) * 4]


def with_raw_options(frame: bytes, options: bytes) -> bytes:
    """A copy with other TCP options of the same length, its checksum made anew."""
    packet = leading(parse(frame))
    head = bytearray(frame[: packet.end])
    head[packet.l4 + 20 : packet.l4 + 20 + len(options)] = options
    return _summed(packet, head) + frame[packet.end :]


def sack_options(options: bytes) -> list[tuple[int, list[tuple[int, int]]]]:
    """Each SACK option (RFC 2018): where it begins, and its blocks."""
    found = []
    at = 0
    while at < len(options) and options[at] != 0:
        if options[at] == 1:
            at += 1
            continue
        if at + 1 >= len(options) or options[at + 1] < 2 or at + options[at + 1] > len(options):
            break
        kind, size = options[at : at + 2]
        if kind == 5 and size >= 10 and size % 8 == 2:
            edges = struct.unpack(f"!{(size - 2) // 4}I", options[at + 2 : at + size])
            found.append((at, list(zip(edges[::2], edges[1::2], strict=True))))
        at += size
    return found


def with_timestamp(frame: bytes, add: int) -> bytes:
    """A copy whose TSval is `add` larger."""
    packet = leading(parse(frame))
    if 8 not in packet.options or len(packet.options[8]) != 8:
        return frame
    head = bytearray(frame[: packet.end])
    at = packet.l4 + 20
    while head[at] != 8:
        at += 1 if head[at] == 1 else head[at + 1]
    struct.pack_into("!I", head, at + 2, (int.from_bytes(head[at + 2 : at + 6]) + add) % 2**32)
    return _summed(packet, head) + frame[packet.end :]


def with_udp_port(frame: bytes, sport: int) -> bytes:
    """A UDP datagram, or its first fragment, from another port; a checksum of 0 is none (RFC 768)."""
    at = leading(parse(frame)).l4
    was, summed = struct.unpack("!H4xH", frame[at : at + 8])
    if summed:
        summed = (summed + was - sport) % 0xFFFF or 0xFFFF
    return (
        frame[:at]
        + struct.pack("!H", sport)
        + frame[at + 2 : at + 6]
        + struct.pack("!H", summed)
        + frame[at + 8 :]
    )


def plain(frame: bytes) -> bytes:
    """A copy of a SYN with padding where it offers Multipath TCP; any other frame as it is."""
    packet = parse(frame)
    if packet.kind != "tcp" or not packet.flags & SYN or 30 not in packet.options:
        return frame
    if {19, 29} & {*packet.options}:
        return frame  # signed
    head = bytearray(frame[: packet.end])
    at, end = packet.l4 + 20, packet.end - len(packet.payload)
    while at + 1 < end and head[at]:
        size = 1 if head[at] == 1 else head[at + 1]
        if size == 0 or (size == 1 and head[at] != 1) or at + size > end:
            break
        if head[at] == 30:
            head[at : at + size] = b"\x01" * size
        at += size
    return _summed(packet, head) + frame[packet.end :]


def _summed(packet: Packet, head: bytearray) -> bytes:
    if packet.more:  # the sum covers what is not here, too: only what has changed is known (RFC 1624)
        was, now = packet.frame[packet.l4 : packet.l4 + 60], bytes(head[packet.l4 : packet.l4 + 60])
        change = checksum(was[:16] + was[18:]) - checksum(now[:16] + now[18:])
        total = 0xFFFF - int.from_bytes(was[16:18]) + change % 0xFFFF
        struct.pack_into("!H", head, packet.l4 + 16, 0xFFFF - (total % 0xFFFF or 0xFFFF))
        return bytes(head)
    struct.pack_into("!H", head, packet.l4 + 16, 0)
    data = bytes(head[packet.l4 :])
    cover = packet.source + packet.target + struct.pack("!II", len(data), 6)
    struct.pack_into("!H", head, packet.l4 + 16, checksum(cover + data))
    return bytes(head)
