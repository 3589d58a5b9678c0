"""Which positions of its source a contraction reads: padding, stride, dilation and batch in integers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from symc.core.errors import CodegenError
from symc.core.shapes import FullShape, size_of
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


def row_distance(g: Geometry) -> int | None:
    """How far apart neighbouring rows are in the source, where each reads a single tap and that is inside; None where
    they are not evenly spaced."""
    reads_all = all(s == 0 and (n - 1) * k < m for s, n, k, m in zip(g.shift, g.row_extents, g.scale, g.source_extents))
    if g.n_taps != 1 or not reads_all or set(g.divide) - {1}:
        return None
    strides = (g.image_stride, *(stride * k for stride, k in zip(g.source_strides, g.scale)))
    moving = [(n, stride) for n, stride in zip((g.images, *g.row_extents), strides) if n > 1]
    if any(outer != n * inner for (_, outer), (n, inner) in pairwise(moving)):
        return None
    return moving[-1][1] if moving else 0


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


def positions_of(numbers: np.ndarray, extents: FullShape) -> list[np.ndarray]:
    """Row-major numbers axis by axis.

    Not numpy.unravel_index: beyond 8192 of them it gives the neighbour's position for an array of shape (n, 1).
    """
    found: list[np.ndarray] = []
    for extent in reversed(extents):
        numbers, position = np.divmod(numbers, max(1, extent))
        found.insert(0, position)
    return found


def source_offsets(g: Geometry) -> np.ndarray:
    """(n_rows, n_taps) int32: element offset of each tap in the source, or OUTSIDE."""
    image, *rows = positions_of(np.arange(g.n_rows)[:, None], (g.images, *g.row_extents))
    taps = positions_of(np.arange(g.n_taps)[None, :], g.taps)
    offsets = offsets_of(g, image, rows, taps)
    return np.broadcast_to(offsets, (g.n_rows, g.n_taps))


def offsets_of(g: Geometry, image: np.ndarray, rows: Sequence[np.ndarray], taps: Sequence[np.ndarray]) -> np.ndarray:
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
