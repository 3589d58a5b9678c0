"""Irregular work: algorithms over whole arrays that are neither loop nests nor sums of products.

A `Routine` names an algorithm and its parameters; a `kernel.Template` applies it to buffers.  What a routine means is
its `run` on NumPy arrays; how it is computed is the backend's job, which knows the routine by its class.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from symc.core.shapes import FullShape, size_of

PART_ELEMENTS = 4096  # work worth claiming by a thread of its own
MAX_PARTS = 64


@dataclass(frozen=True)
class Routine:
    """An algorithm with its parameters; frozen and hashable, so that equal ones share their code."""

    def run(self, ins: Sequence[np.ndarray], outs: Sequence[np.ndarray]) -> None:
        """What it computes, slow and obvious: fills `outs`."""
        raise NotImplementedError

    def n_parts(self, shapes: Sequence[FullShape]) -> int:
        """Into how many independent parts the work on inputs of these shapes is cut; never the number of threads."""
        return 1

    def scratch(self, shapes: Sequence[FullShape]) -> tuple[tuple[FullShape, str], ...]:
        """Shape and dtype of the memory it needs besides inputs and outputs; the first axis is that of the parts."""
        return ()

    def work_flops(self, shapes: Sequence[FullShape]) -> int:
        """Comparisons and arithmetic, estimated."""
        raise NotImplementedError


def even_parts(n_lines: int, line_work: int) -> int:
    """Into how many parts lines are cut that take `line_work` element steps each."""
    return max(1, min(n_lines, MAX_PARTS, n_lines * line_work // PART_ELEMENTS))


def lines_of(shape: FullShape, axis: int) -> tuple[int, int, int]:
    """(outer, extent, inner): the elements before, along and behind an axis."""
    return size_of(shape[:axis]), shape[axis], size_of(shape[axis + 1 :])
