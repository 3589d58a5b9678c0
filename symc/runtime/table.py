"""Plain text tables and numbers for people: what every report prints."""

from __future__ import annotations

from collections.abc import Sequence

NODES_WIDTH = 44  # of a column of names of nodes or operators
_UNITS = ("", "K", "M", "G", "T")


def table(header: Sequence[str], rows: Sequence[Sequence[object]], right: str = "", gap: str = "  ") -> str:
    """Columns as wide as their contents.

    header  () for none
    right   names of the columns to align right, separated by spaces

    >>> print(table(("op", "calls"), [("Convolution", 21), ("Pooling", 2)], right="calls"))
    op           calls
    Convolution     21
    Pooling          2
    """
    cells = [[str(c) for c in row] for row in ((header, *rows) if header else rows)]
    widths = [max(map(len, column)) for column in zip(*cells)]
    is_right = [name in right.split() for name in header] or [False] * len(widths)
    return "\n".join(
        gap.join(c.rjust(w) if r else c.ljust(w) for c, w, r in zip(row, widths, is_right)).rstrip() for row in cells
    )


def scaled(value: float, unit: str, base: int = 1000) -> str:
    """Three digits and a unit.

    >>> scaled(1_814_073_344, "FLOP"), scaled(802_816, "B", 1024)
    ('1.81 GFLOP', '784 KiB')
    """
    power = 0
    while abs(value) >= 999.5 and power < len(_UNITS) - 1:
        value, power = value / base, power + 1
    is_whole = power == 0 and value == int(value)
    digits = 0 if is_whole or value >= 100 else 1 if value >= 10 else 2
    prefix = _UNITS[power] + ("i" if base == 1024 and power else "")
    return f"{value:.{digits}f} {prefix}{unit}"


def size_text(size_bytes: int) -> str:
    """A size in bytes with a binary unit."""
    return scaled(size_bytes, "B", 1024)


def time_text(time_s: float) -> str:
    """A duration.

    >>> time_text(0.0217), time_text(1.5e-05)
    ('21.7 ms', '15.0 us')
    """
    if time_s >= 1:
        return f"{time_s:.2f} s"
    unit, factor = ("ms", 1e3) if time_s >= 1e-3 else ("us", 1e6)
    value = time_s * factor
    return f"{value:.{0 if value >= 100 else 1 if value >= 10 else 2}f} {unit}"


def shape_text(shape: Sequence[int]) -> str:
    """A shape as MXNet's summaries print it: 1x3x224x224, scalar when it has no axes."""
    return "x".join(map(str, shape)) or "scalar"


def shortened(text: str, width: int) -> str:
    """At most `width` characters, the middle left out."""
    if len(text) <= width:
        return text
    head = (width - 2) * 2 // 3
    return f"{text[:head]}..{text[len(text) - (width - 2 - head) :]}"


def counted(names: Sequence[str]) -> list[str]:
    """Each name once, with how often it follows itself.

    >>> counted(["_copy", "exp", "exp"])
    ['_copy', 'exp x 2']
    """
    runs: list[tuple[str, int]] = []
    for name in names:
        if runs and runs[-1][0] == name:
            runs[-1] = (name, runs[-1][1] + 1)
        else:
            runs.append((name, 1))
    return [name if n == 1 else f"{name} x {n}" for name, n in runs]
