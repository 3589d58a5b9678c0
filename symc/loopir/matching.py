"""Greedy matching of the rows and columns of a score matrix."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from symc.core.shapes import FullShape, size_of

from .routine import Routine, even_parts


@dataclass(frozen=True)
class Match(Routine):
    """scores (b, n * m) and the order of each line, best first -> the column of each row (b, n) and the row of each
    column (b, m), -1 for none.

    A pair is matched when both are free; the first free pair that is not better than the threshold ends it, and so
    does a positive `limit` once there are more matches.
    """

    n_rows: int
    n_columns: int
    is_ascending: bool
    threshold: float
    limit: int

    def run(self, ins: Sequence[np.ndarray], outs: Sequence[np.ndarray]) -> None:
        columns, rows = outs
        columns[...], rows[...] = -1, -1
        for line, order in enumerate(ins[1]):
            n_matches = 0
            for pair in order:
                row, column = divmod(int(pair), self.n_columns)
                if columns[line, row] >= 0 or rows[line, column] >= 0:
                    continue
                score = ins[0][line, pair]
                if not (score < self.threshold if self.is_ascending else score > self.threshold):
                    break
                columns[line, row], rows[line, column] = column, row
                n_matches += 1
                if 0 < self.limit < n_matches:
                    break

    def n_parts(self, shapes: Sequence[FullShape]) -> int:
        return even_parts(shapes[0][0], size_of(shapes[0][1:]))

    def work_flops(self, shapes: Sequence[FullShape]) -> int:
        return size_of(shapes[0])
