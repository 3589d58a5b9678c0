"""Descriptor words by name: what a kernel's generated source reads, and what its call provides."""

from __future__ import annotations

from .kernel import Ref, Table, Word


class Descriptor:
    """Collects (name, word) pairs and prints the lines that read them.

    >>> d = Descriptor(); d.add("lhs", Ref("x")); d.add("n_tiles", 7)
    >>> print("\\n".join(d.lines()))
    lhs = bufs[desc[0]] + desc[1]
    n_tiles = desc[2]
    """

    def __init__(self) -> None:
        self.words: list[Word] = []
        self._lines: list[str] = []

    @property
    def length(self) -> int:
        """int64 words so far."""
        return sum(2 if isinstance(w, (Ref, Table)) else 1 for w in self.words)

    def add(self, name: str, word: Word) -> None:
        at = self.length
        is_address = isinstance(word, (Ref, Table))
        self._lines.append(f"{name} = bufs[desc[{at}]] + desc[{at + 1}]" if is_address else f"{name} = desc[{at}]")
        self.words.append(word)

    def lines(self) -> list[str]:
        return list(self._lines)
