"""A divergence report as text: what differs in a sentence, both packets dissected side by side, the bytes.

scapy dissects: it knows hundreds of protocols, and this is the one place in the program that looks that deep.
"""

import itertools
import textwrap
from collections import Counter
from collections.abc import Iterator, Sequence

from colo_proxy.capture.difference import (
    TCP,
    Meeting,
    Segment,
    carried,
    meet,
    option_differences,
    option_text,
    options_text,
    sentence,
)
from colo_proxy.capture.exchanges import listed
from colo_proxy.capture.reader import NS
from colo_proxy.capture.report import Report
from colo_proxy.dates import rfc3339
from colo_proxy.vocabulary import Divergence

WIDTH = 80
_NAME = 20  # columns of a field's name
_MOST_FIELDS = 60
_ROW = 8  # bytes in a line of the dump, of each packet
_BEFORE, _ROWS = 2, 8
_MOST_LINES = 3  # of a field that is longer than its column
# What a field that differs means for the verdict, after docs/comparison.md.
COUNTS, LOWER, NEVER = "!", "<", "~"
_LEGEND = f"  {COUNTS} counts   {LOWER} clients receive the lower   {NEVER} never counts"
_LINK = ("Ethernet", "802.1Q", "802_1AD")
_IP = ("IP", "IPv6")
_ICMP = (1, 58)
_TCP_FIELDS = {"flags": COUNTS, "urgptr": COUNTS, "ack": LOWER, "window": LOWER}
_FIN_SYN_RST, _URG = 7, 32
_FRAGMENT = "IPv6 Extension Header - Fragmentation header"
# Of datagrams all bytes above layer 2 count, but for what right guests choose freely.
_FREE = {("IP", "id"), ("IP", "chksum"), ("IPv6", "fl"), (_FRAGMENT, "id")}


def explain(report: Report) -> Iterator[str]:
    """The lines for a person, at most 80 columns wide."""
    divergence = report.divergence
    stamp = rfc3339(divergence.time // NS, divergence.time % NS // 1000, 6)
    yield f"{divergence.flow}"[:WIDTH]
    more = f"; {divergence.count - 1:,} more within a second" if divergence.count > 1 else ""
    yield f"{divergence.reason.label} at stream offset {divergence.stream_offset:,}{more}"
    yield f"{stamp}, nic {divergence.nic}, epoch {report.epoch}"
    yield ""
    yield from _wrapped(sentence(divergence))
    yield ""
    primary, secondary = carried(divergence.primary), carried(divergence.secondary)
    yield from _side_by_side(_rows(divergence, primary, secondary))
    if primary and secondary and (primary.payload or secondary.payload):
        yield ""
        yield from _dump(meet(primary, secondary, divergence.seq_offset))
    if divergence.exchanges:
        yield ""
        yield "  the flow's last exchanges; `left`: it was released so many ms after it arrived"
        for line in listed(divergence):
            yield _cut(line, WIDTH)


def _wrapped(text: str) -> Iterator[str]:
    line = ""
    for word in text.split(" "):
        while len(word) > WIDTH:
            yield from ([line] if line else [])
            line, word = "", word[WIDTH:]  # noqa: PLW2901
        if line and len(line) + 1 + len(word) > WIDTH:
            yield line
            line = word
        else:
            line = f"{line} {word}" if line else word
    yield line


def _fields(frame: bytes | None) -> dict[tuple[str, str], str]:
    """`TCP`, `window` -> `502`, in the order of the packet."""
    if frame is None:
        return {}
    from scapy.layers.l2 import Ether  # noqa: PLC0415 - 0.2 s
    from scapy.packet import NoPayload, Packet, Padding, Raw  # noqa: PLC0415

    _load_protocols()
    found: dict[tuple[str, str], str] = {}
    layers: Counter[str] = Counter()
    try:
        layer: Packet = Ether(frame)
        while not isinstance(layer, NoPayload | Raw | Padding) and len(found) < _MOST_FIELDS:
            title = str(layer.name)
            layers[title] += 1
            if layers[title] > 1:  # a tunnel's inner header is no outer one
                title = f"{title} {layers[title]}"
            for field in layer.fields_desc:
                value = layer.getfieldval(field.name)
                found[title, str(field.name)] = _clean(str(field.i2repr(layer, value)))
            layer = layer.payload
    except Exception:
        found["", "(not understood)"] = f"{len(frame)} bytes"
    return found


def _load_protocols() -> None:
    """Importing a module teaches scapy its protocols."""
    import scapy.layers.dns  # noqa: PLC0415
    import scapy.layers.inet  # noqa: PLC0415
    import scapy.layers.inet6  # noqa: F401, PLC0415


def _clean(text: str) -> str:
    """Text for a terminal: no control characters."""
    return "".join(letter if letter.isprintable() else "." for letter in text)


Row = tuple[str, str, str, str]  # the mark, the field's name, what the PVM and what the SVM has there


def _rows(divergence: Divergence, primary: Segment | None, secondary: Segment | None) -> list[Row]:
    """Both packets' fields. Options are one row; each in which the SYNs differ has its own below it."""
    one, other = _fields(divergence.primary), _fields(divergence.secondary)
    for fields, segment in ((one, primary), (other, secondary)):
        if segment and ("TCP", "options") in fields:
            fields["TCP", "options"] = options_text(segment.options) or "none"
    both = primary is not None and secondary is not None
    rows: list[Row] = []
    sums: list[int] = []  # rows of checksums over what counts: they count where nothing else does
    for layer, field in dict.fromkeys((*one, *other)):
        mine, its = one.get((layer, field), "-"), other.get((layer, field), "-")
        mark = " "
        if both and mine != its:
            mark = _mark(layer, field, primary, secondary)
            if mark == COUNTS and layer not in ("TCP", *_IP) and field in ("chksum", "cksum"):
                sums.append(len(rows))
                mark = NEVER
        rows.append((mark, f"{layer} {field}".strip(), mine, its))
        if primary and secondary and (layer, field) == ("TCP", "options"):
            rows += [
                (
                    COUNTS,
                    "TCP option",
                    option_text(primary.options, kind),
                    option_text(secondary.options, kind),
                )
                for kind in option_differences(primary, secondary)
            ]
    if not any(mark == COUNTS for mark, *_ in rows) and _summed(primary) == _summed(secondary):
        for at in sums:
            rows[at] = (COUNTS, *rows[at][1:])
    return rows


def _summed(segment: Segment | None) -> bytes:
    """What a checksum sums up: of ICMP, all but the checksum."""
    if segment is None:
        return b""
    return segment.payload[:2] + segment.payload[4:] if segment.protocol in _ICMP else segment.payload


def _mark(layer: str, field: str, primary: Segment | None, secondary: Segment | None) -> str:
    """What a field that differs means."""
    if layer in _LINK:
        return NEVER
    if primary and secondary and primary.protocol == secondary.protocol == TCP:
        if layer in _IP:
            return NEVER
        if layer == "TCP":
            differ = primary.flags ^ secondary.flags
            if field == "flags" and not differ & (_FIN_SYN_RST | _URG):
                return NEVER
            if field == "urgptr" and not (primary.flags | secondary.flags) & _URG:
                return NEVER
            return _TCP_FIELDS.get(field, NEVER)
    return NEVER if (layer, field) in _FREE else COUNTS


def _side_by_side(rows: Sequence[Row]) -> Iterator[str]:
    column = (WIDTH - _NAME - 5) // 2
    if any(mark != " " for mark, *_ in rows):
        yield _LEGEND
    yield f"  {'':{_NAME}} {'PVM':{column}} SVM"
    for mark, name, one, other in rows:
        for at, (left, right) in enumerate(_cells(one, other, column)):
            shown = name if not at else ""
            yield f"{mark} {shown[:_NAME]:{_NAME}} {left:{column}} {right}".rstrip()


def _cells(one: str, other: str, width: int) -> list[tuple[str, str]]:
    """Two texts in lines of a column each, from near the place where they differ if that is far within."""
    at = next((n for n, pair in enumerate(zip(one, other, strict=False)) if len(set(pair)) > 1), 0)
    if at >= (_MOST_LINES - 1) * width:
        one, other = (f"..{text[at - width // 2 :]}" for text in (one, other))
    mine, its = (_column(text, width) for text in (one, other))
    return list(itertools.zip_longest(mine, its, fillvalue=""))


def _column(text: str, width: int) -> list[str]:
    lines = textwrap.wrap(text, width) or [""]
    if len(lines) > _MOST_LINES:
        lines[_MOST_LINES - 1 :] = [lines[_MOST_LINES - 1][: width - 2] + ".."]
    return lines


def shaded(line: str) -> str:
    """The line for a terminal that can: what counts stands out, what never counts steps back."""
    style = {COUNTS: "1", NEVER: "2"}.get(line[:1])
    return f"\x1b[{style}m{line}\x1b[0m" if style else line


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else text[: width - 2] + ".."


def _dump(met: Meeting) -> Iterator[str]:
    """The payloads around the first difference; a byte that differs is in brackets."""
    start = max((met.index or 0) // _ROW - _BEFORE, 0) * _ROW
    end = max(len(met.primary), len(met.secondary))
    yield "  payload, from the byte at which both packets overlap"
    for at in range(start, min(end, start + _ROWS * _ROW), _ROW):
        rows = [data[at : at + _ROW] for data in (met.primary, met.secondary)]
        differs = [rows[0][i : i + 1] != rows[1][i : i + 1] for i in range(_ROW)]
        mark = "!" if any(differs) else " "
        yield f"{mark} {at:5} {_hex(rows[0], differs)} {_hex(rows[1], differs)}".rstrip()
        if mark == "!":
            yield f"        {_letters(rows[0])} {_letters(rows[1])}".rstrip()


def _hex(row: bytes, differs: list[bool]) -> str:
    cells = [f"[{byte:02x}]" if differs[i] else f" {byte:02x} " for i, byte in enumerate(row)]
    return "".join(cells).ljust(_ROW * 4)


def _letters(row: bytes) -> str:
    return "".join(f" {chr(byte) if 32 <= byte < 127 else '.'}  " for byte in row).ljust(_ROW * 4)
