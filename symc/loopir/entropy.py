"""How far a histogram is from its quantised self, by the width of what is kept of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from symc.core.shapes import FullShape

from .routine import Routine, even_parts

SMOOTHING = np.float32(1e-4)  # what an empty place of a distribution gets from all others


@dataclass(frozen=True)
class Divergences(Routine):
    """The Kullback-Leibler divergence of each clipped histogram from the same in `n_bins` bins.

    hist (n,) float32, n odd -> (n // 2 + 1 - n_bins // 2,): of the middle 2 i + 1 places for i from n_bins // 2 up,
    the ends of which hold what lies outside.  Infinite where one of both is empty, or too sparse to be smoothed.
    Everything is float32 and added up in order, as in MXNet: neighbouring widths differ by less than that rounds off,
    so that sums of more digits choose others.
    Source: MXNet's calibrate.cc, after NVIDIA's 8-bit inference with TensorRT.
    """

    n_bins: int

    def run(self, ins: Sequence[np.ndarray], outs: Sequence[np.ndarray]) -> None:
        (hist,), (out,) = ins, outs
        for k in range(len(out)):
            out[k] = self._divergence(hist, k + self.n_bins // 2)

    def _divergence(self, hist: np.ndarray, reach: int) -> np.float32:
        middle = len(hist) // 2
        first, last = middle - reach, middle + reach
        kept = np.concatenate([[0], np.trunc(hist[first + 1 : last + 1])])
        whole = hist[first : last + 1].copy()
        whole[0], whole[-1] = _total(hist[: first + 1]), _total(hist[last:])
        bin_of = np.minimum(np.arange(len(kept)) // (len(kept) // self.n_bins), self.n_bins - 1)
        sums, counts = np.bincount(bin_of, kept), np.bincount(bin_of, kept != 0)
        means = sums.astype("float32") / np.maximum(counts, 1).astype("float32")
        p, q = _smoothed(whole), _smoothed(np.where(whole != 0, means[bin_of], 0))
        if p is None or q is None:
            return np.float32(np.inf)
        p, q = p / _total(p), q / _total(q)
        return _total(p * np.log(p / q))

    def n_parts(self, shapes: Sequence[FullShape]) -> int:
        ((n,),) = shapes
        return even_parts(n // 2 + 1 - self.n_bins // 2, n)

    def scratch(self, shapes: Sequence[FullShape]) -> tuple[tuple[FullShape, str], ...]:
        """The mean of each bin."""
        return (((self.n_parts(shapes), self.n_bins), "float32"),)

    def work_flops(self, shapes: Sequence[FullShape]) -> int:
        ((n,),) = shapes
        return 10 * n * (n // 2 + 1 - self.n_bins // 2)


def _total(x: np.ndarray) -> np.float32:
    """The sum, from first to last in float32."""
    return np.add.accumulate(x)[-1]


def _smoothed(x: np.ndarray) -> np.ndarray | None:
    """Zeros become `SMOOTHING`, at the cost of all else; None where that is more than there is."""
    n_zeros = int((x == 0).sum())
    if n_zeros == len(x):
        return None
    cost = SMOOTHING * np.float32(n_zeros) / np.float32(len(x) - n_zeros)
    found = np.where(x == 0, SMOOTHING, x - cost)
    return found if cost < 1 and (found > 0).all() else None
