"""What single-shot detectors do with their anchors: choose detections, assign anchors to objects."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from symc.core.shapes import FullShape

from .matching import SIDES, overlap
from .routine import Routine, even_parts

NEGATIVE, IGNORED = -1, -2  # instead of the number of an anchor's object
LEAST_OVERLAP = 1e-6  # of an anchor that is an object's best one


@dataclass(frozen=True)
class Detect(Routine):
    """rows (b, 6, n), each anchor's class (negative: none), score and corners -> detections (b, n, 6), best first.

    Of the first `limit` of them (not positive: of all) a detection loses its class, which becomes -1, when its
    intersection over union with a better one that keeps its own (of its class, unless `is_class_blind`) is at least
    `overlap`.  Behind them lie as many rows of -1 as there are anchors without a class, but when the limit cuts
    detections off, what lies at their places is what lay there before sorting, with class -1.  An `overlap` that is
    not in (0, 1] means that nothing is sorted or suppressed.
    """

    overlap: float
    limit: int
    is_class_blind: bool

    @property
    def is_sorting(self) -> bool:
        return 0 < self.overlap <= 1

    def run(self, ins: Sequence[np.ndarray], outs: Sequence[np.ndarray]) -> None:
        outs[0][...] = -1
        for rows, found in zip(ins[0].swapaxes(1, 2), outs[0]):
            valid = rows[rows[:, 0] >= 0]
            found[: len(valid)] = valid
            if not self.is_sorting:
                continue
            n_kept = min(self.limit, len(valid)) if self.limit > 0 else len(valid)
            best = valid[np.argsort(-valid[:, 1], kind="stable")]
            found[:n_kept], found[n_kept:, 0] = best[:n_kept], -1
            for k in range(n_kept):
                found[k, 0] = -1 if any(self._suppresses(found[j], found[k]) for j in range(k)) else found[k, 0]

    def _suppresses(self, one: np.ndarray, other: np.ndarray) -> bool:
        if one[0] < 0 or not (self.is_class_blind or one[0] == other[0]):
            return False
        return overlap((one[2:4], one[4:]), (other[2:4], other[4:])) >= self.overlap

    def n_parts(self, shapes: Sequence[FullShape]) -> int:
        n_batches, _, n = shapes[0]
        return even_parts(n_batches, n * max(1, min(n, self.limit) if self.limit > 0 else n))

    def scratch(self, shapes: Sequence[FullShape]) -> tuple[tuple[FullShape, str], ...]:
        """Keys of the scores; positions before, while and after sorting; the boxes side by side, best first."""
        parts, n = self.n_parts(shapes), shapes[0][2]
        return ((parts, n), "int64"), ((parts, 3, n), "int32"), ((parts, SIDES, n), "float64")

    def work_flops(self, shapes: Sequence[FullShape]) -> int:
        n_batches, _, n = shapes[0]
        return n_batches * n * (min(n, self.limit) if self.limit > 0 else n) * 8


@dataclass(frozen=True)
class AssignAnchors(Routine):
    """anchors (n, 4), objects (b, m, w) = (class, x1, y1, x2, y2, ...), background probabilities (b, n) -> for each
    anchor (b, n) int32 its object, NEGATIVE or IGNORED.

    Objects end at the first of class -1.  First the best pairs of what is left, then every other anchor to the object
    it overlaps most if by more than `threshold` (not positive: none).  Without objects every anchor is ignored.  The
    rest is negative; or, where `ratio` is positive, as many of it as `ratio` times those with an object, of those that
    overlap no object by `most` or more: those that look least like background.
    """

    threshold: float
    ratio: float
    most: float

    def run(self, ins: Sequence[np.ndarray], outs: Sequence[np.ndarray]) -> None:
        anchors, labels, background = ins
        outs[0][...] = IGNORED
        for objects, probability, match in zip(labels, background, outs[0]):
            ends = np.flatnonzero(objects[:, 0] == -1)
            n_objects = ends[0] if len(ends) else len(objects)
            if not n_objects:
                continue
            pairs = [[overlap((a[:2], a[2:]), (o[1:3], o[3:5])) for o in objects[:n_objects]] for a in anchors]
            overlaps = np.nan_to_num(np.asarray(pairs, "float64"))
            free = overlaps.copy()
            while free.max(initial=0) > LEAST_OVERLAP:
                anchor, found = np.unravel_index(free.argmax(), free.shape)
                match[anchor], free[anchor], free[:, found] = found, 0, 0
            best = overlaps.max(1)
            if self.threshold > 0:
                match[:] = np.where((match < 0) & (best > self.threshold), overlaps.argmax(1), match)
            n_negative, rest = len(match), match < 0
            if self.ratio > 0:
                n_negative, rest = int((match >= 0).sum() * self.ratio), rest & (best < self.most)
            order = np.argsort(probability, kind="stable")
            match[order[rest[order]][:n_negative]] = NEGATIVE

    def n_parts(self, shapes: Sequence[FullShape]) -> int:
        return even_parts(shapes[1][0], shapes[0][0] * shapes[1][1])

    def scratch(self, shapes: Sequence[FullShape]) -> tuple[tuple[FullShape, str], ...]:
        """Of each anchor and each object the best overlap, and with which; keys and positions of negative samples."""
        parts, n, m = self.n_parts(shapes), shapes[0][0], shapes[1][1]
        return (
            ((parts, n + m), "float64"),
            ((parts, n + m), "int32"),
            ((parts, n), "int64"),
            ((parts, 3, n), "int32"),
        )

    def work_flops(self, shapes: Sequence[FullShape]) -> int:
        return shapes[1][0] * shapes[0][0] * shapes[1][1] * 12
