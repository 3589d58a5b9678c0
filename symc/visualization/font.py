"""How wide text is in Helvetica (and Arial, which has its widths): Adobe's font metrics, in thousandths of the size."""

from __future__ import annotations

_REGULAR = (
    278, 278, 355, 556, 556, 889, 667, 191, 333, 333, 389, 584, 278, 333, 278, 278, 556, 556, 556, 556, 556, 556, 556,
    556, 556, 556, 278, 278, 584, 584, 584, 556, 1015, 667, 667, 722, 722, 667, 611, 778, 722, 278, 500, 667, 556, 833,
    722, 778, 667, 778, 722, 667, 611, 722, 667, 944, 667, 667, 611, 278, 278, 278, 469, 556, 333, 556, 556, 500, 556,
    556, 278, 556, 556, 222, 222, 500, 222, 833, 556, 556, 556, 556, 333, 500, 278, 556, 500, 722, 500, 500, 500, 334,
    260, 334, 584,
)  # fmt: skip
_BOLD = (
    278, 333, 474, 556, 556, 889, 722, 238, 333, 333, 389, 584, 278, 333, 278, 278, 556, 556, 556, 556, 556, 556, 556,
    556, 556, 556, 333, 333, 584, 584, 584, 611, 975, 722, 722, 722, 722, 667, 611, 778, 722, 278, 556, 722, 611, 833,
    722, 778, 667, 778, 722, 667, 611, 722, 667, 944, 667, 667, 611, 333, 278, 333, 584, 556, 333, 556, 611, 556, 611,
    556, 333, 611, 611, 278, 278, 556, 278, 889, 611, 611, 611, 611, 389, 556, 333, 611, 556, 778, 556, 556, 500, 389,
    280, 389, 584,
)  # fmt: skip
_OTHER = 1000  # of characters beyond ASCII: none is wider than the font's size
_FIRST = 32
ELLIPSIS = "..."


def text_width(text: str, size: float, is_bold: bool = False) -> float:
    """The width of one line."""
    widths = _BOLD if is_bold else _REGULAR
    total = 0
    for character in text:
        k = ord(character) - _FIRST
        total += widths[k] if 0 <= k < len(widths) else _OTHER
    return total * size / 1000


def fitted(text: str, width: float, size: float, is_bold: bool = False) -> str:
    """The text, or as much of its beginning and its end as fits the width."""
    if len(text) <= width and text_width(text, size, is_bold) <= width:
        return text
    room = width - text_width(ELLIPSIS, size, is_bold)
    n_head = n_tail = 0
    while n_head + n_tail < len(text):
        # Two characters of the beginning for each of the end: names differ in both.
        is_head = n_head <= 2 * n_tail
        character = text[n_head] if is_head else text[-1 - n_tail]
        room -= text_width(character, size, is_bold)
        if room < 0:
            break
        n_head, n_tail = (n_head + 1, n_tail) if is_head else (n_head, n_tail + 1)
    return f"{text[:n_head]}{ELLIPSIS}{text[len(text) - n_tail :]}"


def printable(text: str) -> str:
    """One line in which control characters and what no file can hold appear as escapes (\\n, \\x00, \\ud800)."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)
