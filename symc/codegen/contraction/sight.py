"""What rows of a geometry see, and what tiles of rows visit, in memory that does not grow with the size of a kernel."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from symc.core.bounded import bounded

from .geometry import Geometry, offsets_of, positions_of

_ELEMENTS_AT_ONCE = 1 << 20  # of intermediate arrays that are larger than their result
_KEPT_BYTES = 1 << 22  # of what rows see, which every tile of a geometry asks for


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


def sight(g: Geometry, axis: int) -> Sight:
    """The taps that rows see along an axis: those of tap * step = position * divide - row * scale - shift with a
    position inside the source."""
    divide = g.divide[axis] if g.divide else 1
    return _sight(
        g.row_extents[axis], g.source_extents[axis], g.scale[axis], g.taps[axis], g.step[axis], g.shift[axis], divide
    )


@bounded(_KEPT_BYTES, lambda key, seen: seen.kind.nbytes)
def _sight(n_rows: int, n_positions: int, scale: int, n_taps: int, step: int, shift: int, divide: int) -> Sight:
    common = math.gcd(step, divide)
    period = divide // common
    base = np.arange(n_rows) * scale + shift
    residue = -(base // common) * pow(step // common, -1, period) % period  # of the taps that meet a whole position
    lowest = np.maximum(0, -(base // step))
    first = lowest + (residue - lowest) % period
    last = np.minimum(n_taps - 1, ((n_positions - 1) * divide - base) // step)
    count = np.where(base % common == 0, np.maximum(0, (last - first) // period + 1), 0)
    first = np.where(count == 0, n_taps, first)
    sets, kind = np.unique((n_taps - first) * (n_taps + 1) + count, return_inverse=True)
    return Sight(kind.reshape(-1), n_taps - sets // (n_taps + 1), sets % (n_taps + 1), period)


def visits(g: Geometry, rows: np.ndarray) -> Visits:
    """What tiles of `rows` (n_tiles, n_rows) visit: the taps that one of their rows sees."""
    image, *positions = positions_of(rows, (g.images, *g.row_extents))
    last = len(g.taps) - 1
    runs = [_runs(g, axis, p, g.is_merged and axis == last) for axis, p in enumerate(positions)]
    counts = np.ones(len(rows), int)
    for r in runs:
        counts = counts * r.counts
    tile = np.repeat(np.arange(len(rows)), counts)
    number = np.arange(len(tile)) - np.repeat(np.cumsum(counts) - counts, counts)
    taps: list[np.ndarray] = []
    lengths = np.ones(len(tile), int)
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
        offsets[part] = offsets_of(g, image[of], [p[of] for p in positions], [t[part, None] for t in taps])
    flat = np.ravel_multi_index(taps, g.taps) if taps else np.zeros(len(tile), int)
    is_seen = (offsets >= 0).any(axis=1)  # along each axis by one row, but perhaps by none along all
    parts: list[np.ndarray] = [tile, flat, lengths, offsets]
    if not is_seen.all():
        parts = [part[is_seen] for part in parts]
    of_tile, *found = parts
    return Visits(np.bincount(of_tile, minlength=len(rows)), *found)


def count_visits(g: Geometry, rows: np.ndarray) -> int:
    """Taps that tiles visit, all together; only of tiles whose rows differ along two axes are they looked at singly."""
    positions = positions_of(rows, (g.images, *g.row_extents))[1:]
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
        lowest = seen.first[kinds]
        inside = (taps >= lowest) & (taps < lowest + seen.count[kinds] * seen.period)
        inside &= taps % seen.period == lowest % seen.period  # not their difference's rest: divisions are slow
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
