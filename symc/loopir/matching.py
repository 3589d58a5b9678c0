"""Greedy choices of object detection: pairs of a score matrix, boxes that do not overlap."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from symc.core.shapes import FullShape, size_of

from .routine import Routine, even_parts

SIDES = 7  # numbers of a box among those that suppress each other: corners, area, class, whether it is suppressed


def overlap(one: Sequence[np.ndarray], other: Sequence[np.ndarray], reach: float = 0.0) -> float:
    """Intersection over union of two boxes (starts, ends); NaN where both are empty, and inside out counts as empty."""
    shared = np.prod(np.maximum(np.minimum(one[1], other[1]) - np.maximum(one[0], other[0]) + reach, 0))
    areas = [np.prod(e - s + reach) if (e - s + reach >= 0).all() else 0 for s, e in (one, other)]
    with np.errstate(all="ignore"):
        return float(shared / np.asarray(sum(areas) - shared))


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


@dataclass(frozen=True)
class Suppress(Routine):
    """boxes (b, n, w) and positions in order (b, k), best first -> the positions of those kept (b, n) int32, then -1.

    Of the first `limit` boxes with a score above `valid` that are not of the class `background`, those stay whose
    intersection over union with every better one kept (of their class, unless `is_class_blind`) is at most `overlap`,
    up to `most`.  Four numbers from `coordinates` on are corners, or centre and extent; `class_at` is -1 where there
    are no classes.  `reach` is what a span has besides the difference of its ends: 1 where these are pixels.
    """

    overlap: float
    valid: float
    limit: int
    most: int
    coordinates: int
    score_at: int
    class_at: int
    background: int
    is_class_blind: bool
    is_centred: bool
    reach: float

    def run(self, ins: Sequence[np.ndarray], outs: Sequence[np.ndarray]) -> None:
        outs[0][...] = -1
        for boxes, order, record in zip(*ins, outs[0]):
            n_seen = 0
            kept: list[int] = []
            for box in order:
                if not boxes[box, self.score_at] > self.valid:
                    continue
                if self.class_at >= 0 and boxes[box, self.class_at] == self.background:
                    continue
                n_seen += 1
                if n_seen > self.limit or len(kept) == self.most:
                    break
                if not any(self._suppresses(boxes[k], boxes[box]) for k in kept):
                    kept.append(box)
            record[: len(kept)] = kept

    def _suppresses(self, one: np.ndarray, other: np.ndarray) -> bool:
        if self.class_at >= 0 and not self.is_class_blind and int(one[self.class_at]) != int(other[self.class_at]):
            return False
        return overlap(self._span(one), self._span(other), self.reach) > self.overlap

    def _span(self, box: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        first, last = box[self.coordinates :][:2], box[self.coordinates :][2:4]
        return (first - last / 2, first + last / 2) if self.is_centred else (first, last)

    def n_parts(self, shapes: Sequence[FullShape]) -> int:
        n_batches, n_boxes = shapes[1]
        return even_parts(n_batches, n_boxes**2)

    def scratch(self, shapes: Sequence[FullShape]) -> tuple[tuple[FullShape, str], ...]:
        """The boxes that take part, side by side, and their positions."""
        parts, n_boxes = self.n_parts(shapes), shapes[1][1]
        return ((parts, SIDES, n_boxes), "float64"), ((parts, n_boxes), "int32")

    def work_flops(self, shapes: Sequence[FullShape]) -> int:
        n_batches, n_boxes = shapes[1]
        return n_batches * n_boxes * min(n_boxes, self.most) * 8
