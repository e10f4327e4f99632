"""What a capture at a host's own interface shows of its offloads, said by a virtio-net header.

There a frame is caught before the network card has finished it. A TCP super-frame may have a length of 0 in
its IP header (TSO; BIG TCP, where the length does not fit 16 bits): it reaches to the frame's end. A UDP
checksum may be the sum of the pseudo-header alone, to be completed by the card. The comparator understands
both where a virtio-net header says so (virtio 1.2, 5.1.6), and captures have none.
"""

import struct

from colo_proxy.capture.origin import IPV4, IPV6, network

_TCP, _UDP, _HOP_BY_HOP = 6, 17, 0
_PADDED = 60  # bytes up to which Ethernet pads a frame, so that its end says nothing
_SUPER_IPV4, _SUPER_IPV6 = bytes((0, 1)) + bytes(8), bytes((0, 4)) + bytes(8)  # gso_type TCPV4, TCPV6


def virtio_header(frame: bytes) -> bytes | None:
    """The virtio-net header that an unfinished frame would have had; None for a finished one."""
    kind, at = network(frame)
    if kind == IPV4 and len(frame) >= at + 20:
        if frame[at + 6] & 0x3F or frame[at + 7]:
            return None  # a fragment
        if frame[at + 2 : at + 4] == b"\0\0":
            return _SUPER_IPV4 if frame[at + 9] == _TCP and len(frame) > _PADDED else None
        layer4 = at + (frame[at] & 15) * 4
        return _partial(frame, layer4, frame[at + 12 : at + 20]) if frame[at + 9] == _UDP else None
    if kind == IPV6 and len(frame) >= at + 40:
        following = frame[at + 6]
        if frame[at + 4 : at + 6] == b"\0\0":
            if following == _HOP_BY_HOP:  # the jumbo payload option (RFC 2675)
                following = frame[at + 40] if len(frame) > at + 40 else _HOP_BY_HOP
            return _SUPER_IPV6 if following == _TCP else None
        return _partial(frame, at + 40, frame[at + 8 : at + 40]) if following == _UDP else None
    return None


def _partial(frame: bytes, at: int, addresses: bytes) -> bytes | None:
    """The header for a UDP datagram whose checksum is its pseudo-header's sum (RFC 768; RFC 8200, 8.1)."""
    if len(frame) < at + 8:
        return None
    length, found = struct.unpack_from("!HH", frame, at + 4)
    total = _UDP + length + sum(struct.unpack(f"!{len(addresses) // 2}H", addresses))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return bytes((1, *bytes(5))) + struct.pack("=HH", at, 6) if found == total else None
