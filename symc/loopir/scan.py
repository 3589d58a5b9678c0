"""Running sums along an axis."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from symc.core.shapes import FullShape, size_of

from .routine import Routine, even_parts, lines_of


@dataclass(frozen=True)
class Scan(Routine):
    """y[.., k, ..] = x[.., 0, ..] + ... + x[.., k, ..] along `axis`, added in that order and in that dtype."""

    axis: int

    def run(self, ins: Sequence[np.ndarray], outs: Sequence[np.ndarray]) -> None:
        outs[0][...] = np.cumsum(ins[0], self.axis, dtype=ins[0].dtype)

    def n_parts(self, shapes: Sequence[FullShape]) -> int:
        outer, extent, inner = lines_of(shapes[0], self.axis)
        return even_parts(outer * inner, extent)

    def work_flops(self, shapes: Sequence[FullShape]) -> int:
        return size_of(shapes[0])
