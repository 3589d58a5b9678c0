"""Descriptor words by name: what a kernel's code reads, and what its call provides."""

from __future__ import annotations

from .kernel import Ref, Table, Word


class Descriptor:
    """Collects (name, word) pairs, prints the lines that read them, and numbers those that other code reads.

    >>> d = Descriptor(); d.add("lhs", Ref("x")); d.add("n_tiles", 7); d.add("bias", Ref("b"), is_printed=False)
    >>> print("\\n".join(d.lines()))
    lhs = bufs[desc[0]] + desc[1]
    n_tiles = desc[2]
    >>> d.number("bias")
    3
    """

    def __init__(self) -> None:
        self.words: list[Word] = []
        self._lines: list[str] = []
        self._numbers: dict[str, int] = {}
        self._length = 0  # int64 words so far

    def add(self, name: str, word: Word, is_printed: bool = True) -> None:
        """One more word, or two for an address: slot and offset."""
        at = self._numbers[name] = self._length
        is_address = isinstance(word, (Ref, Table))
        if is_printed:
            self._lines.append(f"{name} = bufs[desc[{at}]] + desc[{at + 1}]" if is_address else f"{name} = desc[{at}]")
        self.words.append(word)
        self._length += 2 if is_address else 1

    def number(self, name: str) -> int:
        """Where the first word of that name is in the descriptor."""
        return self._numbers[name]

    def lines(self) -> list[str]:
        return list(self._lines)
