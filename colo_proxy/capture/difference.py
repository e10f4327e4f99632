"""Say in one sentence what differs between two packets, with what people know of common protocols.

Pure bytes in, text out. Input is hostile: whatever cannot be read is described as bytes.
"""

import itertools
import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from email.utils import parsedate_to_datetime
from ipaddress import ip_address

import dpkt

from colo_proxy.vocabulary import Divergence, Reason

_SHOWN = 48  # characters of a value
TCP, _UDP = 6, 17
_FLAGS = ("FIN", "SYN", "RST", "PSH", "ACK", "URG")
_SYN = 2
_END, _NOP, _MSS, _WSCALE, _SACK, _TIMES = 0, 1, 2, 3, 5, 8
_OPTIONS = {
    _MSS: "MSS",
    _WSCALE: "window scale",
    4: "SACK permitted",
    _TIMES: "timestamps",
    30: "Multipath TCP",
}
_SHORT = {19: "MD5", 29: "TCP-AO", 30: "MPTCP", 34: "TFO"}
_HTTP = re.compile(rb"(HTTP/1\.[01] \d{3}|[A-Z]{3,10} [^\r\n]* HTTP/1\.[01]\r?\n)")
_TLS = {20: "change of cipher", 21: "alert", 22: "handshake", 23: "application data"}


@dataclass(frozen=True, slots=True)
class Segment:
    """What a packet carries; `start` is where that begins in the frame."""

    protocol: int
    start: int
    payload: bytes
    ports: tuple[int, int] = (0, 0)
    seq: int = 0
    flags: int = 0
    options: bytes = b""
    ack: int = 0
    length: int = 0  # of the payload, as the IP header says: more than is at hand of a frame that was cut


@dataclass(frozen=True, slots=True)
class Meeting:
    """The parts of two payloads that say the same place; the first index there that differs, or None."""

    primary: bytes
    secondary: bytes
    index: int | None


def carried(frame: bytes | None) -> Segment | None:
    """Find the payload of a frame. None: there is no frame, or it is too short for its own headers."""
    if frame is None or len(frame) < 14:
        return None
    at = 12
    while frame[at : at + 2] in (b"\x81\x00", b"\x88\xa8") and at < 20:
        at += 4
    kind, at = frame[at : at + 2], at + 2
    if kind == b"\x08\x00" and len(frame) >= at + 20:
        protocol, end = frame[at + 9], at + struct.unpack_from(">H", frame, at + 2)[0]
        if struct.unpack_from(">H", frame, at + 6)[0] & 0x1FFF:
            protocol = 0  # a later fragment
        at += max(frame[at] & 15, 5) * 4
    elif kind == b"\x86\xdd" and len(frame) >= at + 40:
        protocol, end = frame[at + 6], at + 40 + struct.unpack_from(">H", frame, at + 4)[0]
        at += 40
    else:
        return Segment(0, at, frame[at:])
    said, end = end, min(end, len(frame))
    if protocol == TCP and end >= at + 20:
        source, target, seq, ack = struct.unpack_from(">HHII", frame, at)
        size = max(frame[at + 12] >> 4, 5) * 4
        flags, options = frame[at + 13], frame[at + 20 : min(at + size, end)]
        payload = frame[at + size : end]
        return Segment(
            TCP,
            at + size,
            payload,
            (source, target),
            seq + (flags >> 1 & 1),
            flags,
            options,
            ack,
            max(said - at - size, 0),
        )
    if protocol == _UDP and end >= at + 8:
        return Segment(_UDP, at + 8, frame[at + 8 : end], struct.unpack_from(">HH", frame, at))
    return Segment(protocol, at, frame[at:end])


def meet(primary: Segment, secondary: Segment, seq_offset: int) -> Meeting:
    """Lay two payloads over each other: by sequence numbers where they overlap, else by their starts.

    `seq_offset` moves the SVM's, which are as it said them, into the PVM's space.
    """
    one, other = primary.payload, secondary.payload
    if primary.protocol == secondary.protocol == TCP:
        ahead = (secondary.seq - seq_offset - primary.seq + (1 << 31)) % (1 << 32) - (1 << 31)
        if 0 <= ahead < len(one) or 0 <= -ahead < len(other):
            one, other = one[max(ahead, 0) :], other[max(-ahead, 0) :]
    shorter = min(len(one), len(other))
    for index in range(shorter):
        if one[index] != other[index]:
            return Meeting(one, other, index)
    different = len(one) != len(other) and primary.protocol != TCP
    return Meeting(one, other, shorter if different else None)


def sentence(divergence: Divergence) -> str:
    """One sentence for a person: what differs."""
    primary, secondary = carried(divergence.primary), carried(divergence.secondary)
    where = f"at stream offset {divergence.stream_offset:,}"
    match divergence.reason:
        case Reason.MISSING_SECONDARY:
            return f"The SVM did not send in time what the PVM sent {where}{_said(primary)}."
        case Reason.MISSING_PRIMARY:
            return f"The PVM did not send in time what the SVM sent {where}{_said(secondary)}."
        case Reason.CONTROL if primary and secondary:
            return _control(primary, secondary)
    if primary is None or secondary is None:
        return f"The outputs differ {where}{_alone(primary, secondary)}."
    return _payload(primary, secondary, meet(primary, secondary, divergence.seq_offset), where)


def _said(segment: Segment | None) -> str:
    if segment is None:
        return ""
    if not segment.payload:
        return f" (no payload; {flag_names(segment.flags)})" if segment.protocol == TCP else ""
    return f" ({len(segment.payload):,} bytes: {_quoted(segment.payload)})"


def _alone(primary: Segment | None, secondary: Segment | None) -> str:
    """What is known where at least one of the two packets is not at hand."""
    shown = primary or secondary
    if shown is None:
        return "; the packets that show it were not kept"
    whose, other = ("PVM", "SVM") if primary else ("SVM", "PVM")
    flags = f" with {flag_names(shown.flags)}" if shown.protocol == TCP else ""
    return f": the {whose} sent {len(shown.payload):,} bytes{flags}; the {other}'s packet was not kept"


def _each(primary: object, secondary: object) -> str:
    return f"{primary} in the PVM's packet, {secondary} in the SVM's"


def _control(primary: Segment, secondary: Segment) -> str:
    mine, its = primary.flags & 7, secondary.flags & 7
    if mine != its:
        return f"The TCP flags differ: PVM {flag_names(primary.flags)}, SVM {flag_names(secondary.flags)}."
    one, other = _by_kind(primary.options), _by_kind(secondary.options)
    for kind in option_differences(primary, secondary):
        name = _OPTIONS.get(kind, f"{kind}")
        if (kind in one) != (kind in other):
            return (
                f"The TCP option {name} is {'only in the PVM' if kind in one else 'only in the SVM'}'s SYN."
            )
        if kind in (_MSS, _WSCALE):
            values = (int.from_bytes(options.get(kind, b""), "big") for options in (one, other))
            return f"The TCP option {name} differs: {_each(*values)}."
        return f"The TCP option {name} differs: each guest chooses its own, and it binds the client."
    return "Connection control differs; the packets below show where."


def option_differences(primary: Segment, secondary: Segment) -> list[int]:
    """Kinds of TCP options in which two SYNs differ so that it counts: docs/comparison.md, T3."""
    if not primary.flags & secondary.flags & _SYN:
        return []
    one, other = _by_kind(primary.options), _by_kind(secondary.options)
    kinds = [kind for kind in dict.fromkeys((*_OPTIONS, *one, *other)) if kind not in (_SACK, _END, _NOP)]
    return [
        kind
        for kind in kinds
        if (kind in one) != (kind in other) or (kind != _TIMES and one.get(kind) != other.get(kind))
    ]


def options_text(data: bytes) -> str:
    """`NOP NOP TSval 123 TSecr 456`."""
    return " ".join(_option(kind, value) for kind, value in _options(data))


def option_text(data: bytes, kind: int) -> str:
    """One option of those, or `-`."""
    return " ".join(_option(kind, value) for other, value in _options(data) if kind == other) or "-"


def _option(kind: int, value: bytes) -> str:
    match kind, len(value):
        case (0 | 1 | 4, 0):
            return {0: "END", 1: "NOP", 4: "SACKok"}[kind]
        case 2, 2:
            return f"MSS {int.from_bytes(value, 'big')}"
        case 3, 1:
            return f"WScale {value[0]}"
        case 8, 8:
            return "TSval {} TSecr {}".format(*struct.unpack(">II", value))
        case 5, size if size and size % 8 == 0:
            edges = struct.unpack(f">{size // 4}I", value)
            return "SACK " + " ".join(
                f"{left}-{right}" for left, right in zip(edges[::2], edges[1::2], strict=True)
            )
    return f"{_SHORT.get(kind, f'option-{kind}')} {value.hex()}".rstrip()


def flag_names(flags: int) -> str:
    """`SYN+ACK`."""
    return "+".join(name for bit, name in enumerate(_FLAGS) if flags >> bit & 1) or "no flags"


def _options(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Each option's kind and value (RFC 9293, 3.2), as far as they can be read."""
    at = 0
    while at < len(data):
        kind = data[at]
        if kind in (_END, _NOP):
            yield kind, b""
            at += 1
            if kind == _END:
                return
            continue
        if at + 1 >= len(data) or data[at + 1] < 2:
            return
        yield kind, data[at + 2 : at + data[at + 1]]
        at += data[at + 1]


def _by_kind(data: bytes) -> dict[int, bytes]:
    return dict(_options(data))


def _payload(primary: Segment, secondary: Segment, met: Meeting, where: str) -> str:
    if met.index is None:
        return f"The outputs differ {where}, outside of what these two packets have in common."
    if primary.protocol == _UDP and 53 in primary.ports:
        return _dns(primary.payload, secondary.payload)
    record = primary.payload[:3]
    tls = len(record) == 3 and record[0] in _TLS and record[1] == 3 and record[2] <= 4
    if primary.protocol == TCP and tls:
        return (
            f"A TLS record ({_TLS[record[0]]}) differs {where}: encrypted, with keys drawn at random, so "
            "each connection of it will; end TLS in front of the VM, or let a policy bypass it."
        )
    if _HTTP.match(primary.payload) and _HTTP.match(secondary.payload):
        return _http(primary.payload, secondary.payload, where)
    return _text_or_bytes(met, where)


def _http(primary: bytes, secondary: bytes, where: str) -> str:
    """Header by header; then the body."""
    heads = [payload.partition(b"\r\n\r\n") for payload in (primary, secondary)]
    one, other = (head.split(b"\r\n") for head, _, _ in heads)
    if one[0] != other[0]:
        return f"The HTTP start line differs: {_each(_quoted(one[0]), _quoted(other[0]))}."
    for mine, its in zip(one[1:], other[1:], strict=False):
        if mine == its:
            continue
        name, _, value = mine.partition(b":")
        its_name, _, its_value = its.partition(b":")
        if name.lower() != its_name.lower():
            return f"The HTTP headers differ: {_each(_quoted(mine), _quoted(its))}."
        shown = name.decode("ascii", "replace")[:_SHOWN]
        values = _each(_quoted(value), _quoted(its_value))
        return f"The HTTP {shown} header differs{_apart(value, its_value)}: {values}."
    if len(one) != len(other):
        longer, whose = (one, "PVM") if len(one) > len(other) else (other, "SVM")
        return f"Only the {whose} sent the HTTP header {_quoted(longer[min(len(one), len(other))])}."
    return f"The body of the HTTP message differs {where}: " + _bytes(heads[0][2], heads[1][2])


def _apart(one: bytes, other: bytes) -> str:
    """How far two HTTP dates are apart, where they are dates."""
    moments: list[datetime] = []
    for value in (one, other):
        try:
            moments.append(parsedate_to_datetime(value.decode("ascii").strip()))
        except (ValueError, TypeError, OverflowError):
            return ""
    try:
        seconds = abs((moments[1] - moments[0]).total_seconds())
    except TypeError:  # one has a time zone, the other has none
        return ""
    return " by one second" if seconds == 1 else f" by {seconds:,.0f} seconds"


def _dns(primary: bytes, secondary: bytes) -> str:
    if len(primary) < 12 or len(secondary) < 12:
        return f"A DNS message differs: {_bytes(primary, secondary)}"
    fields = ("transaction ID", "flags", "questions", "answers", "authorities", "additional records")
    pairs = zip(fields, struct.unpack(">6H", primary[:12]), struct.unpack(">6H", secondary[:12]), strict=True)
    for name, one, other in pairs:
        if one != other:
            if name == "flags" and one & 15 != other & 15:
                return f"The DNS response code differs: {_each(one & 15, other & 15)}."
            shown = _each(f"0x{one:04x}", f"0x{other:04x}") if name in fields[:2] else _each(one, other)
            what = f"The DNS {name} differ" if name.endswith("s") else f"The DNS {name} differs"
            asked = next(iter(_records(primary)), "")
            return f"{what}: {shown}{asked and f'; asked for {asked}'}."
    for mine, its in itertools.zip_longest(_records(primary), _records(secondary), fillvalue="none"):
        if mine != its:
            return f"The DNS records differ: {_each(mine, its)}."
    return f"The records of a DNS message differ: {_bytes(primary[12:], secondary[12:], base=12)}"


def _records(message: bytes) -> list[str]:
    """The questions and resource records of a DNS message (RFC 1035, 4.1); none where it cannot be read."""
    try:
        read = dpkt.dns.DNS(message)
        asked = [(each.name, each.type, b"", 0) for each in read.qd]
        told = [(each.name, each.type, each.rdata, each.ttl) for each in (*read.an, *read.ns, *read.ar)]
    except Exception:  # hostile bytes: dpkt raises whatever its parts raise
        return []
    return [_record(*each) for each in (*asked, *told)]


def _record(name: str, kind: int, data: bytes, ttl: int) -> str:
    """`www.example.org A`, and of an answer its data and time to live."""
    kinds = {1: "A", 2: "NS", 5: "CNAME", 6: "SOA", 12: "PTR", 15: "MX", 16: "TXT", 28: "AAAA", 33: "SRV"}
    shown = f"{_quoted(name.encode('utf-8', 'replace') or b'.')[1:-1]} {kinds.get(kind, f'TYPE{kind}')}"
    if not data:
        return shown
    address = kind in (1, 28) and len(data) in (4, 16)
    return f"{shown} {ip_address(data) if address else data[:_SHOWN].hex()} (TTL {ttl:,})"


def _text_or_bytes(met: Meeting, where: str) -> str:
    index = met.index or 0
    lines = []
    for data in (met.primary, met.secondary):
        start = data.rfind(b"\n", 0, index) + 1
        end = data.find(b"\n", index)
        lines.append(data[max(start, index - 20) : end if end >= 0 else len(data)].rstrip(b"\r"))
    if all(line and _printable(line[:_SHOWN]) for line in lines):
        return f"The text differs {where}: {_each(_quoted(lines[0]), _quoted(lines[1]))}."
    return f"The payload differs {where}: " + _bytes(met.primary, met.secondary)


def _bytes(one: bytes, other: bytes, base: int = 0) -> str:
    shorter = min(len(one), len(other))
    for index in range(shorter):
        if one[index] != other[index]:
            return f"byte {base + index:,} is " + _each(f"0x{one[index]:02x}", f"0x{other[index]:02x}") + "."
    if len(one) != len(other):
        return "its length in bytes is " + _each(f"{base + len(one):,}", f"{base + len(other):,}") + "."
    return "the part of it that is shown here is the same."


def _printable(data: bytes) -> bool:
    return all(32 <= byte < 127 or byte == 9 for byte in data)


def _quoted(data: bytes) -> str:
    data = data.strip()
    text = "".join(chr(byte) if 32 <= byte < 127 else f"\\x{byte:02x}" for byte in data[:_SHOWN])
    return f'"{text}"' + ("..." if len(data) > _SHOWN else "")
