"""A divergence report as text: what differs in a sentence, both packets dissected side by side, the bytes.

scapy dissects: it knows hundreds of protocols, and this is the one place in the program that looks that deep.
"""

import time
from collections.abc import Iterator

from colo_proxy.capture.difference import Segment, carried, meet, sentence
from colo_proxy.capture.exchanges import listed
from colo_proxy.capture.reader import NS
from colo_proxy.capture.report import Report

WIDTH = 80
_NAME = 20  # columns of a field's name
_MOST_FIELDS = 60
_ROW = 8  # bytes in a line of the dump, of each packet
_BEFORE, _ROWS = 2, 8
_FREE = ("src", "dst", "chksum", "id")  # differ between two right guests: shown, not marked


def explain(report: Report) -> Iterator[str]:
    """The lines for a person, at most 80 columns wide."""
    divergence = report.divergence
    stamp = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(divergence.time // NS))
    yield f"{divergence.flow}"[:WIDTH]
    yield f"{divergence.reason.label} at stream offset {divergence.stream_offset:,}"
    yield f"{stamp}.{divergence.time % NS // 1000:06d} UTC, nic {divergence.nic}, epoch {report.epoch}"
    yield ""
    yield from _wrapped(sentence(divergence))
    yield ""
    yield from _side_by_side(_fields(divergence.primary), _fields(divergence.secondary))
    primary, secondary = carried(divergence.primary), carried(divergence.secondary)
    if primary and secondary and (primary.payload or secondary.payload):
        yield ""
        yield from _dump(primary, secondary)
    if divergence.exchanges:
        yield ""
        yield "  the flow's last exchanges; `left`: so many ms after it came"
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


def _fields(frame: bytes | None) -> dict[str, str]:
    """`TCP window` -> `502`, in the order of the packet."""
    if frame is None:
        return {}
    from scapy.layers.l2 import Ether  # noqa: PLC0415 - 0.2 s
    from scapy.packet import NoPayload, Packet, Padding, Raw  # noqa: PLC0415

    _load_protocols()
    found: dict[str, str] = {}
    try:
        layer: Packet = Ether(frame)
        while not isinstance(layer, NoPayload | Raw | Padding) and len(found) < _MOST_FIELDS:
            for field in layer.fields_desc:
                value = layer.getfieldval(field.name)
                found[f"{layer.name} {field.name}"] = _clean(str(field.i2repr(layer, value)))
            layer = layer.payload
    except Exception:
        found["(not understood)"] = f"{len(frame)} bytes"
    return found


def _load_protocols() -> None:
    """Importing a module teaches scapy its protocols."""
    import scapy.layers.dns  # noqa: PLC0415
    import scapy.layers.inet  # noqa: PLC0415
    import scapy.layers.inet6  # noqa: F401, PLC0415


def _clean(text: str) -> str:
    """Text for a terminal: no control characters."""
    return "".join(letter if letter.isprintable() else "." for letter in text)


def _side_by_side(primary: dict[str, str], secondary: dict[str, str]) -> Iterator[str]:
    column = (WIDTH - _NAME - 5) // 2
    yield f"  {'':{_NAME}} {'PVM':{column}} SVM"
    for name in dict.fromkeys((*primary, *secondary)):
        one, other = primary.get(name, "-"), secondary.get(name, "-")
        marked = one != other and name.rpartition(" ")[2] not in _FREE and primary and secondary
        left = f"{'!' if marked else ' '} {name[:_NAME]:{_NAME}} {_cut(one, column):{column}} "
        yield (left + _cut(other, column)).rstrip()


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else text[: width - 2] + ".."


def _dump(primary: Segment, secondary: Segment) -> Iterator[str]:
    """The payloads around the first difference; a byte that differs is in brackets."""
    met = meet(primary, secondary)
    start = max((met.index or 0) // _ROW - _BEFORE, 0) * _ROW
    end = max(len(met.primary), len(met.secondary))
    yield "  payload, from the byte where both packets speak of the same place"
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
