"""Sorting: where the elements of every line of an array go."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from symc.core.shapes import FullShape

from .routine import Routine, even_parts, lines_of

SELECTED = 16  # up to so many first elements are selected in one sweep instead of sorting the line
FEW = 16  # so many times as long a line is not sorted, but searched for what belongs among the first elements


@dataclass(frozen=True)
class Sort(Routine):
    """Positions of the first `n_kept` elements of every line along `axis` in sorted order: int32 (..., n_kept, ...).

    Stable: of equal elements the first comes first, in either direction.  NaN counts as larger than everything, and
    the two zeros are equal.
    """

    axis: int
    n_kept: int
    is_ascending: bool

    def run(self, ins: Sequence[np.ndarray], outs: Sequence[np.ndarray]) -> None:
        data, last = ins[0], ins[0].shape[self.axis] - 1
        if self.is_ascending:
            order = np.argsort(data, self.axis, kind="stable")
        else:  # of the reversed line ascending, read from its end: equal elements keep their order
            order = last - np.flip(np.argsort(np.flip(data, self.axis), self.axis, kind="stable"), self.axis)
        outs[0][...] = np.take(order, np.arange(self.n_kept), self.axis)

    def n_parts(self, shapes: Sequence[FullShape]) -> int:
        outer, extent, inner = lines_of(shapes[0], self.axis)
        return even_parts(outer * inner, self._line_work(extent))

    def scratch(self, shapes: Sequence[FullShape]) -> tuple[tuple[FullShape, str], ...]:
        """A line's keys, and its positions before and after a merge."""
        extent, parts = shapes[0][self.axis], self.n_parts(shapes)
        return ((parts, extent), "int64"), ((parts, 2, extent), "int32")

    def work_flops(self, shapes: Sequence[FullShape]) -> int:
        outer, extent, inner = lines_of(shapes[0], self.axis)
        return outer * inner * self._line_work(extent)

    def keeps_few(self, extent: int) -> bool:
        """Whether the first elements are a small part of a line."""
        return self.n_kept * FEW <= extent

    def _line_work(self, extent: int) -> int:
        if self.n_kept <= SELECTED:
            return extent * 2
        sorted_elements = 8 * self.n_kept if self.keeps_few(extent) else extent
        return extent + sorted_elements * max(1, sorted_elements.bit_length())
