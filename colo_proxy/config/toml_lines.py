"""Which line of a TOML text a key stands on; tomllib does not say."""

import re

Path = tuple[str | int, ...]

_PART = r"""(?:[A-Za-z0-9_-]+|"(?:\\.|[^"\\])*"|'[^']*')"""
_DOTTED = rf"{_PART}(?:\s*\.\s*{_PART})*"
_HEADER = re.compile(rf"\s*(\[\[?)\s*({_DOTTED})\s*\]\]?")
_KEY = re.compile(rf"\s*({_DOTTED})\s*=")
_TOKEN = re.compile(r'''"""|\'\'\'|"(?:\\.|[^"\\])*"|'[^']*'|\#.*|[\[\]{}]''')


def key_lines(text: str) -> dict[Path, int]:
    """Map each table and key of a *valid* TOML text to its line, counted from 1.

    The elements of an array of tables carry their index: `("nic", 0, "uplink")`. What stands in an inline
    table or array is not mapped: the line of the key that holds it is the best there is (`line_of`).
    """
    lines: dict[Path, int] = {(): 1}
    counts: dict[Path, int] = {}
    table: Path = ()
    open_string = ""  # the delimiter of a multi-line string that has not ended
    depth = 0  # brackets and braces that have not ended
    for number, line in enumerate(text.splitlines(), 1):
        rest = line
        if not open_string and not depth:
            if header := _HEADER.match(line):
                table = _resolve(_parts(header[2]), counts)
                if header[1] == "[[":
                    counts[table] = counts.get(table, -1) + 1
                    lines.setdefault(table, number)
                    table = (*table, counts[table])
                lines.setdefault(table, number)
                continue
            if not (key := _KEY.match(line)):
                continue
            lines.setdefault((*table, *_parts(key[1])), number)
            rest = line[key.end() :]
        open_string, depth = _after(rest, open_string, depth)
    return lines


def line_of(lines: dict[Path, int], path: Path) -> int:
    """The line of a key, or of the nearest thing around it that has one."""
    while path not in lines:
        path = path[:-1]
    return lines[path]


def _parts(dotted: str) -> Path:
    return tuple(part[1:-1] if part[0] in "\"'" else part for part in re.findall(_PART, dotted))


def _resolve(parts: Path, counts: dict[Path, int]) -> Path:
    """A header below an array of tables means the array's last element."""
    path: Path = ()
    for part in parts[:-1]:
        path = (*path, part)
        if path in counts:
            path = (*path, counts[path])
    return (*path, *parts[-1:])


def _after(rest: str, open_string: str, depth: int) -> tuple[str, int]:
    """The state of the scan after the rest of a line that belongs to a value."""
    while rest:
        if open_string:
            end = rest.find(open_string)
            if end < 0:
                return open_string, depth
            rest, open_string = rest[end + 3 :], ""
        token = _TOKEN.search(rest)
        if token is None:
            break
        rest = rest[token.end() :]
        if token[0] in ('"""', "'''"):
            open_string = token[0]
        elif token[0] in "[{":
            depth += 1
        elif token[0] in "]}":
            depth -= 1
    return open_string, depth
