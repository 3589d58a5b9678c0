"""Offset tables: what tiles of rows and columns visit, as the integers that kernels walk.

A row of the computed matrix is one pixel; it reads the source at the positions of its taps.  Rows are cut into tiles,
and a tile visits only the taps that at least one of its rows can see, so pixels at the border do less work.  Taps that
lie side by side in memory for all rows of a tile are merged into one segment, a contiguous run of the reduction.

>>> g = Geometry(1, (3,), (3,), 12, (4,), (1,), (3,), (1,), (-1,), channels=4, is_merged=True)
>>> t = tile_tables(g, 3)
>>> t.tiles.tolist(), t.segments.tolist()     # [first segment, count, rows], [weight position, length, offsets]
([[0, 3, 0, 1, 2]], [[0, 4, -1, 0, 4], [4, 4, 0, 4, 8], [8, 4, 4, 8, -1]])
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from symc.core.bounded import bounded

from .geometry import OUTSIDE, Geometry, transposed
from .sight import Visits, count_visits, sight, visits

LONGEST_SUM = 1 << 13  # products that one accumulator adds up; it rounds off 1e-4 of so many equal numbers in float32
PART = 1 << 9  # longer sums are added up part by part: 5e-6
TABLE_BYTES = 32 << 20  # tables of one sort that are kept for the next layer of the same extents
MIN_ROWS = 1024  # of one table, so that the last tile of it matters little


@dataclass(frozen=True, eq=False)
class TileTables:
    """tiles: (n_tiles, 2 + n_rows) int32;  segments: (n_segments, 2 + n_rows) int32; see the module's example.

    steps       reduction length summed over the tiles
    longest     elements that the zero page must hold (0: every tap is inside)
    """

    tiles: np.ndarray
    segments: np.ndarray
    steps: int
    longest: int


def row_order(g: Geometry, n_rows: int) -> tuple[np.ndarray, int]:
    """The rows of each tile (n_tiles, n_rows), the last row repeated, and the taps visited by all tiles together.

    Rows stay in natural order unless grouping those that see the same taps saves work.
    """
    still = (0,) * len(g.taps)
    return _row_order(replace(g, image_stride=0, source_strides=still, channels=0, is_merged=False), n_rows)


@bounded(TABLE_BYTES, lambda key, order: order[0].nbytes)
def _row_order(g: Geometry, n_rows: int) -> tuple[np.ndarray, int]:
    if not g.n_rows:
        return np.zeros((0, n_rows), int), 0
    group = np.zeros(1, int)
    for axis in range(len(g.taps)):
        seen = sight(g, axis)
        group = (group[:, None] * len(seen.first) + seen.kind).reshape(-1)
    orders: list[np.ndarray] = [np.arange(g.n_rows)]
    if (group != group[0]).any():
        orders.append(np.argsort(np.tile(group, g.images), kind="stable"))
    tiles = [np.pad(order, (0, -len(order) % n_rows), mode="edge").reshape(-1, n_rows) for order in orders]
    visited = [count_visits(g, rows) for rows in tiles]
    best = int(np.argmin(visited))
    return tiles[best], visited[best]


@bounded(TABLE_BYTES, lambda key, tables: tables.tiles.nbytes + tables.segments.nbytes)
def tile_tables(g: Geometry, n_rows: int, is_long: bool = False) -> TileTables:
    """Tables for tiles of `n_rows` rows; `is_long`: no segment is longer than PART."""
    rows, visited = row_order(g, n_rows)
    if not len(rows):
        return TileTables(np.zeros((0, 2 + n_rows), np.int32), np.zeros((0, 2 + n_rows), np.int32), 0, 0)
    v = visits(g, rows)
    if not g.channels:
        v = Visits(0 * v.counts, v.taps[:0], v.lengths[:0], v.offsets[:0])
    segments, counts = _segments(v, v.taps * g.channels, v.lengths * g.channels), v.counts
    if is_long:
        segments, n_pieces = _cut(segments)
        counts = np.bincount(np.repeat(np.arange(len(rows)), counts), n_pieces, minlength=len(rows)).astype(int)
    longest = int(segments[:, 1].max()) if (v.offsets < 0).any() else 0
    return TileTables(_tiles(counts, rows), segments, visited * g.channels, longest)


@dataclass(frozen=True)
class Line:
    """Taps of the last axis that one segment has, and by how many positions rows of a tile are apart.

    Where the rows of a tile lie on one line of the source, neighbours read the same positions: each is listed once.
    """

    n_taps: int = 1
    stride: int = 1

    def n_positions(self, n_rows: int) -> int:
        """How many positions the rows of a tile read."""
        return self.stride * (n_rows - 1) + self.n_taps

    def readers(self, position: int, n_rows: int) -> list[tuple[int, int]]:
        """The (tap, row) that read a position."""
        taps = ((position - row * self.stride, row) for row in range(n_rows))
        return [(tap, row) for tap, row in taps if 0 <= tap < self.n_taps]


@bounded(TABLE_BYTES, lambda key, tables: tables.tiles.nbytes + tables.segments.nbytes)
def line_tables(g: Geometry, n_rows: int) -> TileTables:
    """Tables for tiles of `n_rows` neighbours on a line, each of which sees all taps of a line of taps or none.

    A segment has the place of its first tap, the length of a tap's run, and the offset of each position of the line.
    """
    rows = np.arange(g.n_rows).reshape(-1, n_rows)
    if not len(rows):
        return tile_tables(g, n_rows)
    v, line = visits(g, rows), Line(g.taps[-1], g.scale[-1])
    read_by = [line.readers(position, n_rows)[0] for position in range(line.n_positions(n_rows))]
    offsets = v.offsets.reshape(-1, line.n_taps, n_rows)[:, [tap for tap, _ in read_by], [row for _, row in read_by]]
    lines = Visits(v.counts // line.n_taps, v.taps[:: line.n_taps], v.lengths[:: line.n_taps], offsets)
    segments = _segments(lines, lines.taps * g.channels, g.channels)
    return TileTables(_tiles(lines.counts, rows), segments, len(v.taps) * g.channels, g.channels)


def _tiles(counts: np.ndarray, rows: np.ndarray) -> np.ndarray:
    begins = np.cumsum(counts) - counts
    return np.concatenate([begins[:, None], counts[:, None], rows], axis=1).astype(np.int32)


def _segments(v: Visits, first: np.ndarray, length: np.ndarray | int) -> np.ndarray:
    segments = np.empty((len(v.taps), 2 + v.offsets.shape[1]), np.int32)
    segments[:, 0], segments[:, 1], segments[:, 2:] = first, length, v.offsets
    return segments


def _cut(segments: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Segments no longer than PART, and how many each became."""
    n_pieces = -(-segments[:, 1] // PART)
    begin = np.arange(n_pieces.sum()) - np.repeat(np.cumsum(n_pieces) - n_pieces, n_pieces)
    begin, pieces = (begin * PART).astype(np.int32), np.repeat(segments, n_pieces, axis=0)
    pieces[:, 0] += begin
    pieces[:, 1] = np.minimum(PART, pieces[:, 1] - begin)
    pieces[:, 2:] += np.where(pieces[:, 2:] == OUTSIDE, 0, begin[:, None])
    return pieces, n_pieces


def images_per_table(batch: int, pixels: int, n_rows: int) -> int:
    """How many images one table covers: few, as long as their pixels fill whole tiles to 2 %.

    The kernel repeats the table for the next images, so that tables stay small for large batches.
    """
    small = [d for d in range(1, math.isqrt(batch) + 1) if batch % d == 0]
    for images in (*small, *(batch // d for d in reversed(small))):
        total = images * pixels
        padded = -(-total // n_rows) * n_rows
        if total >= MIN_ROWS and padded <= total * 1.02:
            return images
    return batch


def depthwise_gradient_tables(g: Geometry, dy_image_stride: int, dy_pixel_stride: int, n_rows: int) -> TileTables:
    """Tables of a depthwise weight gradient: rows are taps (the last one repeated), segments the pixels they see."""
    taps = np.pad(np.arange(g.n_taps), (0, -g.n_taps % n_rows), mode="edge").reshape(-1, n_rows)
    v = visits(transposed(g), taps)
    image, pixel = np.divmod(v.taps, max(1, g.n_rows // max(1, g.images)))
    segments = _segments(v, image * dy_image_stride + pixel * dy_pixel_stride, 1)
    return TileTables(_tiles(v.counts, taps), segments, len(segments), 1)


@dataclass(frozen=True, eq=False)
class PixelTables:
    """pixels: (n, 2) int32 offsets in x and dy, run after run; an x offset of -1 - k stands for row k of `borders`.

    run_begins  (n_runs + 1) int32: where each run's pixels begin
    borders     (n_borders, run_columns) int32: for each column the offset in x, or -1 outside
    """

    pixels: np.ndarray
    run_begins: np.ndarray
    borders: np.ndarray

    @property
    def longest(self) -> int:
        return int(np.diff(self.run_begins).max(initial=0))


@bounded(TABLE_BYTES, lambda key, tables: tables.pixels.nbytes + tables.borders.nbytes)
def pixel_tables(g: Geometry, dy_image_stride: int, dy_pixel_stride: int, is_merged: bool, n_ahead: int) -> PixelTables:
    """The pixels of each run, and `n_ahead` that are read without need; `is_merged`: a run is a line of taps."""
    width = g.taps[-1] if is_merged else 1
    v = visits(transposed(g), np.arange(g.n_taps).reshape(-1, width))
    n_seen = (v.offsets >= 0).sum(axis=1)
    run = np.repeat(np.arange(len(v.counts)), v.counts)
    order = np.flatnonzero(n_seen)
    order = order[np.lexsort([n_seen[order] < width, run[order]])]  # in each run the pixels at the border come last
    is_border = n_seen[order] < width
    pixels = np.zeros((len(order) + n_ahead, 2), np.int32)
    pixels[: len(order), 0] = np.where(is_border, -np.cumsum(is_border), v.offsets[order, 0])
    image, pixel = np.divmod(v.taps[order], max(1, g.n_rows // max(1, g.images)))
    pixels[: len(order), 1] = image * dy_image_stride + pixel * dy_pixel_stride
    taps = v.offsets[order[is_border], :, None]
    borders = np.where(taps < 0, OUTSIDE, taps + np.arange(g.channels)).reshape(len(taps), width * g.channels)
    counts = np.bincount(run[order], minlength=len(v.counts))
    return PixelTables(pixels, np.concatenate([[0], np.cumsum(counts)]).astype(np.int32), borders.astype(np.int32))
