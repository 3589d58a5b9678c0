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

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from symc.core.bounded import bounded
from symc.core.errors import CodegenError
from symc.core.shapes import size_of
from symc.loopir.kernel import Buffer, Contraction

OUTSIDE = -1  # the offset of a tap that lies outside the source
LONGEST_SUM = 1 << 13  # products that one accumulator adds up; it rounds off 1e-4 of so many equal numbers in float32
PART = 1 << 9  # longer sums are added up part by part: 5e-6
TABLE_BYTES = 32 << 20  # tables of one sort that are kept for the next layer of the same extents
_ELEMENTS_AT_ONCE = 1 << 20  # of intermediate arrays that are larger than their result


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
    """What rows see along one axis: row r sees count[k] taps from first[k] on, `period` apart (k = kind[r]).

    Its size is that of the rows alone, however large the kernel; kinds ascend as the sets of taps do, tap by tap.
    """

    kind: np.ndarray
    first: np.ndarray
    count: np.ndarray
    period: int


@dataclass(frozen=True, eq=False)
class Visits:
    """The taps that each of some tiles visits, tile after tile.

    counts   (n_tiles,) visits of a tile
    taps     (n,) the tap of each visit, the first where it stands for `lengths` of them side by side
    offsets  (n, n_rows) int32: where each row of the tile reads the source for that tap, or OUTSIDE
    """

    counts: np.ndarray
    taps: np.ndarray
    lengths: np.ndarray
    offsets: np.ndarray


def source_offsets(g: Geometry) -> np.ndarray:
    """(n_rows, n_taps) int32: element offset of each tap in the source, or OUTSIDE."""
    image, *rows = np.unravel_index(np.arange(g.n_rows)[:, None], (g.images, *g.row_extents))
    taps = np.unravel_index(np.arange(g.n_taps)[None, :], g.taps) if g.taps else ()
    offsets = _offsets(g, image, rows, taps)
    return np.broadcast_to(offsets, (g.n_rows, g.n_taps))


def transposed(g: Geometry) -> Geometry:
    """Rows and taps exchanged: which pixels each tap sees, the image being one more axis of the pixels."""
    return Geometry(
        1,
        (1, *g.taps),
        (g.images, *g.source_extents),
        0,
        (g.image_stride, *g.source_strides),
        scale=(1, *g.step),
        taps=(g.images, *g.row_extents),
        step=(1, *g.scale),
        shift=(0, *g.shift),
        divide=(1, *g.divide) if g.divide else (),
    )


def sight(g: Geometry, axis: int) -> Sight:
    """The taps that rows see along an axis: those of tap * step = position * divide - row * scale - shift with a
    position inside the source."""
    step, n_taps, divide = g.step[axis], g.taps[axis], g.divide[axis] if g.divide else 1
    common = math.gcd(step, divide)
    period = divide // common
    base = np.arange(g.row_extents[axis]) * g.scale[axis] + g.shift[axis]
    residue = -(base // common) * pow(step // common, -1, period) % period  # of the taps that meet a whole position
    lowest = np.maximum(0, -(base // step))
    first = lowest + (residue - lowest) % period
    last = np.minimum(n_taps - 1, ((g.source_extents[axis] - 1) * divide - base) // step)
    count = np.where(base % common == 0, np.maximum(0, (last - first) // period + 1), 0)
    first = np.where(count == 0, n_taps, first)
    sets, kind = np.unique((n_taps - first) * (n_taps + 1) + count, return_inverse=True)
    return Sight(kind.reshape(-1), n_taps - sets // (n_taps + 1), sets % (n_taps + 1), period)


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
    orders = [np.arange(g.n_rows)]
    if (group != group[0]).any():
        orders.append(np.argsort(np.tile(group, g.images), kind="stable"))
    tiles = [np.pad(order, (0, -len(order) % n_rows), mode="edge").reshape(-1, n_rows) for order in orders]
    visited = [_visited(g, rows) for rows in tiles]
    best = int(np.argmin(visited))
    return tiles[best], visited[best]


def _visited(g: Geometry, rows: np.ndarray) -> int:
    """Taps that tiles visit, all together; only of tiles whose rows differ along two axes are they looked at singly."""
    positions = np.unravel_index(rows, (g.images, *g.row_extents))[1:]
    counts, n_mixed = np.ones(len(rows), int), np.zeros(len(rows), int)
    for axis, position in enumerate(positions):
        kinds = sight(g, axis).kind[position]
        n_mixed += (kinds != kinds[:, :1]).any(axis=1)
        counts *= _runs(g, axis, position, is_merged=False).counts
    return int(counts[n_mixed < 2].sum()) + len(visits(g, rows[n_mixed >= 2]).taps)


@dataclass(frozen=True, eq=False)
class _Runs:
    """Taps that tiles visit along one axis: `counts` (n_tiles,) runs of each, beginning at number `begins`."""

    begins: np.ndarray
    counts: np.ndarray
    taps: np.ndarray
    lengths: np.ndarray


def _runs(g: Geometry, axis: int, position: np.ndarray, is_merged: bool) -> _Runs:
    """What tiles with rows at `position` (n_tiles, n_rows) along an axis visit there: what any of their rows sees.

    Merged: neighbours that the same rows see are one run.
    """
    seen, taps = sight(g, axis), np.arange(g.taps[axis])
    patterns, pattern = _distinct(seen.kind[position], len(seen.first))
    counts, heads, lengths = [], [], []
    at_once = max(1, _ELEMENTS_AT_ONCE // max(1, patterns.shape[1] * len(taps)))
    for begin in range(0, len(patterns), at_once):
        kinds = patterns[begin : begin + at_once, :, None]
        since = taps - seen.first[kinds]
        inside = (since >= 0) & (since < seen.count[kinds] * seen.period) & (since % seen.period == 0)
        is_seen = inside.any(axis=1)
        is_head = is_seen.copy()
        if is_merged:
            is_head[:, 1:] &= (inside[:, :, 1:] != inside[:, :, :-1]).any(axis=1)
        counts.append(is_head.sum(axis=1))
        heads.append(np.nonzero(is_head)[1])
        lengths.append(np.diff(np.flatnonzero(is_head[is_seen]), append=is_seen.sum()))
    n_runs, first, length = (np.concatenate([np.zeros(0, int), *parts]) for parts in (counts, heads, lengths))
    return _Runs((np.cumsum(n_runs) - n_runs)[pattern], n_runs[pattern], first, length)


def _distinct(kinds: np.ndarray, n_kinds: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows (n, n_rows) among which are all rows of `kinds`, none twice, and which of them each of its rows is."""
    n_rows, which = kinds.shape[1], kinds[:, 0].copy()
    numbers: dict[bytes, int] = {}
    mixed = np.flatnonzero((kinds != kinds[:, :1]).any(axis=1))
    lines = np.ascontiguousarray(kinds[mixed]).view(f"V{n_rows * kinds.itemsize}").reshape(-1).tolist()
    which[mixed] = [numbers.setdefault(line, n_kinds + len(numbers)) for line in lines]
    uniform = np.repeat(np.arange(n_kinds)[:, None], n_rows, axis=1)
    return np.concatenate([uniform, np.frombuffer(b"".join(numbers), kinds.dtype).reshape(-1, n_rows)]), which


def visits(g: Geometry, rows: np.ndarray) -> Visits:
    """What tiles of `rows` (n_tiles, n_rows) visit: the taps that one of their rows sees."""
    image, *positions = np.unravel_index(rows, (g.images, *g.row_extents))
    last = len(g.taps) - 1
    runs = [_runs(g, axis, p, g.is_merged and axis == last) for axis, p in enumerate(positions)]
    counts = np.ones(len(rows), int)
    for r in runs:
        counts = counts * r.counts
    tile = np.repeat(np.arange(len(rows)), counts)
    number = np.arange(len(tile)) - np.repeat(np.cumsum(counts) - counts, counts)
    taps, lengths = [], np.ones(len(tile), int)
    for axis, r in reversed(list(enumerate(runs))):
        number, along = np.divmod(number, r.counts[tile])
        at = r.begins[tile] + along
        taps.insert(0, r.taps[at])
        if axis == last:
            lengths = r.lengths[at]
    offsets = np.empty((len(tile), rows.shape[1]), np.int32)
    at_once = max(1, _ELEMENTS_AT_ONCE // rows.shape[1])
    for begin in range(0, len(tile), at_once):
        part = slice(begin, begin + at_once)
        of = tile[part]
        offsets[part] = _offsets(g, image[of], [p[of] for p in positions], [t[part, None] for t in taps])
    flat = np.ravel_multi_index(taps, g.taps) if taps else np.zeros(len(tile), int)
    is_seen = (offsets >= 0).any(axis=1)  # along each axis by one row, but perhaps by none along all
    if not is_seen.all():
        tile, flat, lengths, offsets = (part[is_seen] for part in (tile, flat, lengths, offsets))
    return Visits(np.bincount(tile, minlength=len(rows)), flat, lengths, offsets)


def _offsets(g: Geometry, image: np.ndarray, rows: Sequence[np.ndarray], taps: Sequence[np.ndarray]) -> np.ndarray:
    """Where rows read the source for taps, both given axis by axis: int32, OUTSIDE where there is nothing to read."""
    offsets, inside = image * g.image_stride, np.True_
    for axis, (row, tap) in enumerate(zip(rows, taps)):
        position = row * g.scale[axis] + tap * g.step[axis] + g.shift[axis]
        if g.divide and g.divide[axis] != 1:
            position, rest = np.divmod(position, g.divide[axis])
            inside = inside & (rest == 0)
        inside = inside & (position >= 0) & (position < g.source_extents[axis])
        offsets = offsets + position * g.source_strides[axis]
    offsets = np.where(inside, offsets, OUTSIDE)
    if offsets.size and offsets.max() >= 2**31:
        raise CodegenError(
            f"offset table: an offset of {offsets.max()} elements does not fit 32 bits; "
            f"cut the batch into smaller parts"
        )
    return offsets.astype(np.int32)


@bounded(TABLE_BYTES, lambda key, tables: tables.tiles.nbytes + tables.segments.nbytes)
def tile_tables(g: Geometry, n_rows: int, is_long: bool = False) -> TileTables:
    """Tables for tiles of `n_rows` rows; `is_long`: no segment is longer than PART."""
    rows, visited = row_order(g, n_rows)
    if not len(rows):
        return TileTables(np.zeros((0, 2 + n_rows), np.int32), np.zeros((0, 2 + n_rows), np.int32), 0, 0)
    v = visits(g, rows)
    if not g.channels:
        v = Visits(0 * v.counts, v.taps[:0], v.lengths[:0], v.offsets[:0])
    segments = np.empty((len(v.taps), 2 + n_rows), np.int32)
    segments[:, 0], segments[:, 1], segments[:, 2:] = v.taps * g.channels, v.lengths * g.channels, v.offsets
    counts = v.counts
    if is_long:
        segments, n_pieces = _cut(segments)
        counts = np.bincount(np.repeat(np.arange(len(rows)), counts), n_pieces, minlength=len(rows)).astype(int)
    begins = np.cumsum(counts) - counts
    tiles = np.concatenate([begins[:, None], counts[:, None], rows], axis=1).astype(np.int32)
    longest = int(segments[:, 1].max()) if (v.offsets < 0).any() else 0
    return TileTables(tiles, segments, visited * g.channels, longest)


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
        if total >= _MIN_ROWS and padded <= total * 1.02:
            return images
    return batch


_MIN_ROWS = 1024
