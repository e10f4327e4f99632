"""Tables and numbers for people."""

from collections.abc import Iterator, Sequence


def table(rows: Sequence[Sequence[str]], *, left: set[int]) -> Iterator[str]:
    """Lines of a table, each column as wide as it must be; the columns in `left` begin at their left."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = [f"{cell:{'<' if at in left else '>'}{widths[at]}}" for at, cell in enumerate(row)]
        yield "  ".join(cells).rstrip()


def size(count: float, unit: int = 1024) -> str:
    """Bytes with three digits: `8.8 KiB`, or with `unit` 1000 `9.0 kB`."""
    names = ("B", "KiB", "MiB", "GiB", "TiB") if unit == 1024 else ("B", "kB", "MB", "GB", "TB")
    at = 0
    while count >= 999.5 and at < len(names) - 1:
        count, at = count / unit, at + 1
    return f"{count:.0f} {names[at]}" if count >= 99.5 or not at else f"{count:.1f} {names[at]}"


def counted(count: int, what: str) -> str:
    """So many of something: `1 flow`, `2,000 flows`."""
    return f"{count:,} {what}{'' if count == 1 else 's'}"
