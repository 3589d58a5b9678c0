"""Winograd's minimal filtering: 3x3 windows of stride 1 with 2.25 times fewer multiplications (tiles of 2 x 2).

The output is cut into tiles of m x m.  With d the (m + 2) x (m + 2) inputs of a tile and w the 3x3 weights of a pair of
channels, both are transformed, multiplied element by element (each element, a *frequency*, is a matrix product over
channels and tiles), and transformed back:

    y = A^T [sum over channels of (G w G^T) * (B^T d B)] A

Source: S. Winograd, Arithmetic Complexity of Computations (1980); A. Lavin and S. Gray, Fast Algorithms for
Convolutional Neural Networks (2015).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from symc.core.errors import CodegenError
from symc.core.shapes import FullShape, size_of
from symc.loopir.kernel import Buffer, Contraction, Nest, buffer_of
from symc.loopir.routine import Routine, even_parts

from .geometry import OUTSIDE, Geometry
from .panels import Panels

N_TAPS = 3  # along each of the two axes
Matrix = tuple[tuple[float, ...], ...]


@dataclass(frozen=True)
class Transforms:
    """The three matrices for output tiles of `outputs` x `outputs`; `extent` = outputs + 2 is the input tile's."""

    outputs: int
    weight: Matrix  # G    (extent, 3)
    input: Matrix  # B^T  (extent, extent)
    output: Matrix  # A^T  (outputs, extent)

    @property
    def extent(self) -> int:
        return self.outputs + N_TAPS - 1

    @property
    def n_frequencies(self) -> int:
        return self.extent**2


TRANSFORMS = {
    2: Transforms(
        2,
        weight=((1, 0, 0), (0.5, 0.5, 0.5), (0.5, -0.5, 0.5), (0, 0, 1)),
        input=((1, 0, -1, 0), (0, 1, 1, 0), (0, -1, 1, 0), (0, 1, 0, -1)),
        output=((1, 1, 1, 0), (0, 1, -1, -1)),
    ),
}


def work_flops(c: Contraction, transforms: Transforms) -> tuple[int, int]:
    """Additions of the inputs' transform; multiplications and additions of the products and their transform back."""
    m, extent = transforms.outputs, transforms.extent
    n_tiles = c.batch * size_of(tuple(-(-n // m) for n in c.window.out_extents))
    matrices = transforms.input, transforms.output
    into, back = (sum(x != 0 for line in matrix for x in line) - len(matrix) for matrix in matrices)
    products = 2 * transforms.n_frequencies * c.in_channels * c.out_channels
    return n_tiles * 2 * extent * into * c.in_channels, n_tiles * (products + (extent + m) * back * c.out_channels)


def is_winograd(c: Contraction) -> bool:
    """Whether Winograd's algorithm can compute `c`."""
    w = c.window
    has_work = c.batch * c.in_channels * c.out_channels * size_of(w.out_extents) > 0
    return (
        c.kind == "forward"
        and c.groups == 1
        and c.stack is None
        and has_work
        and w.kernel == (N_TAPS, N_TAPS)
        and w.stride == w.dilate == (1, 1)
    )


def input_geometry(c: Contraction, outputs: int) -> Geometry:
    """Which inputs the tiles of outputs of one image read: rows are tiles, taps the inputs of a tile."""
    source, w = buffer_of(c, c.lhs), c.window
    return Geometry(
        1,
        tuple(-(-n // outputs) for n in w.out_extents),
        w.in_extents,
        source.strides[0],
        source.strides[2:],
        scale=(outputs, outputs),
        taps=(outputs + N_TAPS - 1,) * 2,
        step=(1, 1),
        shift=tuple(-p for p in w.pad),
    )


def output_pixels(extents: tuple[int, ...], outputs: int) -> np.ndarray:
    """(tiles, outputs ** 2) int32: the pixels of each tile of one image, or OUTSIDE."""
    lines = [np.arange(-(-n // outputs) * outputs).reshape(-1, outputs) for n in extents]
    y, x = lines[0][:, None, :, None], lines[1][None, :, None, :]
    inside = (y < extents[0]) & (x < extents[1])
    return np.where(inside, y * extents[1] + x, OUTSIDE).reshape(-1, outputs**2).astype(np.int32)


@dataclass(frozen=True)
class WinogradPanels:
    """A packing: a 3x3 weight (O, C, 3, 3) transformed once, its columns in panels of `panel_columns`.

    `shape` is (panels, frequencies, C, columns of a panel); `outputs` is the extent of a tile of results.
    """

    outputs: int
    dtype: str
    channels: int
    columns: int
    panel_columns: int

    @property
    def transforms(self) -> Transforms:
        return TRANSFORMS[self.outputs]

    @property
    def n_panels(self) -> int:
        return -(-self.columns // self.panel_columns)

    @property
    def shape(self) -> FullShape:
        return (self.n_panels, self.transforms.n_frequencies, self.channels, self.panel_columns)

    @property
    def routine(self) -> TransformWeight:
        """What is left to do after `nest`."""
        return TransformWeight(self)

    def nest(self, source: Buffer, packed: Buffer) -> Nest:
        """Copies the logical weight `source` (O, C, 3, 3), with any strides, where `routine` expects it in `packed`."""
        if packed.shape != self.shape:
            raise CodegenError(f"packing a weight: {packed}; expected shape {self.shape}")
        direct = Panels(False, False, self.dtype, 1, (N_TAPS, N_TAPS), self.channels, self.columns, self.panel_columns)
        panel, frequency, channel, column = packed.strides
        strides = (panel, panel, N_TAPS * frequency, frequency, channel, column)
        return direct.nest(source, Buffer(packed.name, direct.shape, self.dtype, strides, packed.offset))

    def unpack(self, packed: np.ndarray) -> np.ndarray:
        """The logical weight inside a packed array, up to rounding: G has full column rank, so it can be undone."""
        extent = self.transforms.extent
        back = np.linalg.pinv(np.array(self.transforms.weight))
        frequencies = packed.reshape(self.n_panels, extent, extent, self.channels, self.panel_columns)
        weight = np.einsum("ia,pabco,jb->pocij", back, frequencies, back)
        return weight.reshape(-1, self.channels, N_TAPS, N_TAPS)[: self.columns]


@dataclass(frozen=True)
class TransformWeight(Routine):
    """G w G^T of every pair of channels, in place: the nine taps lie where the first nine frequencies will."""

    packing: WinogradPanels

    def run(self, ins: Sequence[np.ndarray], outs: Sequence[np.ndarray]) -> None:
        (packed,) = outs
        taps = packed[:, : N_TAPS**2].reshape(-1, N_TAPS, N_TAPS, *packed.shape[2:])
        matrix = np.array(self.packing.transforms.weight, packed.dtype)
        packed[...] = np.einsum("ai,pijco,bj->pabco", matrix, taps, matrix).reshape(packed.shape)

    def n_parts(self, shapes: Sequence[FullShape]) -> int:
        return even_parts(self.packing.n_panels * self.packing.channels, self._line_flops())

    def work_flops(self, shapes: Sequence[FullShape]) -> int:
        return self.packing.n_panels * self.packing.channels * self._line_flops()

    def _line_flops(self) -> int:
        transforms = self.packing.transforms
        terms = sum(c != 0 for line in transforms.weight for c in line)
        return 2 * terms * (N_TAPS + transforms.extent) * self.packing.panel_columns
