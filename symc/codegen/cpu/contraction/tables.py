"""Offset tables: every question of padding, stride, dilation and batch, answered once in integers.

A row of the computed matrix is one pixel; it reads the source at the positions of its taps.  Rows are cut into tiles,
and a tile visits only the taps that at least one of its rows can see, so pixels at the border do less work.  Taps that
lie side by side in memory for all rows of a tile are merged into one segment, a contiguous run of the reduction.

>>> g = Geometry(1, (3,), (3,), 12, (4,), (1,), (3,), (1,), (-1,), channels=4, is_merged=True)
>>> t = tile_tables(g, n_rows=3)
>>> t.tiles.tolist(), t.segments.tolist()     # [first segment, count, rows], [weight position, length, offsets]
([[0, 3, 0, 1, 2]], [[0, 4, -1, 0, 4], [4, 4, 0, 4, 8], [8, 4, 4, 8, -1]])
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass, replace

import numpy as np

from symc.core.errors import CodegenError
from symc.core.shapes import size_of
from symc.loopir.kernel import Buffer, Contraction

OUTSIDE = -1  # the offset of a tap that lies outside the source


@dataclass(frozen=True)
class Geometry:
    """Which source position each (row, tap) reads.

    Along axis d:  position * divide = row * scale + tap * step + shift;  it exists when it is whole and inside.
    Rows run over (images, *row_extents), taps over *taps.  Strides are in elements of the source.
    """

    images: int
    row_extents: tuple[int, ...]
    source_extents: tuple[int, ...]
    image_stride: int
    source_strides: tuple[int, ...]
    scale: tuple[int, ...]
    taps: tuple[int, ...]
    step: tuple[int, ...]
    shift: tuple[int, ...]
    divide: tuple[int, ...] = ()
    channels: int = 1
    is_merged: bool = False  # consecutive taps of the last axis may be one segment

    @property
    def n_rows(self) -> int:
        return self.images * size_of(self.row_extents)

    @property
    def n_taps(self) -> int:
        return size_of(self.taps)

    def of_images(self, images: int) -> Geometry:
        """The same windows over another number of images."""
        return replace(self, images=images)

    def with_channels(self, channels: int) -> Geometry:
        """The same windows with another length of a tap's run."""
        return replace(self, channels=channels)


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


def window_geometry(c: Contraction, source: Buffer, channels: int, merge: bool) -> Geometry:
    """Rows and taps of one image: output pixels of a forward contraction, input pixels of a data gradient.

    A data gradient visits the taps in reverse, so that its positions ascend: q * stride = p + pad - tap * dilate.
    """
    w = c.window
    is_forward = c.kind != "data_gradient"  # a weight gradient sees the windows of the forward pass
    ones = tuple(1 for _ in w.kernel)
    last = [(k - 1) * d for k, d in zip(w.kernel, w.dilate)]
    rows, extents = (w.out_extents, w.in_extents) if is_forward else (w.in_extents, w.out_extents)
    if not w.kernel or w.dilate[-1] != 1 or (not is_forward and w.stride[-1] != 1):
        merge = False
    return Geometry(
        1,
        rows,
        extents,
        source.strides[0],
        source.strides[2:],
        scale=w.stride if is_forward else ones,
        taps=w.kernel,
        step=w.dilate,
        shift=tuple(-p for p in w.pad) if is_forward else tuple(p - s for p, s in zip(w.pad, last)),
        divide=ones if is_forward else w.stride,
        channels=channels,
        is_merged=merge and source.strides[-1] == channels,
    )


@dataclass(frozen=True, eq=False)
class Sight:
    """Which taps each row sees: `group` (n_rows,) numbers the distinct sets, `taps` (n_groups, n_taps) holds them."""

    group: np.ndarray
    taps: np.ndarray


@functools.lru_cache(maxsize=256)
def source_offsets(g: Geometry) -> np.ndarray:
    """(n_rows, n_taps) int32: element offset of each tap in the source, or OUTSIDE."""
    n_axes = len(g.taps)
    offsets = (np.arange(g.images) * g.image_stride).reshape(-1, *[1] * (2 * n_axes))
    inside = np.ones_like(offsets, bool)
    for d in range(n_axes):
        position, exists = _positions(g, d)
        line = [1] * (1 + 2 * n_axes)
        line[1 + d], line[1 + n_axes + d] = g.row_extents[d], g.taps[d]
        offsets = offsets + (position * g.source_strides[d]).reshape(line)
        inside = inside & exists.reshape(line)
    if offsets.size and offsets.max() >= 2**31:
        raise CodegenError(
            f"offset table: an offset of {offsets.max()} elements does not fit 32 bits; "
            f"cut the batch into smaller parts"
        )
    return np.where(inside, offsets, OUTSIDE).astype(np.int32).reshape(g.n_rows, g.n_taps)


def _positions(g: Geometry, axis: int) -> tuple[np.ndarray, np.ndarray]:
    """(row extent, taps) of one axis: the source position, and whether it exists."""
    rows, taps = np.arange(g.row_extents[axis])[:, None], np.arange(g.taps[axis])
    divide = g.divide[axis] if g.divide else 1
    scaled = rows * g.scale[axis] + taps * g.step[axis] + g.shift[axis]
    position = scaled // divide
    return position, (scaled % divide == 0) & (position >= 0) & (position < g.source_extents[axis])


def sight(g: Geometry) -> Sight:
    """The taps each row sees; computed axis by axis, because a tap exists when it does so along every axis."""
    return _sight(replace(g, image_stride=0, source_strides=(), channels=0, is_merged=False))


@functools.lru_cache(maxsize=256)
def _sight(g: Geometry) -> Sight:
    group, taps = np.zeros(1, int), np.ones((1, 1), bool)
    for axis in range(len(g.taps)):
        sets, of_position = np.unique(_positions(g, axis)[1], axis=0, return_inverse=True)
        group = (group[:, None] * len(sets) + of_position.reshape(-1)).reshape(-1)
        taps = (taps[:, None, :, None] & sets[None, :, None, :]).reshape(len(taps) * len(sets), -1)
    return Sight(np.tile(group, g.images), taps)


def row_order(g: Geometry, n_rows: int) -> tuple[np.ndarray, int]:
    """The rows of each tile (n_tiles, n_rows), the last row repeated, and the taps visited by all tiles together.

    Rows stay in natural order unless grouping those that see the same taps saves work.
    """
    return _row_order(replace(g, image_stride=0, source_strides=(), channels=0, is_merged=False), n_rows)


@functools.lru_cache(maxsize=256)
def _row_order(g: Geometry, n_rows: int) -> tuple[np.ndarray, int]:
    if not g.n_rows:
        return np.zeros((0, n_rows), int), 0
    seen = sight(g)
    orders = [np.arange(g.n_rows)]
    if len(seen.taps) > 1:
        orders.append(np.argsort(seen.group, kind="stable"))
    tiles = [np.pad(order, (0, -len(order) % n_rows), mode="edge").reshape(-1, n_rows) for order in orders]
    visited = [_visited(seen.group[rows], seen.taps) for rows in tiles]
    best = int(np.argmin(visited))
    return tiles[best], visited[best]


def _visited(groups: np.ndarray, taps: np.ndarray) -> int:
    """Taps that at least one row sees, summed over tiles; `groups` (n_tiles, n_rows)."""
    is_uniform = (groups == groups[:, :1]).all(axis=1)
    return int(taps.sum(axis=1)[groups[is_uniform, 0]].sum() + taps[groups[~is_uniform]].any(axis=1).sum())


@functools.lru_cache(maxsize=256)
def tile_tables(g: Geometry, n_rows: int) -> TileTables:
    """Tables for tiles of `n_rows` rows."""
    rows, visited = row_order(g, n_rows)
    if not len(rows):
        return TileTables(np.zeros((0, 2 + n_rows), np.int32), np.zeros((0, 2 + n_rows), np.int32), 0, 0)
    offsets, seen = source_offsets(g), sight(g)
    patterns, pattern = np.unique(seen.group[rows], axis=0, return_inverse=True)  # tiles alike in what their rows see
    pattern = pattern.reshape(-1)
    runs = [
        _runs(seen.taps[groups], g.taps[-1] if g.taps else 1, g.is_merged) if g.channels else [] for groups in patterns
    ]
    counts = np.array([len(r) for r in runs])[pattern]
    begins = np.concatenate([[0], np.cumsum(counts)])
    segments = np.zeros((int(begins[-1]), 2 + n_rows), np.int32)
    for p, pattern_runs in enumerate(runs):
        members = np.flatnonzero(pattern == p)
        for j, (tap, n_merged) in enumerate(pattern_runs):
            at = begins[members] + j
            segments[at, 0] = tap * g.channels
            segments[at, 1] = n_merged * g.channels
            segments[at, 2:] = offsets[rows[members], tap]
    tiles = np.concatenate([begins[:-1, None], counts[:, None], rows], axis=1).astype(np.int32)
    touches_outside = len(segments) > 0 and bool((segments[:, 2:] < 0).any())
    longest = int(segments[:, 1].max()) if touches_outside else 0
    return TileTables(tiles, segments, visited * g.channels, longest)


def _runs(inside: np.ndarray, taps_per_line: int, is_merged: bool) -> list[tuple[int, int]]:
    """(first tap, number of taps) of each segment of a tile, from its (n_rows, n_taps) visibility."""
    runs: list[tuple[int, int]] = []
    for tap in np.flatnonzero(inside.any(axis=0)).tolist():
        if runs and is_merged and tap % taps_per_line:
            first, length = runs[-1]
            if first + length == tap and (inside[:, tap] == inside[:, tap - 1]).all():
                runs[-1] = first, length + 1
                continue
        runs.append((tap, 1))
    return runs


def images_per_table(batch: int, pixels: int, n_rows: int) -> int:
    """How many images one table covers: few, as long as their pixels fill whole tiles to 2 %.

    The kernel repeats the table for the next images, so that tables stay small for large batches.
    """
    small = [d for d in range(1, math.isqrt(batch) + 1) if batch % d == 0]
    for images in (*small, *(batch // d for d in reversed(small))):
        total = images * pixels
        padded = -(-total // n_rows) * n_rows
        if total >= _MIN_ROWS and padded <= total * 1.02:
            return images
    return batch


_MIN_ROWS = 1024
